"""The host agent: the one process of Lambent that sees host paths and may make mounts.

It runs on the server's interpreter with the host's view, in a mount namespace of its own and, for
an ordinary user, in a user namespace where it is root.  It does two things on request:

* ``trees``: turn host directories ("paths") into detached read-only mounts, answered as
  descriptors; with "tmp_bytes" and where there are disks, one of these last ("disk": whether);
* ``zygote``: start a zygote in a template root, for a Python runtime ("language" is its prefix)
  or, on this process's own Python, for programs; the server's end of its channel comes along;
* ``network``: make the router over which sandboxes started from then on reach the internet
  ("allowed": private networks that they may reach too);
* ``disks``: make a pool of disks for /tmp in a host "folder", of at most so many "bytes".

It answers requests in order, one answer each, and ends when the server does.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
from typing import Any

from . import firewall, view, wire
from .confinement import become_namespace_root
from .disks import Disks
from .network import Network
from .syscalls import (
    CLONE_NEWNS,
    MS_PRIVATE,
    MS_REC,
    PR_SET_PDEATHSIG,
    mount,
    prctl,
    unshare,
)

_ZYGOTE = (
    "import sys; sys.path[:0] = [%r]; from kernel.zygote import main; "
    "main(3, bool(sys.argv[1]), int(sys.argv[2]))"
)


def _start_zygote(request: dict[str, Any], channel: int, network: int) -> int:
    """network: a netlink socket of the router's namespace, or -1."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        # Out of the way first: either may lie where the other is to go.
        sources = [fcntl.fcntl(each, fcntl.F_DUPFD, 5) for each in (channel, network) if each >= 0]
        for target, source in enumerate(sources, 3):
            os.dup2(source, target)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        unshare(CLONE_NEWNS)
        language = request["language"]
        prefix = "/var/lang" if language else view.INTERPRETER
        trees = {view.KERNEL: os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
        if language:
            trees.update({"/var/lang": language, "/var/runtime": request["runtime"]})
        else:
            trees[view.INTERPRETER] = sys.base_prefix
        view.build_template(request["stage"], trees, firewall.GATEWAY if network >= 0 else "")
        os.closerange(3 + len(sources), 256)
        environment = {
            "PATH": "/usr/bin:/bin",
            "LD_LIBRARY_PATH": prefix + "/lib",
            "LANG": "C.UTF-8",
        }
        interpreter = "%s/bin/%s" % (prefix, request["interpreter"])
        # -I -S: nothing of the host's site-packages or environment reaches a function.
        argv = [interpreter, "-I", "-S", "-c", _ZYGOTE % view.KERNEL, language]
        argv.append("4" if network >= 0 else "-1")
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execve(interpreter, argv, environment)
    except BaseException as error:
        sys.stderr.write("zygote: %s\n" % error)
    finally:
        os._exit(70)


class _Agent:
    """What it has made so far."""

    def __init__(self, root: bool) -> None:
        self._root = root
        self.network: Network | None = None
        self.disks: Disks | None = None

    def answer(
        self, request: dict[str, Any], descriptors: list[int]
    ) -> tuple[dict[str, Any], list[int]]:
        """Do what is asked; an answer and descriptors that go with it."""
        trees: list[int] = []
        try:
            if request["op"] == "trees":
                for path in request["paths"]:
                    trees.append(view.detached_tree(path))
                return self._disk(request["tmp_bytes"], trees), trees
            if request["op"] == "network":
                self.network = Network(request["allowed"], self._root)
                return {}, []
            if request["op"] == "disks":
                self.disks = Disks(request["folder"], request["bytes"])
                return {}, []
            if request["op"] == "zygote":
                return self._zygote(request, descriptors[0]), []
            return {"error": "unknown request %s" % request["op"]}, []
        except OSError as error:
            for tree in trees:
                os.close(tree)
            return {"error": str(error)}, []

    def _disk(self, size: int, descriptors: list[int]) -> dict[str, Any]:
        """Add a disk to them, or tell why there is none."""
        if self.disks is None or not size:
            return {"disk": False}
        try:
            descriptors.append(self.disks.take(size))
        except OSError as error:
            return {"disk": False, "why": str(error)}
        return {"disk": True}

    def _zygote(self, request: dict[str, Any], channel: int) -> dict[str, Any]:
        network = self.network.socket() if self.network is not None else -1
        try:
            return {"pid": _start_zygote(request, channel, network)}
        finally:
            if network >= 0:
                os.close(network)


def _thaw(freezers: str) -> None:
    """Let frozen sandboxes hear that they are to die (control groups version 1)."""
    for entry in os.scandir(freezers):
        if entry.is_dir():
            try:
                with open(entry.path + "/freezer.state", "w") as file:
                    file.write("THAWED")
            except OSError:
                pass  # gone already


def main(descriptor: int, freezers: str) -> None:
    """Serve requests on an inherited SEQPACKET socket until the other end closes.

    freezers: the folder of version 1 groups to thaw then, so that nothing outlives the server.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    root = os.getuid() == 0
    try:
        if not root:
            become_namespace_root()
        unshare(CLONE_NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
    except OSError as error:
        wire.send(channel, {"error": str(error)})
        return
    wire.send(channel, {"ready": True})
    agent = _Agent(root)
    while _turn(channel, agent):
        pass
    if freezers and os.path.isdir(freezers):
        _thaw(freezers)
    if agent.network is not None:
        agent.network.close()


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
        received = wire.receive(channel)
        if received is None:
            return False
        request, descriptors = received
        answer, given = agent.answer(request, descriptors)
        for each in descriptors:
            os.close(each)
        wire.send(channel, answer, given)
        for each in given:
            os.close(each)
    return True
