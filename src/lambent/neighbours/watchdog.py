"""Ends an embedded process that no longer answers, so that it is started again.

Some requests may keep its only loop for long, and a machine may be too busy to let it run.  It
hangs only if it has answered nothing for a time in which it used as much processor time, or for
PATIENCE times as long whatever it used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_log = logging.getLogger(__name__)

Ping = Callable[[], Awaitable[None]]
"""Asks the process, on a connection of its own, and returns when it has answered; may raise."""

PATIENCE = 6
_LAST_WORDS_SECONDS = 2.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Watched(Protocol):
    """A process that can be ended."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """Its exit code, once it has ended."""

    def send_signal(self, signal: int, /) -> None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an embedded process may take.

    silent_seconds: without an answer.  memory_bytes: of its own, files it maps apart; 0: any.
    """

    silent_seconds: float = 20.0
    memory_bytes: int = 0


async def ended(
    process: Watched,
    ping: Ping,
    silent_seconds: float,
    used: Callable[[int], float] | None = None,
) -> int:
    """The exit code of a process, which is ended if it hangs.

    used: the processor time of a process in seconds, by pid.
    """
    watching = asyncio.ensure_future(_watch(process, ping, silent_seconds, used or processor_time))
    try:
        return await process.wait()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(
    process: Watched,
    ping: Ping,
    silent_seconds: float,
    used: Callable[[int], float],
) -> None:
    """Return when the process hung and was ended; a start may take as long as it takes."""
    loop = asyncio.get_running_loop()
    pause = silent_seconds / 10
    while not await _answers(ping, silent_seconds):
        await asyncio.sleep(pause)
    since, used_before = loop.time(), used(process.pid)
    while True:
        if await _answers(ping, silent_seconds):
            since, used_before = loop.time(), used(process.pid)
        silent, busy = loop.time() - since, used(process.pid) - used_before
        if silent >= silent_seconds and (
            busy >= silent_seconds or silent >= PATIENCE * silent_seconds
        ):
            _log.error(
                "the embedded services have not answered for %.0f s, in which they used %.0f s of "
                "processor time; they are ended",
                silent,
                busy,
            )
            await _end(process)
            return
        await asyncio.sleep(pause)


async def _answers(ping: Ping, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await ping()
    except Exception:
        return False
    return True


async def _end(process: Watched) -> None:
    """Let it say where it was (``faulthandler``), then kill it."""
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        process.send_signal(signal.SIGABRT)
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            await process.wait()
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used, 0 where that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, ValueError, IndexError):
        return 0.0
