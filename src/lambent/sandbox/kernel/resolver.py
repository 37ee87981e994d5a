"""The name server of sandboxes: passes DNS questions on to the host's own and answers back.

A process of its own, so that a flood of questions is nobody else's trouble.  It looks at nothing of
a message but its number.  Each question goes out from a port of its own, under a number of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from typing import cast

RESOLV_CONF = "/etc/resolv.conf"
PORT = 53
# Waiting questions, and open streams: all together, and of one sandbox.
_MOST = 1024
_MOST_EACH = 64
_STREAMS_EACH = 8
_PATIENCE = 2.5
_STREAM_SECONDS = 20.0
_HEADER = 12


def folders() -> list[str]:
    """The host folders in which the name servers are written down.

    Folders, because what writes them replaces the file.
    """
    return [os.path.dirname(RESOLV_CONF), os.path.dirname(os.path.realpath(RESOLV_CONF))]


class _Upstream:
    """The host's name servers, read again when they have changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0
        self._servers: list[str] = []

    def servers(self) -> list[str]:
        """In the order to ask; the local one where none is named."""
        now = time.monotonic()
        if now - self._looked > 1.0:
            self._looked = now
            with contextlib.suppress(OSError, UnicodeDecodeError):
                status = os.stat(self._path)
                stamp = (status.st_mtime_ns, status.st_ino)
                if stamp != self._stamp:
                    with open(self._path) as file:
                        words = [line.split() for line in file]
                    named = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
                    self._servers, self._stamp = named[:3], stamp
        return self._servers or ["127.0.0.1"]


class _Answer(asyncio.DatagramProtocol):
    """Takes the first datagram that bears the question's number."""

    def __init__(self, number: bytes) -> None:
        self._number = number
        self.message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, source: object) -> None:
        if len(data) >= _HEADER and data[:2] == self._number and not self.message.done():
            self.message.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.message.done():
            self.message.set_exception(error)


class Resolver(asyncio.DatagramProtocol):
    """Serves one datagram socket and one listener."""

    def __init__(self, path: str = RESOLV_CONF, port: int = PORT) -> None:
        self._upstream = _Upstream(path)
        self._port = port
        self._waiting: dict[str, int] = {}
        self._streams: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.SystemRandom()
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        """A question; over the limits it is not heard, and asked again by whoever asked."""
        if len(data) < _HEADER or len(self._tasks) >= _MOST:
            return
        if self._waiting.get(source[0], 0) < _MOST_EACH:
            task = asyncio.ensure_future(self._resolve(data, source))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget the questions that wait."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _resolve(self, question: bytes, source: tuple[str, int]) -> None:
        self._waiting[source[0]] = self._waiting.get(source[0], 0) + 1
        try:
            for server in self._upstream.servers():
                with contextlib.suppress(OSError, asyncio.TimeoutError, ValueError):
                    answer = await self._ask(server, question)
                    self._transport.sendto(question[:2] + answer[2:], source)
                    return
        finally:
            _leave(self._waiting, source[0])

    async def _ask(self, server: str, question: bytes) -> bytes:
        number = self._random.randbytes(2)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: _Answer(number), remote_addr=(server, self._port)
        )
        try:
            transport.sendto(number + question[2:])
            return await asyncio.wait_for(protocol.message, _PATIENCE)
        finally:
            transport.close()

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions over TCP: a stream of the host's name server for a stream of the sandbox."""
        source = writer.get_extra_info("peername")[0]
        try:
            if self._streams.get(source, 0) < _STREAMS_EACH:
                self._streams[source] = self._streams.get(source, 0) + 1
                try:
                    await asyncio.wait_for(self._join(reader, writer), _STREAM_SECONDS)
                finally:
                    _leave(self._streams, source)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = self._upstream.servers()[0]
        from_there, to_there = await asyncio.open_connection(server, self._port)
        try:
            while True:
                await _pass_on(reader, to_there)
                await _pass_on(from_there, writer)
        finally:
            to_there.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One message with its length before it."""
    length = await reader.readexactly(2)
    writer.write(length + await reader.readexactly(int.from_bytes(length, "big")))
    await writer.drain()


def _leave(counts: dict[str, int], source: str) -> None:
    counts[source] -= 1
    if not counts[source]:
        del counts[source]


async def serve(questions: socket.socket, listener: socket.socket, resolver: Resolver) -> None:
    """Until it is cancelled or the process ends."""
    for each in (questions, listener):
        each.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: resolver, sock=questions)
    try:
        async with await asyncio.start_server(resolver.stream, sock=listener) as server:
            await server.serve_forever()
    finally:
        transport.close()
        await resolver.close()
