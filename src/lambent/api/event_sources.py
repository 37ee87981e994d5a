"""Event source mappings: their configuration, checked as AWS checks it per kind of source.

Those of queues are put to work by ``lambent.sources``; of others the configuration is kept only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import pages
from lambent.api.context import Context
from lambent.api.names import reference
from lambent.api.tags import check_tags
from lambent.arn import function_arn
from lambent.clock import Clock
from lambent.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.event_sources import EventSourceCatalog, EventSourceMapping
from lambent.functions.types import FunctionVersion

_STREAMS = ("kinesis", "dynamodb")
_KAFKA = ("kafka",)
_OWN = {"FunctionName", "EventSourceArn", "Enabled", "Tags", "UUID"}
# What each kind of source may be configured with beyond what all may.
_STREAM_ONLY = (
    "ParallelizationFactor", "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError",
    "MaximumRetryAttempts", "TumblingWindowInSeconds",
)  # fmt: skip
_STREAM_DEFAULTS: dict[str, Any] = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "ParallelizationFactor": 1,
    "MaximumRecordAgeInSeconds": -1,
    "BisectBatchOnFunctionError": False,
    "MaximumRetryAttempts": -1,
    "TumblingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
    "DestinationConfig": {"OnFailure": {}},
}
_QUEUE_DEFAULTS: dict[str, Any] = {
    "BatchSize": 10,
    "MaximumBatchingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
}
_KAFKA_DEFAULTS: dict[str, Any] = {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 0}


class EventSourceMappings:
    """Handlers of the event source mapping operations.

    check: raises InvalidParameterValue where a mapping cannot be put to work for a version.
    """

    def __init__(
        self,
        catalog: Catalog,
        mappings: EventSourceCatalog,
        clock: Clock,
        check: Callable[[EventSourceMapping, FunctionVersion], Awaitable[None]],
    ) -> None:
        self._catalog = catalog
        self._mappings = mappings
        self._clock = clock
        self._check_source = check

    async def create_event_source_mapping(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        arn = parameters.get("EventSourceArn")
        kind = _kind(parameters)
        target, version = await self._function(context, parameters["FunctionName"])
        settings = _defaults(kind) | _given(parameters)
        _check(kind, arn or "", settings)
        for other in await self._mappings.all_of(context.account, context.region):
            if arn is not None and (other.source_arn, other.function_arn) == (arn, target):
                raise ResourceConflict(
                    f'The event source arn (" {arn} ") and function (" {target} ") provided '
                    "mapping already exists. Please update or delete the existing mapping with "
                    f"UUID {other.uuid}"
                )
        mapping = EventSourceMapping(
            account=context.account,
            region=context.region,
            uuid=ids.uuid(),
            function_arn=target,
            last_modified=self._clock.time(),
            state="Enabled" if parameters.get("Enabled", True) else "Disabled",
            source_arn=arn,
            settings=settings,
            tags=check_tags(parameters.get("Tags", {})),
        )
        await self._check_source(mapping, version)
        created = await self._mappings.create(mapping)
        return _describe(replace(created, state="Creating"))

    async def get_event_source_mapping(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found = await self._mappings.get(context.account, context.region, parameters["UUID"])
        return _describe(found)

    async def list_event_source_mappings(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        every = await self._mappings.all_of(context.account, context.region)
        source = parameters.get("EventSourceArn")
        wanted: str | None = None
        if "FunctionName" in parameters:
            name, qualifier = reference(context, parameters["FunctionName"], None)
            wanted = function_arn(context.region, context.account, name, qualifier)
        matching = [
            each
            for each in every
            if (source is None or each.source_arn == source)
            and (wanted is None or each.function_arn == wanted)
        ]
        found, marker = pages.page(matching, lambda each: each.uuid, parameters, 100)
        return {
            "EventSourceMappings": [_describe(each) for each in found],
            "NextMarker": marker,
        }

    async def update_event_source_mapping(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        place = (context.account, context.region, parameters["UUID"])
        current = await self._mappings.get(*place)
        target: str | None = None
        if "FunctionName" in parameters:
            target, _ = await self._function(context, parameters["FunctionName"])

        def change(mapping: EventSourceMapping) -> EventSourceMapping:
            settings = mapping.settings | _given(parameters)
            _check(_kind_of(mapping), mapping.source_arn or "", settings)
            state = mapping.state
            if "Enabled" in parameters:
                state = "Enabled" if parameters["Enabled"] else "Disabled"
            return replace(
                mapping,
                function_arn=target or mapping.function_arn,
                settings=settings,
                state=state,
                last_modified=self._clock.time(),
            )

        wanted = change(current)
        if wanted.state == "Enabled":
            _, version = await self._function(context, wanted.function_arn)
            await self._check_source(wanted, version)
        changed = await self._mappings.change(*place, change)
        return _describe(replace(changed, state="Updating"))

    async def delete_event_source_mapping(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        gone = await self._mappings.delete(context.account, context.region, parameters["UUID"])
        return _describe(replace(gone, state="Deleting"))

    async def _function(self, context: Context, text: str) -> tuple[str, FunctionVersion]:
        """The ARN of the function to feed, with its qualifier, and what that is now.

        Raises InvalidParameterValue.
        """
        name, qualifier = reference(context, text, None)
        try:
            target = await self._catalog.resolve(context.account, context.region, name, qualifier)
        except ResourceNotFound:
            raise InvalidParameterValue("Function does not exist") from None
        if target[0].configuration.tenancy is not None:
            raise InvalidParameterValue(
                "Event source mappings are not supported for functions with tenant isolation."
            )
        return function_arn(context.region, context.account, name, qualifier), target[0]


def _kind(parameters: dict[str, Any]) -> str:
    """sqs, kinesis, dynamodb, kafka, mq or docdb; raises InvalidParameterValue."""
    arn = parameters.get("EventSourceArn")
    if arn is None:
        if "SelfManagedEventSource" not in parameters:
            raise InvalidParameterValue("Unrecognized event source.")
        return "kafka"
    service = arn.split(":")[2]
    if service == "rds":
        return "docdb"
    if service == "dynamodb" and "/stream/" not in arn:
        raise InvalidParameterValue(f"Invalid DynamoDB stream ARN: {arn}")
    if service not in ("sqs", "kinesis", "dynamodb", "kafka", "mq"):
        raise InvalidParameterValue("Unrecognized event source.")
    return str(service)


def _kind_of(mapping: EventSourceMapping) -> str:
    return _kind(
        {"EventSourceArn": mapping.source_arn}
        if mapping.source_arn
        else {"SelfManagedEventSource": {}}
    )


def _defaults(kind: str) -> dict[str, Any]:
    if kind in _STREAMS:
        return dict(_STREAM_DEFAULTS)
    return dict(_QUEUE_DEFAULTS if kind == "sqs" else _KAFKA_DEFAULTS)


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _OWN}


def _check(kind: str, arn: str, settings: dict[str, Any]) -> None:
    """What AWS demands and refuses per kind of source; raises InvalidParameterValue."""
    if kind in _STREAMS:
        _check_stream(kind, settings)
        return
    for name in _STREAM_ONLY:
        if name in settings:
            raise InvalidParameterValue(f"Unsupported event source parameter {name} for {kind}.")
    if kind == "sqs":
        _check_queue(arn.endswith(".fifo"), settings)
    elif "ScalingConfig" in settings and kind != "sqs":
        raise InvalidParameterValue("ScalingConfig is supported for Amazon SQS event sources only.")
    elif kind == "kafka" and "Topics" not in settings:
        raise InvalidParameterValue("Topics are required for Kafka event sources.")
    elif kind == "kafka" and "StartingPosition" not in settings:
        raise _missing_position()


def _check_stream(kind: str, settings: dict[str, Any]) -> None:
    position = settings.get("StartingPosition")
    if position is None:
        raise _missing_position()
    if position == "AT_TIMESTAMP" and kind == "dynamodb":
        raise InvalidParameterValue(
            "Unsupported starting position for arn type: AT_TIMESTAMP is for Amazon Kinesis."
        )
    if position == "AT_TIMESTAMP" and "StartingPositionTimestamp" not in settings:
        raise InvalidParameterValue("StartingPositionTimestamp is required for AT_TIMESTAMP.")
    age = settings["MaximumRecordAgeInSeconds"]
    if -1 < age < 60:
        raise InvalidParameterValue(
            "Minimum permitted value for MaximumRecordAgeInSeconds is 60 seconds."
        )
    if "ScalingConfig" in settings or "Queues" in settings or "Topics" in settings:
        raise InvalidParameterValue(f"Unsupported event source parameter for {kind}.")


def _check_queue(fifo: bool, settings: dict[str, Any]) -> None:
    batch, window = settings["BatchSize"], settings["MaximumBatchingWindowInSeconds"]
    if "StartingPosition" in settings:
        raise InvalidParameterValue("StartingPosition is not valid for SQS event sources.")
    if fifo and batch > 10:
        raise InvalidParameterValue("BatchSize must be at most 10 for FIFO queues.")
    if fifo and window:
        raise InvalidParameterValue("Batching window is not supported for FIFO queues.")
    if batch > 10 and window < 1:
        raise InvalidParameterValue(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is "
            "greater than 10"
        )


def _missing_position() -> InvalidParameterValue:
    return InvalidParameterValue(
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy "
        "constraint: Member must not be null."
    )


def _describe(mapping: EventSourceMapping) -> dict[str, Any]:
    streams = mapping.source in _STREAMS
    return {
        **mapping.settings,
        "UUID": mapping.uuid,
        "EventSourceArn": mapping.source_arn,
        "EventSourceMappingArn": mapping.arn,
        "FunctionArn": mapping.function_arn,
        "LastModified": mapping.last_modified,
        "State": mapping.state,
        "StateTransitionReason": "User action" if streams else "USER_INITIATED",
        "LastProcessingResult": "No records processed" if streams else None,
    }
