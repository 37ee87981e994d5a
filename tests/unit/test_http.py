"""The HTTP core, driven with bytes over a mock transport: no sockets, no waiting."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from lambent.http import BodyTooLarge, ClientGone, Exchange, HttpLimits, HttpServer, connection


class Transport(asyncio.Transport):
    """Collects what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.out += bytes(data)

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1234) if name == "peername" else default


class Wire:
    """A connection to an application, and both ends of its bytes."""

    def __init__(self, application: Callable[[Exchange], None], **limits: Any) -> None:
        self.server = HttpServer(application, HttpLimits(**limits))
        self.now = 0.0
        self.server.now = lambda: self.now
        self.connection = self.server.connection()
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def out(self) -> bytes:
        return self.transport.out


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def echo(exchange: Exchange) -> None:
    exchange.collect(1000, lambda body: exchange.respond(200, (), body or b"too large"))


def test_a_request_is_answered() -> None:
    async def scenario() -> None:
        wire = Wire(echo)
        wire.send(b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        assert wire.out == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        assert not wire.transport.closed

    run(scenario)


def test_a_request_may_come_byte_by_byte() -> None:
    async def scenario() -> None:
        wire = Wire(echo)
        for byte in (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        ):
            wire.send(bytes([byte]))
        assert wire.out.endswith(b"\r\n\r\nabcde")

    run(scenario)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
        assert [each.path for each in waiting] == ["/1"]
        waiting[0].respond(200, (), b"one")
        assert [each.path for each in waiting] == ["/1", "/2"]
        waiting[1].respond(200, (), b"two")
        assert wire.out.index(b"one") < wire.out.index(b"two")

    run(scenario)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"", b"\r\n" * 512),
        (b"GET /", b"a" * 1024),
        (b"GET / HTTP/1.1\r\nA: ", b"a" * 1024),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 171),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1", b";a=b" * 256),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"a" * 1024),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 171),
    ],
    ids=["blank", "target", "value", "headers", "extension", "trailer", "trailers"],
)
def test_what_never_ends_is_cut_off(begin: bytes, more: bytes) -> None:
    async def scenario() -> None:
        wire = Wire(lambda exchange: None, header_bytes=4096, target_bytes=1024)
        wire.send(begin)
        for _ in range(20):
            wire.send(more)
            if wire.transport.closed:
                return
        pytest.fail("20 KB taken without an end")

    run(scenario)


def test_an_answer_given_at_once_keeps_the_connection_if_no_body_is_due() -> None:
    async def scenario() -> None:
        wire = Wire(lambda exchange: exchange.respond(200))
        wire.send(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
        assert wire.out.count(b"HTTP/1.1 200") == 2 and not wire.transport.closed
        wire.send(b"POST /3 HTTP/1.1\r\nContent-Length: 3\r\n\r\nab")
        assert wire.out.endswith(b"Connection: close\r\n\r\n")

    run(scenario)


def test_a_streamed_response_is_chunked_and_ends_with_trailers() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        exchange = waiting[0]
        exchange.start(200, [("Trailer", "X-End")])
        await exchange.write(b"one")
        await exchange.write(b"")
        await exchange.write(b"two")
        exchange.end([("X-End", "yes")])
        body = wire.out.partition(b"\r\n\r\n")[2]
        assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\nX-End: yes\r\n\r\n"

    run(scenario)


def test_trailers_of_a_request_are_kept() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n"
        )
        assert await waiting[0].read(10) == b"a"
        assert waiting[0].trailers == {"x-sum": "7"}

    run(scenario)


def test_a_writer_waits_for_a_slow_reader() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        waiting[0].start(200)
        wire.connection.pause_writing()
        writing = asyncio.ensure_future(waiting[0].write(b"x"))
        await asyncio.sleep(0)
        assert not writing.done()
        wire.connection.resume_writing()
        await writing

    run(scenario)


def test_a_client_is_held_back_while_its_body_is_not_read() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 600_000)
        assert not wire.transport.reading
        pieces = waiting[0].chunks(1_000_000)
        assert len(await anext(pieces)) == 600_000
        more = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        assert wire.transport.reading
        wire.send(b"x" * 400_000)
        assert len(await more) == 400_000

    run(scenario)


def test_a_client_is_held_back_by_a_reader_who_was_woken_and_has_not_come_yet() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        first = asyncio.ensure_future(anext(waiting[0].chunks(1_000_000)))
        await asyncio.sleep(0)
        for _ in range(4):
            wire.send(b"x" * 200_000)
        assert not wire.transport.reading
        assert len(await first) == 800_000

    run(scenario)


def test_a_client_that_was_held_back_may_send_its_next_request() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"POST /1 HTTP/1.1\r\nContent-Length: 600000\r\n\r\n" + b"x" * 600_000)
        assert not wire.transport.reading
        assert [len(each) async for each in waiting[0].chunks(600_000)] == [600_000]
        waiting[0].respond(200)
        assert wire.transport.reading

    run(scenario)


def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert wire.out == b""
        reading = asyncio.ensure_future(waiting[0].read(10))
        await asyncio.sleep(0)
        assert wire.out == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"ab")
        assert await reading == b"ab"

    run(scenario)


def test_a_declared_body_over_the_limit_is_refused_unread() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        with pytest.raises(BodyTooLarge):
            await waiting[0].read(10)
        waiting[0].respond(413)
        assert b"Connection: close" in wire.out and not wire.transport.closed
        wire.send(b"x" * 100)
        assert wire.transport.closed

    run(scenario)


def test_a_chunked_body_over_the_limit_is_refused() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + b"x" * 32)
        with pytest.raises(BodyTooLarge):
            await waiting[0].read(10)

    run(scenario)


def test_a_collected_body_over_the_limit_keeps_the_connection() -> None:
    async def scenario() -> None:
        wire = Wire(echo)
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
        assert wire.out.endswith(b"too large")
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok")
        assert wire.out.endswith(b"ok") and not wire.transport.closed

    run(scenario)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_refused(data: bytes, status: int) -> None:
    async def scenario() -> None:
        wire = Wire(echo)
        wire.send(data)
        assert wire.out.startswith(b"HTTP/1.1 %d" % status)
        assert wire.transport.closed

    run(scenario)


def test_a_head_that_trickles_in_is_cut_off() -> None:
    async def scenario() -> None:
        wire = Wire(echo, head_seconds=10, body_seconds=10, idle_seconds=10)
        wire.send(b"GET / HTTP/1.1\r\n")
        wire.now = 9
        wire.send(b"X: y\r\n")
        wire.connection._look()
        assert not wire.transport.closed
        wire.now = 11
        wire.connection._look()
        assert wire.out.startswith(b"HTTP/1.1 408") and wire.transport.closed

    run(scenario)


def test_an_idle_connection_is_closed_but_not_one_that_waits_for_us() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append, idle_seconds=10)
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        wire.now = 100
        wire.connection._look()
        assert not wire.transport.closed
        waiting[0].respond(200)
        wire.now = 200
        wire.connection._look()
        assert wire.transport.closed

    run(scenario)


def test_headers_cannot_be_split() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        waiting[0].respond(200, [("X", "a\r\nSet-Cookie: evil")])
        assert b"\r\nSet-Cookie" not in wire.out

    run(scenario)


def test_repeated_headers_are_joined() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        # As signatures and events of function URLs want it.
        lines = b"X: a\r\nx: b, c\r\nCookie: d=1\r\nCookie: e=2\r\n"
        wire.send(b"GET / HTTP/1.1\r\n" + lines + b"\r\n")
        assert waiting[0].headers == {"x": "a,b, c", "cookie": "d=1; e=2"}
        assert waiting[0].peer == "192.0.2.1"

    run(scenario)


def test_a_reader_hears_of_a_client_that_hangs_up() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        reading = asyncio.ensure_future(waiting[0].read(10))
        await asyncio.sleep(0)
        wire.connection.connection_lost(None)
        with pytest.raises(ClientGone):
            await reading
        with pytest.raises(ClientGone):
            await waiting[0].write(b"x")

    run(scenario)


def test_draining_finishes_the_request_at_hand() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        wire.connection.drain()
        assert not wire.transport.closed
        waiting[0].respond(200, (), b"bye")
        assert b"Connection: close" in wire.out and wire.transport.closed

    run(scenario)


def test_connections_beyond_the_limit_are_dropped() -> None:
    async def scenario() -> None:
        wire = Wire(echo, connections=1)
        other, transport = wire.server.connection(), Transport()
        other.connection_made(transport)
        assert transport.closed and not wire.transport.closed

    run(scenario)


@pytest.mark.parametrize("how", ["one too many", "closed at once", "cut off"])
def test_a_connection_that_ends_at_once_closes_its_descriptor_once(how: str) -> None:
    """Another's descriptor of the same number stays open (libuv closes; so did Python's socket)."""

    async def scenario() -> None:
        limits = HttpLimits(connections=0 if how == "one too many" else 9)
        server = HttpServer(lambda exchange: exchange.respond(200), limits)
        for _ in range(20):
            theirs, ours = socket.socketpair()
            number = ours.fileno()
            theirs.sendall(b"nonsense\r\n\r\n" if how == "closed at once" else b"")
            if how == "cut off":
                theirs.close()
            ours.setblocking(False)
            with contextlib.suppress(OSError):
                await server.adopt(ours)
            for _ in range(5):
                await asyncio.sleep(0)
            # Whoever opens something now may get the number.
            others = [open("/dev/null") for _ in range(5)]  # noqa: SIM115
            assert number in [each.fileno() for each in others]
            del ours
            gc.collect()
            for each in others:
                os.fstat(each.fileno())
                each.close()
            theirs.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_long_names_of_headers_are_not_kept() -> None:
    before = len(connection._NAMES)
    for number in range(10):
        assert connection._NAMES[b"X" * 1000 + b"%d" % number] == "x" * 1000 + str(number)
    assert len(connection._NAMES) == before
