"""PID 1 of a sandbox: obeys the server, starts runtime and extensions, reaps, reports.

It holds the sandbox's privileges until its function is known (``specialise``), which is before any
user code runs, and none after.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
from typing import Any, Callable, NamedTuple

from . import process, view, wire
from .environ import rewrite
from .syscalls import (
    CLONE_FS,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    fork_into,
    install_seccomp,
    mount,
    move_mount,
    prctl,
    set_process_name,
    unshare,
)
from .watch import Watch

_LIMITS = (
    (resource.RLIMIT_NPROC, 1024),
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_CORE, 0),
    # Bytes of POSIX message queues, signals and timers that wait, bytes locked in memory.
    (resource.RLIMIT_MSGQUEUE, 819_200),
    (resource.RLIMIT_SIGPENDING, 4096),
    (resource.RLIMIT_MEMLOCK, 64 * 1024),
)

_CONNECT_SECONDS = 0.1


def _attach(trees: list[int], targets: list[str]) -> None:
    for tree, target in zip(trees, targets):  # noqa: B905 - Python 3.10
        move_mount(tree, target)


class Confinement(NamedTuple):
    """What programs inside are held by.

    metered, unmetered: the filters for where a control group counts the sandbox's memory, and for
    where none does.  extension_uid: the user of extensions; the runtime's where there is no other.
    """

    metered: bytes
    unmetered: bytes
    extension_uid: int


class Init:
    """See the module's docstring."""

    def __init__(
        self,
        channel: socket.socket,
        output: int,
        runtime: Callable[[int], None] | None,
        confinement: Confinement,
    ) -> None:
        self._channel = channel
        self._output = output
        self._fork = runtime
        self._confinement = confinement
        self._watch: Watch | None = None
        self._order: dict[str, Any] = {}
        self._runtime = 0
        # The write end of the pipe on which a runtime booted ahead waits for its environment.
        self._waiting = -1
        # The read end of the pipe on which it says that it waits.
        self._arrived = -1
        self._extension_output = -1
        self._extensions: dict[int, str] = {}

    def serve(self) -> None:
        """Until the server is gone or the sandbox is of no further use."""
        set_process_name(b"init")
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(waker)
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            pause = None if self._watch is None else 1000 * self._watch.wait()
            ready = [descriptor for descriptor, _ in poll.poll(pause)]
            if self._watch is not None and self._watch.exceeded():
                wire.send(self._channel, {"out_of_memory": True})
                os.kill(-1, signal.SIGKILL)
                self._watch = None
            if woken in ready:
                os.read(woken, 512)
                self._reap(os.WNOHANG)
            if self._channel.fileno() in ready:
                received = wire.receive(self._channel)
                if received is None:
                    return
                order, descriptors = received
                try:
                    getattr(self, "_do_" + order["op"])(order, descriptors)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)

    # -- what the server asks for ---------------------------------------------------------

    def _do_boot(self, order: dict[str, Any], descriptors: list[int]) -> None:
        mounts = order["mounts"]
        _attach(descriptors, mounts)
        connection = descriptors[len(mounts)] if order["connected"] else -1
        read, self._waiting = os.pipe2(os.O_CLOEXEC)
        self._arrived, arriving = os.pipe2(os.O_CLOEXEC)
        argv = [*order["argv"], *(["--connected"] if connection >= 0 else []), "--ahead"]

        self._hide(order["metered"])

        def run() -> None:
            self._lower(order["metered"])
            self._execute([argv], order["environment"])

        # It shares its working directory with this process until its function is known.
        pid = fork_into(CLONE_FS)
        if pid == 0:
            process.child(run, view.UID, self._output, connection, read, arriving)
        os.close(read)
        os.close(arriving)
        self._runtime = pid

    def _do_specialise(self, order: dict[str, Any], descriptors: list[int]) -> None:
        self._order = order
        mounts, data = order["mounts"], order["data_bytes"]
        if "/tmp" not in mounts:
            options = "size=%d,nr_inodes=%d,mode=1777" % (order["tmp_bytes"], order["tmp_inodes"])
            mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)
        _attach(descriptors, mounts)
        if len(descriptors) > len(mounts):
            self._extension_output = os.dup(descriptors[len(mounts)])
            # They and the runtime are two users of one group, which share /tmp.
            os.umask(0o002)
        if self._waiting >= 0:
            # It has booted, or has ended, which is reported.
            alive = os.read(self._arrived, 1)
            os.close(self._arrived)
            os.chdir("/var/task")
            unshare(CLONE_FS)
            if alive and data is not None:
                resource.prlimit(self._runtime, resource.RLIMIT_DATA, (data, data))
            if alive and order["rewritten"]:
                rewrite(self._runtime, order["environment"])
        else:
            self._hide(data is None)
        if data is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (data, data))
            self._watch = Watch(data)
        # Of both users, so that it may end the processes of either.
        os.setresuid(view.UID, *[self._confinement.extension_uid] * 2)
        self._lower(data is None)

    def _do_launch(self, order: dict[str, Any], descriptors: list[int]) -> None:
        if order["extension"] is not None:
            self._launch_extension(order["extension"])
        elif self._waiting >= 0:
            self._release()
        else:
            self._launch_runtime(descriptors[0] if order["connected"] else -1)

    def _do_connect(self, order: dict[str, Any], descriptors: list[int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            # Loopback: it connects at once, or nobody listens, or too many wait.
            stream.settimeout(_CONNECT_SECONDS)
            try:
                stream.connect(("127.0.0.1", order["port"]))
            except (OSError, OverflowError) as error:
                wire.send(self._channel, {"connected": str(error)})
            else:
                wire.send(self._channel, {"connected": ""}, [stream.fileno()])

    def _do_terminate(self, order: dict[str, Any], descriptors: list[int]) -> None:
        if self._runtime:
            os.kill(self._runtime, signal.SIGTERM)

    def _do_reset(self, order: dict[str, Any], descriptors: list[int]) -> None:
        self._runtime = 0
        self._extensions.clear()
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._reap(0)
        wire.send(self._channel, {"reset": True})

    # -- processes ------------------------------------------------------------------------

    @staticmethod
    def _hide(metered: bool) -> None:
        """Take away what makes memory of no process's, where no control group counts it."""
        if not metered:
            # It reads the same and cannot be mapped.
            mount("/dev/full", "/dev/zero", None, MS_BIND)

    def _lower(self, metered: bool) -> None:
        """Give up every privilege, for good."""
        for limit, value in _LIMITS:
            resource.setrlimit(limit, (value, value))
        drop_capabilities()
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        held = self._confinement
        install_seccomp(held.metered if metered else held.unmetered)
        # Changing credentials cleared the first, and may have set the second.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(PR_SET_DUMPABLE, 0)

    def _release(self) -> None:
        """Hand its environment to the runtime that waits for it."""
        waiting, self._waiting = self._waiting, -1
        data = json.dumps(self._order["environment"]).encode()
        try:
            while data:
                data = data[os.write(waiting, data) :]
        except BrokenPipeError:
            pass  # it has ended, which is reported
        finally:
            os.close(waiting)

    def _launch_runtime(self, connection: int) -> None:
        commands = self._order["commands"]
        environment = self._order["environment"]
        if commands is None:
            fork = self._fork
            assert fork is not None

            def run() -> None:
                process.become(environment)
                fork(process.CONNECTION)

            self._runtime = os.fork()
            if self._runtime == 0:
                process.child(run, view.UID, self._output, connection, -1)
            return
        if connection >= 0:
            commands = [[*command, "--connected"] for command in commands]
        pid, reason = self._execute_in_child(
            commands, environment, view.UID, self._output, connection
        )
        if reason is None:
            self._runtime = pid
        else:
            wire.send(self._channel, {"exit": None, "not_executed": reason})

    def _launch_extension(self, name: str) -> None:
        command = [self._order["extensions"][name]]
        environment = self._order["extension_environment"]
        output = self._extension_output
        uid = self._confinement.extension_uid
        pid, reason = self._execute_in_child([command], environment, uid, output, -1)
        if reason is None:
            self._extensions[pid] = name
        else:
            wire.send(self._channel, {"extension": name, "exit": 127 << 8})

    def _execute_in_child(
        self,
        commands: list[list[str]],
        environment: dict[str, str],
        uid: int,
        output: int,
        connection: int,
    ) -> tuple[int, str | None]:
        """Fork and execute; returns the process, and why it could not be if it could not."""
        failed, telling = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:

            def run() -> None:
                self._execute(commands, environment)

            process.child(run, uid, output, connection, telling)
        os.close(telling)
        # The pipe closes when the program has been executed; it tells why if it was not.
        reason = os.read(failed, 4096).decode("utf-8", "replace")
        os.close(failed)
        if reason:
            os.waitpid(pid, 0)
        return pid, reason or None

    @staticmethod
    def _execute(commands: list[list[str]], environment: dict[str, str]) -> None:
        """Become the first command that is there; else tell why on process.TELLING."""
        command = next((each for each in commands if os.path.lexists(each[0])), None)
        if command is None:
            names = " ".join(each[0] for each in commands)
            reason = "Couldn't find valid bootstrap(s): [%s]" % names
        else:
            try:
                os.execve(command[0], command, environment)
            except OSError as error:
                reason = "fork/exec %s: %s" % (command[0], (error.strerror or "").lower())
        os.write(process.TELLING, reason.encode())
        os._exit(127)

    def _reap(self, flags: int) -> None:
        """Collect what has ended; without WNOHANG, until no process is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, flags)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._runtime:
                self._runtime = 0
                wire.send(self._channel, {"exit": status, "not_executed": None})
            elif pid in self._extensions:
                name = self._extensions.pop(pid)
                wire.send(self._channel, {"extension": name, "exit": status})
