"""A process that no longer answers is ended; one that is only busy, or slow to start, is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from lambent.neighbours import embedded, watchdog
from lambent.neighbours.starting import Life

SILENT = 0.3


async def answers() -> None:
    """What a process that is well says."""


async def hangs() -> None:
    """What one that hangs does."""
    await asyncio.Event().wait()


async def run(
    program: str,
    scenario: Callable[[asyncio.subprocess.Process], tuple[watchdog.Ping, Callable[[int], float]]],
    lives: float = 30.0,
) -> int | None:
    """The exit code of a program under the watchdog, None if it was let live so many seconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    ping, used = scenario(process)
    try:
        async with asyncio.timeout(lives):
            return await watchdog.ended(process, ping, SILENT, used)
    except TimeoutError:
        assert process.returncode is None
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def after_first(then: Callable[[], Awaitable[None]]) -> watchdog.Ping:
    """Answers once, and then as said."""
    asked: list[None] = []

    async def ping() -> None:
        asked.append(None)
        if len(asked) > 1:
            await then()

    return ping


BUSY = "print(flush=True)\nwhile True: pass"
IDLE = "import signal, time\nprint(flush=True)\ntime.sleep(600)"
DEAF = "import signal, time\nsignal.signal(signal.SIGABRT, signal.SIG_IGN)\n" + BUSY


def test_one_that_uses_the_processor_and_does_not_answer_is_ended() -> None:
    code = asyncio.run(run(BUSY, lambda _: (after_first(hangs), watchdog.processor_time)))
    assert code == -signal.SIGABRT


def test_one_that_cannot_even_say_where_it_was_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_LAST_WORDS_SECONDS", 0.1)
    code = asyncio.run(run(DEAF, lambda _: (after_first(hangs), watchdog.processor_time)))
    assert code == -signal.SIGKILL


def test_one_that_gets_no_processor_is_ended_only_after_long() -> None:
    assert (
        asyncio.run(run(IDLE, lambda _: (after_first(hangs), lambda pid: 0.0), 4 * SILENT)) is None
    )
    assert asyncio.run(run(IDLE, lambda _: (after_first(hangs), lambda pid: 0.0))) is not None


def test_a_refused_question_is_no_answer() -> None:
    async def refused() -> None:
        raise ConnectionRefusedError

    code = asyncio.run(run(BUSY, lambda _: (after_first(refused), watchdog.processor_time)))
    assert code == -signal.SIGABRT


def test_one_that_answers_may_use_the_processor_as_it_likes() -> None:
    assert asyncio.run(run(BUSY, lambda _: (answers, watchdog.processor_time), 8 * SILENT)) is None


def test_a_start_may_take_as_long_as_it_takes() -> None:
    assert asyncio.run(run(BUSY, lambda _: (hangs, watchdog.processor_time), 8 * SILENT)) is None


def test_what_ends_by_itself_has_its_own_exit_code() -> None:
    assert asyncio.run(run("print()\nraise SystemExit(3)", lambda _: (answers, float))) == 3


def test_a_stop_does_not_wait_for_one_that_does_not_react(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_STOP_SECONDS", 0.1)

    stdin, held = os.pipe()
    command = [sys.executable, "-c", "import time\ntime.sleep(600)"]
    with subprocess.Popen(command, stdin=stdin) as process:

        async def scenario() -> None:
            pidfd = os.pidfd_open(process.pid)
            life = Life(process.pid, pidfd, held, signal.pidfd_send_signal)
            await embedded.Embedded._end(life)

        asyncio.run(scenario())
        assert process.wait() == -signal.SIGKILL
    os.close(stdin)


HUNG = """
import asyncio
from lambent.neighbours.ministack.__main__ import stay_alive
async def main():
    living = asyncio.ensure_future(stay_alive(1.0))
    await asyncio.sleep({turns})
    {then}
asyncio.run(main())
"""


def test_the_services_end_themselves_where_their_loop_hangs() -> None:
    # In C code, which holds the interpreter: no thread of Python's could do it.
    endless = "__import__('re').match('(a+)+b', 'a' * 60)"
    program = HUNG.format(turns=0.01, then=endless)
    ran = subprocess.run([sys.executable, "-c", program], timeout=30, stderr=subprocess.PIPE)
    assert ran.returncode == 1 and b"re/__init__.py" in ran.stderr
    program = HUNG.format(turns=2.0, then="raise SystemExit(7)")
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == 7


def test_the_services_have_so_much_memory() -> None:
    program = (
        "from lambent.neighbours.ministack.__main__ import bound\n"
        "bound(200 << 20)\n"
        "try:\n    bytearray(300 << 20)\n"
        "except MemoryError:\n    raise SystemExit(5)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == 5
