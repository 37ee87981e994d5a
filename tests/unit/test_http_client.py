"""The HTTP client, against our own server over a Unix socket and against servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lambent.http import ClientGone, Exchange, HttpServer
from lambent.http.client import InvalidHead, UpstreamError, send, to_host, to_socket


def serving(
    tmp_path: Path,
    application: Callable[[Exchange], Awaitable[None]],
    scenario: Callable[[str], Awaitable[None]],
) -> None:
    """Run a scenario against an application on a socket."""

    async def run() -> None:
        path = str(tmp_path / "socket")
        tasks: list[asyncio.Task[None]] = []
        server = HttpServer(
            lambda exchange: tasks.append(asyncio.ensure_future(application(exchange)))
        )
        loop = asyncio.get_running_loop()
        listening = await loop.create_unix_server(server.connection, path)
        try:
            await scenario(path)
        finally:
            listening.close()
            await server.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_bodies_stream_both_ways(tmp_path: Path) -> None:
    async def application(exchange: Exchange) -> None:
        taken = [piece async for piece in exchange.chunks(10_000_000)]
        exchange.start(201, [("X-Method", exchange.method)])
        for piece in taken:
            await exchange.write(piece)
        exchange.end()

    async def scenario(path: str) -> None:
        reply = await send(to_socket(path), "PUT", "/a?b", [], pieces(b"x" * 1_000_000, b"yz"))
        assert (reply.status, reply.header("x-method")) == (201, "PUT")
        assert await reply.read(2_000_000) == b"x" * 1_000_000 + b"yz"

    serving(tmp_path, application, scenario)


def test_an_early_answer_ends_the_sending(tmp_path: Path) -> None:
    async def application(exchange: Exchange) -> None:
        exchange.respond(413, [], b"too much")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    async def scenario(path: str) -> None:
        reply = await send(to_socket(path), "PUT", "/", [], endless())
        assert (reply.status, await reply.read(100)) == (413, b"too much")

    serving(tmp_path, application, scenario)


def test_what_a_body_raises_is_raised_and_the_other_side_sees_no_end(tmp_path: Path) -> None:
    seen: list[str] = []

    async def application(exchange: Exchange) -> None:
        try:
            await exchange.read(1_000_000)
            seen.append("whole")
        except ClientGone:
            seen.append("broken")

    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise ValueError("not what was signed")

    async def scenario(path: str) -> None:
        with pytest.raises(ValueError, match="not what was signed"):
            await send(to_socket(path), "PUT", "/", [("content-length", "2000")], failing())
        while not seen:
            await asyncio.sleep(0)

    serving(tmp_path, application, scenario)
    assert seen == ["broken"]


def test_the_answer_to_a_head_request_has_no_body(tmp_path: Path) -> None:
    async def application(exchange: Exchange) -> None:
        exchange.start(200, [], 5)
        exchange.end()

    async def scenario(path: str) -> None:
        reply = await send(to_socket(path), "HEAD", "/", [])
        assert (reply.header("content-length"), await reply.read(10)) == ("5", b"")

    serving(tmp_path, application, scenario)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000,
    ],
    ids=["nothing", "nonsense", "half", "endless", "short", "chunk", "large"],
)
def test_what_is_not_an_answer_is_an_error(answer: bytes) -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamError):
            reply = await send(to_host("127.0.0.1", port, None), "GET", "/", [])
            await reply.read(4000)
        server.close()

    asyncio.run(scenario())


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nall of it")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reply = await send(to_host("127.0.0.1", port, None), "GET", "/", [])
        assert (reply.status, await reply.read(100)) == (200, b"all of it")
        server.close()

    asyncio.run(scenario())


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(UpstreamError):
            await send(to_socket(str(tmp_path / "nobody")), "GET", "/", [])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "target", "header"),
    [
        ("GET /x HTTP/1.1\r\n", "/", ("a", "b")),
        ("GET", "/a b", ("a", "b")),
        ("GET", "/\r\nx: y", ("a", "b")),
        ("GET", "/", ("a: b\r\nc", "d")),
        ("GET", "/", ("a", "b\r\nc: d")),
        ("GET", "/", ("a", "b\n")),
        ("GET", "/", ("a", "\0")),
        ("GET", "/", ("", "b")),
        ("GET", "/", ("a", "\u0100")),
    ],
    ids=ascii,
)
def test_a_head_that_would_become_another_request_is_not_sent(
    method: str, target: str, header: tuple[str, str]
) -> None:
    async def scenario() -> None:
        with pytest.raises(InvalidHead):
            await send(to_socket("/nowhere"), method, target, [header])

    asyncio.run(scenario())
