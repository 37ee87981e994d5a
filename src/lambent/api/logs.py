"""The part of the CloudWatch Logs API that shows what functions wrote."""

from __future__ import annotations

from typing import Any

from lambent.api.context import Context
from lambent.errors import InvalidParameterValue, OperationNotOffered, ResourceNotFound
from lambent.observe.logs import LogEvent, LogStore, Place

_PAGE = 10_000
_GROUPS = 50


class Logs:
    """Handlers of the log operations."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def filter_log_events(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        if parameters.get("filterPattern"):
            raise OperationNotOffered("filterPattern is not offered by this version of Lambent.")
        group = await self._group(context, parameters)
        limit = min(parameters.get("limit", _PAGE), _PAGE)
        start, end = parameters.get("startTime", 0), parameters.get("endTime", 1 << 62)
        streams = parameters.get("logStreamNames")
        prefix = parameters.get("logStreamNamePrefix", "")
        events, place = await self._store.read(
            context.account, context.region, group, _place(parameters.get("nextToken")), limit
        )
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
                for event in events
                if start <= event.timestamp < end
                and event.stream.startswith(prefix)
                and (streams is None or event.stream in streams)
            ],
            "nextToken": str(place) if more else None,
            "searchedLogStreams": [],
        }

    async def get_log_events(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        group = await self._group(context, parameters)
        stream = parameters["logStreamName"]
        place = _place((parameters.get("nextToken") or "")[2:])
        start, end = parameters.get("startTime", 0), parameters.get("endTime", 1 << 62)
        events, after = await self._store.read(context.account, context.region, group, place, _PAGE)
        return {
            "events": [
                {
                    "timestamp": each.timestamp,
                    "message": each.message,
                    "ingestionTime": each.timestamp,
                }
                for each in events
                if each.stream == stream and start <= each.timestamp < end
            ],
            "nextForwardToken": f"f/{after}",
            "nextBackwardToken": f"b/{place}",
        }

    async def describe_log_groups(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        prefix = parameters.get("logGroupNamePrefix", "")
        pattern = parameters.get("logGroupNamePattern", "")
        names = [
            name
            for name in await self._store.groups(context.account, context.region)
            if name.startswith(prefix)
            and pattern in name
            and name > parameters.get("nextToken", "")
        ]
        page = names[: min(parameters.get("limit", _GROUPS), _GROUPS)]
        arn = f"arn:aws:logs:{context.region}:{context.account}:log-group:"
        return {
            "logGroups": [
                {"logGroupName": name, "arn": f"{arn}{name}:*", "logGroupArn": arn + name}
                for name in page
            ],
            "nextToken": page[-1] if len(page) < len(names) else None,
        }

    async def describe_log_streams(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        group = await self._group(context, parameters)
        found: dict[str, list[LogEvent]] = {}
        place = Place()
        while True:
            events, place = await self._store.read(
                context.account, context.region, group, place, _PAGE
            )
            for event in events:
                entry = found.setdefault(event.stream, [event, event])
                entry[1] = event
            if len(events) < _PAGE:
                break
        prefix = parameters.get("logStreamNamePrefix", "")
        names = sorted(name for name in found if name.startswith(prefix))
        if parameters.get("orderBy") == "LastEventTime":
            names.sort(key=lambda name: found[name][1].timestamp)
        if parameters.get("descending"):
            names.reverse()
        token = parameters.get("nextToken")
        begin = names.index(token) + 1 if token in names else 0
        page = names[begin : begin + min(parameters.get("limit", _GROUPS), _GROUPS)]
        arn = f"arn:aws:logs:{context.region}:{context.account}:log-group:{group}:log-stream:"
        return {
            "logStreams": [
                {
                    "logStreamName": name,
                    "creationTime": found[name][0].timestamp,
                    "firstEventTimestamp": found[name][0].timestamp,
                    "lastEventTimestamp": found[name][1].timestamp,
                    "arn": arn + name,
                }
                for name in page
            ],
            "nextToken": page[-1] if begin + len(page) < len(names) else None,
        }

    async def _group(self, context: Context, parameters: dict[str, Any]) -> str:
        name = parameters.get("logGroupName") or parameters.get("logGroupIdentifier", "")
        name = name.removesuffix(":*").rpartition(":log-group:")[2]
        if name not in await self._store.groups(context.account, context.region):
            raise ResourceNotFound("The specified log group does not exist.")
        return str(name)


def _place(token: str | None) -> Place:
    if not token:
        return Place()
    try:
        return Place.parse(token)
    except ValueError:
        raise InvalidParameterValue("The specified nextToken is invalid.") from None
