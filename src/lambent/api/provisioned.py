"""Provisioned concurrency: environments of a version or alias that are kept ready."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from lambent.api import pages
from lambent.api.concurrency import UNRESERVED_MINIMUM
from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.api.qualifiers import qualified
from lambent.clock import Clock, aws_timestamp
from lambent.errors import InvalidParameterValue, ProvisionedConcurrencyConfigNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.types import LATEST, Function, FunctionVersion, ProvisionedConcurrency


class Provisioner(Protocol):
    """Who keeps environments ready, and knows how many are."""

    def provision(self, version: FunctionVersion, wanted: int) -> None:
        """Keep so many environments of a version."""

    def provisioned(self, version: FunctionVersion) -> tuple[int, int]:
        """How many of them there are, and how many of those are idle."""


class ProvisionedConcurrencyConfigs:
    """Handlers of the provisioned concurrency operations."""

    def __init__(
        self, catalog: Catalog, pool: Provisioner, clock: Clock, account_concurrency: int
    ) -> None:
        self._catalog = catalog
        self._pool = pool
        self._clock = clock
        self._account_concurrency = account_concurrency

    async def put_provisioned_concurrency_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)
        requested = parameters["ProvisionedConcurrentExecutions"]
        everybody = await self._catalog.usage(context.account, context.region)
        taken = sum(
            each.reserved or each.provisioned
            for name, each in everybody.items()
            if name != found.name
        )

        def change(function: Function) -> Function:
            self._check(function, qualifier, requested, taken)
            entry = ProvisionedConcurrency(requested, self._clock.time())
            return replace(function, provisioned={**function.provisioned, qualifier: entry})

        changed = await self._catalog.change(context.account, context.region, found.name, change)
        provision(self._pool, changed)
        return self._describe(changed, qualifier)

    async def get_provisioned_concurrency_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        function, qualifier = await qualified(self._catalog, context, parameters)
        if qualifier not in function.provisioned:
            raise ProvisionedConcurrencyConfigNotFound
        return self._describe(function, qualifier)

    async def list_provisioned_concurrency_configs(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        found, marker = pages.page(function.provisioned, lambda each: each, parameters)
        return {
            "ProvisionedConcurrencyConfigs": [
                {**self._describe(function, each), "FunctionArn": function.qualified_arn(each)}
                for each in found
            ],
            "NextMarker": marker,
        }

    async def delete_provisioned_concurrency_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)

        def change(function: Function) -> Function:
            left = {key: each for key, each in function.provisioned.items() if key != qualifier}
            return replace(function, provisioned=left)

        changed = await self._catalog.change(context.account, context.region, found.name, change)
        provision(self._pool, changed)
        return {}

    def _check(self, function: Function, qualifier: str, requested: int, taken: int) -> None:
        version = function.find(qualifier)
        if version is None or version.version == LATEST:
            raise InvalidParameterValue(
                "Provisioned Concurrency Configs cannot be applied to unpublished function "
                "versions."
            )
        if function.has_tenants:
            raise InvalidParameterValue(
                "Provisioned Concurrency is not supported for functions with tenant isolation."
            )
        alias = function.aliases.get(qualifier)
        if alias is not None and any(alias.refers_to(each) for each in function.provisioned):
            raise InvalidParameterValue(
                "Alias can't be used for Provisioned Concurrency configuration on an already "
                "Provisioned version"
            )
        if alias is None and any(
            each.refers_to(qualifier) and each.name in function.provisioned
            for each in function.aliases.values()
        ):
            raise InvalidParameterValue("Version is pointed by a Provisioned Concurrency alias")
        total = requested + sum(
            each.requested for key, each in function.provisioned.items() if key != qualifier
        )
        if function.reserved_concurrency is not None:
            if total > function.reserved_concurrency:
                raise InvalidParameterValue(
                    f"Requested Provisioned Concurrency [{requested}] should not be greater than "
                    f"the function's reserved concurrency [{function.reserved_concurrency}]."
                )
        elif self._account_concurrency - taken - total < UNRESERVED_MINIMUM:
            raise InvalidParameterValue(
                "Specified ConcurrentExecutions for function is greater than account's "
                f"unreserved concurrency [{self._account_concurrency - taken}]."
            )

    def _describe(self, function: Function, qualifier: str) -> dict[str, Any]:
        entry = function.provisioned[qualifier]
        version = function.find(qualifier)
        there, idle = self._pool.provisioned(version) if version is not None else (0, 0)
        allocated = min(there, entry.requested)
        return {
            "RequestedProvisionedConcurrentExecutions": entry.requested,
            "AllocatedProvisionedConcurrentExecutions": allocated,
            "AvailableProvisionedConcurrentExecutions": min(idle, allocated),
            "Status": "READY" if allocated == entry.requested else "IN_PROGRESS",
            "LastModified": aws_timestamp(entry.last_modified),
        }


def provision(pool: Provisioner, function: Function) -> None:
    """Have the pool keep what a function's configuration asks for."""
    wanted = dict.fromkeys(function.versions, 0)
    for qualifier, entry in function.provisioned.items():
        version = function.find(qualifier)
        if version is not None and version.version in wanted:
            wanted[version.version] = entry.requested
    for number, count in wanted.items():
        pool.provision(function.versions[number], count)
