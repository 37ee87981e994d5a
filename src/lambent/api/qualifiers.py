"""What is configured per function, version or alias: finding the one a request means."""

from __future__ import annotations

from typing import Any

from lambent.api.context import Context
from lambent.api.names import reference
from lambent.functions.catalog import Catalog, not_found
from lambent.functions.types import LATEST, Function


async def qualified(
    catalog: Catalog, context: Context, parameters: dict[str, Any]
) -> tuple[Function, str]:
    """The function and the qualifier ("$LATEST" if none was given) of a request.

    Raises ResourceNotFound where the function, the version or the alias does not exist.
    """
    name, qualifier = reference(context, parameters["FunctionName"], parameters.get("Qualifier"))
    function = await catalog.get(context.account, context.region, name)
    check_qualifier(function, qualifier)
    return function, qualifier or LATEST


def check_qualifier(function: Function, qualifier: str | None) -> None:
    """Raise ResourceNotFound unless the qualifier leads somewhere."""
    if function.find(qualifier) is None:
        latest = function.latest
        raise not_found(latest.account, latest.region, latest.name, qualifier)
