"""The server's talk with its helpers: what a peer may send, and what ends the connection."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import pytest

from lambent.sandbox.base import SandboxError
from lambent.sandbox.channel import Channel
from lambent.sandbox.kernel import wire

Scenario = Callable[[Channel, socket.socket], Awaitable[None]]


def talk(scenario: Scenario) -> None:
    async def whole() -> None:
        channel, theirs = Channel.pair()
        with theirs:
            try:
                await scenario(channel, theirs)
            finally:
                channel.close()

    asyncio.run(asyncio.wait_for(whole(), 20))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def send(end: socket.socket, data: bytes, given: list[int]) -> None:
    rights = array.array("i", given)
    end.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if given else [])


def test_a_message_that_comes_early_is_kept_until_it_is_expected() -> None:
    async def scenario(channel: Channel, theirs: socket.socket) -> None:
        wire.send(theirs, {"ready": 1})
        while not channel._early:
            await asyncio.sleep(0)
        assert await channel.expect() == ({"ready": 1}, [])

    talk(scenario)


def test_a_peer_that_floods_is_disconnected_and_its_descriptors_are_closed() -> None:
    async def scenario(channel: Channel, theirs: socket.socket) -> None:
        before = descriptors()
        with open("/dev/null") as null:
            while not channel.closed:
                try:
                    wire.send(theirs, {"x": 1}, [null.fileno()] * 16)
                except BrokenPipeError:
                    break
                await asyncio.sleep(0)
        # The channel's own is closed, too.
        assert channel.closed and descriptors() == before - 1
        with pytest.raises(SandboxError):
            await channel.expect()

    talk(scenario)


@pytest.mark.parametrize(
    ("data", "count"),
    [(b"{}", 17), (b"not JSON", 3), (b"[" * 100_000, 3), (b'"text"', 3), (b"x" * 140_000, 3)],
)
def test_what_is_no_message_ends_the_connection(data: bytes, count: int) -> None:
    async def scenario(channel: Channel, theirs: socket.socket) -> None:
        expected = channel.expect()
        before = descriptors()
        with open("/dev/null") as null:
            send(theirs, data, [null.fileno()] * count)
        with pytest.raises(SandboxError):
            await expected
        assert channel.closed and descriptors() == before - 1

    talk(scenario)
