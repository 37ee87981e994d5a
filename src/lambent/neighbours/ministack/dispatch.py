"""Requests from the gateway, and what MiniStack answers.

The gateway has verified the caller and what he may do, and says in headers of its own whose
request it is and of which service: nothing here guesses at either.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from urllib.parse import parse_qs, unquote

from lambent.http import ClientGone, Exchange
from lambent.neighbours.ministack import template_expansion
from lambent.neighbours.ministack.adapter import MODULES, MiniStack, Request
from lambent.neighbours.ministack.facts import facts
from lambent.neighbours.ministack.ours import gone, tracing
from lambent.neighbours.ministack.stack_permits import act_for
from lambent.neighbours.ministack.stacks import answered

_log = logging.getLogger(__name__)

# What the gateway lets through at most, and a little.
_BODY_BYTES = 6 * 1024 * 1024 * 1024
_ANSWER_BYTES = 64 * 1024
_PIECE = 256 * 1024
_OURS = "x-lambent-"
_READS = ("get", "list", "describe", "query", "scan", "batchget", "lookup", "head")


class Dispatch:
    """The application behind the socket."""

    def __init__(self, stack: MiniStack, changed: Callable[[], None]) -> None:
        self._stack = stack
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, exchange: Exchange) -> None:
        task = asyncio.ensure_future(self._handle(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self) -> None:
        """Wait for requests in progress."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle(self, exchange: Exchange) -> None:
        try:
            if "x-lambent-about" in exchange.headers:
                self._tell(exchange)
                return
            if "x-lambent-token" in exchange.headers:
                said = await exchange.read(_ANSWER_BYTES)
                found = answered(exchange.headers["x-lambent-token"], said)
                exchange.respond(200 if found else 404)
                return
            request = await self._read(exchange)
            if request is None:
                exchange.respond(404)
                return
            tracing.set(exchange.headers.get("x-amzn-trace-id", ""))
            gone.set(lambda: exchange.gone)
            credentials = exchange.headers.get("x-lambent-credentials")
            if credentials is not None:
                act_for(unquote(credentials), request.account, request.region)
                template_expansion.begin()
            try:
                status, headers, body = await self._stack.answer(request)
            except ClientGone:
                raise
            except Exception:
                _log.exception("%s could not answer", request.service)
                exchange.respond(500, [("x-lambent-failed", "1")])
                return
            finally:
                if not _only_reads(request):
                    self._changed()
            await self._send(exchange, status, headers, body)
        except ClientGone:
            exchange.abort()
        except Exception:
            _log.exception("a request failed")
            exchange.abort()

    def _tell(self, exchange: Exchange) -> None:
        """What the gateway asks before it decides."""
        own = exchange.headers
        found = facts(
            self._stack,
            own["x-lambent-service"],
            own["x-lambent-account"],
            own["x-lambent-region"],
            unquote(own["x-lambent-about"]),
        )
        exchange.respond(200, [], json.dumps(found).encode())

    @staticmethod
    async def _read(exchange: Exchange) -> Request | None:
        headers = {k: v for k, v in exchange.headers.items() if not k.startswith(_OURS)}
        own = {k[len(_OURS) :]: v for k, v in exchange.headers.items() if k.startswith(_OURS)}
        if own.get("service") not in MODULES:
            return None
        body = await exchange.read(_BODY_BYTES)
        headers.pop("transfer-encoding", None)
        headers.pop("connection", None)
        headers["content-length"] = str(len(body))
        return Request(
            own["service"],
            own["account"],
            own["region"],
            own.get("source") or "127.0.0.1",
            exchange.method,
            unquote(exchange.path),
            parse_qs(exchange.query, keep_blank_values=True),
            headers,
            body,
        )

    @staticmethod
    async def _send(
        exchange: Exchange, status: int, headers: dict[str, object], body: bytes | str
    ) -> None:
        pairs: list[tuple[str, str]] = []
        length = None
        for name, value in headers.items():
            if name.lower() == "content-length":
                length = int(str(value))
                continue
            values = value if isinstance(value, list | tuple) else (value,)
            pairs.extend((name, _latin(str(each))) for each in values)
        data = body.encode() if isinstance(body, str) else body
        if exchange.method == "HEAD":
            exchange.start(status, pairs, length or 0)
            exchange.end()
            return
        if status in (204, 304):
            exchange.respond(status, pairs)
            return
        exchange.start(status, pairs, len(data))
        for start in range(0, len(data), _PIECE):
            await exchange.write(data[start : start + _PIECE])
        exchange.end()


def _latin(value: str) -> str:
    """A header's value as bytes of UTF-8 where it is not Latin-1."""
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode().decode("latin-1")
    return value


def _only_reads(request: Request) -> bool:
    """Whether a request changes nothing, as far as its form tells."""
    if request.method in ("GET", "HEAD"):
        return request.service in ("s3", "scheduler")
    action = request.headers.get("x-amz-target", "").rpartition(".")[2].lower()
    return action.startswith(_READS)
