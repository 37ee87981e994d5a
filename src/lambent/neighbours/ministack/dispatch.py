"""Requests from the gateway, and what MiniStack answers.

The gateway has verified and authorised the caller; service, account and region are fields of each
request (``channel``), so nothing here derives them from what a client wrote.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

from lambent.http import ClientGone
from lambent.neighbours import channel
from lambent.neighbours.ministack import template_expansion
from lambent.neighbours.ministack.adapter import MODULES, MiniStack, Request
from lambent.neighbours.ministack.facts import facts
from lambent.neighbours.ministack.ours import gone, tracing
from lambent.neighbours.ministack.stack_permits import act_for
from lambent.neighbours.ministack.stacks import answered

_log = logging.getLogger(__name__)

_BACKLOG = 1024
_READS = ("get", "list", "describe", "query", "scan", "batchget", "lookup", "head")


class Dispatch:
    """Answers what comes over the channel, one request a connection."""

    def __init__(self, stack: MiniStack, changed: Callable[[], None]) -> None:
        self._stack = stack
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections from now on."""
        self._server = await asyncio.start_unix_server(
            self._connected, sock=listener, backlog=_BACKLOG
        )

    def stop_listening(self) -> None:
        """Accept no more connections."""
        if self._server is not None:
            self._server.close()

    async def drained(self) -> None:
        """Wait for requests in progress."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handle(reader, writer)
        except (channel.Broken, ClientGone, ConnectionError):
            writer.transport.abort()
        except Exception:
            _log.exception("a request failed")
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await channel.read_document(reader)
        body = b"".join([piece async for piece in channel.read_pieces(reader)])
        tail = await channel.read_document(reader)
        kind = head["kind"]
        if kind == "ping":
            await _send(writer, 200)
        elif kind == "facts":
            place = (head["service"], head["account"], head["region"])
            found = facts(self._stack, *place, head["about"])
            await _send(writer, 200, body=json.dumps(found).encode())
        elif kind == "answer":
            await _send(writer, 200 if answered(head["token"], body) else 404)
        elif kind == "request" and head["service"] in MODULES:
            await self._answer(_request(head, body, tail), head, reader, writer)
        else:
            await _send(writer, 404)

    async def _answer(
        self,
        request: Request,
        head: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Have a service answer, in the name of the request's caller."""
        tracing.set(head["trace"])
        gone.set(reader.at_eof)
        if head["credentials"]:
            act_for(json.dumps(head["credentials"]), request.account, request.region)
            template_expansion.begin()
        try:
            status, headers, body = await self._stack.answer(request)
        except ClientGone:
            raise
        except Exception:
            _log.exception("%s could not answer", request.service)
            await _send(writer, 0)
            return
        finally:
            if not _only_reads(request):
                self._changed()
        pairs: list[tuple[str, str]] = []
        length = None
        for name, value in headers.items():
            if name.lower() == "content-length":
                length = int(str(value))
                continue
            values = value if isinstance(value, list | tuple) else (value,)
            pairs.extend((name.lower(), _latin(str(each))) for each in values)
        data = body.encode() if isinstance(body, str) else body
        if request.method == "HEAD" or status in (204, 304):
            await _send(writer, status, pairs, length=length or 0)
        else:
            await _send(writer, status, pairs, data)


def _request(head: dict[str, Any], body: bytes, tail: dict[str, Any]) -> Request:
    """A request of the channel as a service reads it."""
    query: dict[str, list[str]] = {}
    for name, value in head["query"]:
        query.setdefault(name, []).append(value)
    headers = {**head["headers"], **tail}
    headers["host"] = head["host"] or "localhost"
    headers["content-length"] = str(len(body))
    return Request(
        head["service"],
        head["account"],
        head["region"],
        head["source"] or "127.0.0.1",
        head["method"],
        head["path"],
        query,
        headers,
        body,
    )


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    length: int | None = None,
) -> None:
    """Answer; status 0: the service failed.  length: of the body that GET would have."""
    head = {
        "status": status,
        "headers": headers or [],
        "length": len(body) if length is None else length,
    }
    writer.write(channel.document(head))
    await channel.write_pieces(writer, body)


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
