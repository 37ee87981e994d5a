"""Disks for /tmp: file systems of exactly the size a function asks for, which are not its memory.

Each is an ext4 without a journal on a loop device, on an unnamed sparse file of the pool; the pool
is one more of the same on a sparse file in the data directory, so that all functions together
cannot fill the host's disk.  A disk is handed out as a detached mount; when the last who holds it
is gone, the kernel unmounts it, frees its device and its blocks: nothing is left to clean up,
whatever dies.  Needs the host's root.  Part of the host agent.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from typing import NamedTuple

from . import syscalls
from .aside import aside, program, run

_CONTROL = "/dev/loop-control"
# linux/loop.h
_CTL_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_AUTOCLEAR = 4
_DIRECT_IO = 16
_BLOCK = 4096
_MB = 1 << 20
_BYTES_PER_INODE = 16 * 1024
_FEWEST_INODES = 1024
# How many file systems may lie in the pool, and a little for what each of them is made of.
_POOL_INODES = 65_536
# Kept ready of the size that was asked for last.
_SPARES = 4
_SIZES_KEPT = 16


def missing(root: bool) -> tuple[str, str]:
    """What this host lacks for disks and what mends it; empty if nothing.

    root: whether the host agent is the host's root.
    """
    if not root:
        return "an ordinary user cannot mount", "run Lambent as root"
    if program("mkfs.ext4") is None:
        return "mkfs.ext4 is not installed", "apt-get install e2fsprogs"
    if not os.access(_CONTROL, os.W_OK):
        return "there are no loop devices", "modprobe loop"
    return "", ""


def inodes(size: int) -> int:
    """How many files a /tmp of this many bytes may hold."""
    return max(_FEWEST_INODES, size // _BYTES_PER_INODE)


class _Image(NamedTuple):
    """A fresh file system: how long it is, and its parts that are not zero, by offset."""

    size: int
    parts: list[tuple[int, bytes]]


def _unnamed(folder: str) -> int:
    """A new file without a name in a folder, which no other process can open."""
    return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _format(folder: str, size: int, files: int) -> _Image:
    """The image of an empty file system whose root everybody may write to; made in a folder."""
    file = _unnamed(folder)
    path = "/proc/%d/fd/%d" % (os.getpid(), file)
    command = [program("mkfs.ext4") or "mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(_BLOCK)]
    command += ["-O", "^has_journal,^resize_inode,^metadata_csum", "-N", str(files)]
    command += ["-E", "lazy_itable_init=1,nodiscard", path]
    try:
        os.ftruncate(file, size)

        def job() -> list[int]:
            run(*command)
            return []

        aside(job)
        root = _mount(file)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir("/proc/self/fd/%d/lost+found" % root)
        os.chmod("/proc/self/fd/%d" % root, 0o1777)  # noqa: S103 - a /tmp is like that
        os.close(root)
        return _Image(size, [(at, os.pread(file, length, at)) for at, length in _extents(file)])
    finally:
        os.close(file)


def _extents(file: int) -> list[tuple[int, int]]:
    """Where a sparse file has something."""
    found: list[tuple[int, int]] = []
    end = 0
    while True:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:
            return found
        end = os.lseek(file, start, os.SEEK_HOLE)
        found.append((start, end - start))


def _write(image: _Image, file: int) -> None:
    os.ftruncate(file, image.size)
    for at, data in image.parts:
        os.pwrite(file, data, at)


def _mount(file: int) -> int:
    """A detached mount of the file system in a file, by a loop device that goes when it goes."""
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            name = "/dev/loop%d" % fcntl.ioctl(control, _CTL_GET_FREE)
            device = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            try:
                # struct loop_config: descriptor, block size, struct loop_info64, reserved.
                info = struct.pack("5Q4I", 0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR | _DIRECT_IO)
                config = struct.pack("II", file, _BLOCK) + info.ljust(232, b"\0") + bytes(64)
                fcntl.ioctl(device, _CONFIGURE, config)
                options = {"source": name, "noinit_itable": None, "discard": None}
                return syscalls.mount_detached(
                    "ext4", options, syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
                )
            except OSError as error:
                if error.errno != errno.EBUSY:  # else somebody else took it
                    raise
            finally:
                os.close(device)
    finally:
        os.close(control)


class Disks:
    """A pool and the disks made from it; raises OSError where the host does not allow it."""

    def __init__(self, size: int, folder: str) -> None:
        """size: the most that all disks may hold together, in bytes; folder: where on the host."""
        self._images: dict[int, _Image] = {}
        self._spares: list[int] = []
        self._spare_size = 0
        pool = _format(folder, size // _BLOCK * _BLOCK, _POOL_INODES)
        file = _unnamed(folder)
        try:
            _write(pool, file)
            self._pool = _mount(file)
        finally:
            os.close(file)
        # By a name that is good in other processes too.
        self._folder = "/proc/%d/fd/%d" % (os.getpid(), self._pool)
        os.chmod(self._folder, 0o700)

    def take(self, size: int) -> int:
        """A disk on which so many bytes can be written; raises OSError, as when none are left."""
        if size != self._spare_size:
            while self._spares:
                os.close(self._spares.pop())
            self._spare_size = size
        free = os.statvfs(self._folder)
        if free.f_bavail * free.f_frsize < size:
            raise OSError("the disk of functions' /tmp is full")
        return self._spares.pop() if self._spares else self._make(size)

    @property
    def wanting(self) -> bool:
        """Whether there is something to make ready in an idle moment."""
        return self._spare_size > 0 and len(self._spares) < _SPARES

    def prepare(self) -> None:
        """Make one ready."""
        try:
            self._spares.append(self._make(self._spare_size))
        except OSError:
            self._spare_size = 0  # whoever asks next is told

    def _make(self, size: int) -> int:
        image = self._images.get(size)
        if image is None:
            image = self._image(size)
        file = _unnamed(self._folder)
        try:
            _write(image, file)
            return _mount(file)
        finally:
            os.close(file)

    def _image(self, size: int) -> _Image:
        """The image on which so many bytes can be written."""
        files = inodes(size)
        # Inodes, bitmaps, and what ext4 holds back: 2 % of a file system, 16 MiB at most.
        room = size + files * 256 + size // 8192 + 65536 + min(size // 48, 16 * _MB)
        image = _format(self._folder, room // _BLOCK * _BLOCK, files)
        if len(self._images) >= _SIZES_KEPT:
            self._images.clear()
        self._images[size] = image
        return image
