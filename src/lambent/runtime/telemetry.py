"""The Telemetry API (and the Logs API it replaced) of one execution environment.

An extension subscribes while the environment initialises; from then on what the platform, the
function and the extensions say is buffered and delivered to it, by HTTP or as lines over TCP,
inside the sandbox.  Shapes and ranges: AWS Lambda, "Lambda Telemetry API reference".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lambent.clock import Clock, Timer
from lambent.http import Exchange

PATHS = ("/2022-07-01/telemetry", "/2020-08-15/logs")
_TYPES = ("platform", "function", "extension")
_JSON = [("Content-Type", "application/json")]
_BODY_BYTES = 64 * 1024
_DELIVERY_SECONDS = 2.0
# Batches of one subscriber that may wait; what is over is dropped and told.
_WAITING = 8
_RANGES = {"maxItems": (1000, 10_000), "maxBytes": (262_144, 1_048_576), "timeoutMs": (25, 30_000)}
_DEFAULTS = {"maxItems": 10_000, "maxBytes": 262_144, "timeoutMs": 1000}

Connect = Callable[[int], Awaitable[socket.socket]]
"""A connection to a port inside the sandbox; raises OSError."""


class Invalid(Exception):
    """A subscription that cannot be."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants what, how much at a time (items, bytes, milliseconds), and where."""

    name: str
    types: tuple[str, ...]
    most_items: int
    most_bytes: int
    milliseconds: int
    port: int
    # None: lines over TCP.
    path: str | None

    @classmethod
    def read(cls, name: str, body: bytes | None) -> Subscription:
        """From a request's body; raises Invalid."""
        try:
            wanted = json.loads(body or b"")
            types, destination = wanted["types"], wanted["destination"]
            buffering = {**_DEFAULTS, **wanted.get("buffering", {})}
            if not types or any(each not in _TYPES for each in types):
                raise Invalid(f"types must be some of {', '.join(_TYPES)}")
            for key, (least, most) in _RANGES.items():
                if not least <= int(buffering[key]) <= most:
                    raise Invalid(f"buffering.{key} must be between {least} and {most}")
            port, path = _destination(destination)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Invalid(f"the subscription cannot be read: {error!r}") from None
        items, size, milliseconds = (int(buffering[key]) for key in _RANGES)
        return cls(name, tuple(dict.fromkeys(types)), items, size, milliseconds, port, path)


def _destination(wanted: dict[str, Any]) -> tuple[int, str | None]:
    protocol = str(wanted["protocol"]).upper()
    if protocol == "TCP":
        return int(wanted["port"]), None
    url = urlsplit(str(wanted["URI"]))
    if protocol != "HTTP" or url.scheme != "http":
        raise Invalid("destination.protocol must be HTTP or TCP")
    if url.hostname not in ("sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"):
        raise Invalid("destination.URI must be of the host sandbox.localdomain")
    return url.port or 80, url.path or "/"


class _Subscriber:
    """What waits for one subscription, and its delivery."""

    def __init__(self, subscription: Subscription, clock: Clock, connect: Connect) -> None:
        self.subscription = subscription
        self._clock = clock
        self._connect = connect
        self._items: list[bytes] = []
        self._bytes = 0
        self._timer: Timer | None = None
        self._batches: deque[list[bytes]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._stream: socket.socket | None = None
        self.dropped = 0

    def add(self, item: bytes) -> None:
        self._items.append(item)
        self._bytes += len(item) + 1
        limits = self.subscription
        if len(self._items) >= limits.most_items or self._bytes >= limits.most_bytes:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.call_later(limits.milliseconds / 1000, self.flush)

    def flush(self) -> None:
        """Send what there is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._items:
            if len(self._batches) >= _WAITING:
                self.dropped += len(self._items)
            else:
                self._batches.append(self._items)
            self._items, self._bytes = [], 0
        if self._batches and self._sending is None:
            self._sending = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        try:
            while self._batches:
                batch = self._batches[0]
                try:
                    await asyncio.wait_for(self._deliver(batch), _DELIVERY_SECONDS)
                except (OSError, TimeoutError, ValueError):
                    self.dropped += len(batch)
                    self._hang_up()
                self._batches.popleft()
        finally:
            self._sending = None

    async def _deliver(self, batch: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        if self._stream is None:
            self._stream = await self._connect(self.subscription.port)
        if self.subscription.path is None:
            await loop.sock_sendall(self._stream, b"\n".join(batch) + b"\n")
            return
        body = b"[" + b",".join(batch) + b"]"
        head = (
            f"POST {self.subscription.path} HTTP/1.1\r\n"
            f"Host: sandbox.localdomain:{self.subscription.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        try:
            await loop.sock_sendall(self._stream, head.encode("latin-1") + body)
            while await loop.sock_recv(self._stream, 4096):
                pass
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def drain(self) -> None:
        """Send all there is and wait for it."""
        self.flush()
        if self._sending is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._sending

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()
        self._hang_up()


class Telemetry:
    """All subscriptions of one environment."""

    def __init__(
        self, clock: Clock, connect: Connect, subscribed: Callable[[Subscription], None]
    ) -> None:
        """subscribed: told of each new subscription."""
        self._clock = clock
        self._connect = connect
        self._subscribed = subscribed
        self._subscribers: dict[str, _Subscriber] = {}
        self._closed = False

    @property
    def any(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscribers)

    def wants(self, kind: str) -> bool:
        """Whether anybody listens to a kind: platform, function or extension."""
        return any(kind in each.subscription.types for each in self._subscribers.values())

    def emit(self, kind: str, event: dict[str, Any]) -> None:
        """Tell those who listen to the kind."""
        item = json.dumps(event).encode()
        for subscriber in self._subscribers.values():
            if kind in subscriber.subscription.types:
                subscriber.add(item)

    def close_registration(self) -> None:
        """Initialisation is over: nobody may subscribe any more."""
        self._closed = True

    async def drain(self) -> None:
        """Deliver everything."""
        await asyncio.gather(*[each.drain() for each in self._subscribers.values()])

    def dropped(self) -> int:
        """Events lost since the last time this was asked."""
        total = 0
        for subscriber in self._subscribers.values():
            total += subscriber.dropped
            subscriber.dropped = 0
        return total

    def renew(self) -> None:
        """Forget who listened: everything in the environment starts anew."""
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._subscribers = {}
        self._closed = False

    def handle(self, exchange: Exchange, name: str) -> None:
        """A subscription of an extension that is known."""
        if exchange.method != "PUT":
            exchange.respond(405, (), b"")
            return

        def done(body: bytes | None) -> None:
            if self._closed:
                kind = "Telemetry.SubscriptionClosed"
                _refuse(exchange, 403, kind, "Telemetry API subscription is closed already")
                return
            try:
                subscription = Subscription.read(name, body)
            except Invalid as error:
                _refuse(exchange, 400, "ValidationError", str(error))
                return
            old = self._subscribers.get(name)
            if old is not None:
                old.close()
            self._subscribers[name] = _Subscriber(subscription, self._clock, self._connect)
            exchange.respond(200, (), b"OK")
            self._subscribed(subscription)

        exchange.collect(_BODY_BYTES, done)


def _refuse(exchange: Exchange, status: int, kind: str, message: str) -> None:
    body = json.dumps({"errorMessage": message, "errorType": kind}).encode()
    exchange.respond(status, _JSON, body)
