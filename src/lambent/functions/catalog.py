"""The catalog: every function by name, cached before the Store, changed by compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable

from lambent.arn import function_arn
from lambent.errors import ResourceConflict, ResourceNotFound
from lambent.functions.types import Function, FunctionVersion
from lambent.store.base import ABSENT, Change, Conflict, Document, Store

PREFIX = "lambda/functions/"
_CACHED = 20_000
_ATTEMPTS = 50


def _key(account: str, region: str, name: str) -> str:
    return f"{PREFIX}{account}/{region}/{name}"


def not_found(
    account: str, region: str, name: str, qualifier: str | None = None
) -> ResourceNotFound:
    """AWS's words for a function, version or alias that does not exist."""
    return ResourceNotFound(f"Function not found: {function_arn(region, account, name, qualifier)}")


class Catalog:
    """Functions of all accounts and regions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[str, tuple[int, Function]] = {}
        self._stop = store.watch(PREFIX, self._changed)

    def _changed(self, change: Change) -> None:
        if change.document is None:
            self._cache.pop(change.key, None)
        else:
            self._remember(change.document)

    def _remember(self, document: Document) -> tuple[int, Function]:
        known = self._cache.get(document.key)
        if known is not None and known[0] >= document.revision:
            return known
        if len(self._cache) >= _CACHED:
            self._cache.pop(next(iter(self._cache)))
        entry = (document.revision, Function.from_json(document.body))
        self._cache[document.key] = entry
        return entry

    async def _load(self, account: str, region: str, name: str) -> tuple[int, Function]:
        key = _key(account, region, name)
        known = self._cache.get(key)
        if known is not None:
            return known
        document = await self._store.get(key)
        if document is None:
            raise not_found(account, region, name)
        return self._remember(document)

    async def get(self, account: str, region: str, name: str) -> Function:
        """The function; raises ResourceNotFound."""
        return (await self._load(account, region, name))[1]

    def known(
        self, account: str, region: str, name: str, qualifier: str | None
    ) -> FunctionVersion | None:
        """The version a name and a qualifier mean, if that can be told without the Store."""
        entry = self._cache.get(_key(account, region, name))
        return entry[1].find(qualifier) if entry is not None else None

    async def resolve(
        self, account: str, region: str, name: str, qualifier: str | None
    ) -> FunctionVersion:
        """The version a name and a qualifier mean; raises ResourceNotFound."""
        try:
            function = await self.get(account, region, name)
        except ResourceNotFound:
            raise not_found(account, region, name, qualifier) from None
        version = function.find(qualifier)
        if version is None:
            raise not_found(account, region, name, qualifier)
        return version

    async def create(self, function: Function) -> Function:
        """Add a function; raises ResourceConflict if its name is taken."""
        latest = function.latest
        key = _key(latest.account, latest.region, latest.name)
        try:
            document = await self._store.put(key, function.to_json(), ABSENT)
        except Conflict:
            raise ResourceConflict(f"Function already exist: {latest.name}") from None
        return self._remember(document)[1]

    async def change(
        self, account: str, region: str, name: str, change: Callable[[Function], Function]
    ) -> Function:
        """Apply a change to the newest state, again if another writer was first."""
        for _ in range(_ATTEMPTS):
            revision, function = await self._load(account, region, name)
            changed = change(function)
            if changed is function:
                return function
            key = _key(account, region, name)
            try:
                document = await self._store.put(key, changed.to_json(), revision)
            except Conflict:
                self._cache.pop(key, None)
                continue
            return self._remember(document)[1]
        raise ResourceConflict(
            "The operation cannot be performed at this time. An update is in progress for "
            f"resource: {function_arn(region, account, name)}"
        )

    async def delete(self, account: str, region: str, name: str) -> Function:
        """Remove a function with all its versions; returns what it was."""
        for _ in range(_ATTEMPTS):
            revision, function = await self._load(account, region, name)
            key = _key(account, region, name)
            try:
                await self._store.delete(key, revision)
            except Conflict:
                self._cache.pop(key, None)
                continue
            self._cache.pop(key, None)
            return function
        raise ResourceConflict

    async def page(self, account: str, region: str, after: str, limit: int) -> list[Function]:
        """Functions of an account in a region, by name, after the one named ``after``."""
        prefix = _key(account, region, "")
        start = prefix + after if after else ""
        documents = await self._store.scan(prefix, start, limit)
        return [self._remember(document)[1] for document in documents]

    async def everything(self) -> list[Function]:
        """All functions there are; for start-up and sweeping."""
        found: list[Function] = []
        after = ""
        while documents := await self._store.scan(PREFIX, after, 500):
            found.extend(Function.from_json(document.body) for document in documents)
            after = documents[-1].key
        return found

    def close(self) -> None:
        """Stop watching."""
        self._stop()
