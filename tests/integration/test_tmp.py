"""/tmp of functions: a disk of their own where the server is root, memory elsewhere."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lambent.sandbox.kernel import disks
from tests.conftest import Functions, Server

_APP = """
import os

def handler(event, context):
    if "write" in event:
        with open("/tmp/big", "wb") as file:
            for number in range(event["write"]):
                file.write(bytes([number & 255]) * (1 << 20))
    if "read" in event:
        with open("/tmp/big", "rb") as file:
            return [file.read(1 << 20)[-1] for number in range(event["read"])]
    if "remove" in event:
        os.unlink("/tmp/big")
    kind = next(line.split()[2] for line in open("/proc/mounts") if line.split()[1] == "/tmp")
    free = os.statvfs("/tmp")
    return [kind, os.listdir("/tmp"), free.f_bavail * free.f_frsize >> 20]
"""
root_only = pytest.mark.skipif(
    os.getuid() != 0, reason="an ordinary user cannot mount: /tmp is memory, as doctor says"
)


def _held() -> int:
    """How many loop devices are in use for functions."""
    return sum(
        "/tmp-" in path.read_text() or "(deleted)" in path.read_text()
        for path in Path("/sys/block").glob("loop*/loop/backing_file")
    )


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@root_only
def test_tmp_is_not_counted_as_memory(functions: Functions) -> None:
    assert disks.missing(root=True) == ("", "")
    name = functions.create(_APP, MemorySize=128, Timeout=60)
    answer = functions.invoke(name, {"write": 400})
    assert answer.error is None, answer.payload
    assert answer.payload == ["ext4", ["big"], 112]
    assert functions.invoke(name, {"read": 400}).payload == [number & 255 for number in range(400)]
    used = re.search(r"Max Memory Used: (\d+) MB", functions.invoke(name).log)
    assert used is not None and int(used[1]) < 100


@root_only
def test_tmp_has_the_size_that_was_asked_for(functions: Functions) -> None:
    name = functions.create(_APP, EphemeralStorage={"Size": 10240})
    assert functions.invoke(name).payload[0] == "ext4"
    assert functions.invoke(name).payload[1:] == [[], pytest.approx(10240, abs=2)]


@root_only
def test_all_tmp_together_cannot_take_more_of_the_disk_than_they_may(
    servers: Callable[..., Server], capfd: pytest.CaptureFixture[str]
) -> None:
    server = servers("--function-tmp-megabytes", "900", "--idle-seconds", "600")
    functions = Functions(server, "tmp")
    one, two = (functions.create(_APP, MemorySize=1024, Timeout=60) for _ in range(2))
    assert functions.invoke(one, {"write": 500}).payload[0] == "ext4"
    os.sync()
    assert functions.invoke(two).payload[0] == "tmpfs"
    assert "the disk of functions' /tmp is full" in capfd.readouterr().err
    # What is removed is there for others at once.
    functions.invoke(one, {"remove": True})
    _until(lambda: functions.invoke(functions.create(_APP)).payload[0] == "ext4")
    assert server.stop() == 0


@root_only
def test_nothing_is_left_of_disks_when_the_server_is_killed(
    servers: Callable[..., Server],
) -> None:
    before = _held()
    server = servers()
    functions = Functions(server, "tmp")
    functions.invoke(functions.create(_APP), {"write": 10})
    assert _held() > before
    server.kill()
    _until(lambda: _held() <= before)
    assert list((server.data / "run").glob("tmp-*")) == []


def test_tmp_can_be_memory_by_a_setting(servers: Callable[..., Server]) -> None:
    functions = Functions(servers("--function-tmp", "memory"), "tmp")
    name = functions.create(_APP, MemorySize=1024)
    assert functions.invoke(name).payload == ["tmpfs", [], 512]
