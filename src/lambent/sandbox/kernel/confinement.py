"""What a process of Lambent gives up before it reads bytes of others.

Each part stands for itself and is irreversible for the caller and all that it starts: a root of
its own with nothing but named host paths, an unprivileged uid, all capabilities, limits, a filter
of system calls.  The caller has one thread.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
from typing import Iterable

from . import process_filter, syscalls
from .syscalls import (
    MNT_DETACH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
)

# Host uids, four to a data directory, above those of sandboxes; systemd hands out none from
# 0x70000000 on ("Users, Groups, UIDs and GIDs on systemd Systems").
UID_BASE = 0x7F00_0000
UID_COUNT = 4 << 16
SERVER, SERVICES, RESOLVER = 0, 1, 2

# Where shared libraries and the time zone are.
LIBRARIES = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/etc/mime.types",
)
DEVICES = ("/dev/null", "/dev/urandom")
# Any folder that is on every host and that no process of Lambent shows: its new root lies there
# for a moment, in a mount namespace of its own.
_STAGE = "/sys"


def is_real_root() -> bool:
    """Whether this process may become any uid of the host (not so in a user namespace)."""
    if os.getuid() != 0:
        return False
    with open("/proc/self/uid_map") as file:
        spans = [[int(word) for word in line.split()] for line in file]
    return any(first <= UID_BASE and first + n >= UID_BASE + UID_COUNT for first, _, n in spans)


def become_namespace_root() -> None:
    """Enter a user namespace in which this ordinary user is root."""
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("gid_map", "0 %d 1\n" % gid),
        ("uid_map", "0 %d 1\n" % uid),
    ):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)


def own_uid(folder: str, kind: int) -> int:
    """The uid, and gid, of the server, the services or the resolver (kind) of a data directory.

    It follows from the folder's owner, if that is one of these, else from the folder's path.
    """
    try:
        owner = os.stat(folder).st_uid
    except OSError:
        owner = 0
    if UID_BASE <= owner < UID_BASE + UID_COUNT:
        return owner - owner % 4 + kind
    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder))).digest()
    return UID_BASE + 4 * int.from_bytes(digest[:2], "big") + kind


def python_paths(path: Iterable[str], *prefixes: str) -> list[str]:
    """What an interpreter reads when it imports: its module search path and its libraries."""
    found = [each for each in path if os.path.isabs(each)]
    for prefix in prefixes:
        found += [os.path.join(prefix, "lib"), os.path.join(prefix, "lib64")]
    return found


def private_root(readable: Iterable[str], writable: dict[str, str]) -> None:
    """Enter a root that has these host paths and nothing else; raises OSError.

    The caller has a mount namespace of its own.  readable: paths shown read-only; what does not
    exist is left out.  writable: where a folder is shown → the host path of it, which may be one
    below /proc/self/fd that was opened in this mount namespace.
    """
    syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    shown, links = _without_links(readable)
    read_only = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV
    trees = [(each, _tree(each, read_only)) for each in _outermost(shown)]
    trees += [(each, _tree(each, MOUNT_ATTR_NOEXEC)) for each in DEVICES]
    for target, source in sorted(writable.items()):
        trees.append((target, _tree(source, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)))
    options = "size=256k,nr_inodes=512,mode=755"
    syscalls.mount("tmpfs", _STAGE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    mask = os.umask(0o022)
    for target, tree in trees:
        _attach(tree, _STAGE + target)
    for target, text in links.items():
        os.symlink(text, _STAGE + target)
    os.umask(mask)
    os.chdir(_STAGE)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", MNT_DETACH)
    os.chdir("/")
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    syscalls.mount(None, "/", None, flags)


def _without_links(paths: Iterable[str]) -> tuple[set[str], dict[str, str]]:
    """The paths that exist, and the links among them that lie at the top, as /lib often is."""
    shown: set[str] = set()
    links: dict[str, str] = {}
    for path in map(os.path.normpath, paths):
        if os.path.islink(path) and os.path.dirname(path) == "/":
            links[path] = os.readlink(path)
            path = os.path.realpath(path)
        if os.path.exists(path):
            shown.add(path)
    return shown, links


def _outermost(paths: set[str]) -> list[str]:
    """Without those that lie within another."""
    found: list[str] = []
    for path in sorted(paths):
        if not any(path.startswith(each.rstrip("/") + "/") for each in found):
            found.append(path)
    return found


def _tree(source: str, attributes: int) -> int:
    tree = syscalls.open_tree(source)
    syscalls.mount_setattr(tree, attributes | MOUNT_ATTR_NOSUID)
    return tree


def _attach(tree: int, target: str) -> None:
    """Attach a detached tree, of a folder or a file, at a path that is made where it is missing."""
    if not os.path.exists(target):
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(target, mode=0o755)
        else:
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444))
    syscalls.move_mount(tree, target)
    os.close(tree)


def limit(limits: dict[int, int]) -> None:
    """Set resource limits, as far as those in force allow it; never a core dump."""
    for kind, wanted in {**limits, resource.RLIMIT_CORE: 0, resource.RLIMIT_MEMLOCK: 0}.items():
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def give_up(
    profile: process_filter.Profile, uid: int | None = None, dies_with_parent: bool = False
) -> None:
    """Drop every capability for good, and make only the system calls of a profile from now on.

    uid: as root: what to become, with the gid of the same number and no other group.
    """
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if os.getuid() == 0:  # an ordinary user may not, and can gain none with no_new_privs
        syscalls.limit_bounding_set()
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    syscalls.limit_capabilities()
    if dies_with_parent:  # changing the uid would have cleared it
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.install_seccomp(process_filter.compile_profile(profile))
