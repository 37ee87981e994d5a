"""Asynchronous events seen from outside: what waits, what failed, and what to do with it.

GET    /_lambent/events                     each function's depth
GET    /_lambent/events/FUNCTION?limit=N    some of its events
DELETE /_lambent/events/FUNCTION            remove them all
POST   /_lambent/events/FUNCTION/replay     let those that failed begin anew
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from lambent.clock import Clock
from lambent.errors import UnknownOperation
from lambent.iam.authenticate import Principal
from lambent.queue.base import Backlog, Peeked

PREFIX = "/_lambent/events"
_PATH = re.compile(PREFIX + r"(?:/(?P<function>[A-Za-z0-9_-]{1,64})(?P<replay>/replay)?)?")
_SHOWN, _MOST_SHOWN = 20, 500
# A payload is shown this far.
_PAYLOAD = 1_000


class EventReports:
    """Answers those paths for the owner of an account.

    expect: told of a shard with due events; forget: of one whose events are about to be removed.
    """

    def __init__(
        self,
        backlog: Backlog,
        expect: Callable[[str], None],
        forget: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._backlog = backlog
        self._expect = expect
        self._forget = forget
        self._clock = clock

    async def answer(self, principal: Principal, method: str, path: str, query: str) -> Any:
        """What a request is answered, as JSON; raises UnknownOperation."""
        found = _PATH.fullmatch(path)
        if found is None:
            raise UnknownOperation
        place = f"{principal.account}/{principal.region}/"
        name, replay = found["function"], found["replay"]
        if name is None and method == "GET":
            return {"events": await self._list(place)}
        if name is not None and replay is None and method == "GET":
            return {"events": await self._peek(place + name, query)}
        if name is not None and replay is None and method == "DELETE":
            self._forget(place + name)
            return {"purged": await self._backlog.purge(place + name)}
        if name is not None and replay is not None and method == "POST":
            replayed = await self._backlog.replay(place + name, self._clock.time())
            self._expect(place + name)
            return {"replayed": replayed}
        raise UnknownOperation

    async def _list(self, place: str) -> list[dict[str, Any]]:
        now = self._clock.time()
        depths = await self._backlog.depths(place)
        return [
            {
                "function": shard.removeprefix(place),
                "waiting": depth.waiting,
                "failed": depth.failed,
                "oldest_seconds": None if depth.oldest is None else max(0.0, now - depth.oldest),
            }
            for shard, depth in sorted(depths.items())
        ]

    async def _peek(self, shard: str, query: str) -> list[dict[str, Any]]:
        try:
            limit = int(parse_qs(query).get("limit", [_SHOWN])[0])
        except ValueError:
            limit = _SHOWN
        peeked = await self._backlog.peek(shard, max(1, min(limit, _MOST_SHOWN)))
        return [_shown(each) for each in peeked]


def _shown(peeked: Peeked) -> dict[str, Any]:
    event = peeked.event
    ending, answer = event.ending, event.answer
    return {
        "id": event.id,
        "state": peeked.state,
        "qualifier": event.qualifier,
        "accepted": event.accepted,
        "due": peeked.due,
        "attempts": event.failures,
        "condition": ending.condition if ending is not None else None,
        "error": answer.payload[:_PAYLOAD].decode("utf-8", "replace") if answer else None,
        "payload": event.payload[:_PAYLOAD].decode("utf-8", "replace"),
    }
