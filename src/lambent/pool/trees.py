"""What the server itself reads of unpacked archives, whose names and links are not to be trusted.

A path is resolved component by component, so that no link leads out of the tree, however many it
passes; the kernel is never given a path with a link in it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

# Links on one path: the kernel's own limit.
_LINKS = 40
_NEVER_FOLLOWED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def files_in(tree: Path, folder: str) -> list[str]:
    """The names of the files in a folder of a tree, sorted; none where there is no such folder.

    A link counts as the file that it leads to within the tree.
    """
    try:
        opened, way = _open(tree, [folder])
    except OSError:
        return []
    try:
        names = os.listdir(f"/proc/self/fd/{opened}")
    except OSError:
        return []
    finally:
        os.close(opened)
    return sorted(name for name in names if _is_file(tree, [*way, name]))


def _is_file(tree: Path, way: list[str]) -> bool:
    try:
        opened, _ = _open(tree, way)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(opened).st_mode)
    finally:
        os.close(opened)


def _open(tree: Path, way: list[str]) -> tuple[int, list[str]]:
    """A descriptor of what a way from the top of a tree leads to, and the way without links.

    Raises OSError, EXDEV where it leads out of the tree.
    """
    left = list(reversed(way))
    passed: list[str] = []
    opened = [os.open(tree, _NEVER_FOLLOWED | os.O_DIRECTORY)]
    links = 0
    try:
        while left:
            name = left.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if not passed:
                    raise OSError(errno.EXDEV, "a link leads out of its tree")
                passed.pop()
                os.close(opened.pop())
                continue
            found = os.open(name, _NEVER_FOLLOWED, dir_fd=opened[-1])
            opened.append(found)
            if not stat.S_ISLNK(os.fstat(found).st_mode):
                passed.append(name)
                continue
            target = os.readlink("", dir_fd=found)
            os.close(opened.pop())
            links += 1
            if target.startswith("/"):
                raise OSError(errno.EXDEV, "a link leads out of its tree")
            if links > _LINKS:
                raise OSError(errno.ELOOP, "too many links")
            left += reversed(target.split("/"))
        return os.dup(opened[-1]), passed
    finally:
        for each in opened:
            os.close(each)
