"""Limits of the machine and the account: exact, and refused in AWS's words."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import Functions, Server

SLEEPY = "import time\ndef handler(e, c):\n    time.sleep(e.get('s', 0))\n    return 'ok'\n"


def at_once(functions: Functions, names: list[str]) -> list[Any]:
    """Invoke these at the same time; each one's payload, or the response that refused it."""
    # Made here: several threads that make it at once get different classes.
    throttled = functions.client.exceptions.TooManyRequestsException

    def call(name: str) -> Any:
        try:
            return functions.invoke(name, {"s": 1.5}).payload
        except throttled as error:
            return error.response

    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(call, names))


def test_the_account_limit_is_exact(servers: Callable[..., Server]) -> None:
    functions = Functions(servers("--account-concurrency", "3"), "f")
    name = functions.create(SLEEPY, Timeout=30)
    answers = at_once(functions, [name] * 8)
    refused = [answer for answer in answers if answer != "ok"]
    assert len(refused) == 5
    assert refused[0]["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert refused[0]["Error"]["Message"] == "Rate Exceeded."
    assert refused[0]["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert functions.invoke(name).payload == "ok"


def test_reserved_concurrency_is_a_ceiling_and_a_floor(servers: Callable[..., Server]) -> None:
    functions = Functions(servers("--account-concurrency", "105"), "f")
    name, other, none = (functions.create(SLEEPY, Timeout=30) for _ in range(3))
    client = functions.client
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    client.put_function_concurrency(FunctionName=none, ReservedConcurrentExecutions=0)
    answers = at_once(functions, [name] * 5 + [other] * 4 + [none])
    assert answers.count("ok") == 6 and answers[5:9] == ["ok"] * 4
    refused = [answer for answer in answers if answer != "ok"]
    assert {answer["Reason"] for answer in refused} == {
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    }
    client.delete_function_concurrency(FunctionName=none)
    assert functions.invoke(none).payload == "ok"


def test_the_longest_idle_environment_makes_room(servers: Callable[..., Server]) -> None:
    functions = Functions(servers("--environments", "2"), "f")
    source = "import os\nx = os.urandom(8).hex()\ndef handler(e, c): return x"
    first, second, third = (functions.create(source) for _ in range(3))
    one, two = functions.invoke(first).payload, functions.invoke(second).payload
    functions.invoke(third)
    assert functions.invoke(second).payload == two
    assert functions.invoke(first).payload != one


def test_idle_environments_are_taken_down(servers: Callable[..., Server]) -> None:
    server = servers("--idle-seconds", "0.1")
    functions = Functions(server, "f")
    name = functions.create("import os\nx = os.urandom(8).hex()\ndef handler(e, c): return x")
    before = functions.invoke(name).payload
    deadline = time.monotonic() + 20
    while functions.invoke(name).payload == before and time.monotonic() < deadline:
        # An invocation restarts its idle time: leave it alone for longer than that.
        pause = time.monotonic() + 0.5
        while time.monotonic() < pause:
            os.sched_yield()
    assert functions.invoke(name).payload != before


def test_a_frozen_environment_does_nothing(
    servers: Callable[..., Server], capfd: pytest.CaptureFixture[str]
) -> None:
    server = servers("--freeze-seconds", "0.01")
    functions = Functions(server, "f")
    name = functions.create(
        "import threading, time\n"
        "ticks = 0\n"
        "def tick():\n"
        "    global ticks\n"
        "    while True: time.sleep(0.005); ticks += 1\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
        "def handler(e, c): return ticks\n"
    )
    before = functions.invoke(name).payload
    pause = time.monotonic() + 1.5
    while time.monotonic() < pause:
        os.sched_yield()
    passed = functions.invoke(name).payload - before
    if "freezing are not enforced" in capfd.readouterr().err:
        assert passed > 100  # the host cannot freeze, as the server said at its start
    else:
        assert passed < 100
