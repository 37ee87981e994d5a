"""Landlock: a process gives up every file but those beneath folders that it names.

Source: the kernel's documentation, "Landlock: unprivileged access control" (Linux 5.13; ABI 6, of
Linux 6.12, also keeps signals and abstract sockets inside).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

from lambent.sandbox.kernel import syscalls

_SYS_CREATE, _SYS_ADD, _SYS_RESTRICT = 444, 445, 446
_VERSION = 1
_BENEATH = 1
_EXECUTE = 1 << 0
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# All rights on files that each ABI knows: 13, then REFER, TRUNCATE and (5) IOCTL_DEV.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ON_FILES = _EXECUTE | 1 << 1 | _READ_FILE | 1 << 14 | 1 << 15
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def abi() -> int:
    """The version the kernel offers; 0 if none."""
    found = _libc.syscall(_SYS_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(0, int(found))


def restrict(readable: list[str], writable: list[str]) -> None:
    """Leave the calling process, and all it starts, these paths only; raises OSError.

    What does not exist is left out.  It must have no_new_privs set, and cannot be undone.
    """
    version = abi()
    if not version:
        raise OSError("this kernel has no Landlock")
    rights = (1 << _RIGHTS[min(version, 5)]) - 1
    attribute = struct.pack("QQ", rights, 0)[: 8 if version < 4 else 16]
    if version >= 6:
        attribute += struct.pack("Q", _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)
    rules = _checked(
        _libc.syscall(_SYS_CREATE, attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint32(0)),
        "landlock_create_ruleset",
    )
    try:
        for paths, allowed in (
            (readable, _EXECUTE | _READ_FILE | _READ_DIR),
            (writable, rights & ~_EXECUTE),
        ):
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    _allow(rules, path, allowed)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        _checked(
            _libc.syscall(_SYS_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)),
            "landlock_restrict_self",
        )
    finally:
        os.close(rules)


def _allow(rules: int, path: str, allowed: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            allowed &= _ON_FILES
        rule = struct.pack("=Qi", allowed, descriptor)
        _checked(
            _libc.syscall(
                _SYS_ADD, ctypes.c_int(rules), ctypes.c_int(_BENEATH), rule, ctypes.c_uint32(0)
            ),
            "landlock_add_rule %s" % path,
        )
    finally:
        os.close(descriptor)


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (name, os.strerror(number)))
    return result
