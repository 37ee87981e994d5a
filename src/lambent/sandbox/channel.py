"""The server's end of its talk with the helper processes (see ``kernel.wire``)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from lambent.sandbox.base import SandboxError
from lambent.sandbox.kernel import wire

_log = logging.getLogger(__name__)

# Messages that may wait until one is expected; a peer that sends more is disconnected.
_MOST_EARLY = 16

Message = tuple[dict[str, Any], list[int]]
"""What arrives: an object and the descriptors that came with it."""


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Channel:
    """The server's end of a SEQPACKET pair: requests answered in order."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._waiting: deque[asyncio.Future[Message]] = deque()
        # What came before anybody expected it.
        self._early: deque[Message] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._listener: Callable[[Message | None], None] | None = None
        end.setblocking(False)
        self._loop.add_reader(end.fileno(), self._readable)

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(mine), theirs

    def expect(self) -> asyncio.Future[Message]:
        """The next message, in order."""
        future: asyncio.Future[Message] = self._loop.create_future()
        if self._early:
            future.set_result(self._early.popleft())
        elif self._closed:
            future.set_exception(SandboxError("a sandbox helper process has ended"))
        else:
            self._waiting.append(future)
        return future

    def listen(self, listener: Callable[[Message | None], None]) -> None:
        """From now on tell every message as it comes, and with None that no more will."""
        self._listener = listener
        early, self._early = self._early, deque()
        for message in early:
            listener(message)
        if self._closed:
            listener(None)

    def send(self, message: dict[str, Any], descriptors: tuple[int, ...] | list[int] = ()) -> None:
        try:
            wire.send(self._socket, message, descriptors)
        except OSError as error:
            raise SandboxError(f"a sandbox helper process has ended: {error}") from error

    def _readable(self) -> None:
        try:
            received = wire.receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            early, self._early = self._early, deque()
            self.close()
            self._early = early
            if self._listener is not None:
                self._listener(None)
        elif self._listener is not None:
            self._listener(received)
        elif not self._waiting:
            self._keep(received)
        elif not (waiter := self._waiting.popleft()).done():
            waiter.set_result(received)
        else:
            _close_all(received[1])

    def _keep(self, message: Message) -> None:
        """Keep a message until one is expected; too many end the connection."""
        self._early.append(message)
        if len(self._early) > _MOST_EARLY:
            _log.error("a sandbox helper process sends what is not asked for; disconnected")
            self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(SandboxError("a sandbox helper process has ended"))
        self._waiting.clear()
        while self._early:
            _close_all(self._early.popleft()[1])

    @property
    def closed(self) -> bool:
        return self._closed
