"""What is kept ready ahead: by demand, within memory, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from lambent.clock import ManualClock
from lambent.sandbox.base import SandboxError
from lambent.sandbox.namespace_sandbox import NamespaceSandbox
from lambent.sandbox.stock import MOST, WINDOW, Stock, Stocks


class Pretended:
    """What a stock sees of a sandbox."""

    def __init__(self) -> None:
        self.exited: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.destroyed = False

    def destroy(self) -> None:
        self.destroyed = True


class World:
    """Stocks, and every sandbox that was made for them."""

    def __init__(self, base: int = 2, most: int = 100) -> None:
        self.clock = ManualClock()
        self.stocks = Stocks(self.clock, base, most)
        self.made: list[Pretended] = []

    async def make(self) -> NamespaceSandbox:
        await asyncio.sleep(0)
        self.made.append(Pretended())
        return cast(NamespaceSandbox, self.made[-1])

    def stock(self, cost: int = 1) -> Stock:
        return self.stocks.new(self.make, cost)


def test_demand_raises_what_is_kept_and_its_end_lowers_it() -> None:
    async def scenario() -> None:
        world = World()
        stock = world.stock()
        stock.fill()
        assert len(stock) == 2
        for _ in range(12):
            await stock.take()
        stock.fill()
        assert len(stock) == 6
        for _ in range(100):
            await stock.take()
        stock.fill()
        assert len(stock) == MOST
        world.clock.advance(WINDOW + 1)
        stock.fill()
        assert len(stock) == 2
        world.stocks.close()
        assert len(stock) == 0

    asyncio.run(scenario())


def test_those_not_asked_longest_give_way_where_memory_is_short() -> None:
    async def scenario() -> None:
        world = World(most=10)
        one, two, three = world.stock(3), world.stock(3), world.stock(3)
        for stock in (one, two, three):
            stock.fill()
            await asyncio.sleep(0.01)
        assert (len(one), len(two), len(three)) == (0, 1, 2)
        assert sum(each.destroyed for each in world.made) == 3
        world.stocks.close()

    asyncio.run(scenario())


def test_one_that_ended_while_it_waited_is_passed_over() -> None:
    async def scenario() -> None:
        world = World()
        stock = world.stock()
        stock.fill()
        await asyncio.sleep(0.01)
        world.made[0].exited.set_result(None)
        taken = await stock.take()
        assert cast(Pretended, taken) is world.made[1] and world.made[0].destroyed
        world.stocks.close()

    asyncio.run(scenario())


def test_a_kind_that_cannot_be_made_says_so_when_it_is_asked_for() -> None:
    async def scenario() -> None:
        async def fail() -> NamespaceSandbox:
            raise SandboxError("no")

        stock = Stocks(ManualClock(), 2, 100).new(fail, 1)
        stock.fill()
        await asyncio.sleep(0.01)
        try:
            await stock.take()
        except SandboxError as error:
            assert str(error) == "no"
        else:
            raise AssertionError

    asyncio.run(scenario())


def test_nothing_is_made_ahead_where_none_is_wanted() -> None:
    async def scenario() -> None:
        world = World(base=0)
        stock = world.stock()
        await stock.take()
        stock.fill()
        assert len(stock) == 0

    asyncio.run(scenario())
