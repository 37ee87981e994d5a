"""Linux system calls the standard library of Python 3.8 does not offer, through ctypes.

Every wrapper raises OSError with the call's name; numbers differ between x86_64 and aarch64 only
where noted (calls added since Linux 5.1 share one number on all architectures).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
from typing import Iterable

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

_AARCH64 = platform.machine() == "aarch64"
_SYS_PIVOT_ROOT = 41 if _AARCH64 else 155
_SYS_CAPGET = 90 if _AARCH64 else 125
_SYS_CAPSET = 91 if _AARCH64 else 126
_SYS_SECCOMP = 277 if _AARCH64 else 317
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_PIDFD_OPEN = 434
_SYS_CLONE3 = 435
_SYS_CLOSE_RANGE = 436
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442

# Beneath the folder, through no link of any kind.
_RESOLVE_BENEATH_WITHOUT_LINKS = 0x08 | 0x04 | 0x02
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_SET_FLAG = 0
_SET_STRING = 1
_CREATE = 6
_SIOCSIFFLAGS = 0x8914
_IFF_UP_LOOPBACK_RUNNING = 0x1 | 0x8 | 0x40
_SECCOMP_SET_MODE_FILTER = 1
_CAPABILITY_VERSION = 0x20080522
_SIGCHLD = 17

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# clone3 must run with the GIL held: the child's copy of the interpreter owns it.
_libc_gil = ctypes.PyDLL(None, use_errno=True)
_libc_gil.syscall.restype = ctypes.c_long


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (name, os.strerror(number)))
    return result


def _path(value: str | bytes | None) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else os.fsencode(value)


def unshare(flags: int) -> None:
    """Move the caller into new namespaces."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the caller into the namespace a descriptor stands for."""
    _checked(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def mount(
    source: str | None,
    target: str,
    kind: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """mount(2); paths are str or bytes."""
    _checked(
        _libc.mount(_path(source), _path(target), _path(kind), ctypes.c_ulong(flags), _path(data)),
        "mount %s" % (target,),
    )


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(_path(target), ctypes.c_int(flags)), "umount %s" % (target,))


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _checked(_libc.syscall(_SYS_PIVOT_ROOT, _path(new), _path(old)), "pivot_root")


def open_tree(path: str) -> int:
    """A detached, recursive copy of the mount at path, as a close-on-exec descriptor."""
    return _checked(
        _libc.syscall(
            _SYS_OPEN_TREE,
            ctypes.c_int(_AT_FDCWD),
            _path(path),
            ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE),
        ),
        "open_tree %s" % (path,),
    )


def open_beneath(folder: int, path: str) -> int:
    """A folder at a relative path, reached through no link and not above the open folder.

    A close-on-exec descriptor that names it and cannot read it (O_PATH).
    """
    how = struct.pack(
        "QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE_BENEATH_WITHOUT_LINKS
    )
    return _checked(
        _libc.syscall(
            _SYS_OPENAT2,
            ctypes.c_int(folder),
            _path(path),
            how,
            ctypes.c_size_t(len(how)),
        ),
        "openat2 %s" % (path,),
    )


def mount_setattr(descriptor: int, attributes: int) -> None:
    """Set mount attributes on a detached tree, recursively."""
    argument = struct.pack("QQQQ", attributes, 0, 0, 0)
    _checked(
        _libc.syscall(
            _SYS_MOUNT_SETATTR,
            ctypes.c_int(descriptor),
            b"",
            ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE),
            argument,
            ctypes.c_size_t(len(argument)),
        ),
        "mount_setattr",
    )


def move_mount(descriptor: int, target: str) -> None:
    """Attach a detached tree at target."""
    _checked(
        _libc.syscall(
            _SYS_MOVE_MOUNT,
            ctypes.c_int(descriptor),
            b"",
            ctypes.c_int(_AT_FDCWD),
            _path(target),
            ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
        ),
        "move_mount %s" % (target,),
    )


def mount_detached(kind: str, options: dict[str, str | None], attributes: int) -> int:
    """A new file system as a close-on-exec descriptor of a mount nobody sees yet.

    options: None as the value of one that is a mere flag.
    """
    context = _checked(
        _libc.syscall(_SYS_FSOPEN, kind.encode(), ctypes.c_uint(_FSOPEN_CLOEXEC)), "fsopen"
    )
    try:
        for name, value in options.items():
            _fsconfig(context, _SET_FLAG if value is None else _SET_STRING, name, value)
        _fsconfig(context, _CREATE, None, None)
        return _checked(
            _libc.syscall(
                _SYS_FSMOUNT,
                ctypes.c_int(context),
                ctypes.c_uint(_FSMOUNT_CLOEXEC),
                ctypes.c_uint(attributes),
            ),
            "fsmount",
        )
    finally:
        os.close(context)


def _fsconfig(context: int, command: int, name: str | None, value: str | None) -> None:
    _checked(
        _libc.syscall(
            _SYS_FSCONFIG,
            ctypes.c_int(context),
            ctypes.c_uint(command),
            name.encode() if name else None,
            value.encode() if value else None,
            ctypes.c_int(0),
        ),
        "fsconfig %s" % (name or "create"),
    )


def prctl(operation: int, argument: int = 0) -> None:
    """prctl(2) with one argument."""
    _checked(
        _libc.prctl(
            ctypes.c_int(operation),
            ctypes.c_ulong(argument),
            ctypes.c_ulong(0),
            ctypes.c_ulong(0),
            ctypes.c_ulong(0),
        ),
        "prctl %d" % operation,
    )


def set_process_name(name: bytes) -> None:
    """Set the name shown in /proc/self/comm (15 bytes)."""
    buffer = ctypes.create_string_buffer(name)
    prctl(PR_SET_NAME, ctypes.addressof(buffer))


def close_from(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close every descriptor from first to last."""
    _checked(
        _libc.syscall(
            _SYS_CLOSE_RANGE,
            ctypes.c_uint(first),
            ctypes.c_uint(last),
            ctypes.c_uint(0),
        ),
        "close_range",
    )


def close_others(kept: Iterable[int]) -> None:
    """Close every descriptor but the standard streams and those to keep."""
    first = 3
    for descriptor in sorted(kept):
        if descriptor > first:
            close_from(first, descriptor - 1)
        first = max(first, descriptor + 1)
    close_from(first)


def pidfd_open(pid: int) -> int:
    """A descriptor that names a process for good."""
    return _checked(
        _libc.syscall(_SYS_PIDFD_OPEN, ctypes.c_int(pid), ctypes.c_uint(0)), "pidfd_open"
    )


def sethostname(name: bytes) -> None:
    """Set the host name of the caller's UTS namespace."""
    _checked(_libc.sethostname(name, len(name)), "sethostname")


def loopback_up() -> None:
    """Bring up ``lo`` in the caller's network namespace."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP_LOOPBACK_RUNNING))
    finally:
        probe.close()


def limit_bounding_set(kept: frozenset[int] = frozenset()) -> None:
    """Drop every other capability, by number, from the bounding set; before the uid changes.

    What the caller has stays.
    """
    for capability in range(64):
        if capability not in kept:
            try:
                prctl(PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno != errno.EINVAL:  # else there are no more
                    raise
                break


def limit_capabilities(kept: frozenset[int] = frozenset()) -> None:
    """Drop every other capability, by number, that the caller has."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    present = ctypes.create_string_buffer(24)
    _checked(_libc.syscall(_SYS_CAPGET, header, present), "capget")
    # Per set, effective, permitted, inheritable: the lower half of all of them, then the upper.
    permitted = struct.unpack("6I", present.raw)[1::3]
    mask = sum(1 << each for each in kept) & (permitted[0] | permitted[1] << 32)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    sets = struct.pack("6I", low, low, 0, high, high, 0)
    _checked(_libc.syscall(_SYS_CAPSET, header, sets), "capset")


def drop_capabilities() -> None:
    """Empty every capability set, the bounding set included."""
    limit_bounding_set()
    limit_capabilities()


def install_seccomp(program: bytes) -> None:
    """Install a classic-BPF program (bytes of struct sock_filter) on the calling thread."""
    buffer = ctypes.create_string_buffer(program, len(program))
    argument = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _checked(
        _libc.syscall(
            _SYS_SECCOMP, ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), argument
        ),
        "seccomp",
    )


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    ]


def fork_into(flags: int) -> int:
    """Fork into new namespaces; returns the child's pid to the parent and 0 to the child.

    The interpreter's own fork hooks run, as for os.fork().  Only for single-threaded processes.
    """
    arguments = _CloneArgs(flags=flags, exit_signal=_SIGCHLD)
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    result = _libc_gil.syscall(_SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if result == 0:
        api.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    api.PyOS_AfterFork_Parent()
    if result < 0:
        raise OSError(number, "clone3: %s" % os.strerror(number))
    return int(result)
