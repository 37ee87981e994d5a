"""``lambent doctor``: what this host can do, and the command that mends what it cannot."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lambent.cli import runtimes, table
from lambent.sandbox import cgroups
from lambent.sandbox.kernel import confinement, disks, landlock, network


def _attempt(code: str) -> str:
    """Run code in a child with sys.argv[1] the package's folder; why it failed, "" if not."""
    source = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, source],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["not allowed"])[-1]


def _namespaces() -> tuple[bool, str, str]:
    """Try, in a child, what the host agent does first."""
    code = (
        "import sys, os; sys.path[:0] = [sys.argv[1]]\n"
        "from lambent.sandbox.kernel import confinement, syscalls as s\n"
        "os.getuid() == 0 or confinement.become_namespace_root()\n"
        "s.unshare(s.CLONE_NEWNS | s.CLONE_NEWNET | s.CLONE_NEWPID | s.CLONE_NEWIPC)\n"
        "s.mount('none', '/', None, s.MS_REC | s.MS_PRIVATE)\n"
        "os.close(s.open_tree('/usr'))\n"
        "if os.fork() == 0:\n"
        "    s.unshare(s.CLONE_NEWUSER); os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    reason = _attempt(code)
    if not reason:
        return True, "user, pid, mount, network and IPC namespaces", ""
    if Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").exists():
        remedy = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    else:
        remedy = "sudo sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=65536"
    return False, reason, remedy


def _kernel() -> tuple[bool, str, str]:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    return numbers >= (5, 14), release, "a kernel of 5.14 or later"


def _cgroups() -> tuple[bool, str, str]:
    if os.getuid() == 0:
        remedy = "mount -t cgroup2 none /sys/fs/cgroup"
    else:
        remedy = "systemd-run --user --scope -p Delegate=yes lambent serve"
    with tempfile.TemporaryDirectory() as folder:
        groups = cgroups.detect(Path(folder))
        if groups is None:
            return (
                False,
                "none this user may write: no CPU share, no freezing, memory only watched",
                remedy,
            )
        groups.remove()
    if groups.missing:
        return False, f"version {groups.version}, without {', '.join(groups.missing)}", remedy
    return True, f"version {groups.version}: memory, cpu, freezing", ""


def _network() -> tuple[bool, str, str]:
    """Make a router, short of its way on, which would change the host."""
    lacking, remedy = network.missing(os.getuid() == 0)
    if lacking:
        return False, f"{lacking}: functions reach this server and nothing else", remedy
    reason = _attempt(
        "import sys, os; sys.path[:0] = [sys.argv[1]]\n"
        "from lambent.sandbox.kernel import confinement, network\n"
        "os.getuid() == 0 or confinement.become_namespace_root()\n"
        "network.make_router([])\n"
    )
    if reason:
        return False, reason, "a kernel with nf_tables (connlimit, fib, limit, masq, reject), veth"
    way = "the host's forwarding" if os.getuid() == 0 else "slirp4netns"
    return True, f"the internet through nftables and {way}", ""


def _disks() -> tuple[bool, str, str]:
    lacking, remedy = disks.missing(os.getuid() == 0)
    if lacking:
        return False, f"{lacking}: /tmp is memory of its function", remedy
    return True, "disks of functions' own on loop devices", ""


def _landlock() -> tuple[bool, str, str]:
    version = landlock.abi()
    if not version:
        return (
            False,
            "not in this kernel: the services beside Lambda are kept off files by mounts alone",
            "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock among lsm=",
        )
    return True, f"Landlock, version {version}", ""


def _server() -> tuple[bool, str, str]:
    """Try, in a child, what the server does before it reads a byte of others."""
    if os.getuid() != 0:
        return True, "this user's files; no capability, its own system-call filter", ""
    if not confinement.is_real_root():
        return (
            False,
            "this root cannot become other users: the server and its services keep its files",
            "run Lambent outside a container, or in one that maps all uids",
        )
    reason = _attempt(
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from lambent.sandbox.kernel import confinement as c, process_filter as f, syscalls as s\n"
        "s.unshare(s.CLONE_NEWNS)\n"
        "shown = c.python_paths(sys.path, sys.prefix, sys.base_prefix)\n"
        "c.private_root([*shown, *c.LIBRARIES], {})\n"
        "c.give_up(f.SERVER, c.UID_BASE)\n"
    )
    if reason:
        return False, reason, "a kernel of 5.14 or later; a container with CAP_SYS_ADMIN"
    return True, "a uid and a root folder of its own, no capability, a system-call filter", ""


def _slirp() -> tuple[bool, str, str]:
    """How slirp4netns, which parses what functions send, is confined."""
    lacking = network.slirp_lacks()
    if lacking:
        return (
            False,
            f"slirp4netns without {', '.join(lacking)}: it has this user's files",
            "slirp4netns 1.0 or later with libseccomp",
        )
    return True, "slirp4netns with its sandbox and its filter", ""


def _seccomp() -> tuple[bool, str, str]:
    machine = platform.machine()
    text = Path("/proc/self/status").read_text()
    known = machine in ("x86_64", "aarch64") and "Seccomp:" in text
    return (
        known,
        f"filters on {machine}" if known else "not in this kernel",
        "a kernel with CONFIG_SECCOMP_FILTER",
    )


# Functions can be run isolated without these.
_OPTIONAL = (_cgroups, _network, _disks, _landlock, _server, _slirp)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; exit code 1 if functions cannot be run isolated."""
    rows: list[dict[str, Any]] = []
    essential = True
    for name, check in (
        ("kernel", _kernel),
        ("namespaces", _namespaces),
        ("seccomp", _seccomp),
        ("control groups", _cgroups),
        ("network of functions", _network),
        ("/tmp of functions", _disks),
        ("files of neighbours", _landlock),
        ("server", _server),
        *(() if os.getuid() == 0 else (("way on of functions", _slirp),)),
    ):
        fine, found, remedy = check()
        essential = essential and (fine or check in _OPTIONAL)
        rows.append(
            {
                "check": name,
                "state": "ok" if fine else "missing",
                "found": found,
                "remedy": "" if fine else remedy,
            }
        )
    rows += [{"check": each["runtime"], **each} for each in runtimes.rows()]
    table.show(rows, ("check", "state", "found", "remedy"), arguments.json)
    return 0 if essential else 1
