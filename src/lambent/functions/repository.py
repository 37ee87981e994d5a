"""Aggregates of one kind by key, cached before the Store and changed by compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from lambent.store.base import ABSENT, Change, Conflict, Document, Store

T = TypeVar("T")

_CACHED = 4096
_ATTEMPTS = 200


class Taken(Exception):
    """There is an aggregate of this key."""


class Missing(Exception):
    """There is no aggregate of this key."""


class Contended(Exception):
    """Others change this aggregate so often that a change could not be applied."""


class Repository(Generic[T]):
    """Frozen dataclasses as JSON documents below a prefix; keys are handed in without it."""

    def __init__(self, store: Store, prefix: str, kind: type[T]) -> None:
        self._store = store
        self._prefix = prefix
        self._decode = msgspec.json.Decoder(kind).decode
        self._cache: dict[str, tuple[int, T]] = {}
        self._stop = store.watch(prefix, self._changed)

    def _changed(self, change: Change) -> None:
        if change.document is None:
            self._cache.pop(change.key, None)
        else:
            self._remember(change.document)

    def _remember(self, document: Document, value: T | None = None) -> tuple[int, T]:
        known = self._cache.get(document.key)
        if known is not None and known[0] >= document.revision:
            return known
        if len(self._cache) >= _CACHED:
            self._cache.pop(next(iter(self._cache)))
        entry = (document.revision, self._decode(document.body) if value is None else value)
        self._cache[document.key] = entry
        return entry

    async def _load(self, key: str) -> tuple[int, T]:
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
            document = await self._store.put(self._prefix + key, encode(value), ABSENT)
        except Conflict:
            raise Taken(key) from None
        return self._remember(document, value)[1]

    async def change(
        self, key: str, change: Callable[[T], T], otherwise: Callable[[], T] | None = None
    ) -> T:
        """Apply a change to the newest state, again if another writer was first.

        otherwise: what the change is applied to where there is nothing; without it, Missing.
        """
        for _ in range(_ATTEMPTS):
            try:
                revision, value = await self._load(key)
            except Missing:
                if otherwise is None:
                    raise
                revision, value = ABSENT, otherwise()
            changed = change(value)
            if changed is value:
                return value
            try:
                document = await self._store.put(self._prefix + key, encode(changed), revision)
            except Conflict:
                self._cache.pop(self._prefix + key, None)
                continue
            return self._remember(document, changed)[1]
        raise Contended(key)

    async def delete(self, key: str, check: Callable[[T], None] = lambda value: None) -> T:
        """Remove an aggregate that passes the check, which raises otherwise; returns it."""
        for _ in range(_ATTEMPTS):
            revision, value = await self._load(key)
            check(value)
            try:
                await self._store.delete(self._prefix + key, revision)
            except Conflict:
                self._cache.pop(self._prefix + key, None)
                continue
            self._cache.pop(self._prefix + key, None)
            return value
        raise Contended(key)

    async def page(self, prefix: str, after: str, limit: int) -> list[T]:
        """Aggregates whose keys start with prefix, in key order, after the one called after."""
        start = f"{self._prefix}{prefix}{after}" if after else ""
        documents = await self._store.scan(self._prefix + prefix, start, limit)
        return [self._remember(document)[1] for document in documents]

    async def everything(self, prefix: str = "") -> list[T]:
        """All there are below a prefix; for start-up, sweeping and small collections."""
        found: list[T] = []
        after = ""
        while documents := await self._store.scan(self._prefix + prefix, after, 500):
            found.extend(
                known[1]
                if (known := self._cache.get(each.key)) and known[0] == each.revision
                else self._decode(each.body)
                for each in documents
            )
            after = documents[-1].key
        return found

    def close(self) -> None:
        """Stop watching."""
        self._stop()


def encode(value: Any) -> bytes:
    """An aggregate as it is stored."""
    return msgspec.json.encode(value)
