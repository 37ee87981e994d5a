"""The pool, with environments that are only pretended and a clock that is ours."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from lambent.clock import ManualClock
from lambent.errors import TooManyRequests
from lambent.functions.types import Configuration, FunctionVersion
from lambent.pool.environment import ExecutionEnvironment, InitFailed, Result, State
from lambent.pool.pool import Pool, PoolLimits


class Pretended:
    """What the pool sees of an environment."""

    def __init__(self, version: FunctionVersion) -> None:
        self.version = version
        self.identity = version.identity
        self.state = State.IDLE
        self.idle_since = 0.0
        self.born = float("inf")

    lingers = False
    awaits_extensions = True

    def when_rested(self, callback: Any) -> None:
        """Called back in the end only, which these tests do not wait for."""

    resets = True

    def stop(self) -> None:
        self.state = State.STOPPED

    async def shut_down(self, reason: str) -> None:
        self.stop()

    async def reset(self) -> bool:
        self.state = State.RESET if self.resets else State.BROKEN
        return self.resets

    async def restart(self, limit: float, request_id: str) -> None:
        self.state = State.IDLE

    def freeze(self) -> None:
        assert self.state is State.IDLE
        self.state = State.FROZEN

    def thaw(self) -> None:
        assert self.state is State.FROZEN
        self.state = State.IDLE


def version(name: str, modified: float = 0.0) -> FunctionVersion:
    code = Configuration("python3.11", "a.b", "role", "digest", "sha", 1, 1)
    return FunctionVersion("0", "r", name, "$LATEST", code, "revision", modified)


class World:
    """A pool, its clock and all it ever started."""

    def __init__(self, environments: int = 10, fail: int = 0, scaling: int = 1000) -> None:
        self.clock = ManualClock()
        self.started: list[str] = []
        self.allowed: list[tuple[str, float]] = []
        self.fail = fail
        limits = PoolLimits(environments, 2, 1.0, 60.0, 10.0, 3600.0, scaling)
        self.pool = Pool(self.start, self.clock, limits)

    async def start(
        self, made: FunctionVersion, request_id: str, phase: str, limit: float, kind: str
    ) -> ExecutionEnvironment:
        self.started.append(made.name)
        self.allowed.append((kind, limit))
        await asyncio.sleep(0)
        if self.fail:
            self.fail -= 1
            raise InitFailed(Result("error", b"{}", "Function.Broken"), b"")
        return cast(ExecutionEnvironment, Pretended(made))


def test_tenants_share_nothing_that_was_started() -> None:
    async def scenario() -> None:
        world = World()
        first = await world.pool.acquire(version("f"), "1", "blue")
        world.pool.release(first.environment)
        other = await world.pool.acquire(version("f"), "2", "green")
        assert other.environment is not first.environment and other.first
        again = await world.pool.acquire(version("f"), "3", "blue")
        assert again.environment is first.environment
        for lease in (other, again):
            world.pool.release(lease.environment)
        world.clock.advance(61)
        world.pool.reap()
        assert world.pool.size == 0 and world.started == ["f", "f"]
        await world.pool.close()

    asyncio.run(scenario())


def test_a_function_may_have_only_so_many_new_environments_in_ten_seconds() -> None:
    async def scenario() -> None:
        world = World(environments=20, scaling=5)
        for number in range(5):
            await world.pool.acquire(version("f"), str(number))
        with pytest.raises(TooManyRequests) as refused:
            await world.pool.acquire(version("f"), "6")
        assert refused.value.extra["Reason"] == "ConcurrentInvocationLimitExceeded"
        await world.pool.acquire(version("g"), "7")
        world.clock.advance(2)
        await world.pool.acquire(version("f"), "8")
        with pytest.raises(TooManyRequests):
            await world.pool.acquire(version("f"), "9")
        await world.pool.close()

    asyncio.run(scenario())


def test_an_environment_is_reused_and_reaped_when_its_time_is_over() -> None:
    async def scenario() -> None:
        world = World()
        first = await world.pool.acquire(version("f"), "1")
        assert first.first
        world.pool.release(first.environment)
        second = await world.pool.acquire(version("f"), "2")
        assert second.environment is first.environment and not second.first
        world.pool.release(second.environment)
        world.clock.advance(59)
        world.pool.reap()
        assert world.pool.size == 1
        world.clock.advance(2)
        world.pool.reap()
        assert world.pool.size == 0 and first.environment.state is State.STOPPED
        await world.pool.close()

    asyncio.run(scenario())


def test_one_that_is_old_goes_however_busy_it_is() -> None:
    async def scenario() -> None:
        world = World()
        lease = await world.pool.acquire(version("f"), "1")
        cast(Pretended, lease.environment).born = world.clock.monotonic()
        for _ in range(119):
            world.pool.release(lease.environment)
            world.clock.advance(30)
            world.pool.reap()
            lease = await world.pool.acquire(version("f"), "2")
        assert world.started == ["f"]
        world.pool.release(lease.environment)
        world.clock.advance(30)
        world.pool.reap()
        assert world.pool.size == 0
        await world.pool.close()

    asyncio.run(scenario())


def test_the_longest_idle_makes_room_and_a_full_machine_refuses() -> None:
    async def scenario() -> None:
        world = World(environments=2)
        one = await world.pool.acquire(version("one"), "1")
        two = await world.pool.acquire(version("two"), "2")
        with pytest.raises(TooManyRequests):
            await world.pool.acquire(version("three"), "3")
        world.pool.release(two.environment)
        world.pool.release(one.environment)
        await world.pool.acquire(version("three"), "4")
        assert two.environment.state is State.STOPPED
        assert one.environment.state is State.IDLE
        assert world.pool.size == 2
        await world.pool.close()

    asyncio.run(scenario())


def test_a_waiting_invocation_takes_what_is_given_back() -> None:
    async def scenario() -> None:
        world = World(environments=1)
        lease = await world.pool.acquire(version("f"), "1")
        world.pool.release(lease.environment)
        again = await world.pool.acquire(version("f"), "2")
        assert again.environment is lease.environment
        assert world.started == ["f"]
        await world.pool.close()

    asyncio.run(scenario())


def test_a_changed_version_gets_a_new_environment_and_the_old_one_goes() -> None:
    async def scenario() -> None:
        world = World()
        old = await world.pool.acquire(version("f", 1.0), "1")
        world.pool.release(old.environment)
        world.pool.retire(lambda each: each.last_modified == 2.0)
        assert old.environment.state is State.STOPPED
        new = await world.pool.acquire(version("f", 2.0), "2")
        assert new.environment is not old.environment and world.pool.size == 1
        world.pool.retire(lambda each: False)
        world.pool.release(new.environment)
        assert new.environment.state is State.STOPPED and world.pool.size == 0
        await world.pool.close()

    asyncio.run(scenario())


def test_a_failed_initialisation_is_repeated_once() -> None:
    async def scenario() -> None:
        world = World(fail=1)
        lease = await world.pool.acquire(version("f"), "1")
        assert not lease.first and world.started == ["f", "f"]
        world.pool.release(lease.environment)
        world.fail = 2
        with pytest.raises(InitFailed):
            await world.pool.acquire(version("g"), "2")
        assert world.pool.size == 1
        await world.pool.close()

    asyncio.run(scenario())


async def settled(world: World) -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_provisioned_environments_are_started_ahead_and_kept() -> None:
    async def scenario() -> None:
        world = World()
        world.pool.provision(version("f"), 3)
        await settled(world)
        assert world.pool.provisioned(version("f")) == (3, 3)
        lease = await world.pool.acquire(version("f"), "1")
        assert world.started == ["f"] * 3 and world.pool.provisioned(version("f")) == (3, 2)
        world.pool.release(lease.environment)
        world.clock.advance(1000)
        world.pool.reap()
        assert world.pool.provisioned(version("f")) == (3, 3)
        # One that ends by itself is replaced.
        lease.environment.stop()
        world.pool.reap()
        await settled(world)
        assert world.pool.provisioned(version("f")) == (3, 3) and len(world.started) == 4
        world.pool.provision(version("f"), 1)
        world.clock.advance(1000)
        world.pool.reap()
        assert world.pool.provisioned(version("f")) == (1, 1)
        await world.pool.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("timeout", "allowed"), [(3, 130.0), (129, 130.0), (900, 900.0)])
def test_a_provisioned_environment_may_initialise_for_130_seconds_or_its_timeout(
    timeout: int, allowed: float
) -> None:
    async def scenario() -> None:
        world = World()
        code = Configuration("python3.11", "a.b", "r", "digest", "sha", 1, 1, timeout=timeout)
        made = FunctionVersion("0", "r", "f", "1", code, "revision", 0.0)
        world.pool.provision(made, 1)
        await settled(world)
        one, other = [await world.pool.acquire(made, number) for number in "12"]
        assert world.allowed == [("provisioned-concurrency", allowed), ("on-demand", 10.0)]
        # Both are in use and one is provisioned.
        assert world.pool.within_provision(made) is False
        world.pool.release(other.environment)
        assert world.pool.within_provision(made) is True
        assert list(world.pool.occupied()) == [(made, 1, 1)]
        world.pool.release(one.environment)
        await world.pool.close()

    asyncio.run(scenario())


def test_others_do_not_take_the_place_of_what_is_provisioned() -> None:
    async def scenario() -> None:
        world = World(environments=2)
        world.pool.provision(version("kept"), 2)
        await settled(world)
        with pytest.raises(TooManyRequests):
            await world.pool.acquire(version("other"), "1")
        assert world.pool.provisioned(version("kept")) == (2, 2)
        await world.pool.close()

    asyncio.run(scenario())


def test_a_provisioned_version_that_cannot_start_is_tried_again_later_only() -> None:
    async def scenario() -> None:
        world = World(fail=2)
        world.pool.provision(version("f"), 1)
        await settled(world)
        assert world.pool.provisioned(version("f")) == (0, 0) and len(world.started) == 2
        world.pool.reap()
        await settled(world)
        assert world.pool.provisioned(version("f")) == (1, 1)
        await world.pool.close()

    asyncio.run(scenario())


def test_a_broken_environment_is_reset_and_used_again() -> None:
    async def scenario() -> None:
        world = World()
        lease = await world.pool.acquire(version("f"), "1")
        lease.environment.state = State.BROKEN
        world.pool.release(lease.environment)
        await asyncio.sleep(0.01)
        again = await world.pool.acquire(version("f"), "2")
        assert again.environment is lease.environment and not again.first
        assert again.environment.state is State.IDLE and world.started == ["f"]
        await world.pool.close()

    asyncio.run(scenario())


def test_one_that_cannot_be_reset_is_let_go() -> None:
    async def scenario() -> None:
        world = World()
        lease = await world.pool.acquire(version("f"), "1")
        cast(Pretended, lease.environment).resets = False
        lease.environment.state = State.BROKEN
        world.pool.release(lease.environment)
        await asyncio.sleep(0.01)
        assert world.pool.size == 0 and lease.environment.state is State.STOPPED
        await world.pool.close()

    asyncio.run(scenario())


def test_one_that_has_answered_and_not_come_to_rest_ends_with_the_pool() -> None:
    async def scenario() -> None:
        world = World()
        lease = await world.pool.acquire(version("f"), "1")
        lease.environment.state = State.FINISHING
        world.pool.release(lease.environment)
        await world.pool.close()
        assert lease.environment.state is State.STOPPED

    asyncio.run(scenario())
