"""What the services know, kept on disk: loaded at start, saved soon after a change and at stop.

A snapshot is taken by a fork, so that no request waits for it and every file of it is of one
moment; a file changes only when its content does, by renaming.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

_log = logging.getLogger(__name__)

# Seconds between a change and the snapshot that has it, and between snapshots that no request asked
# for: schedules fire, messages expire.
SOON = 0.2
_ANYWAY = 30.0
# Seconds a snapshot may take.
_LONGEST = 300


class Keeper(Protocol):
    """Whose state is kept (the adapter)."""

    def snapshot(self) -> Mapping[str, Callable[[], bytes]]:
        """Each loaded service's state by name, written only when asked for."""

    def restore(self, name: str, content: bytes) -> None:
        """Take a state in; raises if it cannot be understood."""


class State:
    """One file per service in a folder."""

    def __init__(self, folder: Path, keeper: Keeper, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._keeper = keeper
        self._now = now
        self._changed = asyncio.Event()
        self._saving: asyncio.Task[None] | None = None

    def load(self) -> None:
        """Take in every file; one that cannot be read is set aside, never lost."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for half in self._folder.glob("*.new"):
            half.unlink()
        for path in sorted(self._folder.glob("*.json")):
            try:
                self._keeper.restore(path.stem, path.read_bytes())
            except Exception as error:
                aside = path.with_name(f"{path.name}.unreadable-{int(self._now())}")
                path.rename(aside)
                _log.error(
                    "the state of %s cannot be read (%s: %s); it starts empty, and what was there "
                    "is kept in %s",
                    path.stem,
                    type(error).__name__,
                    error,
                    aside.name,
                )

    def changed(self) -> None:
        """Something may have changed."""
        self._changed.set()

    def start(self) -> None:
        """Save from now on."""
        self._saving = asyncio.ensure_future(self._save_for_ever())

    async def stop(self) -> None:
        """Save one last time."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        self.write()

    async def _save_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ANYWAY):
                    await self._changed.wait()
            await asyncio.sleep(SOON)
            self._changed.clear()
            await self._fork()

    async def _fork(self) -> None:
        """Write in a child, which sees everything as it is now and nothing that comes."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.nice(5)
                # A lock that a thread held at the fork is never given back: then try again.
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(_LONGEST)
                self.write()
                code = 0
            finally:
                os._exit(code)
        try:
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        except asyncio.CancelledError:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            raise
        if status:
            _log.error("the state could not be saved (status %d); it is tried again", status)
            self._changed.set()

    def write(self) -> None:
        """Write what has changed."""
        for name, content in self._keeper.snapshot().items():
            try:
                self._write(name, content())
            except Exception:
                _log.exception("the state of %s could not be saved", name)

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / f"{name}.json"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == len(content) and path.read_bytes() == content:
                return
        half = path.with_suffix(".new")
        with half.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
