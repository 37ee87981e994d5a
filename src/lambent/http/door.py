"""A listening socket that hardly anybody connects to.

Until somebody does it costs no more than a place in the event loop's table; then it is served with
limits of its own, so that whoever is behind it cannot use up the connections of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from lambent.http.connection import HttpLimits
from lambent.http.server import Application, HttpServer

LIMITS = HttpLimits(connections=64)


class Door:
    """Serves an application on one socket, from the first connection on."""

    def __init__(self, listener: socket.socket, application: Application) -> None:
        self._listener = listener
        self._application = application
        self._server: HttpServer | None = None
        self._adopting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener.fileno(), self._accept)

    def _accept(self) -> None:
        if self._server is None:
            self._server = HttpServer(self._application, LIMITS)
        with contextlib.suppress(OSError):
            stream, _ = self._listener.accept()
            if len(self._adopting) + len(self._server.connections) >= LIMITS.connections:
                stream.close()
                return
            stream.setblocking(False)
            task = asyncio.ensure_future(self._server.adopt(stream))
            self._adopting.add(task)
            task.add_done_callback(self._adopted)

    def _adopted(self, task: asyncio.Task[None]) -> None:
        self._adopting.discard(task)
        if not task.cancelled():
            task.exception()  # it has hung up already

    def close(self) -> None:
        """Accept no more and cut what is connected; the socket stays its owner's."""
        self._loop.remove_reader(self._listener.fileno())
        if self._server is not None:
            for connection in list(self._server.connections):
                connection.abort()
