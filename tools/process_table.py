"""The processes of a running server, and what each may do: a table in Markdown.

``python -m tools.process_table PID`` reads /proc, as root, so that what is printed is what is.
SECURITY.md holds its output; tests/security/test_tree.py compares the two.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable "
    "net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio "
    "sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time "
    "sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog "
    "wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
_CAPABILITIES = _NAMES.split()
_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
_SECCOMP = {"0": "no", "1": "strict", "2": "yes"}
# The tables of sockets: file, column of the inode, what such a socket is.
_SOCKETS = (
    ("tcp", 9, "TCP socket"),
    ("tcp6", 9, "TCP socket"),
    ("udp", 9, "UDP socket"),
    ("udp6", 9, "UDP socket"),
    ("netlink", 9, "netlink socket"),
    ("unix", 6, "Unix socket"),
)
_KINDS = ("server", "host agent", "name server", "slirp4netns", "services", "zygote", "init")
_LAST = ("init, prepared", "init, with a function", "runtime", "extension", "other")


@dataclass(frozen=True)
class Process:
    """One process, as /proc shows it."""

    pid: int
    kind: str
    status: dict[str, str]
    namespaces: frozenset[str]
    descriptors: frozenset[str]
    environment: frozenset[str]

    @property
    def uid(self) -> int:
        """Its effective uid on the host."""
        return int(self.status["Uid"].split()[1])

    def capabilities(self, which: str) -> int:
        """One of its sets: CapEff, CapPrm, CapInh, CapBnd, CapAmb."""
        return int(self.status[which], 16)


def tree(server: int) -> list[Process]:
    """A server and all its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(words[1])
    kinds = {server: "server"}
    waiting = [server]
    members: dict[int, bool] = {}
    sockets: dict[str, str] = {}
    while waiting:
        pid = waiting.pop(0)
        children = sorted(child for child, parent in parents.items() if parent == pid)
        waiting += children
        members[pid] = bool(children)
        sockets.update(_sockets(pid))
        for child in children:
            kinds[child] = _kind(child, kinds[pid])
    found: list[Process] = []
    for pid, has_children in members.items():
        try:
            found.append(_process(pid, kinds[pid], has_children, sockets))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return found


def _read(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _kind(pid: int, parent: str) -> str:
    try:
        line = _read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return "other"
    if parent == "host agent" and "kernel.agent" in line:
        return "name server"
    for text, kind in (
        ("kernel.agent", "host agent"),
        ("lambent.neighbours.ministack", "services"),
        ("slirp4netns", "slirp4netns"),
    ):
        if text in line:
            return kind
    if parent == "zygote":
        return "init"
    if parent == "init":
        return "extension" if "/opt/extensions/" in line else "runtime"
    return "zygote" if "kernel.zygote" in line else "other"


def _process(pid: int, kind: str, has_children: bool, sockets: dict[str, str]) -> Process:
    lines = _read(pid, "status").decode().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if kind == "init":
        kind = "init, with a function" if has_children else "init, prepared"
    differing = [
        name
        for name in _NAMESPACES
        if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
    ]
    names = [each.partition(b"=")[0].decode() for each in _read(pid, "environ").split(b"\0")]
    return Process(
        pid,
        kind,
        status,
        frozenset(differing),
        frozenset(descriptors(pid, sockets)),
        frozenset(name for name in names if name),
    )


def descriptors(pid: int, sockets: dict[str, str]) -> Iterable[str]:
    """What each open descriptor of a process is; sockets: what each is, by its inode."""
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
            flags = _read(pid, f"fdinfo/{entry.name}").decode()
        except OSError:
            continue  # closed meanwhile
        kind = _descriptor(target, int(re.findall(r"flags:\s*(\d+)", flags)[0], 8), sockets)
        if kind != "/dev/null":
            yield "log" if entry.name in "12" else kind


def _sockets(pid: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, column, kind in _SOCKETS:
        try:
            lines = _read(pid, f"net/{name}").decode().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            found[words[column]] = kind
    return found


def _descriptor(target: str, flags: int, sockets: dict[str, str]) -> str:
    if target.startswith("socket:"):
        # No process is in the router's namespace.
        return sockets.get(target[8:-1], "socket of the router")
    for text, kind in (
        ("pipe:", "pipe"),
        ("net:", "network namespace"),
        ("/dev/null", "/dev/null"),
        ("/sys/fs/cgroup", "control group"),
    ):
        if target.startswith(text):
            return kind
    if match := re.match(r"anon_inode:\[?(\w+)", target):
        return match[1]
    if "lambent-" in target and flags & os.O_PATH:
        return "control group"
    if flags & os.O_PATH or flags & os.O_DIRECTORY:
        return "folder"
    return "file " + os.path.basename(target).removesuffix(" (deleted)")


# -- the table --------------------------------------------------------------------------------


def _names_of(mask: int) -> str:
    own = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]
    if mask & int(own, 16) == int(own, 16):
        return "all"
    names = [name for bit, name in enumerate(_CAPABILITIES) if mask >> bit & 1]
    return ", ".join(names) or "none"


def _uid(process: Process) -> str:
    uid = process.uid
    if uid == 0:
        return "root"
    if 0x7F00_0000 <= uid < 0x7F04_0000:
        return f"its own, of the {('server', 'services', 'name server', 'rest')[uid % 4]}"
    if 0x7000_0000 <= uid < 0x7F00_0000:
        return "one per sandbox"
    return "the user"


def _capabilities(process: Process) -> str:
    effective = _names_of(process.capabilities("CapEff"))
    bounding = process.capabilities("CapBnd")
    inside = " of its user namespace" if "user" in process.namespaces else ""
    if effective != "none":
        return effective + inside
    return "none, for good" if not bounding or process.status["NoNewPrivs"] == "1" else "none"


def rows(processes: Iterable[Process]) -> list[tuple[str, ...]]:
    """One row per kind of process; of several of a kind, what any of them has."""
    kinds: dict[str, list[Process]] = {}
    for process in processes:
        kinds.setdefault(process.kind, []).append(process)
    order = [*_KINDS, *_LAST]
    found: list[tuple[str, ...]] = []
    for kind in sorted(kinds, key=order.index):
        same = kinds[kind]
        environment = "as started" if kind == "server" else _joined(same, "environment")
        found.append(
            (
                kind,
                _one(_uid(each) for each in same),
                _one(_capabilities(each) for each in same),
                _one("yes" if each.status["NoNewPrivs"] == "1" else "no" for each in same),
                _one(_SECCOMP[each.status["Seccomp"]] for each in same),
                ", ".join(name for name in _NAMESPACES if name in same[0].namespaces) or "none",
                _joined(same, "descriptors"),
                environment,
            )
        )
    return found


def _one(texts: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(texts))


def _joined(processes: Iterable[Process], attribute: str) -> str:
    names: set[str] = set()
    for process in processes:
        names |= getattr(process, attribute)
    return ", ".join(sorted(names)) or "none"


def markdown(processes: Iterable[Process]) -> str:
    """The table."""
    head = (
        "process",
        "uid",
        "capabilities",
        "no_new_privs",
        "filter",
        "namespaces of its own",
        "descriptors",
        "environment",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(processes)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown(tree(int(sys.argv[1]))))
