"""Aggregates of one kind by key, cached before the Store and changed by compare-and-swap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import msgspec

from lambent.store.base import ABSENT, Change, Conflict, Document, Store

T = TypeVar("T")

# What is kept of each kind: aggregates, and bytes of their documents.
_CACHED, _CACHED_BYTES = 4096, 32 * 1024 * 1024
_ATTEMPTS = 200
_PAGE = 100


class Taken(Exception):
    """There is an aggregate of this key."""


class Missing(Exception):
    """There is no aggregate of this key."""


class Contended(Exception):
    """Others change this aggregate so often that a change could not be applied."""


class Repository(Generic[T]):
    """Frozen dataclasses as JSON documents below a prefix; keys are handed in without it."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        kind: type[T],
        observe: Callable[[str, T | None], None] = lambda key, value: None,
    ) -> None:
        """observe: told of every committed change, with None where the aggregate is gone."""
        self._store = store
        self._observe = observe
        # What is being written here, so that the Store's notice of it need not be read again.
        self._writing: dict[str, tuple[bytes, T]] = {}
        self._prefix = prefix
        self._decode = msgspec.json.Decoder(kind).decode
        # By key: revision, aggregate, bytes of its document.
        self._cache: dict[str, tuple[int, T, int]] = {}
        self._cached_bytes = 0
        self._stop = store.watch(prefix, self._changed)

    def _changed(self, change: Change) -> None:
        key, document = change.key, change.document
        if document is None:
            self._forget(key)
            self._observe(key.removeprefix(self._prefix), None)
            return
        body, value = self._writing.get(key, (b"", None))
        known = self._remember(document, value if body is document.body else None)
        self._observe(key.removeprefix(self._prefix), known[1])

    def _remember(self, document: Document, value: T | None = None) -> tuple[int, T, int]:
        known = self._cache.get(document.key)
        if known is not None and known[0] >= document.revision:
            return known
        self._forget(document.key)
        size = len(document.key) + len(document.body)
        while self._cache and (
            len(self._cache) >= _CACHED or self._cached_bytes + size > _CACHED_BYTES
        ):
            self._forget(next(iter(self._cache)))
        found = self._decode(document.body) if value is None else value
        entry = self._cache[document.key] = (document.revision, found, size)
        self._cached_bytes += size
        return entry

    def _forget(self, key: str) -> None:
        known = self._cache.pop(key, None)
        if known is not None:
            self._cached_bytes -= known[2]

    async def _load(self, key: str) -> tuple[int, T, int]:
        known = self._cache.get(self._prefix + key)
        if known is not None:
            return known
        document = await self._store.get(self._prefix + key)
        if document is None:
            raise Missing(key)
        return self._remember(document)

    def known(self, key: str) -> T | None:
        """The aggregate, if that can be told without the Store."""
        entry = self._cache.get(self._prefix + key)
        return entry[1] if entry is not None else None

    async def get(self, key: str) -> T:
        """The aggregate; raises Missing."""
        return (await self._load(key))[1]

    async def create(self, key: str, value: T) -> T:
        """Add an aggregate; raises Taken."""
        try:
            return await self._put(key, value, ABSENT)
        except Conflict:
            raise Taken(key) from None

    async def _put(self, key: str, value: T, expected: int) -> T:
        body = msgspec.json.encode(value)
        mine = (body, value)
        self._writing[self._prefix + key] = mine
        try:
            document = await self._store.put(self._prefix + key, body, expected)
        finally:
            if self._writing.get(self._prefix + key) is mine:
                del self._writing[self._prefix + key]
        return self._remember(document, value)[1]

    async def change(
        self, key: str, change: Callable[[T], T], otherwise: Callable[[], T] | None = None
    ) -> T:
        """Apply a change to the newest state, again if another writer was first.

        otherwise: what the change is applied to where there is nothing; without it, Missing.
        """
        for _ in range(_ATTEMPTS):
            try:
                revision, value, _ = await self._load(key)
            except Missing:
                if otherwise is None:
                    raise
                revision, value = ABSENT, otherwise()
            changed = change(value)
            if changed is value:
                return value
            try:
                return await self._put(key, changed, revision)
            except Conflict:
                self._forget(self._prefix + key)
        raise Contended(key)

    async def delete(self, key: str, check: Callable[[T], None] = lambda value: None) -> T:
        """Remove an aggregate that passes the check, which raises otherwise; returns it."""
        for _ in range(_ATTEMPTS):
            revision, value, _ = await self._load(key)
            check(value)
            try:
                await self._store.delete(self._prefix + key, revision)
            except Conflict:
                self._forget(self._prefix + key)
                continue
            self._forget(self._prefix + key)
            return value
        raise Contended(key)

    async def page(self, prefix: str, after: str, limit: int) -> list[T]:
        """Aggregates whose keys start with prefix, in key order, after the one called after."""
        start = f"{self._prefix}{prefix}{after}" if after else ""
        documents = await self._store.scan(self._prefix + prefix, start, limit)
        return [self._remember(document)[1] for document in documents]

    async def everything(self, prefix: str = "") -> list[T]:
        """All there are below a prefix, for small collections."""
        return [value async for value in self.each(prefix)]

    async def each(self, prefix: str = "") -> AsyncIterator[T]:
        """All there are below a prefix, a page at a time, without crowding out the cache."""
        after = ""
        while documents := await self._store.scan(self._prefix + prefix, after, _PAGE):
            for document in documents:
                known = self._cache.get(document.key)
                fresh = known is not None and known[0] == document.revision
                yield known[1] if known is not None and fresh else self._decode(document.body)
            after = documents[-1].key

    def close(self) -> None:
        """Stop watching."""
        self._stop()
