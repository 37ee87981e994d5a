"""One client connection: bytes in, exchanges out, bytes back in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

from lambent.http.exchange import Exchange
from lambent.http.flow import FlowControl

if TYPE_CHECKING:
    from lambent.http.server import HttpServer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds on one connection: bytes and seconds; a time of 0 means unlimited."""

    target_bytes: int = 16 * 1024
    header_bytes: int = 64 * 1024
    header_count: int = 128
    pipelined: int = 32
    head_seconds: float = 20.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    discard_bytes: int = 128 * 1024 * 1024
    connections: int = 10_000
    # Bytes of a body that are in memory while it comes in; of all bodies that come in, in memory
    # and on disk; where they are put ("": the system's folder for temporary files).
    kept_bytes: int = 512 * 1024
    spool_bytes: int = 4 * 1024 * 1024 * 1024
    spool: str = ""

    @property
    def spool_folder(self) -> str | None:
        """Where large bodies are put; None for the system's own choice."""
        return self.spool or None


class _Refused(Exception):
    """The head breaks a limit: the status to answer with."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Names(dict[bytes, str]):
    """Header names as sent → in lower case; remembers those that come again and again."""

    _KEPT, _LONGEST = 512, 64

    def __missing__(self, raw: bytes) -> str:
        name = raw.decode("latin-1").lower()
        if len(self) < self._KEPT and len(raw) <= self._LONGEST:
            self[raw] = name
        return name


_NAMES = _Names()


class Connection(asyncio.Protocol):
    """Parses requests, hands them to the application one at a time, and writes responses."""

    def __init__(self, server: HttpServer, application: Callable[[Exchange], None]) -> None:
        self._server = server
        self._limits = self.limits = server.limits
        self._application = application
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._flow: FlowControl
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._receiving: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_since = 0.0
        self._began = 0.0
        self._target = b""
        self._raw_headers: list[tuple[bytes, bytes]] = []
        # Bytes of the chunk being parsed, and of all chunks since the one the message began in.
        self._chunk_bytes = 0
        self._message_bytes = 0
        # Bytes since the last that were of use: an endless header, trailer or chunk extension.
        self._stalled_bytes = 0
        self._progress = False
        self._in_head = False
        self._discarded = 0
        self.closed = False
        self.draining = False
        self.peer = ""
        self.tls: tuple[str, str] | None = None

    # -- transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._flow = FlowControl(self._transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self.tls = (secured.version() or "", (secured.cipher() or ("",))[0])
        self._server.connections.add(self)
        if len(self._server.connections) > self._limits.connections:
            self._transport.abort()
            return
        self._waiting_since = self._server.now()
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._flow.lost()
        for exchange in (self._receiving, self._current, *self._queue):
            if exchange is not None:
                exchange.lost()
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        if self._receiving is not None and self._receiving.discarding:
            self._discarded += len(data)
            if self._discarded > self._limits.discard_bytes:
                self.abort()
                return
        self._waiting_since = self._server.now()
        self._chunk_bytes = len(data)
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reject(400)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self._reject(cause.status)
            else:
                _log.exception("a request could not be handled", exc_info=cause)
                self._reject(500)
        except httptools.HttpParserError:
            self._reject(400)
        self._message_bytes += len(data)
        if self._progress:
            self._stalled_bytes = 0
        else:
            self._stalled_bytes += len(data)
            if self._stalled_bytes > self._limits.header_bytes + self._limits.target_bytes:
                self._reject(431)

    def eof_received(self) -> None:
        return None

    def pause_writing(self) -> None:
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        self._flow.resume_writing()

    # -- parser ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._target = b""
        self._message_bytes = 0
        self._in_head = True
        self._began = self._waiting_since

    def on_url(self, url: bytes) -> None:
        self._target = self._target + url if self._target else url
        if len(self._target) > self._limits.target_bytes:
            raise _Refused(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw_headers.append((name, value))

    def _headers(self) -> dict[str, str]:
        """The headers, or trailers, since the last call; raises _Refused past a limit."""
        raw, self._raw_headers = self._raw_headers, []
        limits = self._limits
        if len(raw) > limits.header_count or (
            self._message_bytes + self._chunk_bytes > limits.header_bytes
            and sum([len(name) + len(value) for name, value in raw]) > limits.header_bytes
        ):
            raise _Refused(431)
        headers = {_NAMES[name]: value.decode("latin-1") for name, value in raw}
        return headers if len(headers) == len(raw) else _joined(raw)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._progress = True
        headers = self._headers()
        if "content-length" in headers and not headers["content-length"].isdecimal():
            raise _Refused(400)
        exchange = Exchange(
            self,
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            headers,
            self._parser.should_keep_alive(),
        )
        self._receiving = exchange
        if self._current is None:
            self._current = exchange
            self._application(exchange)
        else:
            self._queue.append(exchange)
            if len(self._queue) >= self._limits.pipelined:
                self.pause_reading()

    def on_body(self, body: bytes) -> None:
        self._progress = True
        if self._receiving is not None:
            self._receiving.feed(body)

    def on_message_complete(self) -> None:
        self._progress = True
        exchange = self._receiving
        self._receiving = None
        if exchange is not None:
            if self._raw_headers:
                exchange.trailers = self._headers()
            exchange.complete()
            if exchange.discarding:
                self.close()

    # -- for exchanges --------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self.closed:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has read enough."""
        await self._flow.drained()

    def take_in(self, count: int) -> bool:
        """Whether so many bytes more of a body may be kept; if not, the connection ends."""
        if self._server.taken_in + count > self._limits.spool_bytes:
            self._reject(503)
            return False
        self._server.taken_in += count
        return True

    def let_go(self, count: int) -> None:
        """So many bytes of a body are no longer kept."""
        self._server.taken_in -= count

    def pause_reading(self) -> None:
        """Stop taking bytes from the client."""
        self._flow.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._flow.resume_reading()

    def finished(self, exchange: Exchange) -> None:
        """The response has been written: on to the next request, or the end."""
        if not exchange.keep_alive:
            if exchange.is_complete or self.closed:
                self.close()
            else:
                # Let the client finish sending: closing now could destroy the answer on its way.
                exchange.discarding = True
                exchange.forget_body()
                self._flow.resume_reading()
            return
        self._waiting_since = self._server.now()
        self._current = None
        # A body that came faster than it was taken may have left the client waiting.
        self._flow.resume_reading()
        if self._queue:
            self._current = self._queue.popleft()
            self._application(self._current)
        elif self.draining:
            self.close()

    def close(self) -> None:
        """Close once everything written has gone out."""
        if not self.closed:
            self._transport.close()

    def abort(self) -> None:
        """Break the connection at once."""
        if not self.closed:
            self._transport.abort()

    def drain(self) -> None:
        """Finish the request at hand, then close."""
        self.draining = True
        if self._current is None:
            self.close()

    def _reject(self, status: int) -> None:
        if self._current is not None and self._current.started:
            self.abort()
            return
        self.write(
            b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
        )
        self.close()

    # -- slow clients ---------------------------------------------------------------------

    def _allowed(self) -> float:
        """Seconds the client may stay silent in the present state; 0 for ever."""
        if self._receiving is not None:
            return self._limits.body_seconds
        if self._in_head:
            return self._limits.head_seconds
        return 0.0 if self._current is not None else self._limits.idle_seconds

    def _watch(self) -> None:
        """Look at the clock now and then rather than arm a timer per read."""
        shortest = min(
            self._limits.head_seconds, self._limits.body_seconds, self._limits.idle_seconds
        )
        if shortest > 0:
            self._timer = asyncio.get_running_loop().call_later(shortest / 4, self._look)

    def _look(self) -> None:
        if self.closed:
            return
        allowed = self._allowed()
        # A head must be in within its time as a whole; a body must only keep coming.
        since = self._began if self._in_head else self._waiting_since
        if allowed and self._server.now() - since > allowed:
            if self._in_head or self._receiving is not None:
                self._reject(408)
            else:
                self.close()
            return
        self._watch()


def _joined(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in [(_NAMES[name], value.decode("latin-1")) for name, value in raw]:
        if name in headers and name == "content-length" and headers[name] != value:
            raise _Refused(400)
        if name in headers and name != "content-length":
            value = f"{headers[name]}{'; ' if name == 'cookie' else ','}{value}"
        headers[name] = value
    return headers
