"""Control groups: limits, freezing and accounting of sandboxes, on version 1 and version 2.

``detect`` answers what this host and user may use; a host without any still runs sandboxes, and
``ControlGroups.missing`` says what is then not enforced.  All files are in memory: an access costs
microseconds, creating a group a few hundred.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

# A short period keeps a small share responsive: 7 % of 20 ms, not of 100 ms.
CPU_PERIOD_US = 20_000
_MOUNTS = "/proc/self/mountinfo"
_LEAF = "/lambent-server"
# The processes and threads of a function, and their init.
MOST_PROCESSES = 1024 + 1
# Of all functions together: this part of the host's pids, so that the rest is the host's.
_PART_OF_PIDS = 0.75
_EFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC


class ControlGroup(Protocol):
    """The limits and meters of one sandbox."""

    @property
    def directories(self) -> list[str]:
        """Where it is, one in each hierarchy."""

    @property
    def limits_memory(self) -> bool: ...

    def limit(self, memory_bytes: int) -> None: ...

    def throttle(self, cpus: float | None) -> None:
        """A share of one core, or None for all there is."""

    def freeze(self, frozen: bool) -> None: ...

    def watch_oom(self) -> int: ...

    def memory_peak(self) -> int: ...

    def out_of_memory(self) -> bool: ...

    def kill(self) -> None: ...

    def remove(self) -> bool:
        """Remove the group; False while something in it is still dying."""


class ControlGroups(Protocol):
    """A host's way to make groups."""

    @property
    def version(self) -> int:
        """1 or 2."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What this host does not enforce."""

    @property
    def folders(self) -> list[str]:
        """Where groups are made: one folder in each hierarchy."""

    @property
    def freezers(self) -> str:
        """The folder whose groups must be thawed before their processes can die; "" for none."""

    def create(self, name: str) -> ControlGroup: ...

    def sweep(self) -> None:
        """Kill and remove what a crashed predecessor left."""

    def remove(self) -> None:
        """Remove the empty folder all groups lie in."""


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _limit_all_processes(root: str) -> None:
    """Bound the processes of all groups below root together, where that is granted."""
    with contextlib.suppress(OSError):
        most = int(_read("/proc/sys/kernel/pid_max"))
        _write(root + "/pids.max", str(int(most * _PART_OF_PIDS)))


def _kill_all(directory: str) -> None:
    with contextlib.suppress(OSError):
        for pid in _read(directory + "/cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)


def _remove(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _sweep(root: str, thaw: Callable[[str], None]) -> None:
    """Empty and remove every group below root; a frozen one must be thawed to die."""
    if not os.path.isdir(root):
        return
    names = [entry.name for entry in os.scandir(root) if entry.is_dir()]
    for name in names:
        with contextlib.suppress(OSError):
            thaw(f"{root}/{name}")
        _kill_all(f"{root}/{name}")
    deadline = time.monotonic() + 5
    while names and time.monotonic() < deadline:
        names = [name for name in names if not _remove(f"{root}/{name}")]
        if names:
            time.sleep(0.01)


class _Meter:
    """The most memory a group has used, less what the kernel keeps of files nobody maps."""

    def __init__(self, peak: str, stat: str) -> None:
        self._peak = os.open(peak, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._stat = os.open(stat, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._peak)
            raise
        self._seen = 0
        self._most = 0

    def read(self) -> int:
        """In bytes; the cost is one read unless there is a new peak."""
        peak = int(os.pread(self._peak, 32, 0))
        if peak != self._seen:
            self._seen = peak
            stat = os.pread(self._stat, 8192, 0).decode()
            files = _field(stat, "active_file") + _field(stat, "inactive_file")
            # The field's name in version 1, and in version 2.
            mapped = _field(stat, "mapped_file") + _field(stat, "file_mapped")
            self._most = max(self._most, peak - max(0, files - mapped))
        return self._most

    def close(self) -> None:
        os.close(self._peak)
        os.close(self._stat)


class GroupV1:
    """One directory in each hierarchy; an eventfd tells of memory running out."""

    def __init__(self, directories: dict[str, str]) -> None:
        self._directories = directories
        self._meter: _Meter | None = None
        self._freezer = -1
        self._oom = -1
        self._closed = False
        # Controllers that share a hierarchy share its directory.
        apart = list(dict.fromkeys(directories.values()))
        for directory in apart:
            os.mkdir(directory)
        if "pids" in directories:
            _write(directories["pids"] + "/pids.max", str(MOST_PROCESSES))

    @property
    def directories(self) -> list[str]:
        return list(dict.fromkeys(self._directories.values()))

    @property
    def limits_memory(self) -> bool:
        return "memory" in self._directories

    def limit(self, memory_bytes: int) -> None:
        memory = self._directories.get("memory")
        if memory is None:
            return
        _write(memory + "/memory.limit_in_bytes", str(memory_bytes))
        with contextlib.suppress(OSError):  # absent where swap accounting is off
            _write(memory + "/memory.memsw.limit_in_bytes", str(memory_bytes))
        self._meter = _Meter(memory + "/memory.max_usage_in_bytes", memory + "/memory.stat")

    def watch_oom(self) -> int:
        """An eventfd that becomes readable when the kernel kills for memory; -1 if it cannot."""
        memory = self._directories.get("memory")
        if memory is None:
            return -1
        if self._oom < 0:
            control = os.open(memory + "/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._oom = _eventfd()
                _write(memory + "/cgroup.event_control", f"{self._oom} {control}")
            finally:
                os.close(control)
        return self._oom

    def throttle(self, cpus: float | None) -> None:
        cpu = self._directories.get("cpu")
        if cpu is not None:
            quota = -1 if cpus is None else max(1000, int(CPU_PERIOD_US * cpus))
            _write(cpu + "/cpu.cfs_period_us", str(CPU_PERIOD_US))
            _write(cpu + "/cpu.cfs_quota_us", str(quota))

    def freeze(self, frozen: bool) -> None:
        freezer = self._directories.get("freezer")
        if freezer is None:
            return
        if self._freezer < 0:
            self._freezer = os.open(freezer + "/freezer.state", os.O_WRONLY | os.O_CLOEXEC)
        os.write(self._freezer, b"FROZEN" if frozen else b"THAWED")

    def memory_peak(self) -> int:
        return self._meter.read() if self._meter is not None else 0

    def out_of_memory(self) -> bool:
        memory = self._directories.get("memory")
        if memory is None:
            return False
        try:
            return _field(_read(memory + "/memory.oom_control"), "oom_kill") > 0
        except OSError:
            return False

    def kill(self) -> None:
        # The first hierarchy names every process; thawed, because a frozen one ignores SIGKILL.
        with contextlib.suppress(OSError):
            self.freeze(False)
        for directory in self._directories.values():
            _kill_all(directory)
            break

    def remove(self) -> bool:
        for descriptor in (self._freezer, self._oom):
            if descriptor >= 0:
                os.close(descriptor)
        self._freezer = self._oom = -1
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        removed = [_remove(directory) for directory in self._directories.values()]
        return all(removed)


class ControlGroupsV1:
    """Version 1: one directory in each of the memory, cpu, pids and freezer hierarchies."""

    version = 1
    WANTED = ("memory", "cpu", "pids", "freezer")

    def __init__(self, roots: dict[str, str]) -> None:
        self._roots = roots
        self.missing = tuple(name for name in self.WANTED if name not in roots)
        self.folders = list(dict.fromkeys(roots.values()))
        self.freezers = roots.get("freezer", "")

    def create(self, name: str) -> GroupV1:
        return GroupV1({kind: f"{root}/{name}" for kind, root in self._roots.items()})

    def sweep(self) -> None:
        def thaw(directory: str) -> None:
            _write(directory + "/freezer.state", "THAWED")

        if "freezer" in self._roots:
            _sweep(self._roots["freezer"], thaw)
        for root in self._roots.values():
            _sweep(root, lambda directory: None)
            os.makedirs(root, exist_ok=True)
        if "pids" in self._roots:
            _limit_all_processes(self._roots["pids"])

    def remove(self) -> None:
        self.sweep()  # what was still dying at the start is dead now
        for root in self._roots.values():
            _remove(root)


class GroupV2:
    """One directory of the unified hierarchy; the kernel kills the whole group for memory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._meter: _Meter | None = None
        self._frozen = -1
        os.mkdir(directory)
        with contextlib.suppress(FileNotFoundError):
            _write(directory + "/pids.max", str(MOST_PROCESSES))

    @property
    def directories(self) -> list[str]:
        return [self._directory]

    @property
    def limits_memory(self) -> bool:
        return os.path.exists(self._directory + "/memory.max")

    def limit(self, memory_bytes: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            _write(self._directory + "/memory.max", str(memory_bytes))
            _write(self._directory + "/memory.oom.group", "1")
        with contextlib.suppress(FileNotFoundError):
            _write(self._directory + "/memory.swap.max", "0")
        with contextlib.suppress(FileNotFoundError):
            self._meter = _Meter(self._directory + "/memory.peak", self._directory + "/memory.stat")

    def watch_oom(self) -> int:
        """memory.oom.group makes the death itself the notice."""
        return -1

    def throttle(self, cpus: float | None) -> None:
        with contextlib.suppress(FileNotFoundError):
            quota = "max" if cpus is None else max(1000, int(CPU_PERIOD_US * cpus))
            _write(self._directory + "/cpu.max", f"{quota} {CPU_PERIOD_US}")

    def freeze(self, frozen: bool) -> None:
        if self._frozen < 0:
            self._frozen = os.open(self._directory + "/cgroup.freeze", os.O_WRONLY | os.O_CLOEXEC)
        os.write(self._frozen, b"1" if frozen else b"0")

    def memory_peak(self) -> int:
        return self._meter.read() if self._meter is not None else 0

    def out_of_memory(self) -> bool:
        try:
            return _field(_read(self._directory + "/memory.events"), "oom_kill") > 0
        except OSError:
            return False

    def kill(self) -> None:
        try:
            _write(self._directory + "/cgroup.kill", "1")
        except OSError:
            _kill_all(self._directory)

    def remove(self) -> bool:
        if self._frozen >= 0:
            os.close(self._frozen)
        self._frozen = -1
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        return _remove(self._directory)


class ControlGroupsV2:
    """Version 2: one directory below a subtree this process may write."""

    version = 2
    freezers = ""

    def __init__(self, root: str, controllers: set[str]) -> None:
        self._root = root
        self.folders = [root]
        self.missing = tuple(name for name in ("memory", "cpu", "pids") if name not in controllers)

    def create(self, name: str) -> GroupV2:
        return GroupV2(f"{self._root}/{name}")

    def sweep(self) -> None:
        _sweep(self._root, lambda directory: _write(directory + "/cgroup.freeze", "0"))
        _limit_all_processes(self._root)

    def remove(self) -> None:
        self.sweep()  # what was still dying at the start is dead now
        _remove(self._root)


def _eventfd() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.eventfd(0, _EFD_FLAGS)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "eventfd")
    return int(descriptor)


def _mounted() -> list[tuple[str, str, set[str]]]:
    """(mount point, file system, options) of every cgroup mount."""
    found = []
    for line in _read(_MOUNTS).splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            found.append((left.split(" ")[4], kind, set(options.split(","))))
    return found


def _own_paths() -> dict[str, str]:
    """Controller name ("" for version 2) → this process's group."""
    paths = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            paths[name] = path.rstrip("/")
    return paths


def _usable(directory: str) -> bool:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK)


def _detect_v2(name: str) -> ControlGroupsV2 | None:
    for point, kind, _ in _mounted():
        if kind != "cgroup2":
            continue
        # Root goes to the top, where all controllers are, whatever group it was started in.
        # One that was started where another has made room for itself is beside it, not inside.
        own = point + _own_paths().get("", "").removesuffix(_LEAF)
        for parent in dict.fromkeys((point, own) if os.getuid() == 0 else (own,)):
            available = set(_read(parent + "/cgroup.controllers").split())
            if not {"memory", "cpu"} <= available or not os.access(parent, os.W_OK):
                continue
            root = f"{parent}/{name}"
            if not _usable(root):
                continue
            try:
                _enable_controllers(parent, root, ours=parent == own)
            except OSError:
                _remove(root)
                continue
            return ControlGroupsV2(root, set(_read(root + "/cgroup.subtree_control").split()))
    return None


def _enable_controllers(parent: str, root: str, ours: bool) -> None:
    """Hand controllers down; a group with processes may not, so those move to a leaf first.

    ours: the processes are this server's neighbours in its own group, which may be moved.
    """
    try:
        _hand_down(parent)
    except OSError:
        if not ours:
            raise
        leaf = parent + _LEAF
        os.makedirs(leaf, exist_ok=True)
        for pid in _read(parent + "/cgroup.procs").split():
            with contextlib.suppress(OSError):
                _write(leaf + "/cgroup.procs", pid)
        _hand_down(parent)
    _hand_down(root)


def _hand_down(directory: str) -> None:
    """Let the groups below use memory and cpu, and pids where that is granted."""
    _write(directory + "/cgroup.subtree_control", "+memory +cpu")
    with contextlib.suppress(OSError):
        _write(directory + "/cgroup.subtree_control", "+pids")


def _detect_v1(name: str) -> ControlGroupsV1 | None:
    own = _own_paths()
    roots: dict[str, str] = {}
    for point, kind, options in _mounted():
        if kind != "cgroup":
            continue
        for controller in ControlGroupsV1.WANTED:
            if controller in options:
                root = f"{point}{own.get(controller, '')}/{name}"
                if _usable(root):
                    roots[controller] = root
    return ControlGroupsV1(roots) if roots else None


def detect(data_directory: Path) -> ControlGroupsV1 | ControlGroupsV2 | None:
    """What this process may use; groups are named after the data directory they serve."""
    name = "lambent-" + hashlib.sha256(os.fsencode(data_directory.resolve())).hexdigest()[:12]
    try:
        return _detect_v2(name) or _detect_v1(name)
    except OSError:
        return None
