"""How asynchronous invocations of a function are retried, aged and reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent.api import pages
from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.api.qualifiers import qualified
from lambent.arn import parse_function
from lambent.clock import Clock
from lambent.errors import InvalidParameterValue, ResourceNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.types import EventInvokeConfig, Function

_KINDS = ("sqs", "sns", "lambda", "events", "s3")


class EventInvokeConfigs:
    """Handlers of the asynchronous invocation configuration."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    async def put_function_event_invoke_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        return await self._store(context, parameters, EventInvokeConfig(self._clock.time()))

    async def update_function_event_invoke_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        function, qualifier = await qualified(self._catalog, context, parameters)
        return await self._store(context, parameters, _configured(function, qualifier))

    async def get_function_event_invoke_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        function, qualifier = await qualified(self._catalog, context, parameters)
        return _describe(function, qualifier, _configured(function, qualifier))

    async def list_function_event_invoke_configs(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        found, marker = pages.page(function.event_invoke, lambda each: each, parameters)
        return {
            "FunctionEventInvokeConfigs": [
                _describe(function, each, function.event_invoke[each]) for each in found
            ],
            "NextMarker": marker,
        }

    async def delete_function_event_invoke_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)

        def change(function: Function) -> Function:
            _configured(function, qualifier)
            left = {key: each for key, each in function.event_invoke.items() if key != qualifier}
            return replace(function, event_invoke=left)

        await self._catalog.change(context.account, context.region, found.name, change)
        return {}

    async def _store(
        self, context: Context, parameters: dict[str, Any], before: EventInvokeConfig
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)
        changes = _changes(parameters, found, qualifier)
        config = replace(before, last_modified=self._clock.time(), **changes)

        def change(function: Function) -> Function:
            return replace(function, event_invoke={**function.event_invoke, qualifier: config})

        changed = await self._catalog.change(context.account, context.region, found.name, change)
        return _describe(changed, qualifier, config)


def _configured(function: Function, qualifier: str) -> EventInvokeConfig:
    config = function.event_invoke.get(qualifier)
    if config is None:
        raise ResourceNotFound(
            f"The function {function.qualified_arn(qualifier)} doesn't have an EventInvokeConfig"
        )
    return config


def _changes(parameters: dict[str, Any], function: Function, qualifier: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "MaximumRetryAttempts" in parameters:
        found["maximum_retry_attempts"] = parameters["MaximumRetryAttempts"]
    if "MaximumEventAgeInSeconds" in parameters:
        found["maximum_event_age"] = parameters["MaximumEventAgeInSeconds"]
    destinations = parameters.get("DestinationConfig") or {}
    for member, field in (("OnSuccess", "on_success"), ("OnFailure", "on_failure")):
        if member in destinations:
            target = destinations[member].get("Destination") or None
            if target is not None:
                _check_destination(target, function, qualifier, member)
            found[field] = target
    if not found and "DestinationConfig" not in parameters:
        raise InvalidParameterValue(
            "You must specify at least one of error handling or destination setting."
        )
    return found


def _check_destination(target: str, function: Function, qualifier: str, member: str) -> None:
    parts = target.split(":")
    if len(parts) < 6 or parts[2] not in _KINDS or (parts[2] == "s3" and member != "OnFailure"):
        raise InvalidParameterValue(
            f"The provided destination {target} is not supported for {member}."
        )
    if parts[2] == "lambda":
        named = parse_function(target)
        latest = function.latest
        mine = (latest.account, latest.region, latest.name)
        if named is not None and (named.account, named.region, named.name) == mine:
            raise InvalidParameterValue(
                "You can't specify the function as a destination for itself."
            )


def _describe(function: Function, qualifier: str, config: EventInvokeConfig) -> dict[str, Any]:
    def destination(target: str | None) -> dict[str, Any]:
        return {"Destination": target} if target else {}

    return {
        "LastModified": config.last_modified,
        "FunctionArn": function.qualified_arn(qualifier),
        "MaximumRetryAttempts": config.maximum_retry_attempts,
        "MaximumEventAgeInSeconds": config.maximum_event_age,
        "DestinationConfig": {
            "OnSuccess": destination(config.on_success),
            "OnFailure": destination(config.on_failure),
        },
    }
