"""One life of the embedded services' process, started by the server or by the host agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Starter(Protocol):
    """A way to start the process."""

    async def start(self, listener: int, stdin: int, endpoint: str) -> tuple[int, int]:
        """Start it with a listening socket and a standard input; returns its pid and a pidfd.

        endpoint: where functions reach this server.  Raises OSError.
        """

    def kill(self, pidfd: int, number: int) -> None:
        """Send it SIGKILL or SIGABRT."""


class OwnStarter:
    """Starts it as a child of this process: where there is no host agent."""

    def __init__(self, folder: Path, region: str, memory_bytes: int) -> None:
        """memory_bytes: how much it may have; 0: any."""
        self._memory_bytes = memory_bytes
        self._arguments = ["-P", "-m", "lambent.neighbours.ministack", str(folder), region]
        self._child: subprocess.Popen[bytes] | None = None

    async def start(self, listener: int, stdin: int, endpoint: str) -> tuple[int, int]:
        """See ``Starter``."""
        if self._child is not None:
            self._child.wait()
        kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TZ")
        variables = {name: os.environ[name] for name in kept if name in os.environ}
        self._child = subprocess.Popen(
            [sys.executable, *self._arguments],
            stdin=stdin,
            pass_fds=(listener,),
            # No setting or secret of the server is its business.
            env={
                **variables,
                "LAMBENT_LISTENER": str(listener),
                "LAMBENT_ENDPOINT": endpoint,
                "LAMBENT_MEMORY_BYTES": str(self._memory_bytes),
                "PYTHONUNBUFFERED": "1",
            },
            start_new_session=True,
        )
        return self._child.pid, os.pidfd_open(self._child.pid)

    def kill(self, pidfd: int, number: int) -> None:
        """See ``Starter``."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)


class Life:
    """The running process; it ends in order when its standard input does."""

    def __init__(self, pid: int, pidfd: int, held: int, kill: Callable[[int, int], None]) -> None:
        """held: the write end of its standard input."""
        self.pid = pid
        self._pidfd = pidfd
        self._held = held
        self._kill = kill
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pidfd, self._end)

    def _end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self.close_input()
        self._ended.set()

    def close_input(self) -> None:
        """Have it save what it knows and end."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def send_signal(self, number: int) -> None:
        """Send it SIGKILL or SIGABRT, if it lives."""
        if self._pidfd >= 0:
            self._kill(self._pidfd, number)

    def kill(self) -> None:
        """Kill it, if it lives."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Until it has ended; 0, because only its parent knows how."""
        await self._ended.wait()
        return 0
