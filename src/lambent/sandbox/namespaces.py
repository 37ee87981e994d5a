"""The default backend: Linux namespaces, a zygote per tenant and language, control groups.

The same code serves root and an ordinary user; the latter's sandboxes live inside one user
namespace and share its uid, root's have a host uid each.  See ``kernel`` for what runs outside
this process, ARCHITECTURE.md for the picture and SECURITY.md for what holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from lambent.sandbox.base import Exit, Language, SandboxError, SandboxSpec
from lambent.sandbox.cgroups import ControlGroup, ControlGroups
from lambent.sandbox.kernel import wire

_log = logging.getLogger(__name__)

# Host uids nobody else hands out (systemd: unused), one per sandbox.
UID_BASE = 0x7000_0000
UID_COUNT = 1 << 20
START_TIMEOUT = 10.0
TMP_BYTES_PER_INODE = 16 * 1024
_AGENT = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from lambent.sandbox.kernel.agent import main; main(int(sys.argv[2]), sys.argv[3])"
)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Channel:
    """The server's end of a SEQPACKET pair: requests answered in order."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._waiting: deque[asyncio.Future[tuple[dict[str, Any], list[int]]]] = deque()
        # What came before anybody expected it.
        self._early: deque[tuple[dict[str, Any], list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        end.setblocking(False)
        self._loop.add_reader(end.fileno(), self._readable)

    @classmethod
    def pair(cls) -> tuple[_Channel, socket.socket]:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(mine), theirs

    def expect(self) -> asyncio.Future[tuple[dict[str, Any], list[int]]]:
        """The next message, in order."""
        future: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()
        if self._early:
            future.set_result(self._early.popleft())
        elif self._closed:
            future.set_exception(SandboxError("a sandbox helper process has ended"))
        else:
            self._waiting.append(future)
        return future

    def send(self, message: dict[str, Any], descriptors: tuple[int, ...] | list[int] = ()) -> None:
        try:
            wire.send(self._socket, message, descriptors)
        except OSError as error:
            raise SandboxError(f"a sandbox helper process has ended: {error}") from error

    def _readable(self) -> None:
        try:
            received = wire.receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            early, self._early = self._early, deque()
            self.close()
            self._early = early
        elif not self._waiting:
            self._early.append(received)
        elif not (waiter := self._waiting.popleft()).done():
            waiter.set_result(received)
        else:
            _close_all(received[1])

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(SandboxError("a sandbox helper process has ended"))
        self._waiting.clear()
        while self._early:
            _close_all(self._early.popleft()[1])

    @property
    def closed(self) -> bool:
        return self._closed


class NamespaceSandbox:
    """One child of a zygote, from prepared to gone."""

    def __init__(
        self,
        backend: NamespaceBackend,
        channel: _Channel,
        output: int,
        connection: socket.socket,
        group: ControlGroup | None,
    ) -> None:
        self._backend = backend
        self._channel = channel
        self._group = group
        self._pidfd = -1
        self._cpus = 0.0
        self._destroyed = False
        self._frozen = False
        self._oom = -1
        self.output = output
        self.connection: socket.socket | None = connection
        self.listener: socket.socket
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._last_word: asyncio.Future[tuple[dict[str, Any], list[int]]] | None = None

    async def prepared(self) -> None:
        """Wait until the child has its namespaces; raises SandboxError."""
        message, descriptors = await self._channel.expect()
        if "error" in message:
            raise SandboxError(message["error"])
        listener, self._pidfd = descriptors
        self.listener = socket.socket(fileno=listener)
        self.listener.setblocking(False)

    def specialise(self, spec: SandboxSpec, trees: list[int]) -> None:
        """Give it code and limits, and let it run."""
        self._cpus = spec.cpus
        if spec.execute is not None and self.connection is not None:
            # What is executed connects as any runtime does.
            self.connection.close()
            self.connection = None
        self._limited = self._group is not None and self._group.limits_memory
        if self._group is not None:
            self._group.limit(spec.memory_bytes)
            self._oom = self._group.watch_oom()
            if self._oom >= 0:
                asyncio.get_running_loop().add_reader(self._oom, self._out_of_memory)
        self._channel.send(
            {
                "environment": dict(spec.environment),
                "tmp_bytes": spec.tmp_bytes,
                "tmp_inodes": max(1024, spec.tmp_bytes // TMP_BYTES_PER_INODE),
                "data_bytes": None if self._limited else spec.memory_bytes,
                "mounts": [mount.target for mount in spec.mounts],
                "execute": list(spec.execute) if spec.execute is not None else None,
            },
            trees,
        )
        self._last_word = self._channel.expect()
        self._last_word.add_done_callback(self._ended)

    def _ended(self, word: asyncio.Future[tuple[dict[str, Any], list[int]]]) -> None:
        lost = word.cancelled() or word.exception() is not None
        if self.exited.done():
            return
        out_of_memory = self._group is not None and self._group.out_of_memory()
        if lost:
            self.exited.set_result(Exit(None, out_of_memory))
            return
        message, _ = word.result()
        if "error" in message:
            _log.error("a sandbox could not start: %s", message["error"])
        self.exited.set_result(Exit(message.get("exit"), out_of_memory))

    def _out_of_memory(self) -> None:
        """A process inside was killed for memory: what is left of the function goes too."""
        if not self.exited.done():
            self.exited.set_result(Exit(None, out_of_memory=True))
        self._unwatch()
        self._kill()

    def _unwatch(self) -> None:
        if self._oom >= 0:
            asyncio.get_running_loop().remove_reader(self._oom)
            self._oom = -1

    def throttle(self) -> None:
        if self._group is not None:
            self._group.throttle(self._cpus)

    def freeze(self) -> None:
        if self._group is not None and not self._frozen:
            self._group.freeze(True)
            self._frozen = True

    def thaw(self) -> None:
        if self._group is not None and self._frozen:
            self._group.freeze(False)
            self._frozen = False

    def memory_peak(self) -> int:
        if self._group is not None and (peak := self._group.memory_peak()):
            return peak
        return _resident_peak(self._pidfd)

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self.thaw()
        if self._pidfd >= 0:
            # PID 1 of its namespace: the kernel takes everything inside along.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def destroy(self) -> None:
        if self._destroyed:
            return
        self._destroyed = True
        self._unwatch()
        self._kill()
        if not self.exited.done():
            self.exited.set_result(Exit(None))
        self._channel.close()
        with contextlib.suppress(OSError):
            os.close(self.output)
        if self.connection is not None:
            self.connection.close()
        if self._pidfd >= 0:
            self.listener.close()
            os.close(self._pidfd)
            self._pidfd = -1
        self._backend.released(self, self._group)


def _resident_peak(pidfd: int) -> int:
    """VmHWM over the sandbox's processes is unknown without cgroups: PID 1's children's, summed."""
    if pidfd < 0:
        return 0
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as file:
            init = next(line.split()[1] for line in file if line.startswith("Pid:"))
        with open(f"/proc/{init}/task/{init}/children") as file:
            children = file.read().split()
        total = 0
        for child in children:
            with open(f"/proc/{child}/status") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        return total * 1024
    except (OSError, StopIteration):
        return 0


class _Zygote:
    """The server's side of one zygote: its channel and the sandboxes prepared ahead."""

    def __init__(self, channel: _Channel) -> None:
        self.channel = channel
        self.prepared: deque[asyncio.Task[NamespaceSandbox]] = deque()


def _alive(zygote: asyncio.Future[_Zygote]) -> bool:
    failed = zygote.cancelled() or zygote.exception() is not None
    return not failed and not zygote.result().channel.closed


class NamespaceBackend:
    """Starts sandboxes from zygotes, keeping a few prepared ahead."""

    def __init__(
        self,
        state: Path,
        groups: ControlGroups | None,
        ahead: int,
    ) -> None:
        self._stage = state / "root"
        self._groups = groups
        self._ahead = ahead
        self._agent: subprocess.Popen[bytes] | None = None
        self._channel: _Channel
        self._zygotes: dict[tuple[str, str], asyncio.Future[_Zygote]] = {}
        self._sandboxes: set[NamespaceSandbox] = set()
        self._dying: list[ControlGroup] = []
        self._burying: asyncio.TimerHandle | None = None
        self._serial = 0
        self._root = os.getuid() == 0
        self._closing = False

    async def open(self) -> None:
        self._stage.mkdir(parents=True, exist_ok=True)
        if self._groups is not None:
            self._groups.sweep()
        self._channel, theirs = _Channel.pair()
        freezers = self._groups.freezers if self._groups is not None else ""
        source = str(Path(__file__).resolve().parents[2])
        self._agent = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _AGENT, source, str(theirs.fileno()), freezers],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        message, _ = await asyncio.wait_for(self._channel.expect(), START_TIMEOUT)
        if "error" in message:
            raise SandboxError(f"this host does not allow sandboxes: {message['error']}")

    async def _ask(
        self, request: dict[str, Any], descriptors: tuple[int, ...] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        answer = self._channel.expect()
        self._channel.send(request, descriptors)
        message, given = await answer
        if "error" in message:
            raise SandboxError(message["error"])
        return message, given

    async def warm(self, tenant: str, language: Language) -> None:
        zygote = await self._zygote(tenant, language)
        self._prepare_ahead(zygote)

    async def _zygote(self, tenant: str, language: Language) -> _Zygote:
        key = (tenant, language.name)
        known = self._zygotes.get(key)
        if known is not None and known.done() and not _alive(known):
            known = None
        if known is None:
            known = asyncio.ensure_future(self._boot(language))
            self._zygotes[key] = known
        return await asyncio.shield(known)

    async def _boot(self, language: Language) -> _Zygote:
        channel, theirs = _Channel.pair()
        ready = channel.expect()
        try:
            await self._ask(
                {
                    "op": "zygote",
                    "stage": str(self._stage),
                    "language": language.prefix,
                    "interpreter": language.interpreter,
                    "runtime": language.bootstrap,
                },
                (theirs.fileno(),),
            )
        finally:
            theirs.close()
        await asyncio.wait_for(ready, START_TIMEOUT)
        return _Zygote(channel)

    async def _spawn(self, zygote: _Zygote) -> NamespaceSandbox:
        self._serial += 1
        group = self._groups.create(f"s{os.getpid()}-{self._serial}") if self._groups else None
        channel, theirs = _Channel.pair()
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        connection, runtime = socket.socketpair()
        sandbox = NamespaceSandbox(self, channel, read, connection, group)
        self._sandboxes.add(sandbox)
        try:
            os.set_blocking(write, True)
            uid = UID_BASE + self._serial % UID_COUNT if self._root else 0
            entrances = group.entrances if group is not None else []
            zygote.channel.send(
                {"uid": uid}, [theirs.fileno(), write, runtime.fileno(), *entrances]
            )
            os.close(write)
            write = -1
            theirs.close()
            runtime.close()
            await asyncio.wait_for(sandbox.prepared(), START_TIMEOUT)
        except BaseException as error:
            if write >= 0:
                os.close(write)
            theirs.close()
            runtime.close()
            sandbox.destroy()
            if isinstance(error, TimeoutError):
                raise SandboxError("a sandbox did not start in time") from error
            raise
        return sandbox

    def _prepare_ahead(self, zygote: _Zygote) -> None:
        while len(zygote.prepared) < self._ahead and not self._closing:
            task = asyncio.ensure_future(self._spawn(zygote))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            zygote.prepared.append(task)

    async def start(self, spec: SandboxSpec) -> NamespaceSandbox:
        zygote = await self._zygote(spec.tenant, spec.language)
        trees: list[int] = []
        request = {"op": "trees", "paths": [mount.source for mount in spec.mounts]}
        asked = asyncio.ensure_future(self._ask(request))
        sandbox: NamespaceSandbox | None = None
        try:
            while zygote.prepared and sandbox is None:
                with contextlib.suppress(SandboxError):
                    candidate = await zygote.prepared.popleft()
                    sandbox = candidate if not candidate.exited.done() else None
            if sandbox is None:
                sandbox = await self._spawn(zygote)
            _, trees = await asked
            sandbox.specialise(spec, trees)
        except BaseException:
            asked.cancel()
            if sandbox is not None:
                sandbox.destroy()
            raise
        finally:
            for tree in trees:
                os.close(tree)
        asyncio.get_running_loop().call_later(0.05, self._prepare_ahead, zygote)
        return sandbox

    def released(self, sandbox: NamespaceSandbox, group: ControlGroup | None) -> None:
        """A sandbox is gone; its group is removed when its last process has been reaped."""
        self._sandboxes.discard(sandbox)
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
        self._closing = True
        for future in self._zygotes.values():
            if future.done() and _alive(future):
                for task in future.result().prepared:
                    task.cancel()
            else:
                future.cancel()
        await asyncio.sleep(0)
        for sandbox in list(self._sandboxes):
            sandbox.destroy()
        for future in self._zygotes.values():
            if future.done() and _alive(future):
                future.result().channel.close()
        if self._agent is not None:
            self._channel.close()
            try:
                await asyncio.to_thread(self._agent.wait, 5)
            except subprocess.TimeoutExpired:
                self._agent.kill()
                self._agent.wait()
        for _ in range(200):
            if self._burying is not None:
                self._burying.cancel()
            self._bury()
            if not self._dying:
                break
            await asyncio.sleep(0.01)
        if self._groups is not None:
            self._groups.remove()
