"""The catalog: every function by account, region and name."""

from __future__ import annotations

from collections.abc import Callable

from lambent import ids
from lambent.arn import function_arn
from lambent.errors import ResourceConflict, ResourceNotFound
from lambent.functions.repository import Contended, Missing, Repository, Taken
from lambent.functions.types import Function, FunctionVersion
from lambent.store.base import Store

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


class Catalog:
    """Functions of all accounts and regions."""

    def __init__(self, store: Store) -> None:
        self._functions = Repository(store, PREFIX, Function)

    async def get(self, account: str, region: str, name: str) -> Function:
        """The function; raises ResourceNotFound."""
        try:
            return await self._functions.get(_key(account, region, name))
        except Missing:
            raise not_found(account, region, name) from None

    def known(
        self, account: str, region: str, name: str, qualifier: str | None
    ) -> FunctionVersion | None:
        """The version to run for a name and a qualifier, if the Store need not be asked."""
        function = self._functions.known(_key(account, region, name))
        return _route(function, qualifier) if function is not None else None

    async def resolve(
        self, account: str, region: str, name: str, qualifier: str | None
    ) -> FunctionVersion:
        """The version to run for a name and a qualifier; raises ResourceNotFound."""
        try:
            function = await self.get(account, region, name)
        except ResourceNotFound:
            raise not_found(account, region, name, qualifier) from None
        version = _route(function, qualifier)
        if version is None:
            raise not_found(account, region, name, qualifier)
        return version

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

    async def everything(self, account: str = "", region: str = "") -> list[Function]:
        """All functions there are, or all of an account's region."""
        return await self._functions.everything(_key(account, region, "") if account else "")

    def close(self) -> None:
        """Stop watching."""
        self._functions.close()


def _route(function: Function, qualifier: str | None) -> FunctionVersion | None:
    weighted = qualifier is not None and qualifier in function.aliases
    return function.find(qualifier, ids.chance() if weighted else 1.0)
