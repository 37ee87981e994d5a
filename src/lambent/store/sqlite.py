"""The embedded Store: SQLite, one writer thread, group commit.

Every call is a job for the thread.  It takes all jobs that wait, applies the writes in one
transaction, commits once with ``synchronous=FULL``, and only then answers: a lone writer pays one
fsync, thirty-two concurrent ones share it.  A failed job (a conflict) undoes only itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from lambent.store.base import ABSENT, Change, Conflict, Document

_BATCH = 512


class _Job:
    __slots__ = ("future", "work", "writes")

    def __init__(
        self, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any], writes: bool
    ) -> None:
        self.work = work
        self.future = future
        self.writes = writes


class SqliteStore:
    """See ``lambent.store.base.Store``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._watchers: list[tuple[str, Callable[[Change], None]]] = []
        self._loop: asyncio.AbstractEventLoop
        self._revision = 0

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put(_Job(lambda connection: None, ready, False))
        self._thread.start()
        await ready

    async def get(self, key: str) -> Document | None:
        def work(connection: sqlite3.Connection) -> Document | None:
            row = connection.execute(
                "SELECT key, revision, body FROM documents WHERE key = ?", (key,)
            ).fetchone()
            return Document(*row) if row else None

        result: Document | None = await self._do(work)
        return result

    async def put(self, key: str, body: bytes, expected: int) -> Document:
        def work(connection: sqlite3.Connection) -> Document:
            revision = self._revision + 1
            if expected == ABSENT:
                statement = (
                    "INSERT INTO documents (revision, body, key) VALUES (?, ?, ?)"
                    " ON CONFLICT DO NOTHING"
                )
                cursor = connection.execute(statement, (revision, body, key))
            else:
                statement = (
                    "UPDATE documents SET revision = ?, body = ? WHERE key = ? AND revision = ?"
                )
                cursor = connection.execute(statement, (revision, body, key, expected))
            if cursor.rowcount != 1:
                raise Conflict(key)
            self._revision = revision
            return Document(key, revision, body)

        document: Document = await self._do(work, writes=True)
        self._notify(Change(key, document))
        return document

    async def delete(self, key: str, expected: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            cursor = connection.execute(
                "DELETE FROM documents WHERE key = ? AND revision = ?", (key, expected)
            )
            if cursor.rowcount != 1:
                raise Conflict(key)

        await self._do(work, writes=True)
        self._notify(Change(key, None))

    async def scan(self, prefix: str, after: str = "", limit: int = 1000) -> list[Document]:
        def work(connection: sqlite3.Connection) -> list[Document]:
            rows = connection.execute(
                "SELECT key, revision, body FROM documents"
                " WHERE key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?",
                (prefix, prefix + "\U0010ffff", after, limit),
            )
            return [Document(*row) for row in rows]

        result: list[Document] = await self._do(work)
        return result

    def watch(self, prefix: str, notify: Callable[[Change], None]) -> Callable[[], None]:
        entry = (prefix, notify)
        self._watchers.append(entry)
        return lambda: self._watchers.remove(entry)

    async def close(self) -> None:
        if self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _notify(self, change: Change) -> None:
        for prefix, notify in list(self._watchers):
            if change.key.startswith(prefix):
                notify(change)

    async def _do(self, work: Callable[[sqlite3.Connection], Any], writes: bool = False) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(work, future, writes))
        # A caller that goes away must not undo what may already be committed.
        return await asyncio.shield(future)

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        first = self._jobs.get()
        try:
            connection = self._connect()
        except Exception as error:
            self._answer([(first, error, True)] if first else [])
            return
        batch: list[_Job] = [first] if first else []
        ending = False
        while True:
            while len(batch) < _BATCH and not ending:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    ending = True
                else:
                    batch.append(job)
            if batch:
                self._answer(self._commit(connection, batch))
                batch = []
            if ending:
                connection.close()
                return
            job = self._jobs.get()
            if job is None:
                ending = True
            else:
                batch = [job]

    def _commit(
        self, connection: sqlite3.Connection, batch: list[_Job]
    ) -> list[tuple[_Job, Any, bool]]:
        """Run a batch as one transaction; each job's result, and whether it is an error."""
        answers: list[tuple[_Job, Any, bool]] = []
        writes = any(job.writes for job in batch)
        before = self._revision
        try:
            if writes:
                connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                try:
                    answers.append((job, job.work(connection), False))
                except Conflict as conflict:
                    answers.append((job, conflict, True))
            if writes:
                connection.execute(
                    "UPDATE counters SET value = ? WHERE name = 'revision'", (self._revision,)
                )
                connection.execute("COMMIT")
        except Exception as error:
            # The disk is full, say: nothing of this batch happened, and every caller hears it.
            self._revision = before
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            return [(job, error, True) for job in batch]
        return answers

    def _answer(self, answers: list[tuple[_Job, Any, bool]]) -> None:
        def settle() -> None:
            for job, result, failed in answers:
                if job.future.done():
                    continue
                if failed:
                    job.future.set_exception(result)
                else:
                    job.future.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop has ended, and its callers with it
            self._loop.call_soon_threadsafe(settle)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Reading a large document page by page costs a system call each; mapped, none.
        connection.execute("PRAGMA mmap_size = 268435456")
        _migrate(connection)
        row = connection.execute("SELECT value FROM counters WHERE name = 'revision'").fetchone()
        self._revision = row[0]
        return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply the migrations the database has not seen, each in a transaction of its own."""
    done = connection.execute("PRAGMA user_version").fetchone()[0]
    folder = resources.files("lambent.store.migrations")
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))
    for name in names:
        number = int(name.split("_")[0])
        if number > done:
            script = folder.joinpath(name).read_text()
            connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
