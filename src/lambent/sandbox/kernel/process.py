"""What a process of a sandbox does between its fork and its program."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import sys
import traceback
from typing import Callable

from .syscalls import (
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    close_from,
    prctl,
    set_process_name,
)

# Where a program finds its connection to the Runtime API.
CONNECTION = 3
# Where one booted ahead reads its environment, and where a failure to execute is told.
TELLING = 4
# Where one booted ahead says that it waits.
WAITING = 5


def _arrange(output: int, connection: int, extra: int, waiting: int) -> None:
    """Standard streams, then what there is for CONNECTION, TELLING and WAITING; nothing else."""
    null = os.open("/dev/null", os.O_RDONLY)
    # Out of the way first: any of them may lie where another is to go.
    wanted = {
        0: null, 1: output, 2: output, CONNECTION: connection, TELLING: extra, WAITING: waiting,
    }  # fmt: skip
    kept = {
        target: fcntl.fcntl(source, fcntl.F_DUPFD, WAITING + 1)
        for target, source in wanted.items()
        if source >= 0
    }
    for target in (CONNECTION, TELLING, WAITING):
        if target not in kept:
            try:
                os.close(target)
            except OSError:
                pass
    for target, source in kept.items():
        os.dup2(source, target)
    close_from(WAITING + 1)


def become(environment: dict[str, str]) -> None:
    """Turn this interpreter into the runtime's: its environment, its collector, its name.

    From here on it may read its own /proc files, and so may every process of the same user; an
    executed program is given this by the kernel.  Until here nothing of init's can be read in it.
    """
    prctl(PR_SET_DUMPABLE, 1)
    os.set_inheritable(CONNECTION, False)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    set_process_name(b"bootstrap")
    os.environ.clear()
    os.environ.update(environment)
    gc.enable()


def child(
    run: Callable[[], object],
    uid: int,
    output: int,
    connection: int,
    extra: int,
    waiting: int = -1,
) -> None:
    """Run as a fresh fork of init; never returns.

    uid: the user to be.  output: standard output and error.  The others: see CONNECTION, TELLING
    and WAITING, -1 for none; TELLING closes when a program is executed, unless it is to be read by
    it.

    The fork is not dumpable, as init is not, so that no process of the same user can open its
    memory or its descriptors before those of init are closed.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        # A group and a session of its own: what is done to those of init is done to init.
        os.setsid()
        os.setresuid(uid, uid, uid)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        reading = extra >= 0 and fcntl.fcntl(extra, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        _arrange(output, connection, extra, waiting)
        if extra >= 0 and not reading:
            os.set_inheritable(TELLING, False)
        try:
            os.chdir("/var/task")
        except OSError:
            os.chdir("/")
        run()
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
