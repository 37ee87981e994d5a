"""When a function's runtime may change, and whether it may call itself in a loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.api.qualifiers import qualified
from lambent.errors import InvalidParameterValue
from lambent.functions.catalog import Catalog
from lambent.functions.types import LATEST, Function, RuntimeManagement


class RuntimeManagementConfigs:
    """Handlers of the runtime management operations."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def put_runtime_management_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)
        mode, version = parameters["UpdateRuntimeOn"], parameters.get("RuntimeVersionArn")
        if mode == "Manual" and version is None:
            raise InvalidParameterValue(
                "RuntimeVersionArn is required when UpdateRuntimeOn is Manual."
            )
        if mode != "Manual" and version is not None:
            raise InvalidParameterValue(
                "RuntimeVersionArn may be specified only when UpdateRuntimeOn is Manual."
            )
        config = RuntimeManagement(mode, version)

        def change(function: Function) -> Function:
            configs = {**function.runtime_management, qualifier: config}
            return replace(function, runtime_management=configs)

        changed = await self._catalog.change(context.account, context.region, found.name, change)
        return _describe(changed, qualifier)

    async def get_runtime_management_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        function, qualifier = await qualified(self._catalog, context, parameters)
        return _describe(function, qualifier)


class RecursionConfigs:
    """Handlers of the recursive loop operations."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def put_function_recursion_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        mode = parameters["RecursiveLoop"]

        def change(function: Function) -> Function:
            return replace(function, recursive_loop=mode)

        await self._catalog.change(context.account, context.region, name, change)
        return {"RecursiveLoop": mode}

    async def get_function_recursion_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        return {"RecursiveLoop": function.recursive_loop}


def _describe(function: Function, qualifier: str) -> dict[str, Any]:
    config = function.runtime_management.get(qualifier, RuntimeManagement())
    return {
        "UpdateRuntimeOn": config.update_on,
        "RuntimeVersionArn": config.version_arn,
        "FunctionArn": function.arn if qualifier == LATEST else function.qualified_arn(qualifier),
    }
