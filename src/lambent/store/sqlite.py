"""The embedded Store: documents in SQLite, written in groups (``group_commit``)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from lambent.store.base import ABSENT, Change, Conflict, Document
from lambent.store.group_commit import GroupCommit


class SqliteStore(GroupCommit):
    """See ``lambent.store.base.Store``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "store")
        self._watchers: list[tuple[str, Callable[[Change], None]]] = []
        self._revision = 0
        self._before = 0

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

    def _notify(self, change: Change) -> None:
        for prefix, notify in list(self._watchers):
            if change.key.startswith(prefix):
                notify(change)

    # -- the thread -----------------------------------------------------------------------

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _migrate(connection)
        row = connection.execute("SELECT value FROM counters WHERE name = 'revision'").fetchone()
        self._revision = row[0]

    def _begin(self) -> None:
        self._before = self._revision

    def _committing(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE counters SET value = ? WHERE name = 'revision'", (self._revision,)
        )

    def _undo(self, connection: sqlite3.Connection) -> None:
        self._revision = self._before


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
