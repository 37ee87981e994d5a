"""A Store without a disk, for tests: kept as good as the real one by the contract suite."""

from __future__ import annotations

from collections.abc import Callable

from lambent.store.base import ABSENT, Change, Conflict, Document


class MemoryStore:
    """See ``lambent.store.base.Store``; durable for as long as the object lives."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._watchers: list[tuple[str, Callable[[Change], None]]] = []
        self._revision = 0

    async def open(self) -> None:
        return None

    async def get(self, key: str) -> Document | None:
        return self._documents.get(key)

    async def put(self, key: str, body: bytes, expected: int) -> Document:
        self._expect(key, expected)
        self._revision += 1
        document = Document(key, self._revision, body)
        self._documents[key] = document
        self._notify(Change(key, document))
        return document

    async def delete(self, key: str, expected: int) -> None:
        if expected == ABSENT:
            raise Conflict(key)
        self._expect(key, expected)
        del self._documents[key]
        self._notify(Change(key, None))

    async def scan(self, prefix: str, after: str = "", limit: int = 1000) -> list[Document]:
        keys = sorted(key for key in self._documents if key.startswith(prefix) and key > after)
        return [self._documents[key] for key in keys[:limit]]

    def watch(self, prefix: str, notify: Callable[[Change], None]) -> Callable[[], None]:
        entry = (prefix, notify)
        self._watchers.append(entry)
        return lambda: self._watchers.remove(entry)

    async def close(self) -> None:
        return None

    def _expect(self, key: str, expected: int) -> None:
        present = self._documents.get(key)
        if (present.revision if present else ABSENT) != expected:
            raise Conflict(key)

    def _notify(self, change: Change) -> None:
        for prefix, notify in list(self._watchers):
            if change.key.startswith(prefix):
                notify(change)
