"""The host agent: the one process of Lambent that sees host paths and may make mounts.

It runs on the server's interpreter with the host's view, in a mount namespace of its own and, for
an ordinary user, in a user namespace where it is root.  It trusts the server until the server reads
what others send, and learns before that what it may do (``orders.Grants``).  It takes seven orders:

* ``trees``: turn host directories ("paths") into detached read-only mounts, answered as
  descriptors; with "tmp_bytes" and where there are disks, one of these last ("disk": whether);
* ``zygote``: start a zygote in a template root, for a Python runtime ("language" is its name) or,
  if that is "", on this process's own Python, for programs; the server's end of its channel comes
  along;
* ``network``: make the router over which sandboxes started from then on reach the internet;
* ``disks``: make a pool of disks for /tmp;
* ``kill``: send "signal", SIGKILL or SIGABRT, to the sandbox or the services that the pidfd names
  which comes along;
* ``services``: start the embedded services; their listening socket and standard input come along,
  a pidfd goes back; "endpoint" is where functions reach the server;
* ``leave``: remove the folders of control groups, for the server stops in order.

It answers requests in order, one answer each but none to ``kill``, and ends when the server does.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
from typing import Any, Callable

from . import confinement, firewall, orders, view, wire
from .disks import Disks
from .network import Network
from .syscalls import (
    CLONE_NEWNS,
    MS_PRIVATE,
    MS_REC,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    close_from,
    limit_bounding_set,
    limit_capabilities,
    mount,
    pidfd_open,
    prctl,
    unshare,
)

_ZYGOTE = (
    "import sys; sys.path[:0] = [%r]; from kernel.zygote import main; "
    "main(bool(sys.argv[1]), sys.argv[2])"
)
# What the agent and those that it starts use: CAP_CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH and FOWNER
# (folders of other uids), KILL, SETGID, SETUID, SETPCAP and SETFCAP (who its helpers become),
# NET_BIND_SERVICE, NET_ADMIN and NET_RAW (the router, its name server, nftables), SYS_CHROOT and
# SYS_ADMIN (mounts, namespaces, loop devices).
_CAPABILITIES = frozenset((0, 1, 2, 3, 5, 6, 7, 8, 10, 12, 13, 18, 21, 31))
# Seconds that the services may take to write their state once the server has gone.
_SERVICES_SECONDS = 60.0
_Answer = tuple[dict[str, Any], list[int]]


def _arrange(descriptors: list[int]) -> None:
    """In a fresh fork: standard streams, and these descriptors from 3 on; nothing else."""
    null = os.open("/dev/null", os.O_RDWR)
    # Out of the way first: any of them may lie where another is to go.
    first = 3 + len(descriptors)
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, first) for each in descriptors]
    for target, source in enumerate(moved, 3):
        os.dup2(source, target)
    os.dup2(null, 0)
    os.dup2(null, 1)
    close_from(first)


def _fork(run: Callable[[], None], name: str) -> int:
    """Run in a child, which must end in a program; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        run()
    except BaseException as error:
        sys.stderr.write("%s: %s\n" % (name, error))
    finally:
        os._exit(70)


class _Agent:
    """What it may do, and what it has made so far."""

    def __init__(self, grants: orders.Grants, root: bool) -> None:
        """root: whether it is the host's root, and not that of a user namespace."""
        self._grants = grants
        self._root = root
        self._services = -1
        self._services_pid = 0
        self.network: Network | None = None
        self.disks: Disks | None = None

    def answer(self, request: dict[str, Any], descriptors: list[int]) -> _Answer | None:
        """Do what is asked; an answer and descriptors that go with it, or None for no answer."""
        try:
            order = orders.checked(request, descriptors)
            if order == "trees":
                return self._trees(request["paths"], request["tmp_bytes"])
            if order == "zygote":
                return self._zygote(request["language"], descriptors[0])
            if order == "network":
                return self._open_network()
            if order == "disks":
                return self._open_disks()
            if order == "leave":
                return self._remove_groups()
            if order == "services":
                return self._start_services(request["endpoint"], descriptors)
            self._kill(descriptors[0], request["signal"])
        except OSError as error:
            if request.get("op") != "kill":
                return {"error": str(error)}, []
            sys.stderr.write("host agent: %s\n" % error)
        return None

    def _trees(self, paths: list[str], tmp_bytes: int) -> _Answer:
        trees: list[int] = []
        try:
            for path in paths:
                trees.append(self._grants.tree(path))
            return self._disk(tmp_bytes, trees), trees
        except OSError:
            for tree in trees:
                os.close(tree)
            raise

    def _disk(self, size: int, descriptors: list[int]) -> dict[str, Any]:
        """Add a disk to them, or tell why there is none."""
        if self.disks is None or not size:
            return {"disk": False}
        try:
            descriptors.append(self.disks.take(size))
        except OSError as error:
            return {"disk": False, "why": str(error)}
        return {"disk": True}

    def _open_network(self) -> _Answer:
        from . import network

        lacking = network.missing(self._root)[0]
        if lacking or self.network is not None or self._grants.network is None:
            raise OSError(lacking or "there is no other network")
        uid = None
        if self._root:
            uid = confinement.own_uid(self._grants.data, confinement.RESOLVER)
        self.network = Network(self._grants.network, self._root, uid)
        return {}, []

    def _open_disks(self) -> _Answer:
        from . import disks

        lacking = disks.missing(self._root)[0]
        if lacking or self.disks is not None or not self._grants.disk_bytes:
            raise OSError(lacking or "there are no other disks")
        self.disks = Disks(self._grants.disk_bytes, self._grants.data)
        return {}, []

    # -- processes ------------------------------------------------------------------------

    def _zygote(self, name: str, channel: int) -> _Answer:
        language = self._grants.languages.get(name)
        if name and language is None:
            raise OSError("there is no runtime %s" % name)
        network = self.network.socket() if self.network is not None else -1
        groups = [os.open(each, os.O_PATH | os.O_DIRECTORY) for each in self._grants.groups]
        given = [channel, *([network] if network >= 0 else []), *groups]
        router = firewall.GATEWAY if network >= 0 else ""
        arguments = {"router": network >= 0, "groups": len(groups), "uids": self._grants.uids}

        def run() -> None:
            _arrange(given)
            unshare(CLONE_NEWNS)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            _execute_zygote(language, router, json.dumps(arguments))

        try:
            return {"pid": _fork(run, "zygote")}, []
        finally:
            for each in given[1:]:
                os.close(each)

    def _start_services(self, endpoint: str, descriptors: list[int]) -> _Answer:
        if self._services >= 0:
            os.close(self._services)
            self._services = -1
        listener, stdin = descriptors
        environment = {
            **self._grants.environment,
            "LAMBENT_LISTENER": "3",
            "LAMBENT_ENDPOINT": endpoint,
        }
        program = self._grants.services

        def run() -> None:
            _arrange([listener, stdin])
            os.dup2(4, 0)
            os.close(4)
            os.dup2(2, 1)
            os.execve(program[0], program, environment)

        self._services_pid = _fork(run, "embedded services")
        self._services = pidfd_open(self._services_pid)
        return {"pid": self._services_pid}, [os.dup(self._services)]

    def _kill(self, pidfd: int, number: int) -> None:
        """Kill a process that is this server's to kill: a sandbox's init, or the services."""
        with open("/proc/self/fdinfo/%d" % pidfd) as file:
            pid = next((int(line.split()[1]) for line in file if line.startswith("Pid:")), -1)
        if pid <= 0:
            return  # gone already
        if pid != self._services_pid and not self._is_sandbox(pid):
            raise OSError("process %d is not to be killed by this server" % pid)
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass

    def _is_sandbox(self, pid: int) -> bool:
        first, count = self._grants.uids
        try:
            with open("/proc/%d/status" % pid) as file:
                uids = next(line for line in file if line.startswith("Uid:")).split()[1:]
        except FileNotFoundError:
            return False
        # An ordinary user's processes are all his, and so is this one.
        return not self._root or all(first <= int(uid) < first + count for uid in uids)

    def _remove_groups(self) -> _Answer:
        for folder in self._grants.groups:
            try:
                os.rmdir(folder)
            except OSError:
                pass  # its last processes are dying; the next start removes it
        return {}, []

    def close(self) -> None:
        """The server is gone: take back what the host was given, and wait for the services."""
        if self._grants.freezers and os.path.isdir(self._grants.freezers):
            _thaw(self._grants.freezers)
        if self.network is not None:
            self.network.close()
        if self._services >= 0:
            poll = select.poll()
            poll.register(self._services, select.POLLIN)
            if not poll.poll(_SERVICES_SECONDS * 1000):
                signal.pidfd_send_signal(self._services, signal.SIGKILL)


def _execute_zygote(language: list[str] | None, router: str, arguments: str) -> None:
    """In a mount namespace of its own: enter the template root and become a zygote."""
    trees = {view.KERNEL: os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
    if language is not None:
        prefix = "/var/lang"
        trees.update({prefix: language[0], "/var/runtime": language[1]})
        interpreter = "%s/bin/%s" % (prefix, language[2])
    else:
        prefix = view.INTERPRETER
        trees[prefix] = sys.base_prefix
        interpreter = "%s/bin/python%d.%d" % (prefix, *sys.version_info[:2])
    view.build_template(trees, router)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LD_LIBRARY_PATH": prefix + "/lib",
        "LANG": "C.UTF-8",
    }
    # -I -S: nothing of the host's site-packages or environment reaches a function.
    argv = [interpreter, "-I", "-S", "-c", _ZYGOTE % view.KERNEL]
    os.execve(interpreter, [*argv, "language" if language else "", arguments], environment)


def _thaw(freezers: str) -> None:
    """Let frozen sandboxes hear that they are to die (control groups version 1)."""
    for entry in os.scandir(freezers):
        if entry.is_dir(follow_symlinks=False):
            try:
                with open(entry.path + "/freezer.state", "w") as file:
                    file.write("THAWED")
            except OSError:
                pass  # gone already


def main(descriptor: int) -> None:
    """Serve requests on an inherited SEQPACKET socket until the other end closes.

    The first message says what may be done, see ``orders.Grants``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    root = os.getuid() == 0
    try:
        if not root:
            confinement.become_namespace_root()
        unshare(CLONE_NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        first = wire.receive(channel)
        if first is None:
            return
        limit_bounding_set(_CAPABILITIES)
        limit_capabilities(_CAPABILITIES)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        agent = _Agent(orders.Grants(first[0]), root)
    except OSError as error:
        wire.send(channel, {"error": str(error)})
        return
    wire.send(channel, {"ready": True})
    while _turn(channel, agent):
        pass
    channel.close()
    agent.close()


def _turn(channel: socket.socket, agent: _Agent) -> bool:
    """Wait for what comes next, a request or news of the network; False when the server is gone."""
    watched = agent.network.watched if agent.network is not None else {}
    poll = select.poll()
    for descriptor in (channel.fileno(), *watched):
        poll.register(descriptor, select.POLLIN)
    idle = agent.disks is not None and agent.disks.wanting
    ready = poll.poll(0 if idle else None)
    if not ready and agent.disks is not None:
        agent.disks.prepare()
    for descriptor, _ in ready:
        if descriptor in watched:
            watched[descriptor]()
            continue
        if not _serve(channel, agent):
            return False
    return True


def _serve(channel: socket.socket, agent: _Agent) -> bool:
    """Answer one request; False when the server is gone."""
    try:
        received = wire.receive(channel)
    except OSError:
        received = {}, []  # refused below
    if received is None:
        return False
    request, descriptors = received
    answered = agent.answer(request, descriptors)
    for each in descriptors:
        os.close(each)
    if answered is not None:
        answer, given = answered
        try:
            wire.send(channel, answer, given)
        except OSError:
            return False
        finally:
            for each in given:
                os.close(each)
    return True
