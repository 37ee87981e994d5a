"""What a sandbox sees of the file system: the template root and the masks over /proc.

The template is built once per zygote in its own mount namespace: an almost empty read-only tmpfs
with the host's /usr, a synthetic /etc and five device nodes; in that of a Python runtime the
language lies at /var/lang and its bootstrap at /var/runtime already.  No /sys, no host path.  Each
sandbox then adds its private parts.
"""

from __future__ import annotations

import os

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
    mount,
    mount_detached,
    mount_setattr,
    move_mount,
    open_tree,
    pivot_root,
    umount,
)

READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
# What a zygote needs until it has imported everything: this package, and the server's own Python.
KERNEL = "/mnt/kernel"
INTERPRETER = "/mnt/python"
USER = "sbx_user1051"
UID = 993
GID = 990

# Where the template lies until it is entered: a folder of every host that nothing shown is in, and
# that only root can replace.
_STAGE = "/sys"

_DIRECTORIES = (
    "usr",
    "etc",
    "dev",
    "proc",
    "tmp",
    "run",
    "run/proc",
    "home",
    "root",
    "opt",
    "var",
    "var/task",
    "var/runtime",
    "var/lang",
    "mnt",
    "mnt/kernel",
    "mnt/python",
)
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_ETC = {
    "passwd": "root:x:0:0:root:/root:/sbin/nologin\n"
    + "%s:x:%d:%d::/home/%s:/sbin/nologin\n" % (USER, UID, GID, USER)
    + "extensions:x:%d:%d::/home/%s:/sbin/nologin\n" % (UID + 1, GID, USER)
    + "nobody:x:65534:65534::/:/sbin/nologin\n",
    "group": "root:x:0:\n%s:x:%d:\nnogroup:x:65534:\n" % (USER, GID),
    "hosts": "127.0.0.1 localhost\n127.0.0.1 sandbox.localdomain sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "hostname": "lambda\n",
}
# What of the host's /etc a program needs to run: where its libraries are, whom it trusts.
_ETC_FROM_HOST = ("ld.so.cache", "ssl", "pki", "alternatives", "ca-certificates", "localtime")
# What /proc shows beside processes: what runtimes and their libraries read.
_PROC_KEPT = (
    "cgroups", "cpuinfo", "filesystems", "meminfo", "mounts", "net", "self", "stat", "sys",
    "thread-self", "uptime", "version",
)  # fmt: skip
# Put in place of the host's: {name: text}.
_PROC_INSTEAD = {"loadavg": "0.00 0.00 0.00 1/1 1\n"}
_INSTEAD = "/run/proc"
_EMPTY = "/mnt"


def detached_tree(path: str) -> int:
    """A read-only, nosuid, nodev view of a host directory as a descriptor of a mount.

    It is an overlay of the directory, so that /proc/self/mountinfo inside does not say where on the
    host it lies; a mere copy of its mount, which says so, where there can be no overlay.
    """
    empty = empty_folder()
    if empty >= 0:
        try:
            return _overlay(path, empty)
        except OSError:
            pass  # a file system that cannot lie under an overlay, or a kernel without one
        finally:
            os.close(empty)
    return _copy(path)


def _copy(path: str) -> int:
    descriptor = open_tree(path)
    mount_setattr(descriptor, READ_ONLY)
    return descriptor


def _overlay(path: str, empty: int) -> int:
    """An overlay of a directory over an empty one: without a writable layer it takes two."""
    opened = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The names by which they are found are what a function will see.
        layers = "/proc/self/fd/%d:/proc/self/fd/%d" % (opened, empty)
        return mount_detached("overlay", {"lowerdir": layers}, READ_ONLY)
    finally:
        os.close(opened)


def empty_folder() -> int:
    """An empty directory that only root can write, as a descriptor; -1 where there is none."""
    with open("/proc/self/uid_map") as file:
        user = file.read().split()[1]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for path in ("/run/lambent/empty", runtime and runtime + "/lambent", "/tmp/lambent-" + user):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
            descriptor = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        status = os.fstat(descriptor)
        own = status.st_uid == os.geteuid() and not status.st_mode & 0o022
        if own and not os.listdir(descriptor):
            return descriptor
        os.close(descriptor)
    return -1


def bind_read_only(source: str, target: str) -> None:
    """Show a file or directory of the host's at target, read-only."""
    _attach(_copy(source), target)


def _attach(tree: int, target: str) -> None:
    move_mount(tree, target)
    os.close(tree)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _build_etc(root: str, resolver: str) -> None:
    for name, text in _ETC.items():
        _write("%s/etc/%s" % (root, name), text)
    _write(root + "/etc/resolv.conf", "nameserver %s\n" % resolver if resolver else "")
    # Debian's Java keeps its configuration here.
    java = tuple(name for name in os.listdir("/etc") if name.startswith("java-"))
    for name in _ETC_FROM_HOST + java:
        source = "/etc/" + name
        target = "%s/etc/%s" % (root, name)
        if os.path.isdir(source):
            os.mkdir(target)
            bind_read_only(source, target)
            private = target + "/private"
            if os.path.isdir(private):
                mount("tmpfs", private, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k")
        elif os.path.exists(source):
            _write(target, "")
            bind_read_only(os.path.realpath(source), target)


def _build_dev(root: str) -> None:
    options = "size=64k,nr_inodes=32,mode=755"
    mount("tmpfs", root + "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, options)
    for name in _DEVICES:
        _write("%s/dev/%s" % (root, name), "")
        device = open_tree("/dev/" + name)
        mount_setattr(device, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
        move_mount(device, "%s/dev/%s" % (root, name))
        os.close(device)
    for name, target in _DEVICE_LINKS:
        os.symlink(target, "%s/dev/%s" % (root, name))
    mount(None, root + "/dev", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC)


def build_template(trees: dict[str, str], resolver: str) -> None:
    """Build and enter the template root; the caller has a mount namespace of its own.

    trees: host folders by where they are shown, read-only.  resolver:
    the address of the name server, "" for none.
    """
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = _STAGE
    options = "size=512k,nr_inodes=256,mode=755"
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, options)
    for directory in _DIRECTORIES:
        os.mkdir("%s/%s" % (root, directory))
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), "%s/%s" % (root, name))
        elif os.path.isdir("/" + name):
            os.mkdir("%s/%s" % (root, name))
            bind_read_only("/" + name, "%s/%s" % (root, name))
    bind_read_only("/usr", root + "/usr")
    for target, source in trees.items():
        _attach(detached_tree(source), root + target)
    _build_etc(root, resolver)
    _build_dev(root)
    for name, text in _PROC_INSTEAD.items():
        _write("%s%s/%s" % (root, _INSTEAD, name), text)
    # The host's /proc stays visible to the zygote alone: a user namespace may mount a fresh
    # /proc only where a complete one is in sight.  Each sandbox covers it with its own.
    proc = open_tree("/proc")
    mount_setattr(proc, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
    move_mount(proc, root + "/proc")
    os.close(proc)
    os.chdir(root)
    pivot_root(".", ".")
    umount(".", MNT_DETACH)
    os.chdir("/")
    mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def mask_proc() -> None:
    """Cover what /proc says about the host; make its switches read-only.

    What is kept is listed, so that nothing of a kernel yet to come is shown.
    """
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() or entry.name in _PROC_KEPT:
            continue
        if entry.name in _PROC_INSTEAD:
            source = "%s/%s" % (_INSTEAD, entry.name)
        else:
            source = _EMPTY if entry.is_dir(follow_symlinks=False) else "/dev/null"
        mount(source, entry.path, None, MS_BIND)
    mount("/proc/sys", "/proc/sys", None, MS_BIND | MS_REC)
    mount(None, "/proc/sys", None, flags)
