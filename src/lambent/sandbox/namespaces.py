"""The default backend: Linux namespaces, a zygote per tenant and language, control groups.

The same code serves root and an ordinary user; the latter's sandboxes live inside one user
namespace and share its uid, root's have a host uid each.  Ready ahead are plain sandboxes, and for
runtimes that can wait for their function, sandboxes in which one is booted.  See ``kernel`` for
what runs outside this process, ARCHITECTURE.md for the picture and SECURITY.md for what holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable

from lambent.clock import Clock
from lambent.sandbox.addresses import Addresses
from lambent.sandbox.base import Language, Mount, Program, SandboxError, SandboxSpec
from lambent.sandbox.cgroups import ControlGroup, ControlGroups
from lambent.sandbox.channel import Channel
from lambent.sandbox.host_agent import START_TIMEOUT, HostAgent
from lambent.sandbox.kernel import environ
from lambent.sandbox.namespace_sandbox import NamespaceSandbox
from lambent.sandbox.stock import BARE_BYTES, BOOTED_BYTES, Stock, Stocks
from lambent.sandbox.uids import USERS

_log = logging.getLogger(__name__)

# New ones are made once the start that took one has had the processors for itself.
_REFILL_SECONDS = 0.05
RECYCLE_SPAWNS = 1000
RECYCLE_SECONDS = 900.0
_Spawned = Awaitable[NamespaceSandbox]


class _Zygote:
    """The server's side of one zygote: its channel and the sandboxes that came from it.

    Its children share an address space layout and a hash seed, so it is replaced now and then; it
    must outlive them, because they end with it.
    """

    def __init__(
        self, channel: Channel, pid: int, stocks: Stocks, spawn: Callable[[_Zygote], _Spawned]
    ) -> None:
        self.channel = channel
        self.pid = pid
        self.stock = stocks.new(lambda: spawn(self), BARE_BYTES)
        self.spawned = 0
        self.living = 0
        self.retired = False
        self._clock = stocks.clock
        self._born = stocks.clock.monotonic()

    @property
    def worn(self) -> bool:
        """Whether it is time for another one."""
        age = self._clock.monotonic() - self._born
        return self.spawned >= RECYCLE_SPAWNS or (self.spawned > 0 and age >= RECYCLE_SECONDS)

    def retire(self) -> None:
        """Spawn no more, and end with the last sandbox."""
        self.retired = True
        self.stock.close()
        self.leave(0)

    def leave(self, count: int = 1) -> None:
        """A sandbox of it is gone."""
        self.living -= count
        if self.retired and not self.living:
            self.channel.close()


def _alive(zygote: asyncio.Future[_Zygote]) -> bool:
    failed = zygote.cancelled() or zygote.exception() is not None
    return not failed and not zygote.result().channel.closed


def _language_mounts(language: Language) -> list[Mount]:
    """What a sandbox adds of a language that its zygote's root does not show."""
    if language.interpreter:
        return []
    both = ((language.prefix, "/var/lang"), (language.bootstrap, "/var/runtime"))
    return [Mount(source, target) for source, target in both if source]


class NamespaceBackend:
    """Starts sandboxes from zygotes, keeping a few prepared ahead."""

    def __init__(
        self,
        agent: HostAgent,
        groups: ControlGroups | None,
        clock: Clock,
        ahead: int,
        ahead_bytes: int,
    ) -> None:
        """ahead: how many of each kind in use are kept ready, as far as ahead_bytes allow."""
        # Why functions have no network though they should; "" if all is well.
        self.network_missing = ""
        # The same of disks for /tmp.
        self.disks_missing = ""
        self._agent = agent
        # None for an ordinary user, whose sandboxes have his.
        self._uids = agent.uids
        self._addresses: Addresses | None = None
        self._groups = groups
        self._stocks = Stocks(clock, ahead, ahead_bytes)
        self._zygotes: dict[tuple[str, str], asyncio.Future[_Zygote]] = {}
        self._booted: dict[tuple[str, str, Program], Stock] = {}
        self._recycling: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._sandboxes: dict[NamespaceSandbox, _Zygote] = {}
        self._dying: list[ControlGroup] = []
        self._burying: asyncio.TimerHandle | None = None
        self._serial = 0

    async def open(self) -> None:
        self._agent.open()
        if self._agent.grants.network is not None:
            try:
                await self._agent.ask({"op": "network"})
                self._addresses = Addresses()
            except SandboxError as error:
                self.network_missing = str(error)
        if self._agent.grants.disk_bytes:
            try:
                await self._agent.ask({"op": "disks"})
            except SandboxError as error:
                self.disks_missing = str(error)

    async def _trees(self, mounts: list[Mount], tmp_bytes: int = 0) -> tuple[list[str], list[int]]:
        """Where to mount what: host folders and, if there is one, a disk of this size for /tmp.

        The mounts come as descriptors; raises SandboxError.
        """
        paths = [mount.source for mount in mounts]
        answer, trees = await self._agent.ask(
            {"op": "trees", "paths": paths, "tmp_bytes": tmp_bytes}
        )
        if "why" in answer:
            _log.warning("/tmp of an environment counts as its memory: %s", answer["why"])
        targets = [mount.target for mount in mounts]
        return (
            (["/tmp", *targets], [trees[-1], *trees[:-1]]) if answer["disk"] else (targets, trees)
        )

    # -- zygotes --------------------------------------------------------------------------

    async def _zygote(self, tenant: str, language: Language) -> _Zygote:
        """The zygote of a Python runtime, or the one all programs of a tenant come from."""
        key = (tenant, language.name if language.interpreter else "")
        known = self._zygotes.get(key)
        if known is not None and known.done() and not _alive(known):
            known = None
        if known is None:
            known = asyncio.ensure_future(self._boot_zygote(language))
            self._zygotes[key] = known
        return await asyncio.shield(known)

    async def _boot_zygote(self, language: Language) -> _Zygote:
        channel, theirs = Channel.pair()
        ready = channel.expect()
        try:
            name = language.name if language.interpreter else ""
            started, _ = await self._agent.ask(
                {"op": "zygote", "language": name}, (theirs.fileno(),)
            )
        finally:
            theirs.close()
        await asyncio.wait_for(ready, START_TIMEOUT)
        return _Zygote(channel, started["pid"], self._stocks, self._spawn)

    def _recycle(self, tenant: str, language: Language) -> None:
        """Replace a worn zygote; it goes on until its successor is ready."""
        key = (tenant, language.name if language.interpreter else "")
        old = self._zygotes[key]

        async def replace() -> None:
            try:
                successor = asyncio.ensure_future(self._boot_zygote(language))
                await successor
                self._zygotes[key] = successor
                old.result().retire()
            finally:
                del self._recycling[key]

        if key not in self._recycling and old.done() and _alive(old) and old.result().worn:
            task = self._recycling[key] = asyncio.ensure_future(replace())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _spawn(self, zygote: _Zygote) -> NamespaceSandbox:
        """A sandbox with nothing in it."""
        self._serial += 1
        number = self._addresses.take() if self._addresses is not None else None
        name = f"s{os.getpid()}-{self._serial}" if self._groups else None
        group = self._groups.create(name) if self._groups and name else None
        channel, theirs = Channel.pair()
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        sandbox = NamespaceSandbox(channel, read, group, number, self._agent.kill, self._released)
        self._sandboxes[sandbox] = zygote
        zygote.spawned += 1
        zygote.living += 1
        try:
            os.set_blocking(write, True)
            sandbox.uid = self._uids.take() if self._uids is not None else 0
            users = USERS if self._uids is not None else 1
            request = {"uid": sandbox.uid, "users": users, "number": number, "group": name}
            zygote.channel.send(request, [theirs.fileno(), write])
            # Its end is the child's alone now, so that its death is heard.
            theirs.close()
            await asyncio.wait_for(sandbox.prepared(zygote.pid), START_TIMEOUT)
        except BaseException as error:
            sandbox.destroy()
            if isinstance(error, TimeoutError):
                raise SandboxError("a sandbox did not start in time") from error
            raise
        finally:
            os.close(write)
            theirs.close()
        return sandbox

    async def _boot(
        self, zygote: _Zygote, language: Language, program: Program
    ) -> NamespaceSandbox:
        """A sandbox in which a runtime waits for its function."""
        sandbox = await zygote.stock.take()
        mounts = _language_mounts(language)
        trees: list[int] = []
        try:
            targets, trees = await self._trees(mounts)
            environment = dict(program.boot_environment)
            if program.rewritten:
                environment.update(environ.room())
            sandbox.boot(program, environment, targets, trees)
        except BaseException:
            sandbox.destroy()
            raise
        finally:
            for tree in trees:
                os.close(tree)
        return sandbox

    # -- sandboxes ------------------------------------------------------------------------

    async def _stock(self, tenant: str, language: Language, program: Program | None) -> Stock:
        """Where sandboxes of this kind come from."""
        zygote = await self._zygote(tenant, language)
        if program is None or not program.ahead:
            return zygote.stock
        key = (tenant, language.name, program)
        stock = self._booted.get(key)
        if stock is None:
            kind = program

            async def make() -> NamespaceSandbox:
                return await self._boot(await self._zygote(tenant, language), language, kind)

            stock = self._booted[key] = self._stocks.new(make, BOOTED_BYTES)
        return stock

    async def warm(self, tenant: str, language: Language, program: Program | None) -> None:
        (await self._stock(tenant, language, program)).fill()

    async def start(self, spec: SandboxSpec) -> NamespaceSandbox:
        program = spec.program
        stock = await self._stock(spec.tenant, spec.language, program)
        mounts = list(spec.mounts)
        if program is not None and not program.ahead:
            mounts += _language_mounts(spec.language)
        asked = asyncio.ensure_future(self._trees(mounts, spec.tmp_bytes))
        sandbox: NamespaceSandbox | None = None
        trees: list[int] = []
        try:
            sandbox = await stock.take()
            targets, trees = await asked
            sandbox.specialise(spec, targets, trees)
        except BaseException:
            if asked.done() and not asked.cancelled() and asked.exception() is None:
                trees = asked.result()[1]
            asked.cancel()
            if sandbox is not None:
                sandbox.destroy()
            raise
        finally:
            for tree in trees:
                os.close(tree)
        asyncio.get_running_loop().call_later(_REFILL_SECONDS, stock.fill)
        self._recycle(spec.tenant, spec.language)
        return sandbox

    def _released(self, sandbox: NamespaceSandbox, group: ControlGroup | None) -> None:
        """A sandbox is gone; its group is removed when its last process has been reaped."""
        self._sandboxes.pop(sandbox).leave()
        if sandbox.number is not None and self._addresses is not None:
            self._addresses.give_back(sandbox.number)
        if self._uids is not None:
            self._uids.give_back(sandbox.uid)
        if group is not None and not group.remove():
            self._dying.append(group)
            if self._burying is None:
                self._burying = asyncio.get_running_loop().call_later(0.02, self._bury)

    def _bury(self) -> None:
        self._burying = None
        self._dying = [group for group in self._dying if not group.remove()]
        if self._dying:
            self._burying = asyncio.get_running_loop().call_later(0.05, self._bury)

    async def close(self) -> None:
        self._stocks.close()
        for task in self._recycling.values():
            task.cancel()
        for future in self._zygotes.values():
            if not future.done():
                future.cancel()
        await asyncio.sleep(0)
        for sandbox in list(self._sandboxes):
            sandbox.destroy()
        for future in self._zygotes.values():
            if future.done() and _alive(future):
                future.result().channel.close()
        for _ in range(200):
            if self._burying is not None:
                self._burying.cancel()
            self._bury()
            if not self._dying:
                break
            await asyncio.sleep(0.01)
        if self._groups is not None:
            self._groups.remove()
            with contextlib.suppress(SandboxError):
                await self._agent.ask({"op": "leave"})
        await self._agent.close()
