"""One request and its response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING

from lambent.http.spool import Received, Spool

if TYPE_CHECKING:
    from lambent.http.connection import Connection

HeaderList = Iterable[tuple[str, str]]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n" for status, reason in _REASONS.items()}
_LINE = ": ".join
# Bytes of a body kept here before the client is made to wait.
HIGH_WATER = 256 * 1024


class BodyTooLarge(Exception):
    """The request's body is longer than the reader allows."""


class ClientGone(Exception):
    """The client hung up before its request or its response was complete."""


def _clean(value: str) -> str:
    """A header value that cannot end its line."""
    return value.replace("\r", " ").replace("\n", " ")


class Exchange:
    """What an application sees of one request, and how it answers.

    method, target (raw, as sent), path and query (split, still percent-encoded), headers
    (lower-case name → value, repeated ones joined by ",", cookies by "; ").  Exactly one of
    ``respond`` and ``start`` … ``end`` must be called, once.
    """

    # What most exchanges never set, so that making one costs little.
    trailers: Mapping[str, str] = MappingProxyType({})
    started = finished = discarding = False
    _bytes = 0
    _limit = -1
    _chunked_out = False
    _waiter: asyncio.Future[None] | None = None
    _collector: Callable[[bytes | None], None] | None = None

    def __init__(
        self,
        connection: Connection,
        method: str,
        target: str,
        headers: dict[str, str],
        keep_alive: bool,
    ) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.keep_alive = keep_alive
        self._body: list[bytes] = []
        # Where no body is announced none comes, and the answer need not wait for its end.
        self._complete = "content-length" not in headers and "transfer-encoding" not in headers
        self._continue = "expect" in headers and headers["expect"].lower() == "100-continue"

    # -- the request's body ---------------------------------------------------------------

    @property
    def peer(self) -> str:
        """The client's address, "" for a socket without one."""
        return self._connection.peer

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS."""
        return bool(self._connection.tls)

    @property
    def tls(self) -> tuple[str, str]:
        """TLS's version and the cipher, as TLSv1.3 and TLS_AES_256_GCM_SHA384; else empty."""
        return self._connection.tls or ("", "")

    def hung_up(self) -> bool:
        """The same as ``gone``, to be handed on and asked later."""
        return self._connection.closed

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._connection.closed

    def arrived(self, limit: int) -> bytes | None:
        """The whole body if it is in and not over limit bytes; for the rest, see ``read``."""
        return self._take() if self._complete and self._bytes <= limit else None

    async def read(self, limit: int) -> bytes:
        """The whole body; raises BodyTooLarge past limit bytes, ClientGone if it never ends.

        While it comes in, half a mebibyte of it is in memory at most (``HttpLimits.kept_bytes``).
        """
        if limit > self._connection.limits.kept_bytes:
            return await (await self.receive(limit)).load()
        self._admit(limit)
        while not self._complete:
            await self._more()
            if self._bytes > limit:
                raise BodyTooLarge
        return self._take()

    async def receive(self, limit: int) -> Received:
        """The whole body, large ones in a file; raises as ``read`` does."""
        self._admit(limit)
        limits = self._connection.limits
        spool = Spool(limits.spool_folder, limits.kept_bytes, self._connection.let_go)
        try:
            while True:
                if self._bytes:
                    if spool.size + self._bytes > limit:
                        raise BodyTooLarge
                    if not self._connection.take_in(self._bytes):
                        raise ClientGone
                    await spool.add(self._take())
                elif self._complete:
                    return await spool.end()
                else:
                    await self._more()
        except BaseException:
            spool.close()
            raise

    def collect(self, limit: int, done: Callable[[bytes | None], None]) -> None:
        """Call done with the whole body, synchronously if it is in; with None past limit bytes.

        A body over the limit is read to its end and thrown away, so that the connection lives on.
        """
        self._continue_now()
        if self._complete:
            done(self._take() if self._bytes <= limit else None)
        else:
            self._limit = limit
            self._collector = done
            self._connection.resume_reading()

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive, the client held back while they are not taken."""
        self._admit(limit)
        total = 0
        while True:
            if self._bytes:
                total += self._bytes
                if total > limit:
                    raise BodyTooLarge
                yield self._take()
            elif self._complete:
                return
            else:
                await self._more()

    def _admit(self, limit: int) -> None:
        declared = self.headers.get("content-length")
        if self._bytes > limit or (declared is not None and int(declared) > limit):
            raise BodyTooLarge
        self._continue_now()

    def _continue_now(self) -> None:
        if self._continue and not self._complete:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._continue = False

    async def _more(self) -> None:
        if self._connection.closed:
            raise ClientGone
        self._waiter = asyncio.get_running_loop().create_future()
        self._connection.resume_reading()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self.forget_body()
        return body

    def forget_body(self) -> None:
        """Let go of what has come of the body and was not taken."""
        self._body = []
        self._bytes = 0

    # Called by the connection.

    def feed(self, data: bytes) -> None:
        """More of the body has arrived."""
        if self.discarding:
            return
        self._bytes += len(data)
        if self._collector is not None and self._bytes > self._limit:
            self._body.clear()
            return
        self._body.append(data)
        waits = self._waiter is not None and not self._waiter.done()
        if self._bytes > HIGH_WATER and self._collector is None and not waits:
            self._connection.pause_reading()
        self._wake()

    def complete(self) -> None:
        """The body has ended."""
        self._complete = True
        if self._collector is not None:
            collector, self._collector = self._collector, None
            collector(self._take() if self._bytes <= self._limit else None)
        self._wake()

    @property
    def is_complete(self) -> bool:
        """Whether the request is wholly in."""
        return self._complete

    def lost(self) -> None:
        """The client is gone."""
        if not self._complete:
            self.forget_body()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ClientGone())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- the response ---------------------------------------------------------------------

    def respond(self, status: int, headers: HeaderList = (), body: bytes = b"") -> None:
        """Answer in one piece."""
        length = len(body) if status != 204 and status != 304 and status >= 200 else None
        head = self._head(status, headers, length)
        self.started = self.finished = True
        self._connection.write(head + body if body and self.method != "HEAD" else head)
        self._connection.finished(self)

    def start(self, status: int, headers: HeaderList = (), length: int | None = None) -> None:
        """Begin a response that follows in pieces; chunked unless its length is given."""
        self._chunked_out = length is None
        if length is None:
            headers = [*headers, ("Transfer-Encoding", "chunked")]
        self.started = True
        self._connection.write(self._head(status, headers, length))

    async def write(self, data: bytes) -> None:
        """Send a piece, waiting while the client reads slowly; raises ClientGone."""
        if self._connection.closed:
            raise ClientGone
        if data:
            self._connection.write(
                b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_out else data
            )
        await self._connection.drained()

    def end(self, trailers: HeaderList = ()) -> None:
        """Finish a response begun with ``start``."""
        if self._chunked_out:
            lines = "".join(f"{name}: {_clean(value)}\r\n" for name, value in trailers)
            self._connection.write(b"0\r\n%b\r\n" % lines.encode("latin-1", "replace"))
        self.finished = True
        self._connection.finished(self)

    def abort(self) -> None:
        """Give up in the middle: the client sees the connection break."""
        self.finished = True
        self._connection.abort()

    def _head(self, status: int, headers: HeaderList, length: int | None) -> bytes:
        """The status line and the headers, to the empty line; no value can add a line."""
        pairs = list(headers)
        if length is not None:
            pairs.append(("Content-Length", str(length)))
        if self._connection.draining or not self.keep_alive or not self._complete:
            self.keep_alive = False
            pairs.append(("Connection", "close"))
        lines = "\r\n".join(map(_LINE, pairs))
        ends = len(pairs) - 1
        if pairs and (lines.count("\r") != ends or lines.count("\n") != ends):
            lines = "\r\n".join([_clean(_LINE(pair)) for pair in pairs])
        first = STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"
        end = "\r\n\r\n" if pairs else "\r\n"
        return f"{first}{lines}{end}".encode("latin-1", "replace")
