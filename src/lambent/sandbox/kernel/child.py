"""The life of one sandbox, from its first instruction on; PID 1 of its namespaces.

``prepare`` (no function known yet: namespaces, links, /proc, the Runtime API's listening
socket) → optionally ``boot`` (a runtime is executed and waits for its function) → ``specialise``
(environment, code as detached mounts, size of /tmp) → privileges are dropped for good → the
runtime runs in a process of its own; this one stays as a tiny init that reaps and reports.

Messages from the server, each {"op": ...}:

* ``boot`` {"argv", "environment", "mounts", "metered": whether a control group counts the memory}
  with a detached tree per mount and, last, the runtime's connection if there is one ("connected");
* ``specialise`` {"environment", "tmp_bytes", "tmp_inodes", "data_bytes": limit of each process
  and of all together where no control group counts the memory, else null, "mounts", "commands":
  [[argv...]...] or null to fork this interpreter, "rewritten", "extensions": {name: path},
  "extension_environment"} with the trees and, if there are extensions, the write end of their pipe;
* ``launch`` {"extension": name or null, "connected"} with the runtime's connection: start an
  extension or the runtime (again);
* ``reset``: end every process inside;
* ``connect`` {"port"}: connect to a port inside;
* ``terminate``: send the runtime SIGTERM.

To the server: {"ready": pid} with [the Runtime API's listening socket, the endpoint's, pidfd];
{"error": text};
{"exit": wait status, "not_executed": text or null} when the runtime has ended;
{"extension": name, "exit": wait status}; {"out_of_memory": true} where no control group counts the
memory; {"reset": true}; {"connected": text} with the stream, or with why there is none.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Callable

from . import links, view, wire
from .init import Confinement, Init
from .syscalls import (
    CLONE_NEWCGROUP,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    loopback_up,
    mount,
    pidfd_open,
    prctl,
    sethostname,
    unshare,
)

RUNTIME_API_PORT = 9001
ENDPOINT_PORT = 4566


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener


def _prepare(channel: socket.socket, number: int | None) -> None:
    # For good: no process inside may open this one's memory or descriptors.
    prctl(PR_SET_DUMPABLE, 0)
    # It is in its control groups by now: they are the root of what it sees of them.
    unshare(CLONE_NEWCGROUP)
    os.setresgid(view.GID, view.GID, view.GID)
    os.setresuid(view.UID, view.UID, view.UID)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    loopback_up()
    if number is not None:
        links.bring_up(number)
    listener, endpoint = _listen(RUNTIME_API_PORT), _listen(ENDPOINT_PORT)
    sethostname(b"169-254-10-1")
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    view.mask_proc()
    pidfd = pidfd_open(os.getpid())
    wire.send(channel, {"ready": os.getpid()}, [listener.fileno(), endpoint.fileno(), pidfd])
    os.close(pidfd)
    listener.close()
    endpoint.close()


def main(
    descriptor: int,
    output: int,
    runtime: Callable[[int], None] | None,
    confinement: Confinement,
    number: int | None,
) -> None:
    """Run as PID 1 of fresh namespaces; never returns control to user code in this process.

    number: of its address, None where there is no network.
    """
    channel = socket.socket(fileno=descriptor)
    try:
        _prepare(channel, number)
        Init(channel, output, runtime, confinement).serve()
    except BaseException as error:
        wire.send(channel, {"error": "%s: %s" % (type(error).__name__, error)})
