"""The channel to the embedded services: each value stays the value of its field."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.http.client import UpstreamError, to_socket
from lambent.neighbours import channel

Handler = Callable[[dict[str, Any], bytes, dict[str, Any], asyncio.StreamWriter], Awaitable[None]]


def talking(handler: Handler, scenario: Callable[[str], Awaitable[None]], folder: Path) -> None:
    """Run a scenario against a handler of whole requests on a socket."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await channel.read_document(reader)
            body = b"".join([piece async for piece in channel.read_pieces(reader)])
            tail = await channel.read_document(reader)
            await handler(head, body, tail, writer)
        except channel.Broken:
            pass
        finally:
            writer.close()

    async def run() -> None:
        path = str(folder / "socket")
        server = await asyncio.start_unix_server(connected, path)
        try:
            await scenario(path)
        finally:
            server.close()
            Path(path).unlink()

    asyncio.run(run())


async def echo(
    head: dict[str, Any], body: bytes, tail: dict[str, Any], writer: asyncio.StreamWriter
) -> None:
    headers = [["x-head", head["value"]], ["x-tail", tail.get("value", "")]]
    writer.write(channel.document({"status": 200, "headers": headers, "length": len(body)}))
    await channel.write_pieces(writer, body)


@settings(max_examples=25)
@given(value=st.text(), body=st.binary(max_size=300))
def test_no_value_of_a_field_becomes_structure(
    value: str, body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def scenario(path: str) -> None:
        reply = await channel.ask(
            to_socket(path), {"value": value + "\r\n\0"}, body, lambda: {"value": value}
        )
        assert reply.headers == [("x-head", value + "\r\n\0"), ("x-tail", value)]
        assert (reply.status, await reply.read(1000)) == (200, body)

    talking(echo, scenario, tmp_path_factory.mktemp("c"))


async def _pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_bodies_stream_and_are_bounded(tmp_path: Path) -> None:
    async def scenario(path: str) -> None:
        body = _pieces(b"a" * 3_000_000, b"", b"b")
        reply = await channel.ask(to_socket(path), {"value": ""}, body)
        assert await reply.read(4_000_000) == b"a" * 3_000_000 + b"b"
        reply = await channel.ask(to_socket(path), {"value": ""}, b"x" * 1000)
        with pytest.raises(UpstreamError, match="too long"):
            await reply.read(999)

    talking(echo, scenario, tmp_path)


def test_a_body_that_fails_never_becomes_a_whole_request(tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"half"
        raise ValueError("not what was signed")

    async def never(*_: Any) -> None:
        raise AssertionError("an incomplete request arrived")

    async def scenario(path: str) -> None:
        with pytest.raises(ValueError, match="not what was signed"):
            await channel.ask(to_socket(path), {"value": ""}, failing())

    talking(never, scenario, tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0\0\x05{}",
        b"\xff\xff\xff\xff" + b"x" * 100,
        channel.frame(b"[]"),
        channel.frame(b"not json"),
        channel.document({"status": 200}),
        channel.document({"status": "x", "headers": []}),
    ],
    ids=ascii,
)
def test_an_answer_of_another_protocol_is_an_error(answer: bytes, tmp_path: Path) -> None:
    async def handler(*given: Any) -> None:
        given[-1].write(answer)

    async def scenario(path: str) -> None:
        with pytest.raises(UpstreamError):
            await channel.ask(to_socket(path), {})

    talking(handler, scenario, tmp_path)
