"""A SQLite database with one thread, and group commit.

Every call is a job for the thread.  It takes all jobs that wait, applies the writes in one
transaction, commits once with ``synchronous=FULL``, and only then answers: a lone writer pays one
fsync, thirty-two concurrent ones share it.  A job that raises Undone undoes only itself; where the
transaction itself fails, all that wrote fail, and those that only read are answered without them.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lambent.store.base import Undone

_BATCH = 512


class _Job:
    __slots__ = ("future", "work", "writes")

    def __init__(
        self, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any], writes: bool
    ) -> None:
        self.work = work
        self.future = future
        self.writes = writes


class GroupCommit:
    """The thread and its database; what is kept there is a subclass's."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop

    async def open(self) -> None:
        """Open the database; raises what that raises."""
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put(_Job(lambda connection: None, ready, False))
        self._thread.start()
        await ready

    async def close(self) -> None:
        """Finish what was begun."""
        if self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    async def _do(self, work: Callable[[sqlite3.Connection], Any], writes: bool = False) -> Any:
        """What a job returns, committed if it writes."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(work, future, writes))
        # A caller that goes away takes the future along, not the job: it may be committed already.
        return await future

    # -- a subclass's ---------------------------------------------------------------------

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """The database has been opened: bring it up to date."""

    def _begin(self) -> None:
        """A transaction begins."""

    def _committing(self, connection: sqlite3.Connection) -> None:
        """It is about to be committed."""

    def _undo(self, connection: sqlite3.Connection) -> None:
        """It was not, and has been rolled back."""

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
        self._begin()
        try:
            if writes:
                connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                try:
                    answers.append((job, job.work(connection), False))
                except Undone as undone:
                    answers.append((job, undone, True))
            if writes:
                self._committing(connection)
                connection.execute("COMMIT")
        except Exception as error:
            # The disk is full, say: nothing of this batch happened, and whoever wrote hears it.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            with contextlib.suppress(sqlite3.Error):
                self._undo(connection)
            failed = [(job, error, True) for job in batch if job.writes or not writes]
            # Those who only asked were here by chance.
            asked = [job for job in batch if writes and not job.writes]
            return failed + (self._commit(connection, asked) if asked else [])
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
        self._prepare(connection)
        return connection
