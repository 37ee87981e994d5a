"""The catalog: every function by account, region and name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from lambent import ids
from lambent.arn import function_arn
from lambent.errors import ResourceConflict, ResourceNotFound
from lambent.functions.types import Function, FunctionVersion
from lambent.store.base import Store
from lambent.store.repository import Contended, Missing, Repository, Taken

PREFIX = "lambda/functions/"


def _key(account: str, region: str, name: str) -> str:
    return f"{account}/{region}/{name}"


def not_found(
    account: str, region: str, name: str, qualifier: str | None = None
) -> ResourceNotFound:
    """AWS's words for a function, version or alias that does not exist."""
    return ResourceNotFound(f"Function not found: {function_arn(region, account, name, qualifier)}")


def update_in_progress(arn: str) -> ResourceConflict:
    """AWS's words for a change that another one is in the way of."""
    return ResourceConflict(
        "The operation cannot be performed at this time. An update is in progress for "
        f"resource: {arn}"
    )


Watcher = Callable[[str, Function | None], None]

Target = tuple[FunctionVersion, int | None]
"""A version to run, and its function's reserved concurrency if it has one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a function takes of its account's limits: environments and bytes of code; its URLs, by
    their ids, and the qualifiers they lead to."""

    arn: str
    code_size: int
    reserved: int | None
    provisioned: int
    code_signing_config: str | None
    urls: dict[str, str]


def _usage_of(function: Function) -> Usage:
    return Usage(
        function.arn,
        sum(version.configuration.code_size for version in function.every_version()),
        function.reserved_concurrency,
        sum(each.requested for each in function.provisioned.values()),
        function.code_signing_config,
        {url.url_id: qualifier for qualifier, url in function.urls.items()},
    )


class Catalog:
    """Functions of all accounts and regions."""

    def __init__(self, store: Store) -> None:
        self._functions = Repository(store, PREFIX, Function, self._observe)
        self._usage: dict[tuple[str, str], dict[str, Usage]] = {}
        self._reserved: dict[tuple[str, str], int] = {}
        self._urls: dict[str, tuple[str, str, str]] = {}
        self._watcher: Watcher = lambda key, function: None
        self._counted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def get(self, account: str, region: str, name: str) -> Function:
        """The function; raises ResourceNotFound."""
        try:
            return await self._functions.get(_key(account, region, name))
        except Missing:
            raise not_found(account, region, name) from None

    def known(self, account: str, region: str, name: str, qualifier: str | None) -> Target | None:
        """What to run for a name and a qualifier, if the Store need not be asked."""
        function = self._functions.known(_key(account, region, name))
        version = _route(function, qualifier) if function is not None else None
        if function is None or version is None:
            return None
        return version, function.reserved_concurrency

    def reserved(self, account: str, region: str) -> int:
        """The concurrency that functions of an account in a region have reserved, in sum."""
        return self._reserved.get((account, region), 0)

    async def resolve(self, account: str, region: str, name: str, qualifier: str | None) -> Target:
        """What to run for a name and a qualifier; raises ResourceNotFound."""
        try:
            function = await self.get(account, region, name)
        except ResourceNotFound:
            raise not_found(account, region, name, qualifier) from None
        version = _route(function, qualifier)
        if version is None:
            raise not_found(account, region, name, qualifier)
        return version, function.reserved_concurrency

    async def create(self, function: Function) -> Function:
        """Add a function; raises ResourceConflict if its name is taken."""
        latest = function.latest
        key = _key(latest.account, latest.region, latest.name)
        try:
            return await self._functions.create(key, function)
        except Taken:
            raise ResourceConflict(f"Function already exist: {latest.name}") from None

    async def change(
        self, account: str, region: str, name: str, change: Callable[[Function], Function]
    ) -> Function:
        """Apply a change to the newest state, again if another writer was first."""
        try:
            return await self._functions.change(_key(account, region, name), change)
        except Missing:
            raise not_found(account, region, name) from None
        except Contended:
            raise update_in_progress(function_arn(region, account, name)) from None

    async def delete(self, account: str, region: str, name: str) -> Function:
        """Remove a function with all its versions; returns what it was."""
        try:
            return await self._functions.delete(_key(account, region, name))
        except Missing:
            raise not_found(account, region, name) from None
        except Contended:
            raise update_in_progress(function_arn(region, account, name)) from None

    async def page(self, account: str, region: str, after: str, limit: int) -> list[Function]:
        """Functions of an account in a region, by name, after the one named ``after``."""
        return await self._functions.page(_key(account, region, ""), after, limit)

    def each(self) -> AsyncIterator[Function]:
        """All functions there are."""
        return self._functions.each()

    # -- what an account uses -------------------------------------------------------------

    def _observe(self, key: str, function: Function | None) -> None:
        account, region, name = key.split("/")
        self._count((account, region), name, function)
        self._watcher(key, function)

    def watch(self, watcher: Watcher) -> None:
        """Call back with every stored change: a key, and None where the function is gone."""
        self._watcher = watcher

    def _count(self, owner: tuple[str, str], name: str, function: Function | None) -> None:
        used = self._usage.setdefault(owner, {})
        before = used.pop(name, None)
        change = -(before.reserved or 0) if before is not None else 0
        for url_id in before.urls if before is not None else ():
            self._urls.pop(url_id, None)
        if function is not None:
            usage = used[name] = _usage_of(function)
            self._urls.update(dict.fromkeys(usage.urls, (*owner, name)))
            change += function.reserved_concurrency or 0
        if change:
            self._reserved[owner] = self._reserved.get(owner, 0) + change

    def count(self, function: Function) -> None:
        """Take a function that the last server left into account, unless it changed since."""
        latest = function.latest
        owner = (latest.account, latest.region)
        if latest.name not in self._usage.get(owner, {}):
            self._count(owner, latest.name, function)

    def counted(self) -> None:
        """Every function has been counted: from here on changes keep the figures right."""
        if not self._counted.done():
            self._counted.set_result(None)

    async def usage(self, account: str, region: str) -> dict[str, Usage]:
        """What each function of an account in a region takes of its limits, by name."""
        await asyncio.shield(self._counted)
        return self._usage.get((account, region), {})

    async def by_url(self, url_id: str) -> tuple[Function, str] | None:
        """The function that a URL leads to, and with which qualifier; None if there is none."""
        if url_id not in self._urls:
            await asyncio.shield(self._counted)
        place = self._urls.get(url_id)
        if place is None:
            return None
        function = self._functions.known(_key(*place))
        if function is None:
            try:
                function = await self.get(*place)
            except ResourceNotFound:
                return None
        for qualifier, url in function.urls.items():
            if url.url_id == url_id:
                return function, qualifier
        return None

    def close(self) -> None:
        """Stop watching."""
        self._functions.close()


def _route(function: Function, qualifier: str | None) -> FunctionVersion | None:
    weighted = qualifier is not None and qualifier in function.aliases
    return function.find(qualifier, ids.chance() if weighted else 1.0)
