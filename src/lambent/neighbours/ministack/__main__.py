"""The neighbours' process: ``python -m lambent.neighbours.ministack FOLDER REGION``.

It inherits a listening Unix socket, and ends in order when its standard input does, which the
server holds open for as long as it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import fcntl
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

from lambent.http import HttpLimits, HttpServer
from lambent.neighbours.ministack import adapter, bounds, ours, stacks
from lambent.neighbours.ministack.dispatch import Dispatch
from lambent.neighbours.ministack.state import State
from lambent.sandbox.kernel import landlock, syscalls

_log = logging.getLogger(__name__)

# The gateway has bounded what it sends.
_LIMITS = HttpLimits(
    connections=1024,
    idle_seconds=0,
    body_seconds=0,
    head_seconds=0,
    kept_bytes=1 << 40,
)

_STACK_BYTES = 1024 * 1024
_HUNG_SECONDS, _STOP_SECONDS = 120.0, 60.0


def main() -> None:
    """Serve until standard input ends."""
    folder, region = Path(sys.argv[1]), sys.argv[2]
    os.umask(0o077)
    bound(int(os.environ.get("LAMBENT_MEMORY_BYTES", "0")))
    logging.basicConfig(
        level=logging.WARNING, format="neighbours: %(asctime)s %(levelname)s %(message)s"
    )
    # A predecessor may still be writing its last state.
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.chdir(folder)  # where its sockets have short names
    adapter.prepare(folder, region)
    shut_off(folder)
    asyncio.run(_serve(folder))


def bound(memory_bytes: int) -> None:
    """Limit its memory (0: not), and have it say where it was when it is ended for hanging."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A thread's stack counts whether it is used or not.
    threading.stack_size(_STACK_BYTES)
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def shut_off(folder: Path) -> None:
    """Leave the network, all privileges, and every file that is not Python's or its own.

    Who is to be reached is reached through sockets that are open, or in the folder.
    """
    flags = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC
    if os.getuid() != 0:
        flags |= syscalls.CLONE_NEWUSER
    syscalls.unshare(flags)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.drop_capabilities()
    code = [
        *sys.path,
        sys.prefix,
        sys.base_prefix,
        os.path.dirname(os.path.realpath(sys.executable)),
    ]
    system = ["/usr", "/lib", "/lib64", "/etc", "/proc", "/dev/urandom"]
    readable = [path for path in (*code, *system) if os.path.isabs(path)]
    try:
        landlock.restrict(readable, [str(folder), "/dev/null"])
    except OSError as error:
        _log.warning("files are not shut off from the neighbours: %s", error)


async def _serve(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    loop.add_reader(0, stopping.set)
    services = adapter.MiniStack()
    lambent = ours.Lambent("lambent")
    ours.install(services, lambent)
    stacks.install(services, lambent)
    bounds.install(services)
    state = State(folder / "state", services)
    state.load()
    services.start(loop)
    state.start()
    dispatch = Dispatch(services, state.changed)
    server = HttpServer(dispatch, _LIMITS)
    listener = socket.socket(fileno=int(os.environ["LAMBENT_LISTENER"]))
    listener.setblocking(False)
    gc.collect()
    gc.freeze()
    await server.serve(listener)
    living = asyncio.ensure_future(stay_alive(_HUNG_SECONDS))
    await stopping.wait()
    living.cancel()
    faulthandler.dump_traceback_later(_STOP_SECONDS, exit=True)
    loop.remove_reader(0)
    server.stop_listening()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await dispatch.drained()
    await state.stop()
    # Threads that wait for a function or a schedule would be waited for.
    os._exit(0)


async def stay_alive(seconds: float) -> None:
    """End this process, whatever it is doing, once the event loop has not turned for so long.

    A server that has died cannot end a process that hangs.
    """
    while True:
        faulthandler.dump_traceback_later(seconds, exit=True)
        await asyncio.sleep(seconds / 4)


if __name__ == "__main__":
    main()
