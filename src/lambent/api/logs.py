"""The CloudWatch Logs API, as far as functions' logs need it."""

from __future__ import annotations

import re
from typing import Any

from lambent.api.context import Context
from lambent.api.names import log_group
from lambent.api.scans import Effort, ScanEnded, Scans
from lambent.aws.filter_pattern import InvalidPattern, compile_pattern
from lambent.clock import Clock
from lambent.errors import (
    InvalidParameter,
    InvalidParameterValue,
    ResourceAlreadyExists,
    ResourceNotFound,
    ServiceFailure,
)
from lambent.observe.logs import GroupFacts, LogEvent, LogStore, Place

_PAGE = 10_000
_GROUPS = 50
_DAY_MS = 86_400_000
_GROUP = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")
_STREAM = re.compile(r"[^:*]{1,512}")
# Source: PutRetentionPolicy in the CloudWatch Logs API reference.
_RETENTIONS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
)  # fmt: skip
# Limits of one PutLogEvents: bytes with 26 for each event, and how old and how early.
_BATCH_BYTES = 1_048_576
_EVENT_BYTES = 26
_TOO_OLD_MS, _TOO_NEW_MS = 14 * _DAY_MS, 2 * 3_600_000

Parameters = dict[str, Any]


class Logs:
    """Handlers of the log operations."""

    def __init__(self, store: LogStore, clock: Clock, scans: Scans) -> None:
        self._store = store
        self._scans = scans
        self._clock = clock

    def _now(self) -> int:
        return int(self._clock.time() * 1000)

    # -- reading --------------------------------------------------------------------------

    async def filter_log_events(self, context: Context, parameters: Parameters) -> Parameters:
        effort = Effort(gone=context.gone)
        try:
            matches = compile_pattern(parameters.get("filterPattern") or "", effort.spend)
        except InvalidPattern:
            raise InvalidParameter("Invalid filter pattern") from None
        group, facts = await self._group(context, parameters)
        limit = min(parameters.get("limit", _PAGE), _PAGE)
        start, end = self._window(facts, parameters)
        streams = parameters.get("logStreamNames")
        prefix = parameters.get("logStreamNamePrefix", "")
        events, place = await self._store.read(
            context.account, context.region, group, _place(parameters.get("nextToken")), limit
        )

        def chosen() -> tuple[list[LogEvent], int]:
            """Those that match, and how many were looked at within the budget."""
            found: list[LogEvent] = []
            for number, event in enumerate(events):
                if effort.exhausted:
                    return found, number
                if (
                    start <= event.timestamp < end
                    and event.stream.startswith(prefix)
                    and (streams is None or event.stream in streams)
                    and _alive(facts, event)
                    and matches(event.message)
                ):
                    found.append(event)
            return found, len(events)

        try:
            found, looked_at = await self._scans.run(context.account, effort, chosen)
        except ScanEnded:  # the caller has hung up
            raise ServiceFailure from None
        if looked_at < len(events):  # the caller goes on from there
            place = Place(events[looked_at - 1].segment, events[looked_at - 1].offset)
        more, _ = await self._store.read(context.account, context.region, group, place, 1)
        return {
            "events": [
                {
                    "logStreamName": event.stream,
                    "timestamp": event.timestamp,
                    "message": event.message,
                    "ingestionTime": event.timestamp,
                    "eventId": event.event_id,
                }
                for event in found
            ],
            "nextToken": str(place) if more else None,
            "searchedLogStreams": [],
        }

    async def get_log_events(self, context: Context, parameters: Parameters) -> Parameters:
        group, facts = await self._group(context, parameters)
        stream = parameters["logStreamName"]
        place = _place((parameters.get("nextToken") or "")[2:])
        start, end = self._window(facts, parameters)
        events, after = await self._store.read(context.account, context.region, group, place, _PAGE)
        return {
            "events": [
                {
                    "timestamp": each.timestamp,
                    "message": each.message,
                    "ingestionTime": each.timestamp,
                }
                for each in events
                if each.stream == stream and start <= each.timestamp < end and _alive(facts, each)
            ],
            "nextForwardToken": f"f/{after}",
            "nextBackwardToken": f"b/{place}",
        }

    def _window(self, facts: GroupFacts, parameters: Parameters) -> tuple[int, int]:
        """Which times are asked for, and still kept."""
        start = int(parameters.get("startTime", 0))
        if facts.retention_days is not None:
            start = max(start, self._now() - facts.retention_days * _DAY_MS)
        return start, int(parameters.get("endTime", 1 << 62))

    async def describe_log_groups(self, context: Context, parameters: Parameters) -> Parameters:
        prefix = parameters.get("logGroupNamePrefix", "")
        pattern = parameters.get("logGroupNamePattern", "")
        identifiers = parameters.get("logGroupIdentifiers")
        if identifiers is not None and (prefix or pattern):
            raise InvalidParameter("logGroupIdentifiers is not allowed with a prefix or a pattern.")
        # These, and no others, are what the caller was authorised for.
        wanted = (
            {log_group(context, each) for each in identifiers} if identifiers is not None else None
        )
        names = [
            name
            for name in await self._store.groups(context.account, context.region)
            if name.startswith(prefix)
            and pattern in name
            and (wanted is None or name in wanted)
            and name > parameters.get("nextToken", "")
        ]
        page = names[: min(parameters.get("limit", _GROUPS), _GROUPS)]
        arn = f"arn:aws:logs:{context.region}:{context.account}:log-group:"
        found = []
        for name in page:
            facts = await self._store.facts(context.account, context.region, name)
            described = {
                "logGroupName": name,
                "creationTime": facts.created,
                "arn": f"{arn}{name}:*",
                "logGroupArn": arn + name,
                "logGroupClass": "STANDARD",
                "storedBytes": 0,
                "metricFilterCount": 0,
            }
            if facts.retention_days is not None:
                described["retentionInDays"] = facts.retention_days
            found.append(described)
        return {"logGroups": found, "nextToken": page[-1] if len(page) < len(names) else None}

    async def describe_log_streams(self, context: Context, parameters: Parameters) -> Parameters:
        group, facts = await self._group(context, parameters)
        found = await self._streams(context, group, facts)
        prefix = parameters.get("logStreamNamePrefix", "")
        names = sorted(name for name in found if name.startswith(prefix))
        if parameters.get("orderBy") == "LastEventTime":
            names.sort(key=lambda name: (found[name][1] or 0, name))
        if parameters.get("descending"):
            names.reverse()
        token = parameters.get("nextToken")
        begin = names.index(token) + 1 if token in names else 0
        page = names[begin : begin + min(parameters.get("limit", _GROUPS), _GROUPS)]
        arn = f"arn:aws:logs:{context.region}:{context.account}:log-group:{group}:log-stream:"
        shown = []
        for name in page:
            created, last = found[name]
            described: Parameters = {
                "logStreamName": name,
                "creationTime": created,
                "arn": arn + name,
                "storedBytes": 0,
            }
            if last is not None:
                described |= {
                    "firstEventTimestamp": created,
                    "lastEventTimestamp": last,
                    "lastIngestionTime": last,
                }
            shown.append(described)
        more = begin + len(page) < len(names)
        return {"logStreams": shown, "nextToken": page[-1] if more else None}

    async def _streams(
        self, context: Context, group: str, facts: GroupFacts
    ) -> dict[str, tuple[int, int | None]]:
        """Streams with when they were made and the time of their last event."""
        found: dict[str, tuple[int, int | None]] = {
            name: (made, None) for name, made in facts.streams.items()
        }
        place = Place()
        while True:
            events, place = await self._store.read(
                context.account, context.region, group, place, _PAGE
            )
            for event in events:
                if _alive(facts, event):
                    first = found.get(event.stream, (event.timestamp, None))[0]
                    found[event.stream] = (first, event.timestamp)
            if not events:
                return found

    # -- changing -------------------------------------------------------------------------

    async def create_log_group(self, context: Context, parameters: Parameters) -> Parameters:
        name = parameters["logGroupName"]
        if not _GROUP.fullmatch(name):
            raise InvalidParameter("The specified log group name is invalid.")
        if not await self._store.create(context.account, context.region, name, self._now()):
            raise ResourceAlreadyExists("The specified log group already exists")
        return {}

    async def delete_log_group(self, context: Context, parameters: Parameters) -> Parameters:
        group, _ = await self._group(context, parameters)
        await self._store.delete(context.account, context.region, group)
        return {}

    async def create_log_stream(self, context: Context, parameters: Parameters) -> Parameters:
        group, facts = await self._group(context, parameters)
        name = parameters["logStreamName"]
        if not _STREAM.fullmatch(name):
            raise InvalidParameter("The specified log stream name is invalid.")
        if name in await self._streams(context, group, facts):
            raise ResourceAlreadyExists("The specified log stream already exists")
        streams = {**facts.streams, name: self._now()}
        await self._store.update(context.account, context.region, group, streams=streams)
        return {}

    async def delete_log_stream(self, context: Context, parameters: Parameters) -> Parameters:
        group, facts = await self._group(context, parameters)
        name = parameters["logStreamName"]
        if name not in await self._streams(context, group, facts):
            raise ResourceNotFound("The specified log stream does not exist.")
        await self._store.update(
            context.account,
            context.region,
            group,
            streams={each: made for each, made in facts.streams.items() if each != name},
            deleted_streams={**facts.deleted_streams, name: self._now()},
        )
        return {}

    async def put_retention_policy(self, context: Context, parameters: Parameters) -> Parameters:
        group, _ = await self._group(context, parameters)
        days = parameters["retentionInDays"]
        if days not in _RETENTIONS:
            allowed = ", ".join(str(each) for each in _RETENTIONS)
            raise InvalidParameter(f"retentionInDays must be one of [{allowed}]")
        await self._store.update(context.account, context.region, group, retention_days=days)
        return {}

    async def delete_retention_policy(self, context: Context, parameters: Parameters) -> Parameters:
        group, _ = await self._group(context, parameters)
        await self._store.update(context.account, context.region, group, retention_days=None)
        return {}

    async def put_log_events(self, context: Context, parameters: Parameters) -> Parameters:
        group, facts = await self._group(context, parameters)
        stream = parameters["logStreamName"]
        if stream not in await self._streams(context, group, facts):
            raise ResourceNotFound("The specified log stream does not exist.")
        events = parameters["logEvents"]
        times = [int(each["timestamp"]) for each in events]
        if times != sorted(times):
            raise InvalidParameter(
                "Log events in a single PutLogEvents request must be in chronological order."
            )
        size = sum(len(each["message"].encode()) + _EVENT_BYTES for each in events)
        if size > _BATCH_BYTES:
            raise InvalidParameter("Upload too large: the batch exceeds 1048576 bytes")
        now = self._now()
        append = self._store.writer(context.account, context.region, group, stream)
        old = new = 0
        for each, when in zip(events, times, strict=True):
            if when < now - _TOO_OLD_MS:
                old += 1
            elif when > now + _TOO_NEW_MS:
                new += 1
            else:
                append(when, [each["message"]])
        answer: Parameters = {"nextSequenceToken": "0"}
        rejected = {}
        if old:
            rejected["tooOldLogEventEndIndex"] = old
        if new:
            rejected["tooNewLogEventStartIndex"] = len(events) - new
        if rejected:
            answer["rejectedLogEventsInfo"] = rejected
        return answer

    async def _group(self, context: Context, parameters: Parameters) -> tuple[str, GroupFacts]:
        name = parameters.get("logGroupName") or parameters.get("logGroupIdentifier", "")
        name = log_group(context, name)
        if name not in await self._store.groups(context.account, context.region):
            raise ResourceNotFound("The specified log group does not exist.")
        return str(name), await self._store.facts(context.account, context.region, name)


def _alive(facts: GroupFacts, event: LogEvent) -> bool:
    """Whether the event is of a stream that was not deleted since."""
    return event.timestamp > facts.deleted_streams.get(event.stream, -1)


def _place(token: str | None) -> Place:
    if not token:
        return Place()
    try:
        return Place.parse(token)
    except ValueError:
        raise InvalidParameterValue("The specified nextToken is invalid.") from None
