"""Account settings: limits, and how much of them is used."""

from __future__ import annotations

from typing import Any

from lambent.api.context import Context
from lambent.functions.catalog import Catalog
from lambent.functions.layers import LayerCatalog

# Code storage of an account in a region: AWS Lambda Developer Guide, "Lambda quotas".
TOTAL_CODE_BYTES = 300 * 1024**3


class Account:
    """The handler of GetAccountSettings."""

    def __init__(
        self,
        catalog: Catalog,
        layers: LayerCatalog,
        concurrency: int,
        zipped_bytes: int,
        unzipped_bytes: int,
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._concurrency = concurrency
        self._zipped_bytes = zipped_bytes
        self._unzipped_bytes = unzipped_bytes

    async def get_account_settings(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        functions = (await self._catalog.usage(context.account, context.region)).values()
        layers = await self._layers.all_of(context.account, context.region)
        code = sum(function.code_size for function in functions)
        layered = sum(version.size for layer in layers for version in layer.versions.values())
        reserved = sum(function.reserved or 0 for function in functions)
        return {
            "AccountLimit": {
                "TotalCodeSize": TOTAL_CODE_BYTES,
                "CodeSizeUnzipped": self._unzipped_bytes,
                "CodeSizeZipped": self._zipped_bytes,
                "ConcurrentExecutions": self._concurrency,
                "UnreservedConcurrentExecutions": self._concurrency - reserved,
            },
            "AccountUsage": {
                "TotalCodeSize": code + layered,
                "FunctionCount": len(functions),
            },
        }
