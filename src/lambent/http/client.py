"""Requests to other servers: over TCP, TLS or a Unix socket, bodies streamed both ways.

One connection per request, as many as are asked for: those who are spoken to are near, or slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httptools

Headers = list[tuple[str, str]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Coroutine[Any, Any, Streams]]

_PIECE = 256 * 1024
_CONNECT_SECONDS = 10.0
# A queue may be asked to wait 20 s for a message.
_ANSWER_SECONDS = 120.0
_HEAD_BYTES = 128 * 1024
# RFC 9112 and 9110: what a method, a header's name, a target and a header's value may hold.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[!-~]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


class UpstreamError(Exception):
    """The other server cannot be reached, or does not speak HTTP, or hung up."""


class InvalidHead(ValueError):
    """A method, a target or a header that HTTP cannot carry: it would become something else."""


def to_socket(path: str) -> Connect:
    """Connects to a Unix socket."""
    return lambda: asyncio.open_unix_connection(path)


def to_host(host: str, port: int, tls: ssl.SSLContext | None) -> Connect:
    """Connects over TCP."""
    return lambda: asyncio.open_connection(host, port, ssl=tls)


@dataclass(slots=True)
class _Head:
    status: int = 0
    complete: bool = False
    ended: bool = False


class Reply:
    """An answer: its status, its headers (names in lower case), its body in pieces, once."""

    def __init__(self, streams: Streams, method: str) -> None:
        self._reader, self._writer = streams
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = method == "HEAD"
        self._head = _Head()
        self._pieces: list[bytes] = []
        self.headers: Headers = []

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._head.status

    def header(self, name: str) -> str | None:
        """The first header of a name in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def length(self) -> int | None:
        """The declared length of the body in bytes."""
        declared = self.header("content-length")
        return int(declared) if declared is not None and declared.isdecimal() else None

    async def begin(self) -> None:
        """Wait for the head; raises UpstreamError."""
        read = 0
        while not self._head.complete:
            read += await self._more()
            if read > _HEAD_BYTES and not self._head.complete:
                raise UpstreamError("the head of its answer is too long")

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises UpstreamError where it breaks off."""
        try:
            while not (self._head.ended or self._bodiless):
                while self._pieces:
                    yield self._pieces.pop(0)
                if not self._head.ended:
                    await self._more()
            for piece in self._pieces:
                yield piece
        finally:
            self.close()

    async def read(self, limit: int) -> bytes:
        """The whole body; raises UpstreamError past limit bytes."""
        pieces: list[bytes] = []
        total = 0
        async with contextlib.aclosing(self.body()) as body:  # type: ignore[type-var]
            async for piece in body:
                total += len(piece)
                if total > limit:
                    raise UpstreamError("its answer is too long")
                pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()

    async def _more(self) -> int:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                data = await self._reader.read(_PIECE)
        except (OSError, TimeoutError) as error:
            raise UpstreamError(str(error) or "it does not answer") from None
        if not data:
            # A body without a length ends with its connection.
            if self._head.complete and not self._delimited():
                self._head.ended = True
                return 0
            raise UpstreamError("it hung up")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise UpstreamError(f"its answer is not HTTP: {error}") from None
        return len(data)

    def _delimited(self) -> bool:
        return any(name in ("content-length", "transfer-encoding") for name, _ in self.headers)

    # -- parser ---------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head.complete:
            self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()  # 100 Continue: the answer is still to come
            return
        self._head.status = status
        self._head.complete = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._head.complete:
            self._head.ended = True


async def send(
    connect: Connect,
    method: str,
    target: str,
    headers: Headers,
    body: AsyncIterator[bytes] | bytes = b"",
) -> Reply:
    """Send a request and wait for the head of its answer; raises UpstreamError, InvalidHead.

    A streamed body goes out in chunks unless headers give its length.  What its source raises is
    raised here, and the other side sees the connection break before the body's end.
    """
    _check_head(method, target, headers)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            streams = await connect()
    except (OSError, TimeoutError) as error:
        raise UpstreamError(str(error) or "it cannot be reached") from None
    reply = Reply(streams, method)
    sending = asyncio.ensure_future(_put(streams[1], method, target, headers, body))
    answering = asyncio.ensure_future(reply.begin())
    try:
        await asyncio.wait((sending, answering), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            try:
                await sending
            except OSError:
                pass  # it may have answered before it hung up
        await answering
    except BaseException:
        streams[1].transport.abort()
        raise
    finally:
        # Whoever answers early has no use for the rest.
        for task in (sending, answering):
            task.cancel()
        await asyncio.gather(sending, answering, return_exceptions=True)
    return reply


def _check_head(method: str, target: str, headers: Headers) -> None:
    """Raise InvalidHead unless each part of a head is just that: no line break begins another."""
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise InvalidHead("the method or the target of a request is not valid in HTTP")
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidHead(f"the header {name[:64]!r} is not valid in HTTP")


async def _put(
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    headers: Headers,
    body: AsyncIterator[bytes] | bytes,
) -> None:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    whole = isinstance(body, bytes)
    chunked = not whole and not any(name.lower() == "content-length" for name, _ in headers)
    if whole and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"content-length: {len(body)}")  # type: ignore[arg-type]
    elif chunked:
        lines.append("transfer-encoding: chunked")
    head = "\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1")
    if isinstance(body, bytes):
        writer.write(head + body)
        await writer.drain()
        return
    writer.write(head)
    async for piece in body:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
