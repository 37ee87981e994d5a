"""The life of one sandbox, from its first instruction to user code.

``prepare`` (no function known yet: namespaces, loopback, /proc, the Runtime API's listening
socket) → the server sends ``specialise`` (environment, code as detached mounts, size of /tmp) →
privileges are dropped for good → a fork: the parent stays as PID 1, a tiny init that reaps and
reports; the child becomes the runtime, in-process (the zygote's interpreter) or by execve.

Messages to the server: {"ready": pid} with [listening socket, pidfd]; {"error": text};
{"exit": wait status} when the runtime has ended.  From the server: one ``specialise`` message
{"environment", "tmp_bytes", "tmp_inodes", "data_bytes": limit of each process where no control
group limits memory, or null, "mounts": [target...], "execute": [argv...] or null} with one
detached tree per mount.
"""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from typing import Any, Callable

from . import view, wire
from .syscalls import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    close_from,
    drop_capabilities,
    install_seccomp,
    loopback_up,
    mount,
    move_mount,
    pidfd_open,
    prctl,
    set_process_name,
    sethostname,
)

RUNTIME_API_PORT = 9001
# Where a runtime that is not executed finds its connection to the Runtime API.
_RUNTIME = 3
_LIMITS = (
    (resource.RLIMIT_NPROC, 1024),
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_CORE, 0),
)


def _listen() -> socket.socket:
    loopback_up()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", RUNTIME_API_PORT))
    listener.listen(16)
    return listener


def _prepare(channel: socket.socket) -> None:
    os.setresgid(view.GID, view.GID, view.GID)
    os.setresuid(view.UID, view.UID, view.UID)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    listener = _listen()
    sethostname(b"169-254-10-1")
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    view.mask_proc()
    pidfd = pidfd_open(os.getpid())
    wire.send(channel, {"ready": os.getpid()}, [listener.fileno(), pidfd])
    os.close(pidfd)
    listener.close()


def _specialise(order: dict[str, Any], trees: list[int]) -> None:
    options = "size=%d,nr_inodes=%d,mode=1777" % (order["tmp_bytes"], order["tmp_inodes"])
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)
    for tree, target in zip(trees, order["mounts"]):  # noqa: B905 - Python 3.10
        move_mount(tree, target)
        os.close(tree)


def _drop_privileges(order: dict[str, Any], seccomp: bytes) -> None:
    if order["data_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (order["data_bytes"], order["data_bytes"]))
    for limit, value in _LIMITS:
        resource.setrlimit(limit, (value, value))
    drop_capabilities()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    install_seccomp(seccomp)
    # Changing credentials cleared this.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _redirect(output: int, connection: int) -> None:
    """Standard streams and, at _RUNTIME, the connection to the Runtime API; nothing else."""
    null = os.open("/dev/null", os.O_RDONLY)
    # Out of the way first: any of them may lie where another is to go.
    kept = fcntl.fcntl(connection, fcntl.F_DUPFD, _RUNTIME + 1)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(kept, _RUNTIME, inheritable=False)
    close_from(_RUNTIME + 1)


def _run(
    order: dict[str, Any], output: int, connection: int, runtime: Callable[[int], None]
) -> None:
    _redirect(output, connection)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL if number != signal.SIGPIPE else signal.SIG_IGN)
    try:
        os.chdir("/var/task")
    except OSError:
        os.chdir("/")
    if order["execute"] is not None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(order["execute"][0], order["execute"], order["environment"])
    set_process_name(b"bootstrap")
    os.environ.clear()
    os.environ.update(order["environment"])
    gc.enable()
    runtime(_RUNTIME)


def _serve_as_init(channel: socket.socket, runtime: int) -> None:
    """Reap whatever dies; when the runtime does, report how and take everything along."""
    prctl(PR_SET_DUMPABLE, 0)
    set_process_name(b"init")
    while True:
        pid, status = os.wait()
        if pid == runtime:
            wire.send(channel, {"exit": status})
            return


def main(
    descriptor: int,
    output: int,
    connection: int,
    runtime: Callable[[int], None],
    seccomp: bytes,
) -> None:
    """Run as PID 1 of fresh namespaces; never returns control to user code in this process."""
    channel = socket.socket(fileno=descriptor)
    try:
        _prepare(channel)
        received = wire.receive(channel)
        if received is None:
            return
        order, trees = received
        _specialise(order, trees)
        _drop_privileges(order, seccomp)
        pid = os.fork()
    except BaseException as error:
        wire.send(channel, {"error": "%s: %s" % (type(error).__name__, error)})
        return
    if pid:
        os.close(output)
        os.close(connection)
        _serve_as_init(channel, pid)
        return
    code = 1
    try:
        channel.detach()
        _run(order, output, connection, runtime)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            pass
        os._exit(code & 0xFF)
