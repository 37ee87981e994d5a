"""StartLiveTail: log events as they come, once a second, for as long as somebody looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from lambent import ids
from lambent.api.context import Context
from lambent.api.names import log_group
from lambent.api.scans import Effort, Scans
from lambent.aws.filter_pattern import InvalidPattern, Predicate, compile_pattern
from lambent.clock import Clock
from lambent.errors import InvalidParameter, LimitExceeded, ResourceNotFound
from lambent.observe.logs import READ_BYTES, LogEvent, LogStore, Place

# Source: StartLiveTail in the CloudWatch Logs API reference.
SESSION_SECONDS = 3 * 3600
EVENTS_PER_SECOND = 500
SESSIONS = 100
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Look:
    """How a session looks at new events; most_bytes: of one group, in one look."""

    matches: Predicate
    effort: Effort
    most_bytes: int


class LiveTail:
    """Handler of StartLiveTail."""

    def __init__(self, store: LogStore, clock: Clock, scans: Scans) -> None:
        self._store = store
        self._scans = scans
        self._clock = clock
        self._sessions = 0

    async def start_live_tail(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        pattern = parameters.get("logEventFilterPattern", "")
        effort = Effort()
        try:
            matches = compile_pattern(pattern, effort.spend)
        except InvalidPattern:
            raise InvalidParameter("Invalid filter pattern") from None
        arns = parameters["logGroupIdentifiers"]
        groups = {log_group(context, arn): arn for arn in arns}
        known = set(await self._store.groups(context.account, context.region))
        if not groups.keys() <= known:
            raise ResourceNotFound("The specified log group does not exist.")
        places = {
            group: await self._store.end(context.account, context.region, group) for group in groups
        }
        if self._sessions >= SESSIONS:
            raise LimitExceeded("There are too many live tail sessions.")
        look = _Look(matches, effort, READ_BYTES // len(groups))
        return {"responseStream": self._events(context, parameters, groups, places, look)}

    async def _events(
        self,
        context: Context,
        parameters: dict[str, Any],
        groups: dict[str, str],
        places: dict[str, Place],
        look: _Look,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self._sessions += 1
        try:
            yield (
                "sessionStart",
                {
                    "requestId": ids.uuid(),
                    "sessionId": ids.uuid(),
                    "logGroupIdentifiers": list(groups.values()),
                    "logStreamNames": parameters.get("logStreamNames"),
                    "logStreamNamePrefixes": parameters.get("logStreamNamePrefixes"),
                    "logEventFilterPattern": parameters.get("logEventFilterPattern", ""),
                },
            )
            until = self._clock.monotonic() + SESSION_SECONDS
            while self._clock.monotonic() < until:
                found: list[dict[str, Any]] = []
                sampled = False
                for group, arn in groups.items():
                    fresh, complete = await self._fresh(
                        context, parameters, group, arn, places, look
                    )
                    found += fresh
                    sampled = sampled or not complete
                sampled = sampled or len(found) > EVENTS_PER_SECOND
                yield (
                    "sessionUpdate",
                    {
                        "sessionMetadata": {"sampled": sampled},
                        "sessionResults": found[:EVENTS_PER_SECOND],
                    },
                )
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._sessions -= 1

    async def _fresh(
        self,
        context: Context,
        parameters: dict[str, Any],
        group: str,
        arn: str,
        places: dict[str, Place],
        look: _Look,
    ) -> tuple[list[dict[str, Any]], bool]:
        """What a group has got since the last time, and whether all of it was looked at."""
        events, places[group] = await self._store.read(
            context.account,
            context.region,
            group,
            places[group],
            EVENTS_PER_SECOND * 2,
            look.most_bytes,
        )
        if not events:
            return [], True
        names = parameters.get("logStreamNames")
        prefixes = tuple(parameters.get("logStreamNamePrefixes") or ("",))

        def chosen() -> list[LogEvent]:
            return [
                each
                for each in events
                if (names is None or each.stream in names)
                and each.stream.startswith(prefixes)
                and not look.effort.exhausted
                and look.matches(each.message)
            ]

        found = await self._scans.run(context.account, look.effort, chosen)
        shown = [
            {
                "logStreamName": each.stream,
                "logGroupIdentifier": arn,
                "message": each.message,
                "timestamp": each.timestamp,
                "ingestionTime": each.timestamp,
            }
            for each in found
        ]
        return shown, not look.effort.exhausted
