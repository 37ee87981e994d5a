"""Tags of functions, event source mappings and code signing configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from lambent import ids
from lambent.api.context import Context
from lambent.arn import parse_function
from lambent.errors import InvalidParameterValue, OperationNotOffered, ResourceNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.code_signing import CodeSigningCatalog, CodeSigningConfig
from lambent.functions.event_sources import EventSourceCatalog, EventSourceMapping
from lambent.functions.types import Function

MOST_TAGS = 50
Change = Callable[[dict[str, str]], dict[str, str]]
"""Tags before → tags after; the same object where nothing changes."""
Tagged = TypeVar("Tagged", Function, EventSourceMapping, CodeSigningConfig)


def check_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags of a resource to be; raises InvalidParameterValue."""
    if any(key.lower().startswith("aws:") for key in tags):
        raise InvalidParameterValue("System tags cannot be added/updated by requester.")
    if len(tags) > MOST_TAGS:
        raise InvalidParameterValue("Number of tags exceeds resource tag limit.")
    return tags


class Tags:
    """Handlers of the tag operations."""

    def __init__(
        self, catalog: Catalog, mappings: EventSourceCatalog, signing: CodeSigningCatalog
    ) -> None:
        self._catalog = catalog
        self._mappings = mappings
        self._signing = signing

    async def tag_resource(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        added = parameters["Tags"]
        await self._change(
            context, parameters["Resource"], lambda tags: check_tags({**tags, **added})
        )
        return {}

    async def untag_resource(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        gone = set(parameters["TagKeys"])

        def without(tags: dict[str, str]) -> dict[str, str]:
            return {key: value for key, value in tags.items() if key not in gone}

        await self._change(context, parameters["Resource"], without)
        return {}

    async def list_tags(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        found: list[dict[str, str]] = []

        def look(tags: dict[str, str]) -> dict[str, str]:
            found[:] = [tags]
            return tags

        await self._change(context, parameters["Resource"], look)
        return {"Tags": found[0]}

    async def _change(self, context: Context, arn: str, change: Change) -> None:
        kind = arn.split(":")[5]
        if kind == "function":
            await self._change_function(context, arn, change)
        elif kind == "event-source-mapping":
            await self._mappings.change(
                *_parts(context, arn), lambda mapping: _retagged(mapping, change)
            )
        elif kind == "code-signing-config":
            await self._signing.change(
                *_parts(context, arn), lambda config: _retagged(config, change)
            )
        else:
            raise OperationNotOffered(f"Tags of a {kind} are not offered by this version.")

    async def _change_function(self, context: Context, arn: str, change: Change) -> None:
        reference = parse_function(arn)
        if reference is None:
            raise InvalidParameterValue(f"Invalid function ARN: {arn[:200]}")
        if reference.qualifier is not None:
            raise InvalidParameterValue(
                "Tags on function aliases and versions are not supported. Please specify a "
                "function ARN."
            )
        if (reference.account, reference.region) != (context.account, context.region):
            raise ResourceNotFound(f"Function not found: {arn}")

        def function(there: Function) -> Function:
            changed = _retagged(there, change)
            if changed is there:
                return there
            return changed.with_latest(revision_id=ids.uuid())

        await self._catalog.change(context.account, context.region, reference.name, function)


def _retagged(there: Tagged, change: Change) -> Tagged:
    tags = change(there.tags)
    return there if tags is there.tags else replace(there, tags=tags)


def _parts(context: Context, arn: str) -> tuple[str, str, str]:
    _, _, _, region, account, _, identifier = arn.split(":")
    if (account, region) != (context.account, context.region):
        raise ResourceNotFound("The resource you requested does not exist.")
    return account, region, identifier
