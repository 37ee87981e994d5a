"""The name server of sandboxes, between a client and name servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lambent.sandbox.kernel import resolver
from lambent.sandbox.kernel.resolver import Resolver, serve

QUESTION = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\7example\4test\0\0\1\0\1"


class Upstream(asyncio.DatagramProtocol):
    """A name server that remembers, and answers what it is told to."""

    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self.asked: list[bytes] = []
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.asked.append(data)
        for each in self._answer(data):
            self.transport.sendto(each, source)  # type: ignore[attr-defined]


Ask = Callable[[bytes], Awaitable[bytes]]
Scenario = Callable[[Upstream, Ask, int], Awaitable[None]]


def play(tmp_path: Path, answer: Callable[[bytes], list[bytes]], scenario: Scenario) -> None:
    """Run a scenario with an upstream at 127.0.0.2, and nobody at 127.0.0.3."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        upstream = Upstream(answer)
        ending: list[asyncio.BaseTransport] = []
        transport, _ = await loop.create_datagram_endpoint(
            lambda: upstream, local_addr=("127.0.0.2", 0)
        )
        ending.append(transport)
        port = transport.get_extra_info("sockname")[1]
        path = tmp_path / "resolv.conf"
        path.write_text("# mine\nnameserver 127.0.0.3\nnameserver 127.0.0.2\noptions rotate\n")
        questions = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        questions.bind(("127.0.0.1", 0))
        listener = socket.create_server(("127.0.0.1", 0))
        address = questions.getsockname()
        serving = asyncio.ensure_future(serve(questions, listener, Resolver(str(path), port)))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect(address)

        async def ask(question: bytes) -> bytes:
            await loop.sock_sendall(client, question)
            return await asyncio.wait_for(loop.sock_recv(client, 4096), 10)

        try:
            await scenario(upstream, ask, listener.getsockname()[1])
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            client.close()
            for each in ending:
                each.close()

    asyncio.run(whole())


def echo(question: bytes) -> list[bytes]:
    return [question[:2] + b"\x81\x80" + question[4:] + b"answer"]


def test_an_answer_bears_the_questions_number_and_the_question_a_new_one(tmp_path: Path) -> None:
    async def scenario(upstream: Upstream, ask: Ask, port: int) -> None:
        answers = [await ask(QUESTION) for _ in range(5)]
        assert answers == [QUESTION[:2] + b"\x81\x80" + QUESTION[4:] + b"answer"] * 5
        assert {each[2:] for each in upstream.asked} == {QUESTION[2:]}
        assert len({each[:2] for each in upstream.asked}) > 1

    play(tmp_path, echo, scenario)


def test_an_answer_with_another_number_is_not_believed(tmp_path: Path) -> None:
    def forge(question: bytes) -> list[bytes]:
        wrong = bytes([question[0] ^ 1, question[1]])
        return [wrong + question[2:] + b"forged", b"", b"short", *echo(question)]

    async def scenario(upstream: Upstream, ask: Ask, port: int) -> None:
        assert (await ask(QUESTION)).endswith(b"answer")

    play(tmp_path, forge, scenario)


def test_a_message_that_cannot_be_a_question_is_not_passed_on(tmp_path: Path) -> None:
    async def scenario(upstream: Upstream, ask: Ask, port: int) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ask(b"short"), 0.1)
        assert (await ask(QUESTION)).endswith(b"answer")
        assert len(upstream.asked) == 1

    play(tmp_path, echo, scenario)


def test_one_client_has_so_many_questions_waiting_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_MOST_EACH", 3)

    async def scenario(upstream: Upstream, ask: Ask, port: int) -> None:
        for _ in range(10):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(ask(QUESTION), 0.02)
        assert len(upstream.asked) == 3

    play(tmp_path, lambda question: [], scenario)


def test_a_stream_to_a_name_server_that_is_not_there_is_closed(tmp_path: Path) -> None:
    async def scenario(upstream: Upstream, ask: Ask, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\0\5hello")
        assert await reader.read() == b""
        writer.close()

    play(tmp_path, echo, scenario)


def test_name_servers_are_read_again_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    upstream = resolver._Upstream(str(path))
    assert upstream.servers() == ["127.0.0.1"]
    path.write_text("nameserver 192.0.2.1\nnameserver\nnameserver 192.0.2.2\n" * 3)
    os.utime(path, ns=(1, 1))
    upstream._looked = 0
    assert upstream.servers() == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
