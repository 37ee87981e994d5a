"""Reserved concurrency: a function's own share of the account's, which is also its ceiling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.errors import InvalidParameterValue
from lambent.functions.catalog import Catalog
from lambent.functions.types import Function

# What reservations must leave to functions without one: AWS Lambda Developer Guide, "Configuring
# reserved concurrency".
UNRESERVED_MINIMUM = 100


class ReservedConcurrency:
    """Handlers of the reserved concurrency operations."""

    def __init__(self, catalog: Catalog, account_concurrency: int) -> None:
        self._catalog = catalog
        self._account_concurrency = account_concurrency

    async def put_function_concurrency(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        reserved = parameters["ReservedConcurrentExecutions"]
        everybody = await self._catalog.usage(context.account, context.region)
        others = sum(each.reserved or 0 for other, each in everybody.items() if other != name)

        def change(function: Function) -> Function:
            if reserved and self._account_concurrency - others - reserved < UNRESERVED_MINIMUM:
                raise InvalidParameterValue(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    "UnreservedConcurrentExecution below its minimum value of "
                    f"[{UNRESERVED_MINIMUM}]."
                )
            provisioned = sum(each.requested for each in function.provisioned.values())
            if reserved < provisioned:
                raise InvalidParameterValue(
                    f"ReservedConcurrentExecutions {reserved} should not be lower than function's "
                    f"total provisioned concurrency [{provisioned}]."
                )
            return replace(function, reserved_concurrency=reserved)

        await self._catalog.change(context.account, context.region, name, change)
        return {"ReservedConcurrentExecutions": reserved}

    async def get_function_concurrency(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        return {"ReservedConcurrentExecutions": function.reserved_concurrency}

    async def delete_function_concurrency(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])

        def change(function: Function) -> Function:
            if function.reserved_concurrency is None:
                return function
            return replace(function, reserved_concurrency=None)

        await self._catalog.change(context.account, context.region, name, change)
        return {}
