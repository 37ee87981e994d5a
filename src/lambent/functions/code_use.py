"""Which archives and trees are in use, by whom, and the end of those that are not.

An archive is in use while a stored function or layer names it, while the request that brought it,
or that looked it up, is being answered, and while an environment has it mounted.  What is none of
these for GRACE_SECONDS is removed.  So nothing that was acknowledged can lose its code: it is named
before its request ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

_log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
_LOOK_SECONDS = 0.5

Remove = Callable[[str], Awaitable[None]]
"""Removes an archive and a tree of one name."""


class CodeUse:
    """Counts uses by name: an archive's digest, or what a merged tree is called."""

    def __init__(self, remove: Remove, mounted: Callable[[], Iterable[str]]) -> None:
        """mounted: what environments use that there are now."""
        self._remove = remove
        self._mounted = mounted
        self._owners: dict[str, frozenset[str]] = {}
        self._named: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._bytes: dict[str, int] = {}
        # What seems to be unused, and since when; what is being removed.
        self._unused: dict[str, float] = {}
        self._removing: dict[str, asyncio.Future[None]] = {}
        # Owners that changed before all had been counted.
        self._changed: set[str] | None = set()
        self._looking: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    # -- who uses what --------------------------------------------------------------------

    def observe(self, owner: str, names: Iterable[str]) -> None:
        """An owner ("account/region/...") names these now, and nothing else."""
        if self._changed is not None:
            self._changed.add(owner)
        self._set(owner, frozenset(names))

    def count(self, owner: str, names: Iterable[str]) -> None:
        """After a start: an owner names these, unless it changed since."""
        if self._changed is not None and owner not in self._changed:
            self._set(owner, frozenset(names))

    async def counted(self, known: Iterable[str]) -> None:
        """Every owner has been counted: from here on unused code is removed.

        known: what there was at the start, of which the rest goes at once.
        """
        self._changed = None
        for name in known:
            if not self._is_used(name) and name not in self._removing:
                await self._end(name)
        self._look_at(())

    def _set(self, owner: str, names: frozenset[str]) -> None:
        before = self._owners.pop(owner, frozenset())
        if names:
            self._owners[owner] = names
        self._named.update(names)
        self._named.subtract(before)
        self._look_at(before - names)

    async def hold(self, name: str) -> None:
        """Keep something until the task at hand is over; waits where it is just being removed."""
        task = asyncio.current_task()
        if task is not None:
            self._held[name] += 1
            task.add_done_callback(lambda _: self._let_go(name))
        while (removing := self._removing.get(name)) is not None:
            await asyncio.shield(removing)

    def _let_go(self, name: str) -> None:
        self._held[name] -= 1
        self._look_at([name])

    # -- how much -------------------------------------------------------------------------

    def measured(self, name: str, size: int) -> None:
        """Something takes so many bytes of the disk."""
        self._bytes[name] = size

    def is_measured(self, name: str) -> bool:
        """Whether it is known how much something takes."""
        return name in self._bytes

    def total(self, account: str) -> int:
        """Bytes of the disk that everything takes that an account names."""
        mine: set[str] = set()
        for owner, names in self._owners.items():
            if owner.startswith(account + "/"):
                mine |= names
        return sum(self._bytes.get(name, 0) for name in mine)

    def names(self, account: str, name: str) -> bool:
        """Whether an account names something already."""
        return any(
            name in names
            for owner, names in self._owners.items()
            if owner.startswith(account + "/")
        )

    # -- the end --------------------------------------------------------------------------

    def _is_used(self, name: str) -> bool:
        return self._named[name] > 0 or self._held[name] > 0

    def _look_at(self, names: Iterable[str]) -> None:
        now = self._loop.time()
        for name in names:
            if not self._is_used(name):
                self._unused.setdefault(name, now)
                for counts in (self._named, self._held):
                    del counts[name]
        if self._unused and self._changed is None and self._looking is None:
            self._looking = self._loop.create_task(self._collect())

    async def _collect(self) -> None:
        try:
            while self._unused:
                await asyncio.sleep(_LOOK_SECONDS)
                mounted = set(self._mounted())
                now = self._loop.time()
                for name, since in list(self._unused.items()):
                    if self._is_used(name):
                        del self._unused[name]
                    elif name in mounted:
                        self._unused[name] = now
                    elif now - since >= GRACE_SECONDS:
                        del self._unused[name]
                        await self._end(name)
        finally:
            self._looking = None

    async def _end(self, name: str) -> None:
        removing = self._removing[name] = self._loop.create_future()
        try:
            await self._remove(name)
            self._bytes.pop(name, None)
        except OSError as error:
            _log.error("code that is not used cannot be removed: %s", error)
        finally:
            del self._removing[name]
            removing.set_result(None)

    async def close(self) -> None:
        """Remove nothing more; the next start goes on."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
