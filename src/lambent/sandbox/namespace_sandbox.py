"""One sandbox of namespaces, seen from the server: from prepared to gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator

from lambent.sandbox.base import Exit, Program, SandboxError, SandboxSpec
from lambent.sandbox.cgroups import ControlGroup
from lambent.sandbox.channel import Channel, Message
from lambent.sandbox.kernel import disks

_log = logging.getLogger(__name__)

_RESET_SECONDS = 2.0

Released = Callable[["NamespaceSandbox", ControlGroup | None], None]


class NamespaceSandbox:
    """The server's hands on one child of a zygote; see ``lambent.sandbox.base.Sandbox``."""

    def __init__(
        self,
        channel: Channel,
        output: int,
        group: ControlGroup | None,
        number: int | None,
        kill: Callable[[int], None],
        released: Released,
    ) -> None:
        """kill: kills the process of a pidfd, which may have another uid than this one."""
        self._kill_process = kill
        self._channel = channel
        self._group = group
        self._metered = group is not None and group.limits_memory
        self._released = released
        self._pidfd = -1
        self._cpus = 0.0
        self._destroyed = False
        self._frozen = False
        self._oom = -1
        self._connected = False
        # Whether the runtime has been booted ahead of its function and waits for it.
        self._booted = False
        self._resetting: asyncio.Future[bool] | None = None
        self._connecting: deque[asyncio.Future[int]] = deque()
        self._loop = asyncio.get_running_loop()
        # Of its address, None where there is no network.
        self.number = number
        # Its first host uid.
        self.uid = 0
        self.output = output
        self.extension_output = -1
        self.connection: socket.socket | None = None
        self.extension_ended: Callable[[str, int], None] | None = None
        self.listener: socket.socket
        self.endpoint: socket.socket | None = None
        self.exited: asyncio.Future[Exit] = self._loop.create_future()

    # -- before it has a function ---------------------------------------------------------

    async def prepared(self, zygote: int) -> None:
        """Wait until the child has its namespaces; raises SandboxError.

        zygote: the pid of the process whose child it must be.
        """
        message, descriptors = await self._channel.expect()
        try:
            if "error" in message:
                raise SandboxError(str(message["error"]))
            if len(descriptors) != 3 or not all(map(_listens, descriptors[:2])):
                raise SandboxError("a sandbox announced what are not its listeners")
            if not _is_init(descriptors[2], zygote):
                raise SandboxError("a sandbox was announced by what is no child of its zygote")
        except (OSError, SandboxError) as error:
            for each in descriptors:
                os.close(each)
            raise SandboxError(str(error)) from error
        listener, endpoint, self._pidfd = descriptors
        self.listener = socket.socket(fileno=listener)
        self.endpoint = socket.socket(fileno=endpoint)
        self.listener.setblocking(False)
        self.endpoint.setblocking(False)
        self._channel.listen(self._hear)

    def boot(
        self, program: Program, environment: dict[str, str], targets: list[str], trees: list[int]
    ) -> None:
        """Execute a runtime that will wait for its function."""
        with self._connect(program.connected) as given:
            self._channel.send(
                {
                    "op": "boot",
                    "argv": list(program.commands[0]),
                    "environment": environment,
                    "mounts": targets,
                    "connected": program.connected,
                    "metered": self._metered,
                },
                [*trees, *given],
            )
        self._booted = True

    @contextlib.contextmanager
    def _connect(self, connected: bool) -> Iterator[list[int]]:
        """Make a connection ready, if one is wanted, and give the runtime's end of it."""
        if not connected:
            yield []
            return
        self.connection, theirs = socket.socketpair()
        with theirs:
            yield [theirs.fileno()]

    # -- once it has one ------------------------------------------------------------------

    def specialise(self, spec: SandboxSpec, targets: list[str], trees: list[int]) -> None:
        """Give it code and limits."""
        self._cpus = spec.cpus
        self._connected = spec.program is None or spec.program.connected
        if self._group is not None:
            self._group.limit(spec.memory_bytes)
            self._oom = self._group.watch_oom()
            if self._oom >= 0:
                self._loop.add_reader(self._oom, self._out_of_memory)
        given = list(trees)
        write = -1
        if spec.extensions:
            self.extension_output, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            os.set_blocking(write, True)
            given.append(write)
        program = spec.program
        try:
            self._channel.send(
                {
                    "op": "specialise",
                    "environment": dict(spec.environment),
                    "tmp_bytes": spec.tmp_bytes,
                    "tmp_inodes": disks.inodes(spec.tmp_bytes),
                    "data_bytes": None if self._metered else spec.memory_bytes,
                    "mounts": targets,
                    "commands": program and [list(each) for each in program.commands],
                    "rewritten": program is not None and program.rewritten,
                    "extensions": {each.name: each.path for each in spec.extensions},
                    "extension_environment": dict(spec.extension_environment),
                },
                given,
            )
        finally:
            if write >= 0:
                os.close(write)

    def launch(self, extension: str | None = None) -> None:
        if extension is not None:
            message = {"op": "launch", "extension": extension, "connected": False}
            with contextlib.suppress(SandboxError):
                self._channel.send(message)
            return
        if self.exited.done() and not self._destroyed:
            self.exited = self._loop.create_future()
        connected = self._connected and not self._booted
        self._booted = False
        with self._connect(connected) as given, contextlib.suppress(SandboxError):
            # A sandbox that is gone says so through ``exited``.
            self._channel.send({"op": "launch", "extension": None, "connected": connected}, given)

    def _hear(self, message: Message | None) -> None:
        if message is None:
            self._lost()
            return
        word, descriptors = message
        if "connected" in word and self._connecting:
            future = self._connecting.popleft()
            if descriptors and not future.done():
                future.set_result(descriptors.pop())
            elif not future.done():
                future.set_exception(ConnectionRefusedError(word["connected"]))
        for each in descriptors:
            os.close(each)
        if "extension" in word:
            if self._resetting is None and self.extension_ended is not None:
                self.extension_ended(word["extension"], word["exit"])
        elif "exit" in word:
            if self._resetting is None and not self.exited.done():
                status, reason = word["exit"], word["not_executed"]
                self.exited.set_result(Exit(status, self._memory_ran_out(), reason))
        elif "out_of_memory" in word:
            self._out_of_memory()
        elif "reset" in word:
            if self._resetting is not None and not self._resetting.done():
                self._resetting.set_result(True)
        elif "error" in word:
            _log.error("a sandbox has failed: %s", word["error"])

    def _lost(self) -> None:
        """PID 1 is gone, and with it everything inside."""
        if self._resetting is not None and not self._resetting.done():
            self._resetting.set_result(False)
        while self._connecting:
            if not (future := self._connecting.popleft()).done():
                future.set_exception(ConnectionResetError("the sandbox is gone"))
        if not self.exited.done():
            self.exited.set_result(Exit(None, self._memory_ran_out()))

    def _memory_ran_out(self) -> bool:
        return self._group is not None and self._group.out_of_memory()

    def _out_of_memory(self) -> None:
        """A process inside was killed for memory: what is left of the function goes too."""
        if not self.exited.done():
            self.exited.set_result(Exit(None, out_of_memory=True))
        self._unwatch()
        self._kill()

    def _unwatch(self) -> None:
        if self._oom >= 0:
            self._loop.remove_reader(self._oom)
            self._oom = -1

    # -- while it runs --------------------------------------------------------------------

    def throttle(self, throttled: bool = True) -> None:
        if self._group is not None:
            self._group.throttle(self._cpus if throttled else None)

    def freeze(self, frozen: bool = True) -> None:
        if self._group is not None and self._frozen is not frozen:
            self._group.freeze(frozen)
            self._frozen = frozen

    async def connect(self, port: int) -> socket.socket:
        future: asyncio.Future[int] = self._loop.create_future()
        self._connecting.append(future)
        try:
            self._channel.send({"op": "connect", "port": port})
        except SandboxError as error:
            self._connecting.remove(future)
            raise OSError(str(error)) from error
        stream = socket.socket(fileno=await future)
        stream.setblocking(False)
        return stream

    def terminate(self) -> None:
        with contextlib.suppress(SandboxError):
            self._channel.send({"op": "terminate"})

    async def reset(self) -> bool:
        if self._destroyed or self._channel.closed:
            return False
        self._booted = False
        self._resetting = self._loop.create_future()
        try:
            self._channel.send({"op": "reset"})
            return await asyncio.wait_for(self._resetting, _RESET_SECONDS)
        except (SandboxError, TimeoutError):
            return False
        finally:
            self._resetting = None

    def memory_peak(self) -> int:
        if self._group is not None and (peak := self._group.memory_peak()):
            return peak
        return _resident_peak(self._pidfd)

    # -- its end --------------------------------------------------------------------------

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self.freeze(False)
        if self._pidfd >= 0:
            # PID 1 of its namespace: the kernel takes everything inside along.
            self._kill_process(self._pidfd)

    def destroy(self) -> None:
        if self._destroyed:
            return
        self._destroyed = True
        self._unwatch()
        self._kill()
        self._lost()
        self._channel.close()
        for descriptor in (self.output, self.extension_output):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        if self.connection is not None:
            self.connection.close()
        if self._pidfd >= 0:
            self.listener.close()
            if self.endpoint is not None:
                self.endpoint.close()
            os.close(self._pidfd)
            self._pidfd = -1
        self._released(self, self._group)


def _listens(descriptor: int) -> bool:
    """Whether it is a TCP socket that listens; raises OSError for what is no socket."""
    opened = socket.socket(fileno=descriptor)
    try:
        listens = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return opened.family == socket.AF_INET and bool(listens)
    finally:
        opened.detach()


def _pid(pidfd: int) -> tuple[int, bool]:
    """The process that a pidfd names, and whether it is PID 1 of a namespace of its own.

    Raises OSError for a descriptor that is no pidfd or whose process has been collected.
    """
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    pids = fields.get("NSpid", "").split()
    if not pids or int(pids[0]) <= 0:
        raise OSError("not the pidfd of a living process")
    return int(pids[0]), len(pids) > 1 and pids[-1] == "1"


def _is_init(pidfd: int, zygote: int) -> bool:
    """Whether a pidfd names the init of a sandbox that this zygote forked; raises OSError."""
    pid, first = _pid(pidfd)
    with open(f"/proc/{pid}/status") as file:
        parent = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
    return first and parent == zygote


def _resident_peak(pidfd: int) -> int:
    """VmHWM over the sandbox's processes is unknown without cgroups: PID 1's children's, summed."""
    if pidfd < 0:
        return 0
    try:
        init, _ = _pid(pidfd)
        with open(f"/proc/{init}/task/{init}/children") as file:
            children = file.read().split()
        total = 0
        for child in children:
            with open(f"/proc/{child}/status") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        return total * 1024
    except (OSError, StopIteration):
        return 0
