"""A response on its way: in order, held back by who reads slowly, and by the bandwidth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lambent.clock import ManualClock
from lambent.functions.response_stream import ResponseStream

KB = 1024
Scenario = Callable[[ResponseStream, ManualClock], Awaitable[None]]


def play(scenario: Scenario, burst: int = 0, rate: int = 0) -> None:
    async def main() -> None:
        clock = ManualClock()
        await scenario(ResponseStream(clock, 10**9, burst, rate), clock)

    asyncio.run(main())


async def a_while() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_pieces_come_in_order_and_then_the_end() -> None:
    async def scenario(stream: ResponseStream, clock: ManualClock) -> None:
        got: list[bytes] = []

        async def read() -> None:
            async for piece in stream.pieces():
                got.append(piece)

        reader = asyncio.ensure_future(read())
        await a_while()
        await stream.write(b"a")
        await a_while()
        assert got == [b"a"]
        await stream.write(b"b")
        await stream.write(b"c")
        stream.end()
        await reader
        assert b"".join(got) == b"abc"

    play(scenario)


def test_a_writer_waits_for_a_slow_reader_and_not_for_one_that_went() -> None:
    async def scenario(stream: ResponseStream, clock: ManualClock) -> None:
        writer = asyncio.ensure_future(stream.write(b"x" * 65 * KB))
        await a_while()
        assert not writer.done()
        pieces = stream.pieces()
        assert len(await anext(pieces)) == 65 * KB
        await writer
        writer = asyncio.ensure_future(stream.write(b"x" * 65 * KB))
        await a_while()
        assert not writer.done()
        stream.abandon()
        await writer
        await stream.write(b"x" * 65 * KB)

    play(scenario)


def test_after_the_burst_bytes_come_at_the_rate() -> None:
    async def scenario(stream: ResponseStream, clock: ManualClock) -> None:
        async def read() -> None:
            async for _ in stream.pieces():
                pass

        reader = asyncio.ensure_future(read())
        await stream.write(b"x" * 10)
        for _ in range(3):
            writer = asyncio.ensure_future(stream.write(b"x" * 10))
            await a_while()
            assert not writer.done()
            clock.advance(1.9)
            await a_while()
            assert not writer.done()
            clock.advance(0.1)
            await writer
            # Time in which nothing is written is not saved up for a second burst.
            clock.advance(60)
        stream.end()
        await reader

    play(scenario, burst=10, rate=5)


def test_who_went_is_not_waited_for_at_the_rate_either() -> None:
    async def scenario(stream: ResponseStream, clock: ManualClock) -> None:
        writer = asyncio.ensure_future(stream.write(b"x" * 10))
        await a_while()
        assert not writer.done()
        stream.abandon()
        await writer

    play(scenario, burst=1, rate=1)
