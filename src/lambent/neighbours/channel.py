"""The channel between the server and the process of the embedded services.

One request a connection.  A request is a head, a body and a tail; an answer is a head and a body.
Heads and tails are JSON objects, a body is pieces of bytes ended by an empty one, and each of them
follows its own length (four bytes, big-endian).  Service, account, region, path, parameters and
headers are fields of the head, so no value of one can become another, or a second request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from lambent.http.client import Headers, UpstreamError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Coroutine[Any, Any, Streams]]

_LENGTH = 4
# Bounds of one head or tail, and of one piece of a body.
_HEAD_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 16 * 1024 * 1024
_WRITTEN_BYTES = 256 * 1024
_CONNECT_SECONDS = 10.0
# A queue may be asked to wait 20 s for a message.
_ANSWER_SECONDS = 120.0


class Broken(Exception):
    """What arrived is not of this protocol, or ended too early."""


def frame(content: bytes) -> bytes:
    """Bytes after their length."""
    return len(content).to_bytes(_LENGTH, "big") + content


def document(content: dict[str, Any]) -> bytes:
    """A head or a tail as it is sent."""
    return frame(json.dumps(content).encode())


async def read_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    """The next frame's content; raises Broken past limit bytes or at the end of the stream."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        if length > limit:
            raise Broken("a frame is too long")
        return await reader.readexactly(length) if length else b""
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Broken("the connection broke off") from error


async def read_document(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next frame as a JSON object; raises Broken."""
    try:
        content = json.loads(await read_frame(reader, _HEAD_BYTES))
    except ValueError as error:
        raise Broken("a head is not JSON") from error
    if not isinstance(content, dict):
        raise Broken("a head is not a JSON object")
    return content


async def read_pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The pieces of a body to its end; raises Broken."""
    while piece := await read_frame(reader, _PIECE_BYTES):
        yield piece


def pieces_of(body: bytes) -> list[bytes]:
    """A whole body as frames, its end included."""
    parts = range(0, len(body), _PIECE_BYTES)
    return [*(frame(body[start : start + _PIECE_BYTES]) for start in parts), frame(b"")]


async def write_pieces(writer: asyncio.StreamWriter, body: bytes) -> None:
    """Send a body, waiting while the reader is slow."""
    for start in range(0, len(body), _WRITTEN_BYTES):
        writer.write(frame(body[start : start + _WRITTEN_BYTES]))
        await writer.drain()
    writer.write(frame(b""))
    await writer.drain()


class FramedReply:
    """See ``base.Reply``: an answer of the embedded services."""

    def __init__(self, streams: Streams) -> None:
        self._reader, self._writer = streams
        self.status = 0
        self.headers: Headers = []
        # The body's length where it is known, also of an answer to HEAD, which has none.
        self.length: int | None = None

    async def begin(self) -> None:
        """Wait for the head; raises UpstreamError."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                head = await read_document(self._reader)
            self.status = int(head["status"])
            self.headers = [(str(name), str(value)) for name, value in head["headers"]]
            self.length = head.get("length")
        except (Broken, TimeoutError, KeyError, TypeError, ValueError) as error:
            raise UpstreamError(str(error) or "it does not answer") from None

    def header(self, name: str) -> str | None:
        """The first header of a name in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises UpstreamError where it breaks off."""
        try:
            async for piece in read_pieces(self._reader):
                yield piece
        except Broken as error:
            raise UpstreamError(str(error)) from None
        finally:
            self.close()

    async def read(self, limit: int) -> bytes:
        """The whole body; raises UpstreamError past limit bytes."""
        content = bytearray()
        async for piece in self.body():
            content += piece
            if len(content) > limit:
                self.close()
                raise UpstreamError("its answer is too long")
        return bytes(content)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def ask(
    connect: Connect,
    head: dict[str, Any],
    body: AsyncIterator[bytes] | bytes = b"",
    tail: Callable[[], dict[str, str]] = dict,
) -> FramedReply:
    """Send a request and wait for the head of its answer; raises UpstreamError.

    tail: what is known when the whole body has been sent.  What the source of a body raises is
    raised here, and the other side sees the connection break before the request's end.
    """
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            streams = await connect()
    except (OSError, TimeoutError) as error:
        raise UpstreamError(str(error) or "it cannot be reached") from None
    writer = streams[1]
    reply = FramedReply(streams)
    try:
        if isinstance(body, bytes):
            writer.writelines([document(head), *pieces_of(body), document(tail())])
            await reply.begin()
        else:
            await _send_while_answering(writer, reply, head, body, tail)
    except BaseException:
        writer.transport.abort()
        raise
    return reply


async def _send_while_answering(
    writer: asyncio.StreamWriter,
    reply: FramedReply,
    head: dict[str, Any],
    body: AsyncIterator[bytes],
    tail: Callable[[], dict[str, str]],
) -> None:
    """Send a streamed body; an answer that comes before its end ends the sending."""
    sending = asyncio.ensure_future(_stream(writer, head, body, tail))
    answering = asyncio.ensure_future(reply.begin())
    try:
        await asyncio.wait((sending, answering), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            try:
                await sending
            except OSError:
                pass  # it may have answered before it hung up
        await answering
    finally:
        for task in (sending, answering):
            task.cancel()
        await asyncio.gather(sending, answering, return_exceptions=True)


async def _stream(
    writer: asyncio.StreamWriter,
    head: dict[str, Any],
    body: AsyncIterator[bytes],
    tail: Callable[[], dict[str, str]],
) -> None:
    writer.write(document(head))
    async for piece in body:
        for start in range(0, len(piece), _PIECE_BYTES):
            writer.write(frame(piece[start : start + _PIECE_BYTES]))
        await writer.drain()
    writer.write(frame(b"") + document(tail()))
    await writer.drain()
