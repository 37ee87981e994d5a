"""The zygote: a booted interpreter that forks sandboxes on request.

It lives in the template root (see ``view``).  One that serves a Python runtime runs on that
runtime's own interpreter (3.8 or later) and has imported what most functions import; one that
serves programs runs on the server's and has imported next to nothing.  Neither has ever seen user
code.  For each request ``{"uid": host uid, "users": 1, or 2 if extensions have a uid of their own,
the one after it, "number": of its address or null, "group": name of its control groups or null}``
with descriptors [channel, output] it forks a child into fresh user, pid, mount, network, IPC and
UTS namespaces; all further talk is between the server and that child on the channel (see
``child``).
"""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import signal
import socket
import sys
from typing import Any, Callable

from . import child, links, wire
from .init import Confinement
from .seccomp import compile_filter
from .syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MNT_DETACH,
    close_others,
    fork_into,
    limit_bounding_set,
    limit_capabilities,
    umount,
)
from .view import GID, INTERPRETER, KERNEL, UID

_NAMESPACES = (
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
)
# CAP_DAC_OVERRIDE (a group's files are the server's), SETGID, SETUID and SETFCAP (mapping of ids),
# NET_ADMIN (cables), SYS_ADMIN (namespaces).
_CAPABILITIES = frozenset((1, 6, 7, 12, 21, 31))
_GROUP = re.compile("s[0-9]{1,10}-[0-9]{1,18}")
_PRELOADED = (
    "base64",
    "collections",
    "concurrent.futures",
    "contextlib",
    "dataclasses",
    "datetime",
    "decimal",
    "email.message",
    "functools",
    "hashlib",
    "http.client",
    "importlib",
    "io",
    "json",
    "logging",
    "math",
    "random",
    "re",
    "site",
    "ssl",
    "string",
    "threading",
    "time",
    "traceback",
    "typing",
    "urllib.parse",
    "urllib.request",
    "uuid",
)


def _preload() -> Callable[[int], None]:
    """Import what functions will want; returns what starts the runtime on a descriptor."""
    for name in _PRELOADED:
        try:
            __import__(name)
        except ImportError:  # an interpreter built without ssl, say: the function will tell
            pass
    sys.path.insert(0, "/var/runtime")
    bootstrap = __import__("bootstrap")
    # What a child reads for the first time it would read after its own mounts: warm it here.
    "warm".encode("idna")
    sys.path[:] = [entry for entry in sys.path if entry not in (KERNEL, "/var/runtime")]
    prepared = bootstrap.Prepared()
    return lambda descriptor: bootstrap.main(prepared, descriptor)


def check(request: dict[str, Any], uids: range) -> None:
    """Raises OSError for a request that is not as the server makes them; uids: of sandboxes."""
    if set(request) != {"uid", "users", "number", "group"}:
        raise OSError("not a request")
    uid, users = request["uid"], request["users"]
    if type(uid) is not int or type(users) is not int or users not in (1, 2):
        raise OSError("not a uid")
    if uid not in uids or uid + users - 1 not in uids:
        raise OSError("uid %d is not one of sandboxes" % uid)
    number, group = request["number"], request["group"]
    if number is not None and (type(number) is not int or not 0 <= number < links.ADDRESSES):
        raise OSError("not the number of an address")
    if group is not None and (not isinstance(group, str) or not _GROUP.fullmatch(group)):
        raise OSError("not the name of a group")


class _Grants:
    """What a zygote has from the host agent; its descriptors begin at 3, behind its channel."""

    def __init__(self, given: str) -> None:
        """given: JSON; "router": whether a netlink socket of the router's namespace comes first,
        "groups": how many folders of control groups come then, "uids": the first host uid of
        sandboxes and how many there are.
        """
        said = json.loads(given)
        self.network = socket.socket(fileno=4) if said["router"] else None
        first = 5 if self.network is not None else 4
        self.groups = list(range(first, first + said["groups"]))
        self.uids = range(said["uids"][0], said["uids"][0] + said["uids"][1])
        for each in range(3, first + said["groups"]):
            os.set_inheritable(each, False)

    def enter(self, group: str, pid: int) -> None:
        """Move a process into the groups of this name."""
        for folder in self.groups:
            procs = os.open(group + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.write(procs, b"%d" % pid)
            finally:
                os.close(procs)


def _map_ids(pid: int, uid: int, users: int) -> None:
    """Map the group to one host id, and the users inside to so many, beginning with the same."""
    with open("/proc/%d/setgroups" % pid, "w") as file:
        file.write("deny")
    for name, inside, count in (("gid_map", GID, 1), ("uid_map", UID, users)):
        with open("/proc/%d/%s" % (pid, name), "w") as file:
            file.write("%d %d %d\n" % (inside, uid, count))


def _leave_zygote(kept: list[int]) -> None:
    """In a fresh fork: give up every descriptor of the zygote's but those to keep.

    Among them are the zygote's channel, the groups' files and the server's log.
    """
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    close_others(kept)


def _spawn(
    request: dict[str, Any],
    descriptors: list[int],
    runtime: Callable[[int], None] | None,
    filters: tuple[bytes, bytes],
    grants: _Grants,
) -> None:
    check(request, grants.uids)
    channel, output = descriptors
    number, users = request["number"], request["users"]
    mine, theirs = socket.socketpair()
    pid = fork_into(_NAMESPACES)
    if pid == 0:
        try:
            _leave_zygote([channel, output, theirs.fileno()])
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Mapped and in its control groups before it does anything; b"" if the zygote failed.
            if theirs.recv(1) == b"g":
                theirs.close()
                confinement = Confinement(*filters, extension_uid=UID + users - 1)
                child.main(channel, output, runtime, confinement, number)
        finally:
            os._exit(70)
    theirs.close()
    try:
        _map_ids(pid, request["uid"], users)
        if request["group"] is not None:
            grants.enter(request["group"], pid)
        if grants.network is not None and number is not None:
            links.connect(grants.network, number, pid)
        mine.send(b"g")
    except OSError as error:
        # Else its group is gone: the server needs it no more.
        if error.errno not in (errno.ENODEV, errno.ENOENT):
            sys.stderr.write("zygote: %s\n" % error)
    finally:
        mine.close()


def main(language: bool, given: str) -> None:
    """Serve spawn requests on SEQPACKET socket 3 until the other end closes.

    language: whether this interpreter is the one that functions run on.  given: see ``_Grants``.
    """
    channel = socket.socket(fileno=3)
    grants = _Grants(given)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getuid() == 0:
        try:
            os.setgroups([])
        except PermissionError:  # an ordinary user's namespace, where groups cannot be dropped
            pass
    runtime = _preload() if language else None
    umount(KERNEL, MNT_DETACH)
    if not language:
        umount(INTERPRETER, MNT_DETACH)
    limit_bounding_set(_CAPABILITIES)
    limit_capabilities(_CAPABILITIES)
    filters = compile_filter(metered=True), compile_filter(metered=False)
    gc.collect()
    gc.freeze()
    gc.disable()
    wire.send(channel, {"ready": True})
    while True:
        received = wire.receive(channel)
        if received is None:
            os._exit(0)
        request, descriptors = received
        try:
            _spawn(request, descriptors, runtime, filters, grants)
        except OSError as error:
            sys.stderr.write("zygote: %s\n" % error)
        for each in descriptors:
            os.close(each)
