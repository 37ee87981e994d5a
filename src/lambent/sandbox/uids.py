"""Host uids of sandboxes, which a server started by root hands out, and no other server does.

systemd leaves all from 0x70000000 on unused.  They are divided into ranges; a server takes the
first that no other holds, by a lock on a file which it keeps until it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lambent.sandbox.base import SandboxError

FIRST = 0x7000_0000
EACH = 1 << 16
RANGES = 256
# Where the locks lie, the same for all servers of a host: the first that can be written.
FOLDERS = (Path("/run/lambent"), Path("/dev/shm/lambent"))
# A function's, and its extensions', which is the next.
USERS = 2


class Uids:
    """The uids of one server; one given back is the last to be taken again."""

    def __init__(self, folders: Sequence[Path] = FOLDERS) -> None:
        """folders: see FOLDERS.

        Raises SandboxError where every range is held, or no folder can be written.
        """
        self.first, self._lock = _claim(_folder(folders))
        self.count = EACH
        self._free = deque(range(self.first, self.first + self.count, USERS))
        self._taken: set[int] = set()

    def take(self) -> int:
        """The first of USERS uids that no sandbox of this host has; raises SandboxError."""
        if not self._free:
            raise SandboxError(f"all {self.count} uids of sandboxes are taken")
        uid = self._free.popleft()
        self._taken.add(uid)
        return uid

    def give_back(self, uid: int) -> None:
        """Its sandbox is gone."""
        if uid in self._taken:
            self._taken.remove(uid)
            self._free.append(uid)

    def close(self) -> None:
        """Let another server have them; idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _folder(folders: Sequence[Path]) -> Path:
    """The first of these that only this user can write, made if it is not there."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            own = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode)
            if own and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
                return folder
    raise SandboxError(f"no uids for sandboxes: {' and '.join(map(str, folders))} cannot be used")


def _claim(folder: Path) -> tuple[int, int]:
    """The first uid of a range that is held from now on, and the descriptor that holds it."""
    try:
        for number in range(RANGES):
            path = folder / f"uids-{number}"
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return FIRST + number * EACH, lock
            os.close(lock)
    except OSError as error:
        raise SandboxError(f"no uids for sandboxes: {error}") from error
    raise SandboxError(f"all {RANGES} ranges of uids for sandboxes are held by other servers")
