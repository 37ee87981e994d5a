"""The reference: a bare uvloop + httptools server that hands the body to one Python child over a
Unix socket and back.

The child gets one body at a time, as a function does: with ``pipelined`` as an argument the server
sends it whatever it has, which lets 32 clients share system calls and shows the machine's limit
rather than that of a runtime.  Run as ``python -m benchmarks.reference``; prints its port.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections import deque
from typing import Any

import httptools
import uvloop


def child(end: socket.socket) -> None:
    """Echo length-prefixed messages."""
    buffer = b""
    while True:
        while len(buffer) < 4 or len(buffer) < 4 + struct.unpack_from("I", buffer)[0]:
            data = end.recv(65536)
            if not data:
                os._exit(0)
            buffer += data
        size = struct.unpack_from("I", buffer)[0]
        end.sendall(buffer[: 4 + size])
        buffer = buffer[4 + size :]


class Child(asyncio.Protocol):
    """The server's side of the child."""

    def __init__(self, pipelined: bool) -> None:
        self.pipelined = pipelined
        self.queued: deque[tuple[Http, bytes]] = deque()
        self.waiting: deque[Http] = deque()
        self.buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, http: Http, body: bytes) -> None:
        if self.waiting and not self.pipelined:
            self.queued.append((http, body))
            return
        self.waiting.append(http)
        self.transport.write(struct.pack("I", len(body)) + body)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 4:
            size = struct.unpack_from("I", self.buffer)[0]
            if len(self.buffer) < 4 + size:
                return
            self.waiting.popleft().answer(self.buffer[4 : 4 + size])
            self.buffer = self.buffer[4 + size :]
            if self.queued:
                self.ask(*self.queued.popleft())


class Http(asyncio.Protocol):
    """One client connection."""

    def __init__(self, to_child: Child) -> None:
        self.child = to_child
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        self.child.ask(self, body)

    def answer(self, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve() -> None:
    """Serve until stdin closes."""
    mine, theirs = socket.socketpair()
    if os.fork() == 0:
        mine.close()
        child(theirs)
    theirs.close()
    loop = asyncio.get_running_loop()
    to_child = Child("pipelined" in sys.argv)
    await loop.create_connection(lambda: to_child, sock=mine)
    server = await loop.create_server(lambda: Http(to_child), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
