"""What the embedded services' process can reach once it has given up what it does not need.

The attempts run in a process that did what the real one does at its start, ``shut_off``; each would
be of use to an attacker who had taken the process over.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

_ATTEMPTS = """
import ctypes, json, os, resource, signal, socket, subprocess, sys
from pathlib import Path
from lambent.neighbours.ministack.__main__ import bound, shut_off

folder, outside, sleeper = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
parent = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
bound(1 << 30)
shut_off(folder)
found = {}

def attempt(name, action):
    try:
        action()
        found[name] = "done"
    except subprocess.SubprocessError:
        found[name] = "refused"
    except OSError:
        found[name] = "refused"

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)

for path in (
    "/etc/shadow", "/etc/passwd", "/etc/ssl/private", "/root", "/home", "/var", "/run",
    "/usr/bin/env", "/usr/local", "/proc/1/environ", "/proc/self/status", "/dev/kmsg", "/sys",
    "/tmp",
    str(outside), str(outside / "private"), f"/proc/{parent}/environ",
):
    attempt("read " + path, lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb"))
attempt("write beside its folder", lambda: open(outside / "new", "w"))
attempt("write to its libraries", lambda: open(os.__file__, "a"))
attempt("connect to a socket outside", lambda: connect(str(outside / "root.sock")))
attempt("connect to an abstract socket", lambda: connect("\\0" + outside.name))
attempt("connect to the host's loopback", lambda: socket.create_connection(("127.0.0.1", 9), 2))
attempt("signal a process", lambda: os.kill(sleeper, 0))
attempt("trace a process", lambda: call(101, 16, sleeper, 0, 0))
attempt("take a descriptor of a process", lambda: call(438, 0, 0, 0))
attempt("execute", lambda: subprocess.run(["/bin/sh", "-c", "id"]))
attempt("execute its own interpreter", lambda: os.execv(sys.executable, ["python", "-c", ""]))
attempt("make a user namespace", lambda: call(272, 0x10000000))
attempt("become root", lambda: os.setresuid(0, 0, 0))
attempt("mount", lambda: call(165, b"t", str(folder).encode(), b"tmpfs", 0, None))
attempt("io_uring", lambda: call(425, 8, ctypes.create_string_buffer(120)))
attempt("bpf", lambda: call(321, 5, ctypes.create_string_buffer(120), 120))
attempt("userfaultfd", lambda: call(323, 1))
attempt("keys", lambda: call(250, 0, -3, 1))
attempt("perf", lambda: call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0))
for family in (socket.AF_INET, socket.AF_INET6, 16, 17, 29, 30, 38, 40, 44):
    attempt(f"socket of family {int(family)}", lambda: socket.socket(family, socket.SOCK_RAW))
attempt("keep a file", lambda: (folder / "kept").write_text("x"))
attempt("make a folder", lambda: (folder / "state").mkdir())
attempt("import what it has not imported yet", lambda: __import__("xml.dom.minidom"))

def child():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

attempt("write its state in a fork", child)
limits = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0] for name in
          ("CORE", "MEMLOCK", "NPROC", "NOFILE", "DATA")}
print(json.dumps({"found": found, "limits": limits, "ids": [*os.getresuid(), *os.getresgid()],
                  "groups": os.getgroups()}), flush=True)
sys.stdin.read()
"""
_NEEDED = {
    "keep a file",
    "make a folder",
    "import what it has not imported yet",
    "write its state in a fork",
}


class Taken:
    """The process, as an attacker has it: what it could do, and what the kernel says of it."""

    def __init__(self, folder: Path, outside: Path, sleeper: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _ATTEMPTS, str(folder), str(outside), str(sleeper)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = json.loads(self.process.stdout.readline())
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.status = dict(line.split(":\t", 1) for line in status.splitlines())
        self.mounts = Path(f"/proc/{self.process.pid}/mountinfo").read_text()

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    base = tmp_path_factory.mktemp("taken")
    folder, outside = base / "services", base / "outside"
    folder.mkdir()
    (folder / "earlier").mkdir()
    (folder / "earlier" / "kept").write_text("of a predecessor that was root")
    (folder / "earlier" / "link").symlink_to(outside / "private")
    outside.mkdir()
    (outside / "private").write_text("private")
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(str(outside / "root.sock"))
        abstract.bind("\0" + outside.name)
        for each in (named, abstract):
            each.listen()
        sleeper = threading.get_native_id()
        made = Taken(folder, outside, sleeper)
        yield made
        made.end()


def test_services_do_what_they_need_and_nothing_else(taken: Taken) -> None:
    outcomes = taken.said["found"]
    assert {name for name, outcome in outcomes.items() if outcome == "done"} == _NEEDED


def test_services_have_no_privilege(taken: Taken) -> None:
    status = taken.status
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert taken.said["groups"] == []


def test_services_have_limits(taken: Taken) -> None:
    limits = taken.said["limits"]
    assert limits["CORE"] == limits["MEMLOCK"] == 0
    assert 0 < limits["NPROC"] <= 1024
    assert 0 < limits["NOFILE"] <= 8192
    assert limits["DATA"] == 1 << 30


def test_services_see_no_path_that_they_do_not_need(taken: Taken) -> None:
    points = {line.split()[4] for line in taken.mounts.splitlines()}
    assert not {"/etc", "/usr", "/proc", "/run", "/sys", "/tmp", "/var", "/home", "/root"} & points


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user has one uid")
def test_services_of_a_server_of_root_have_a_uid_of_their_own(
    taken: Taken, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert len(set(taken.said["ids"])) == 1
    uid = taken.said["ids"][0]
    assert 0x7F000000 <= uid < 0x7F040000
    # What a predecessor left as root is theirs now; what a link in it names is not.
    folder = Path(taken.process.args[4])  # type: ignore[index, arg-type]
    for path in (folder, folder / "earlier", folder / "earlier" / "kept"):
        assert path.stat().st_uid == uid
    assert (folder / "earlier" / "link").stat().st_uid == 0
    assert folder.stat().st_mode & 0o007 == 0
