"""One execution environment, its runtime played by the test, its clock the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from lambent.clock import ManualClock
from lambent.functions.types import Configuration, FunctionVersion, Invocation
from lambent.pool.environment import ExecutionEnvironment, IllegalTransition, InitFailed, State
from lambent.pool.polling import Polling
from lambent.sandbox.base import Exit, Sandbox

MB = 1 << 20
HOST = b"Host: here\r\n"


class PretendedSandbox:
    """A sandbox whose inside is the test."""

    def __init__(self) -> None:
        self.connection: socket.socket | None
        self.connection, self.inside = socket.socketpair()
        self.inside.setblocking(False)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.output, self.printing = os.pipe2(os.O_NONBLOCK)
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.extension_output = -1
        self.extension_ended = None
        self.did: list[str] = []

    def launch(self, extension: str | None = None) -> None:
        if self.exited.done():
            self.exited = asyncio.get_running_loop().create_future()
            self.inside.close()
            self.connection, self.inside = socket.socketpair()
            self.inside.setblocking(False)

    async def reset(self) -> bool:
        self.did.append("reset")
        return True

    def throttle(self, throttled: bool = True) -> None:
        self.did.append("throttle")

    def freeze(self, frozen: bool = True) -> None:
        self.did.append("freeze" if frozen else "thaw")

    def memory_peak(self) -> int:
        return 40 * MB

    def destroy(self) -> None:
        self.did.append("destroy")
        os.close(self.output)
        os.close(self.printing)
        self.inside.close()
        self.listener.close()


class World:
    """An environment, ready if start() was awaited, and all it logged."""

    def __init__(self, timeout: int = 3) -> None:
        self.clock = ManualClock()
        self.log: list[str] = []
        code = Configuration("python3.11", "a.b", "r", "digest", "sha", 1, 1, timeout=timeout)
        self.version = FunctionVersion("0", "eu-west-1", "f", "$LATEST", code, "revision", 0.0)
        self.sandbox = PretendedSandbox()
        self.environment = ExecutionEnvironment(
            self.version,
            self.clock,
            lambda _, messages: self.log.extend(messages),
            100,
            MB,
            Polling(self.clock, 0.0),
        )

    def starting(self, phase: str = "init") -> asyncio.Task[None]:
        sandbox = cast(Sandbox, self.sandbox)
        return asyncio.ensure_future(self.environment.start(sandbox, 10, phase, "id"))

    async def start(self) -> World:
        starting = self.starting()
        self.send(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n" + HOST + b"\r\n")
        await starting
        assert self.log.pop(0).startswith("INIT_START Runtime Version: python:3.11.v1\t")
        return self

    def send(self, data: bytes) -> None:
        self.sandbox.inside.send(data)

    async def event(self) -> bytes:
        """What the runtime hears next."""
        return await asyncio.get_running_loop().sock_recv(self.sandbox.inside, 65536)

    def answer(self, request_id: str, body: bytes, query: str = "?next") -> None:
        path = f"/2018-06-01/runtime/invocation/{request_id}/response{query}"
        self.send(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def invoking(
        self, request_id: str, tail: bool = False, first: bool = False, spent: float = 0.0
    ) -> asyncio.Task[Any]:
        invocation = Invocation(self.version, request_id, b"{}", "arn", log_tail=tail)
        return asyncio.ensure_future(self.environment.run(invocation, first, spent))


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_an_invocation_is_logged_with_what_it_took() -> None:
    async def scenario() -> None:
        world = await World().start()
        assert world.sandbox.did == ["throttle"] and world.environment.state is State.IDLE
        turn = world.invoking("one", tail=True)
        event = await world.event()
        assert event.endswith(b"\r\n\r\n{}") and b"Lambda-Runtime-Aws-Request-Id: one\r\n" in event
        assert b"Deadline-Ms: %d\r\n" % ((world.clock.time() + 3) * 1000) in event
        os.write(world.sandbox.printing, b"hello\nunfinished")
        world.clock.advance(1.5)
        world.answer("one", b'"ok"')
        result, tail = await turn
        assert (result.status, result.payload) == ("success", b'"ok"')
        assert world.log == [
            "START RequestId: one Version: $LATEST", "hello", "unfinished",
            "END RequestId: one",
            "REPORT RequestId: one\tDuration: 1500.00 ms\tBilled Duration: 1500 ms\t"
            "Memory Size: 128 MB\tMax Memory Used: 40 MB\t",
        ]  # fmt: skip
        assert tail.decode().splitlines() == world.log
        world.environment.stop()

    run(scenario)


def test_the_answer_does_not_wait_for_the_log_but_the_log_is_closed_all_the_same() -> None:
    async def scenario() -> None:
        world = await World().start()
        seen: list[str] = []

        async def caller() -> None:
            await world.environment.run(Invocation(world.version, "one", b"{}", "arn"), False)
            seen.extend(world.log)

        turn = asyncio.ensure_future(caller())
        await world.event()
        world.answer("one", b"1")
        await turn
        await asyncio.sleep(0)
        assert [line.split()[0] for line in seen] == ["START"]
        assert [line.split()[0] for line in world.log] == ["START", "END", "REPORT"]
        second = world.invoking("two")
        await world.event()
        world.answer("two", b"2")
        await second
        # Stopped before the loop came round: nothing of it is lost.
        world.environment.stop()
        assert [line.split()[0] for line in world.log] == ["START", "END", "REPORT"] * 2

    run(scenario)


def test_an_invocation_that_takes_too_long_ends_it() -> None:
    async def scenario() -> None:
        world = await World(timeout=3).start()
        turn = world.invoking("one")
        await world.event()
        world.clock.advance(2.9)
        await asyncio.sleep(0)
        assert not turn.done()
        world.clock.advance(0.1)
        result, _ = await turn
        assert result.status == "timeout" and json.loads(result.payload) == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: one Error: Task timed out after 3.00 seconds",
        }
        assert world.environment.state is State.BROKEN
        assert "Duration: 3000.00 ms" in world.log[2] and "Status: timeout" in world.log[2]
        assert world.log[3] == "one Task timed out after 3.00 seconds"
        world.environment.stop()

    run(scenario)


def test_each_invocation_has_its_whole_time_though_one_timer_serves_them() -> None:
    async def scenario() -> None:
        world = await World(timeout=3).start()
        for request_id in ("one", "two"):
            turn = world.invoking(request_id)
            await world.event()
            world.clock.advance(2)
            world.answer(request_id, b"1")
            assert (await turn)[0].status == "success"
        turn = world.invoking("three")
        await world.event()
        world.clock.advance(2.99)
        await asyncio.sleep(0)
        assert not turn.done()
        world.clock.advance(0.01)
        assert (await turn)[0].status == "timeout"
        world.environment.stop()

    run(scenario)


def test_time_spent_on_initialising_again_is_the_invocations_own() -> None:
    async def scenario() -> None:
        world = await World(timeout=3).start()
        turn = world.invoking("one")
        await world.event()
        world.answer("one", b"1")
        await turn
        turn = world.invoking("two", spent=2.0)
        await world.event()
        world.clock.advance(1.0)
        result, _ = await turn
        assert result.status == "timeout" and "Duration: 3000.00 ms" in world.log[-2]
        world.environment.stop()

    run(scenario)


@pytest.mark.parametrize(
    ("ended", "kind", "reason"),
    [
        (Exit(0), "Runtime.ExitError", "Runtime exited without providing a reason"),
        (Exit(3 << 8), "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        (Exit(11), "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        (Exit(9, True), "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_runtime_that_ends_fails_its_invocation(ended: Exit, kind: str, reason: str) -> None:
    async def scenario() -> None:
        world = await World().start()
        turn = world.invoking("one")
        await world.event()
        world.sandbox.exited.set_result(ended)
        result, _ = await turn
        assert result.status == "failure" and json.loads(result.payload) == {
            "errorType": kind, "errorMessage": f"RequestId: one Error: {reason}",
        }  # fmt: skip
        assert world.environment.state is State.BROKEN and f"Error Type: {kind}" in world.log[-1]
        world.environment.stop()

    run(scenario)


def test_a_runtime_that_ends_between_invocations_takes_the_environment_along() -> None:
    async def scenario() -> None:
        world = await World().start()
        world.environment.freeze()
        world.sandbox.exited.set_result(Exit(0))
        await asyncio.sleep(0)
        assert world.environment.state is State.STOPPED

    run(scenario)


def test_a_broken_environment_is_emptied_and_initialises_again_in_the_invocations_time() -> None:
    async def scenario() -> None:
        world = await World().start()
        turn = world.invoking("one")
        await world.event()
        world.sandbox.exited.set_result(Exit(1 << 8))
        await turn
        assert await world.environment.reset()
        await asyncio.sleep(0)
        assert world.environment.state is State.RESET and world.sandbox.did[-1] == "reset"
        world.log.clear()
        starting = asyncio.ensure_future(world.environment.restart(3, "two"))
        await asyncio.sleep(0)
        world.clock.advance(1)
        world.send(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n" + HOST + b"\r\n")
        await starting
        assert world.log == ["START RequestId: two Version: $LATEST"]
        turn = world.invoking("two", spent=1.0)
        await world.event()
        world.answer("two", b"1")
        await turn
        assert "Duration: 1000.00 ms" in world.log[-1] and "Init Duration" not in world.log[-1]
        world.environment.stop()

    run(scenario)


def test_a_runtime_that_ends_after_its_answer_fails_nobody() -> None:
    async def scenario() -> None:
        world = await World().start()
        turn = world.invoking("one")
        await world.event()
        world.answer("one", b"1", query="")
        assert (await turn)[0].status == "success"
        assert world.environment.state is State.FINISHING
        rested = asyncio.get_running_loop().create_future()
        world.environment.when_rested(lambda: rested.set_result(None))
        world.sandbox.exited.set_result(Exit(0))
        await rested
        assert await world.environment.reset()
        world.environment.stop()

    run(scenario)


def test_an_initialisation_that_takes_too_long_is_reported() -> None:
    async def scenario() -> None:
        world = World()
        starting = asyncio.ensure_future(
            world.environment.start(cast(Sandbox, world.sandbox), 0.01, "init", "id")
        )
        with pytest.raises(InitFailed) as failed:
            await starting
        assert failed.value.result.error_type == "Sandbox.Timedout"
        assert world.log[-1].endswith("Phase: init\tStatus: timeout")
        assert world.environment.state is State.BROKEN
        world.environment.stop()

    run(scenario)


def test_no_other_transition_is_legal() -> None:
    async def scenario() -> None:
        world = World()
        environment = world.environment
        for illegal in (environment.freeze, environment.thaw):
            with pytest.raises(IllegalTransition):
                illegal()
        with pytest.raises(IllegalTransition):
            await world.invoking("early")
        await world.start()
        with pytest.raises(IllegalTransition):
            environment.thaw()
        environment.freeze()
        with pytest.raises(IllegalTransition):
            await world.invoking("frozen")
        environment.thaw()
        with pytest.raises(IllegalTransition):
            await world.starting()
        environment.stop()
        environment.stop()
        assert world.sandbox.did == ["throttle", "freeze", "thaw", "destroy"]
        with pytest.raises(IllegalTransition):
            await world.invoking("late")

    run(scenario)


def test_a_response_over_the_limit_is_refused_and_the_runtime_lives_on() -> None:
    async def scenario() -> None:
        world = await World().start()
        turn = world.invoking("one")
        await world.event()
        world.answer("one", b'"' + b"x" * 200 + b'"')
        result, _ = await turn
        assert result.error_type == "Function.ResponseSizeTooLarge"
        assert (await world.event()).startswith(b"HTTP/1.1 413")
        # It takes the next event when its runtime has asked for it.
        rested = asyncio.get_running_loop().create_future()
        assert world.environment.state is State.FINISHING
        world.environment.when_rested(lambda: rested.set_result(None))
        world.send(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n" + HOST + b"\r\n")
        await rested
        turn = world.invoking("two")
        assert b"Request-Id: two" in await world.event()
        world.answer("two", b"2", query="")
        assert (await turn)[0].payload == b"2"
        assert (await world.event()).startswith(b"HTTP/1.1 202 Accepted")
        world.environment.stop()

    run(scenario)
