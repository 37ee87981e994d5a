"""A listening server: accepts connections, counts them, drains them at the end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from lambent.http.connection import Connection, HttpLimits
from lambent.http.exchange import Exchange

Application = Callable[[Exchange], None]

__all__ = ["Application", "HttpLimits", "HttpServer"]


class HttpServer:
    """Serves one application on one or more sockets."""

    def __init__(self, application: Application, limits: HttpLimits | None = None) -> None:
        self.limits = limits or HttpLimits()
        self.connections: set[Connection] = set()
        self._application = application
        self._servers: list[asyncio.Server] = []
        # Bytes of bodies that have come in and were not loaded yet.
        self.taken_in = 0
        self.now = asyncio.get_running_loop().time

    def connection(self) -> Connection:
        """The protocol for one new connection."""
        return Connection(self, self._application)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen on a TCP address; returns the port (chosen by the system if 0)."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self.connection, host, port, backlog=1024, reuse_address=True, ssl=tls
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def serve(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept from a socket that is bound already."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self.connection, sock=listener, backlog=1024, ssl=tls)
        self._servers.append(server)

    async def adopt(self, stream: socket.socket) -> None:
        """Serve a stream that is connected already; closes it in the end."""
        loop = asyncio.get_running_loop()
        # A connection that ends before this returns has had its descriptor closed by uvloop, which
        # the socket does not know: it would close it again, and by then it is somebody else's.
        by_object = isinstance(loop, asyncio.SelectorEventLoop)
        try:
            transport, _ = await loop.create_connection(self.connection, sock=stream)
        except BaseException:
            if not by_object:
                stream.detach()
            raise
        if transport.is_closing() and not by_object:
            stream.detach()

    def stop_listening(self) -> None:
        """Refuse new connections."""
        for server in self._servers:
            server.close()

    async def close(self, grace: float = 0.0) -> None:
        """Stop listening, let requests in progress finish for grace seconds, then cut the rest."""
        self.stop_listening()
        for connection in list(self.connections):
            connection.drain()
        deadline = self.now() + grace
        while self.connections and self.now() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
