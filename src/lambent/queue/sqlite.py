"""The embedded EventQueue: a table in a SQLite database of its own, written in groups.

What is leased is known in memory only, so a lease costs no write; how many events each shard has is
counted once, and kept.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from lambent.queue.base import KEPT_EVENTS, KEPT_SECONDS, Depth, Event, Peeked
from lambent.store.group_commit import GroupCommit

# An event that has not been tried is due when it was accepted, so the oldest of a shard is the
# first in one of the first two indices.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queued (
    key      INTEGER PRIMARY KEY,
    shard    TEXT NOT NULL,
    due      REAL NOT NULL,
    accepted REAL NOT NULL,
    failed   INTEGER NOT NULL DEFAULT 0,
    body     BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS waiting ON queued (shard, due) WHERE failed = 0;
CREATE INDEX IF NOT EXISTS tried ON queued (shard, accepted) WHERE failed = 0 AND due > accepted;
CREATE INDEX IF NOT EXISTS failed ON queued (shard, due) WHERE failed = 1;
"""
# Those that wait or run, then those laid aside; written out, because an index of some rows serves
# no question that leaves open which.
_OLDEST = (
    "SELECT min(due) FROM queued INDEXED BY waiting WHERE failed = 0 AND shard = ?",
    "SELECT min(accepted) FROM queued INDEXED BY tried"
    " WHERE failed = 0 AND due > accepted AND shard = ?",
)
_SOME = (
    "SELECT key, due, body FROM queued WHERE failed = 0 AND shard = ? ORDER BY due LIMIT ?",
    "SELECT key, due, body FROM queued WHERE failed = 1 AND shard = ? ORDER BY due LIMIT ?",
)
_KEYS = (
    "SELECT key FROM queued WHERE failed = 0 AND shard = ? LIMIT ?",
    "SELECT key FROM queued WHERE failed = 1 AND shard = ? LIMIT ?",
)
_COUNT = (
    "SELECT shard, count(*) FROM queued WHERE failed = 0 GROUP BY shard",
    "SELECT shard, count(*) FROM queued WHERE failed = 1 GROUP BY shard",
)
# Events that are leased, or shown, together are no larger than this and one more.
_LEASE_BYTES, _PEEK_BYTES = 4 * 1024 * 1024, 32 * 1024 * 1024
# Events that are removed or replayed in one transaction, so that others can write between.
_SLICE = 2_000


class SqliteQueue(GroupCommit):
    """See ``lambent.queue.base.EventQueue`` and ``Backlog``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "queue")
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Event).decode
        # The thread's own: keys that are leased, those the transaction at hand has leased, and
        # how many events of each shard wait (or run) and were laid aside.
        self._leased: dict[str, set[int]] = {}
        self._leasing: list[tuple[str, int]] = []
        self._waiting: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        # Never that of an event which is gone: somebody may still hold it.
        self._next = 1

    async def put(self, event: Event, due: float) -> None:
        row = (event.shard, due, event.accepted, self._encode(event))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO queued (key, shard, due, accepted, body) VALUES (?, ?, ?, ?, ?)",
                (self._next, *row),
            )
            self._next += 1
            self._waiting[row[0]] += 1

        await self._do(work, writes=True)

    async def lease(self, shard: str, now: float, limit: int) -> tuple[list[Event], float | None]:
        def work(connection: sqlite3.Connection) -> tuple[list[tuple[int, bytes]], float | None]:
            leased = self._leased.get(shard, set())
            rows: list[tuple[int, bytes]] = []
            size = 0
            following = None
            for key, due in connection.execute(
                "SELECT key, due FROM queued WHERE failed = 0 AND shard = ? ORDER BY due LIMIT ?",
                (shard, limit + len(leased) + 1),
            ):
                if key in leased:
                    continue
                if due > now or len(rows) == limit or size > _LEASE_BYTES:
                    following = due
                    break
                row = connection.execute("SELECT key, body FROM queued WHERE key = ?", (key,))
                rows.append(row.fetchone())
                size += len(rows[-1][1])
            keys = [key for key, _ in rows]
            if keys:
                self._leased.setdefault(shard, leased).update(keys)
            self._leasing += [(shard, key) for key in keys]
            return rows, following

        rows, following = await self._do(work)
        return [replace(self._decode(body), key=key) for key, body in rows], following

    async def ack(self, event: Event) -> None:
        key, shard = event.key, event.shard

        def work(connection: sqlite3.Connection) -> None:
            done = connection.execute("DELETE FROM queued WHERE key = ?", (key,)).rowcount
            self._waiting[shard] -= done
            self._release(shard, key)

        await self._settle(event, work)

    async def retry(self, event: Event, due: float) -> None:
        row = (due, self._encode(replace(event, key=0)), event.key)
        shard = event.shard

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE queued SET due = ?, body = ? WHERE key = ?", row)
            self._release(shard, row[2])

        await self._settle(event, work)

    async def give_up(self, event: Event, now: float) -> None:
        row = (now, self._encode(replace(event, key=0)), event.key)
        shard = event.shard

        def work(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "UPDATE queued SET failed = 1, due = ?, body = ? WHERE key = ?", row
            ).rowcount
            self._waiting[shard] -= done
            self._release(shard, row[2])
            self._failed[shard] += done
            self._failed[shard] -= connection.execute(
                "DELETE FROM queued WHERE failed = 1 AND shard = ? AND due < ?",
                (shard, now - KEPT_SECONDS),
            ).rowcount
            self._failed[shard] -= connection.execute(
                "DELETE FROM queued WHERE key IN (SELECT key FROM queued WHERE failed = 1 AND"
                " shard = ? ORDER BY due LIMIT ?)",
                (shard, max(0, self._failed[shard] - KEPT_EVENTS)),
            ).rowcount

        await self._settle(event, work)

    async def _settle(self, event: Event, work: Callable[[sqlite3.Connection], None]) -> None:
        """Write what becomes of a leased event; where that fails it is leased no more either."""
        try:
            await self._do(work, writes=True)
        except sqlite3.Error:
            # Here, because the thread may not come to it; to discard from a set is one step.
            self._release(event.shard, event.key)
            raise

    async def shards(self) -> dict[str, float]:
        def work(connection: sqlite3.Connection) -> dict[str, float]:
            found = {}
            for shard, waiting in self._waiting.items():
                leased = self._leased.get(shard, set())
                if waiting > len(leased):
                    for key, due in connection.execute(
                        "SELECT key, due FROM queued WHERE failed = 0 AND shard = ? ORDER BY due",
                        (shard,),
                    ):
                        if key not in leased:
                            found[shard] = due
                            break
            return found

        shards: dict[str, float] = await self._do(work)
        return shards

    # -- from outside ---------------------------------------------------------------------

    async def depths(self, prefix: str = "") -> dict[str, Depth]:
        def work(connection: sqlite3.Connection) -> dict[str, Depth]:
            found = {}
            for shard in self._waiting.keys() | self._failed.keys():
                waiting, failed = self._waiting[shard], self._failed[shard]
                if not shard.startswith(prefix) or not (waiting or failed):
                    continue
                dates = [connection.execute(q, (shard,)).fetchone()[0] for q in _OLDEST]
                known = [date for date in dates if date is not None]
                found[shard] = Depth(waiting, failed, min(known, default=None))
            return found

        depths: dict[str, Depth] = await self._do(work)
        return depths

    async def peek(self, shard: str, limit: int) -> list[Peeked]:
        def work(connection: sqlite3.Connection) -> list[tuple[int, int, float, bytes, bool]]:
            rows: list[tuple[int, int, float, bytes, bool]] = []
            leased = self._leased.get(shard, set())
            size = 0
            for failed, query in enumerate(_SOME):
                for key, due, body in connection.execute(query, (shard, limit - len(rows))):
                    rows.append((key, failed, due, body, key in leased))
                    size += len(body)
                    if size > _PEEK_BYTES:
                        return rows
            return rows

        found = []
        for key, failed, due, body, leased in await self._do(work):
            state = "failed" if failed else "running" if leased else "waiting"
            found.append(Peeked(replace(self._decode(body), key=key), due, state))
        return found

    async def purge(self, shard: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            removed = 0
            for query, counts in zip(_KEYS, (self._waiting, self._failed), strict=True):
                keys = connection.execute(query, (shard, _SLICE - removed)).fetchall()
                connection.executemany("DELETE FROM queued WHERE key = ?", keys)
                for (key,) in keys:
                    self._release(shard, key)
                counts[shard] -= len(keys)
                removed += len(keys)
            return removed

        return await self._in_slices(work)

    async def replay(self, shard: str, now: float) -> int:
        def work(connection: sqlite3.Connection) -> int:
            rows = connection.execute(
                "SELECT key, body FROM queued WHERE failed = 1 AND shard = ? ORDER BY due LIMIT ?",
                (shard, _SLICE),
            ).fetchall()
            for key, body in rows:
                anew = replace(
                    self._decode(body),
                    accepted=now,
                    failures=0,
                    refusals=0,
                    answer=None,
                    ending=None,
                )
                connection.execute(
                    "UPDATE queued SET failed = 0, due = ?, accepted = ?, body = ? WHERE key = ?",
                    (now, now, self._encode(anew), key),
                )
            self._waiting[shard] += len(rows)
            self._failed[shard] -= len(rows)
            return len(rows)

        return await self._in_slices(work)

    async def _in_slices(self, work: Callable[[sqlite3.Connection], int]) -> int:
        total = 0
        while done := await self._do(work, writes=True):
            total += done
        return total

    # -- the thread -----------------------------------------------------------------------

    def _release(self, shard: str, key: int) -> None:
        leased = self._leased.get(shard)
        if leased is not None:
            leased.discard(key)
            if not leased:
                del self._leased[shard]

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.executescript(_SCHEMA)
        self._take_over(connection)
        self._count(connection)
        last = connection.execute("SELECT max(key) FROM queued").fetchone()[0]
        self._next = (last or 0) + 1

    def _take_over(self, connection: sqlite3.Connection) -> None:
        """Events of the table that was there first (version 0.1's)."""
        names = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchall()
        if not names:
            return
        connection.execute("BEGIN IMMEDIATE")
        for shard, due, body in connection.execute("SELECT shard, due, body FROM events"):
            connection.execute(
                "INSERT INTO queued (shard, due, accepted, body) VALUES (?, ?, ?, ?)",
                (shard, due, self._decode(body).accepted, body),
            )
        connection.execute("DROP TABLE events")
        connection.execute("COMMIT")

    def _count(self, connection: sqlite3.Connection) -> None:
        for query, counts in zip(_COUNT, (self._waiting, self._failed), strict=True):
            counts.clear()
            counts.update(dict(connection.execute(query)))

    def _begin(self) -> None:
        self._leasing.clear()

    def _undo(self, connection: sqlite3.Connection) -> None:
        """Nothing of the transaction happened: neither its leases nor what it counted."""
        for shard, key in self._leasing:
            self._release(shard, key)
        self._count(connection)
