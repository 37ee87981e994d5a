"""What a control group promises, on the version this host has.

As root there must be one; an ordinary user without a delegated subtree has none, which
``lambent doctor`` and the server say.  ``tools/guest_test.py`` runs these on version 2.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent.sandbox import cgroups
from lambent.sandbox.cgroups import ControlGroup, ControlGroups

MB = 1 << 20
COUNT = "import os, sys\nn = 0\nwhile True:\n    n += 1\n    os.pwrite(3, b'%020d' % n, 0)\n"
HOARD = (
    "import os\nx = bytearray()\n"
    "while True:\n    x += bytes(1 << 20)\n    os.pwrite(3, b'%020d' % len(x), 0)\n"
)


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[ControlGroups]:
    found = cgroups.detect(tmp_path)
    if found is None:
        assert os.getuid() != 0, "root has no control groups here"
        pytest.skip("this user has no control groups")
    found.sweep()
    yield found
    found.sweep()
    found.remove()


class Member:
    """A process in a group that counts in a file."""

    def __init__(self, group: ControlGroup, code: str, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT)
        directories = group.directories

        def enter() -> None:
            for directory in directories:
                Path(directory, "cgroup.procs").write_text("0")
            os.dup2(self._file, 3)

        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", code], preexec_fn=enter, pass_fds=(3,)
        )

    def count(self) -> int:
        return int(os.pread(self._file, 20, 0) or b"0")

    def wait_for(self, least: int) -> None:
        deadline = time.monotonic() + 60
        while self.count() < least:
            assert time.monotonic() < deadline and self.process.poll() is None

    def end(self) -> int:
        code = self.process.wait(60)
        os.close(self._file)
        return code


def gone(group: ControlGroup) -> bool:
    deadline = time.monotonic() + 30
    while not group.remove():
        assert time.monotonic() < deadline
    return True


def test_memory_is_limited_and_running_out_is_told(groups: ControlGroups, tmp_path: Path) -> None:
    group = groups.create("memory")
    member = Member(group, HOARD, tmp_path / "count")
    member.wait_for(1)
    group.limit(96 * MB)
    notice = group.watch_oom()
    assert group.limits_memory
    assert member.end() == -signal.SIGKILL
    assert notice < 0 or select.select([notice], [], [], 10)[0]
    assert group.out_of_memory()
    if (peak := group.memory_peak()) or groups.version == 1:
        assert 48 * MB < peak <= 96 * MB
    assert gone(group)


def test_what_is_frozen_stands_still_and_goes_on_when_thawed(
    groups: ControlGroups, tmp_path: Path
) -> None:
    group = groups.create("freezer")
    member = Member(group, COUNT, tmp_path / "count")
    member.wait_for(1)
    group.freeze(True)
    # It may take effect a moment later: then many looks in a row see the same.
    before, same = -1, 0
    while same < 50_000:
        now = member.count()
        before, same = now, same + 1 if now == before else 0
    group.freeze(False)
    member.wait_for(before + 1)
    group.kill()
    assert member.end() == -signal.SIGKILL
    assert gone(group)


def test_a_frozen_group_can_be_killed(groups: ControlGroups, tmp_path: Path) -> None:
    group = groups.create("frozen")
    member = Member(group, COUNT, tmp_path / "count")
    member.wait_for(1)
    group.freeze(True)
    group.kill()
    assert member.end() == -signal.SIGKILL
    assert gone(group)


def test_a_share_of_a_processor_is_all_it_gets(groups: ControlGroups, tmp_path: Path) -> None:
    group = groups.create("share")
    member = Member(group, COUNT, tmp_path / "count")
    member.wait_for(1)
    group.throttle(0.1)

    def used() -> float:
        text = Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    # Processor time of its own over processor time of ours: a ratio, however slow the machine.
    before, began = used(), time.monotonic()
    while time.monotonic() - began < 2:
        pass
    share = (used() - before) / (time.monotonic() - began)
    assert share < 0.3
    group.kill()
    member.end()
    assert gone(group)


def test_what_a_crashed_server_left_is_swept(groups: ControlGroups, tmp_path: Path) -> None:
    group = groups.create("left")
    member = Member(group, COUNT, tmp_path / "count")
    member.wait_for(1)
    group.freeze(True)
    groups.sweep()
    assert member.end() == -signal.SIGKILL
    groups.create("left").kill()


FORK = """
import os, signal
n = 0
while True:
    try:
        if os.fork() == 0:
            while True:
                signal.pause()
    except OSError:
        os.pwrite(3, b"%020d" % (n + 2), 0)
        signal.pause()
    n += 1
"""


def test_processes_are_limited(groups: ControlGroups, tmp_path: Path) -> None:
    if "pids" in groups.missing:
        pytest.skip("this host does not limit processes by groups")
    group = groups.create("processes")
    member = Member(group, FORK, tmp_path / "count")
    member.wait_for(2)
    # It, its children, and the one that could not be made.
    assert member.count() == cgroups.MOST_PROCESSES + 1
    group.kill()
    member.end()
    assert gone(group)


def test_all_functions_together_leave_the_host_processes(groups: ControlGroups) -> None:
    if "pids" in groups.missing:
        pytest.skip("this host does not limit processes by groups")
    limits = [file for each in groups.folders if (file := Path(each, "pids.max")).exists()]
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    assert [int(each.read_text()) for each in limits] == [most * 3 // 4]
