"""What the server tells of itself: counters for Prometheus, and what functions have used."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from lambent.clock import Clock
from lambent.http import Exchange
from lambent.iam.credentials import AccessKey
from lambent.observe.usage import Usage, labels
from lambent.queue.base import Backlog

_DAYS = 366


class Reports:
    """Answers /metrics and /_lambent/usage."""

    def __init__(
        self,
        owner: AccessKey,
        usage: Usage,
        running: Callable[[], Iterable[tuple[str, str, str, int]]],
        backlog: Backlog,
        clock: Clock,
    ) -> None:
        self._owner = owner
        self._usage = usage
        self._running = running
        self._backlog = backlog
        self._clock = clock

    async def metrics(self, exchange: Exchange) -> None:
        """Prometheus's text, for who knows the owner's key (HTTP Basic: Prometheus cannot sign)."""
        pair = f"{self._owner.access_key_id}:{self._owner.secret}".encode()
        wanted = b"Basic " + base64.b64encode(pair)
        given = exchange.headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, wanted):
            headers = [
                ("WWW-Authenticate", 'Basic realm="lambent"'),
                ("Content-Type", "text/plain"),
            ]
            exchange.respond(401, headers, b"The owner's access key and secret are asked for.\n")
            return
        text = self._usage.prometheus(self._running) + await self._queued()
        headers = [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")]
        exchange.respond(200, headers, text.encode())

    async def _queued(self) -> str:
        """Gauges of what waits to be run asynchronously."""
        depths = await self._backlog.depths()
        now = self._clock.time()
        lines: list[str] = []
        for name, help_text, value in (
            ("queued", "Asynchronous events that wait or run.", lambda each: each.waiting),
            ("failed", "Asynchronous events laid aside.", lambda each: each.failed),
            (
                "oldest_seconds",
                "Age of the oldest asynchronous event.",
                lambda each: max(0.0, now - (each.oldest or now)),
            ),
        ):
            metric = f"lambent_events_{name}"
            lines += [f"# HELP {metric} {help_text}", f"# TYPE {metric} gauge"]
            for shard, depth in sorted(depths.items()):
                account, _, rest = shard.partition("/")
                region, _, function = rest.rpartition("/")
                who = labels(account=account, region=region, function=function)
                lines.append(f"{metric}{who} {value(depth)}")
        return "\n".join(lines) + "\n"

    def usage(self, account: str, query: str) -> dict[str, Any]:
        """An account's use by day."""
        try:
            days = int(parse_qs(query).get("days", ["31"])[0])
        except ValueError:
            days = 31
        return {"usage": self._usage.days(account, max(1, min(days, _DAYS)))}
