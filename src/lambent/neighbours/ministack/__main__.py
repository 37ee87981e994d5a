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
import stat
import sys
import threading
from pathlib import Path

from lambent.neighbours.ministack import adapter, bounds, ours, stacks
from lambent.neighbours.ministack.dispatch import Dispatch
from lambent.neighbours.ministack.state import State
from lambent.sandbox.kernel import confinement, landlock, process_filter, syscalls

_log = logging.getLogger(__name__)

_NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
)
# Threads of schedules and of what blocks; connections of the server, files of objects.
_RLIMITS = {resource.RLIMIT_NPROC: 1024, resource.RLIMIT_NOFILE: 8192}

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
    adapter.prepare(folder, region)
    shut_off(folder)
    os.chdir(folder)  # where its sockets have short names
    # A predecessor may still be writing its last state.
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
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

    Root becomes a uid of the data directory above (``confinement.own_uid``).  Peers are reached
    through sockets that are open, or in the folder.
    """
    root = confinement.is_real_root()
    uid = confinement.own_uid(str(folder.parent), confinement.SERVICES) if root else os.getuid()
    if uid != 0 and not root:
        confinement.become_namespace_root()
    syscalls.unshare(_NAMESPACES)
    # Not a link: a process that can write beside the folder must not choose what root gives away.
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if root:
        own(opened, uid)
    readable = confinement.python_paths(sys.path, sys.prefix, sys.base_prefix)
    readable += confinement.LIBRARIES
    confinement.private_root(readable, {str(folder): f"/proc/self/fd/{opened}"})
    os.close(opened)
    confinement.limit(_RLIMITS)
    try:
        landlock.restrict(readable, [str(folder), *confinement.DEVICES])
    except OSError as error:
        _log.warning("the neighbours have no Landlock around their files: %s", error)
    confinement.give_up(process_filter.SERVICES, uid if root else None)


def own(folder: int, uid: int) -> None:
    """Give a folder and all within to the services' uid alone; the server's group may use it.

    folder: open.  No link is followed, and sockets stay the server's.
    """
    if os.fstat(folder).st_uid != uid:
        for _, folders, files, place in os.fwalk(".", dir_fd=folder):
            for names, mode in ((folders, 0o700), (files, 0o600)):
                for name in names:
                    kind = os.lstat(name, dir_fd=place).st_mode
                    if stat.S_ISDIR(kind) or stat.S_ISREG(kind):
                        os.chown(name, uid, -1, dir_fd=place, follow_symlinks=False)
                        os.chmod(name, mode, dir_fd=place)
        # The last, so that what was interrupted is done again.
        os.fchown(folder, uid, -1)
    os.fchmod(folder, 0o770)


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
    listener = socket.socket(fileno=int(os.environ["LAMBENT_LISTENER"]))
    listener.setblocking(False)
    gc.collect()
    gc.freeze()
    await dispatch.serve(listener)
    living = asyncio.ensure_future(stay_alive(_HUNG_SECONDS))
    await stopping.wait()
    living.cancel()
    faulthandler.dump_traceback_later(_STOP_SECONDS, exit=True)
    loop.remove_reader(0)
    dispatch.stop_listening()
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
