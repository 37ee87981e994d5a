"""Doing things in a child, so that what it enters or changes of itself does not stick."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from typing import Callable

from . import wire


def aside(job: Callable[[], list[int]]) -> list[int]:
    """Run a job in a child; returns the descriptors it gives back.

    Raises OSError with what it failed of.
    """
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            wire.send(theirs, {}, job())
        except BaseException as error:
            wire.send(theirs, {"error": str(error)})
        finally:
            os._exit(0)
    theirs.close()
    with mine:
        received = wire.receive(mine)
    if received is None or "error" in received[0]:
        raise OSError(received[0]["error"] if received else "a helper process has ended")
    return received[1]


def program(name: str) -> str | None:
    """Where an administrator's program is."""
    return shutil.which(name, path=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin")


def run(*command: str, text: str = "") -> str:
    """In a job: run a program to its end; returns what it prints, raises OSError."""
    import subprocess  # the agent itself never needs it

    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OSError("%s: %s" % (os.path.basename(command[0]), said[0] if said else "failed"))
    return done.stdout


def nft(rules: str) -> None:
    """In a job: load rules in the namespace it is in, all or nothing; raises OSError."""
    run(program("nft") or "nft", "-f", "-", text=rules)
