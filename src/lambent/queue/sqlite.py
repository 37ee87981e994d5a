"""The embedded EventQueue: a table in a SQLite database of its own, written in groups."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from lambent.queue.base import Event
from lambent.store.group_commit import GroupCommit

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id     TEXT PRIMARY KEY,
    shard  TEXT NOT NULL,
    due    REAL NOT NULL,
    leased INTEGER NOT NULL DEFAULT 0,
    body   BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS waiting ON events (shard, due) WHERE leased = 0;
"""


class SqliteQueue(GroupCommit):
    """See ``lambent.queue.base.EventQueue``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "queue")
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Event).decode

    async def put(self, event: Event, due: float) -> None:
        row = (event.id, event.shard, due, self._encode(event))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO events (id, shard, due, body) VALUES (?, ?, ?, ?)", row)

        await self._do(work, writes=True)

    async def lease(self, shard: str, now: float, limit: int) -> tuple[list[Event], float | None]:
        def work(connection: sqlite3.Connection) -> tuple[list[bytes], float | None]:
            rows = connection.execute(
                "SELECT id, body FROM events WHERE leased = 0 AND shard = ? AND due <= ?"
                " ORDER BY due LIMIT ?",
                (shard, now, limit),
            ).fetchall()
            connection.executemany(
                "UPDATE events SET leased = 1 WHERE id = ?", [(row[0],) for row in rows]
            )
            following = connection.execute(
                "SELECT min(due) FROM events WHERE leased = 0 AND shard = ?", (shard,)
            ).fetchone()[0]
            return [row[1] for row in rows], following

        bodies, following = await self._do(work, writes=True)
        return [self._decode(body) for body in bodies], following

    async def ack(self, event: Event) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM events WHERE id = ?", (event.id,))

        await self._do(work, writes=True)

    async def retry(self, event: Event, due: float) -> None:
        row = (due, self._encode(event), event.id)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE events SET due = ?, body = ?, leased = 0 WHERE id = ?", row)

        await self._do(work, writes=True)

    async def shards(self) -> dict[str, float]:
        def work(connection: sqlite3.Connection) -> dict[str, float]:
            return dict(
                connection.execute(
                    "SELECT shard, min(due) FROM events WHERE leased = 0 GROUP BY shard"
                ).fetchall()
            )

        found: dict[str, float] = await self._do(work)
        return found

    async def depth(self, shard: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT count(*) FROM events WHERE shard = ?", (shard,))
            return int(row.fetchone()[0])

        found: int = await self._do(work)
        return found

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.executescript(_SCHEMA)
        connection.execute("UPDATE events SET leased = 0 WHERE leased = 1")
