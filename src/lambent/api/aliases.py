"""Aliases: names for versions, with a share of the traffic for a second one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import pages
from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.errors import (
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.functions.catalog import Catalog, not_found
from lambent.functions.types import LATEST, Alias, Function


class Aliases:
    """Handlers of the alias operations."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def create_alias(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        function = function_name(context, parameters["FunctionName"])
        name = parameters["Name"]

        def change(there: Function) -> Function:
            alias = Alias(
                name=name,
                version=parameters["FunctionVersion"],
                revision_id=ids.uuid(),
                description=parameters.get("Description", ""),
                weights=_weights(parameters),
            )
            if name in there.aliases:
                raise ResourceConflict(f"Alias already exists: {there.qualified_arn(name)}")
            _check(there, alias)
            return replace(there, aliases={**there.aliases, name: alias})

        changed = await self._catalog.change(context.account, context.region, function, change)
        return describe(changed, changed.aliases[name])

    async def get_alias(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        alias = function.aliases.get(parameters["Name"])
        if alias is None:
            raise alias_not_found(function, parameters["Name"])
        return describe(function, alias)

    async def list_aliases(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        version = parameters.get("FunctionVersion")
        matching = [
            alias
            for alias in function.aliases.values()
            if version is None or alias.refers_to(version)
        ]
        found, marker = pages.page(matching, lambda alias: alias.name, parameters)
        return {"Aliases": [describe(function, each) for each in found], "NextMarker": marker}

    async def update_alias(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        function = function_name(context, parameters["FunctionName"])
        name = parameters["Name"]

        def change(there: Function) -> Function:
            alias = there.aliases.get(name)
            if alias is None:
                raise ResourceNotFound(f"Alias not found: {there.qualified_arn(name)}")
            if parameters.get("RevisionId", alias.revision_id) != alias.revision_id:
                raise PreconditionFailed
            changed = replace(
                alias,
                version=parameters.get("FunctionVersion", alias.version),
                description=parameters.get("Description", alias.description),
                weights=_weights(parameters) if "RoutingConfig" in parameters else alias.weights,
                revision_id=ids.uuid(),
            )
            _check(there, changed)
            return replace(there, aliases={**there.aliases, name: changed})

        changed = await self._catalog.change(context.account, context.region, function, change)
        return describe(changed, changed.aliases[name])

    async def delete_alias(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        function = function_name(context, parameters["FunctionName"])
        name = parameters["Name"]

        def change(there: Function) -> Function:
            return without_qualifier(there, name) if name in there.aliases else there

        await self._catalog.change(context.account, context.region, function, change)
        return {}


def without_qualifier(function: Function, qualifier: str) -> Function:
    """The function without an alias or version and all that was configured for it."""

    def kept(entries: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in entries.items() if key != qualifier}

    return replace(
        function,
        versions=kept(function.versions),
        aliases=kept(function.aliases),
        policies=kept(function.policies),
        provisioned=kept(function.provisioned),
        event_invoke=kept(function.event_invoke),
        urls=kept(function.urls),
        runtime_management=kept(function.runtime_management),
    )


def alias_not_found(function: Function, name: str) -> ResourceNotFound:
    """AWS's words for an alias that does not exist."""
    return ResourceNotFound(f"Cannot find alias arn: {function.qualified_arn(name)}")


def describe(function: Function, alias: Alias) -> dict[str, Any]:
    """An alias as AliasConfiguration."""
    return {
        "AliasArn": function.qualified_arn(alias.name),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RoutingConfig": {"AdditionalVersionWeights": alias.weights} if alias.weights else None,
        "RevisionId": alias.revision_id,
    }


def _weights(parameters: dict[str, Any]) -> dict[str, float]:
    routing = parameters.get("RoutingConfig") or {}
    return dict(routing.get("AdditionalVersionWeights") or {})


def _check(function: Function, alias: Alias) -> None:
    """An alias leads to what exists; raises InvalidParameterValue, ResourceNotFound."""
    latest = function.latest
    if len(alias.weights) > 1:
        raise InvalidParameterValue(
            "Number of items in AdditionalVersionWeights cannot be greater than 1"
        )
    if alias.version in alias.weights:
        raise InvalidParameterValue(
            f"Invalid function version {alias.version}. Function version {alias.version} is "
            "already included in routing configuration."
        )
    if alias.weights and alias.version == LATEST:
        raise InvalidParameterValue(
            "$LATEST is not supported for an alias pointing to more than 1 version"
        )
    for version in (alias.version, *alias.weights):
        if version != LATEST and version not in function.versions:
            raise not_found(latest.account, latest.region, latest.name, version)
    if alias.weights:
        second = function.versions[next(iter(alias.weights))].configuration
        first = function.versions[alias.version].configuration
        if (first.role, first.dead_letter_target) != (second.role, second.dead_letter_target):
            # AWS Lambda Developer Guide, "Implement Lambda canary deployments".
            raise InvalidParameterValue(
                "Both versions of an alias with a routing configuration must have the same "
                "execution role and the same dead-letter queue configuration."
            )
