"""Tags of functions, event source mappings and code signing configurations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api.context import Context
from lambent.arn import parse_function
from lambent.errors import InvalidParameterValue, OperationNotOffered, ResourceNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.code_signing import CodeSigningCatalog, CodeSigningConfig
from lambent.functions.event_sources import EventSourceCatalog, EventSourceMapping
from lambent.functions.types import Function

MOST_TAGS = 50


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

    async def _change(self, context: Context, arn: str, change: Any) -> None:
        kind = arn.split(":")[5]
        if kind == "function":
            await self._change_function(context, arn, change)
        elif kind == "event-source-mapping":
            account, region, uuid = _parts(context, arn)

            def mapping(there: EventSourceMapping) -> EventSourceMapping:
                tags = change(there.tags)
                return there if tags is there.tags else replace(there, tags=tags)

            await self._mappings.change(account, region, uuid, mapping)
        elif kind == "code-signing-config":
            account, region, identifier = _parts(context, arn)

            def config(there: CodeSigningConfig) -> CodeSigningConfig:
                tags = change(there.tags)
                return there if tags is there.tags else replace(there, tags=tags)

            await self._signing.change(account, region, identifier, config)
        else:
            raise OperationNotOffered(f"Tags of a {kind} are not offered by this version.")

    async def _change_function(self, context: Context, arn: str, change: Any) -> None:
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
            tags = change(there.tags)
            if tags is there.tags:
                return there
            return replace(there, tags=tags).with_latest(revision_id=ids.uuid())

        await self._catalog.change(context.account, context.region, reference.name, function)


def _parts(context: Context, arn: str) -> tuple[str, str, str]:
    _, _, _, region, account, _, identifier = arn.split(":")
    if (account, region) != (context.account, context.region):
        raise ResourceNotFound("The resource you requested does not exist.")
    return account, region, identifier
