"""What a server that was taken over can have its host agent do: the orders, to the letter."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.sandbox.base import SandboxError
from lambent.sandbox.host_agent import Grants, HostAgent
from lambent.sandbox.kernel import orders, zygote

Play = Callable[[Callable[[HostAgent], Awaitable[None]]], None]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with one tree of code, and a host around it."""
    data = tmp_path / "data"
    (data / "code/tree/inside").mkdir(parents=True)
    (data / "code/tree/file").write_text("code")
    (data / "code/link").symlink_to("/etc")
    (data / "code/tree/up").symlink_to("../..")
    (data / "code/here").symlink_to("tree")
    (data / "secret").mkdir()
    return data


@pytest.fixture
def play(data: Path) -> Play:
    """Play a scenario with an agent for this data directory."""

    def runner(scenario: Callable[[HostAgent], Awaitable[None]]) -> None:
        async def whole() -> None:
            agent = HostAgent(Grants(data, [data / "code"]))
            agent.wait_ready()
            agent.open()
            try:
                await scenario(agent)
            finally:
                await agent.close()

        asyncio.run(asyncio.wait_for(whole(), 30))

    return runner


async def _refusal(agent: HostAgent, order: dict[str, Any], *descriptors: int) -> str:
    try:
        _, given = await agent.ask(order, descriptors)
    except SandboxError as error:
        return str(error)
    for each in given:
        os.close(each)
    return ""


def test_trees_of_code_may_be_shown_and_no_other_path(play: Play, data: Path) -> None:
    shown = [str(data / "code/tree"), str(data / "code/tree/inside"), str(data / "code")]
    hidden = [
        "/", "/etc", "/root", str(data), str(data / "secret"), "", "code/tree", "tree",
        str(data / "code/../secret"), str(data / "code/tree/../../secret"),
        str(data / "code/link"), str(data / "code/link/ssl"), str(data / "code/tree/up/secret"),
        str(data / "code/here"), str(data / "code/tree/file"), str(data / "codeandmore"),
        str(data / "code//etc"), f"/proc/{os.getpid()}/root/etc", str(data / "code/nothing"),
    ]  # fmt: skip

    async def scenario(agent: HostAgent) -> None:
        for path in shown:
            assert await _refusal(agent, {"op": "trees", "paths": [path], "tmp_bytes": 0}) == ""
        for path in hidden:
            assert await _refusal(agent, {"op": "trees", "paths": [path], "tmp_bytes": 0}), path

    play(scenario)


def test_what_is_no_order_is_refused_and_the_agent_goes_on(play: Play, data: Path) -> None:
    tree = {"op": "trees", "paths": [str(data / "code/tree")], "tmp_bytes": 0}
    wrong: list[dict[str, Any]] = [
        {}, {"op": "mount"}, {"op": None}, {"op": ["trees"]}, {"op": "trees"},
        {**tree, "more": 1}, {**tree, "paths": "/etc"}, {**tree, "paths": [1]},
        {**tree, "paths": ["a\0b"]}, {**tree, "paths": [str(data / "code/tree")] * 100},
        {**tree, "tmp_bytes": -1}, {**tree, "tmp_bytes": 1 << 60}, {**tree, "tmp_bytes": "1"},
        {**tree, "tmp_bytes": True}, {**tree, "tmp_bytes": 1.5},
        {"op": "zygote", "language": "", "interpreter": "sh"},
        {"op": "zygote", "language": {"a": 1}},
        # Not granted: this one was started without a network and without disks.
        {"op": "network"}, {"op": "network", "allowed": ["0.0.0.0/0"]},
        {"op": "disks"}, {"op": "disks", "folder": "/etc", "bytes": 1 << 30},
        {"op": "services", "endpoint": "http://127.0.0.1:1"},
        {"op": "kill", "pid": 1},
    ]  # fmt: skip

    async def scenario(agent: HostAgent) -> None:
        for order in wrong:
            assert order.get("op") == "kill" or await _refusal(agent, order), order
            assert await _refusal(agent, tree) == ""
        null = os.open("/dev/null", os.O_RDONLY)
        assert await _refusal(agent, tree, null)
        for language in ("python9.9", "../../bin/sh", "sh"):
            assert await _refusal(agent, {"op": "zygote", "language": language}, null)
        for endpoint in ("", "file:///etc", "http://a b", "http://a\nX=1", "http://" + "a" * 999):
            order = {"op": "services", "endpoint": endpoint}
            assert await _refusal(agent, order, null, null), endpoint
        os.close(null)

    play(scenario)


def test_what_is_no_message_is_refused_and_the_agent_goes_on(play: Play) -> None:
    async def scenario(agent: HostAgent) -> None:
        for garbage in (b"{", b"[]", b"1", b'"op"', b"\xff\xfe", b"{}" * 40_000):
            answer = agent._channel.expect()  # type: ignore[union-attr]
            agent._end.send(garbage)
            message, _ = await answer
            assert "error" in message

    play(scenario)


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user's processes are all his")
def test_no_process_is_killed_but_sandboxes_and_services(play: Play) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper, socket.socket() as other:

        async def scenario(agent: HostAgent) -> None:
            pidfd = os.pidfd_open(sleeper.pid)
            agent.kill(pidfd)
            agent.kill(other.fileno())
            os.close(pidfd)
            # Orders are taken in turn: both are over when this is answered.
            assert await _refusal(agent, {"op": "mount"})
            assert sleeper.poll() is None

        play(scenario)
        sleeper.kill()


def test_a_zygote_takes_uids_of_sandboxes_and_names_of_groups_alone() -> None:
    uids = range(0x7000_0000, 0x7001_0000)
    right = {"uid": 0x7000_0000, "users": 2, "number": 0, "group": "s1-1"}
    for request in (right, {**right, "users": 1}, {**right, "number": None, "group": None}):
        zygote.check(request, uids)
    wrong: list[dict[str, Any]] = [
        {}, {**right, "more": 1}, {**right, "uid": 0}, {**right, "uid": "0"},
        {**right, "uid": True}, {**right, "uid": 0x7000_FFFF}, {**right, "uid": 0x7001_0000},
        {**right, "uid": -1},
        {**right, "users": 3}, {**right, "users": 0}, {**right, "users": True},
        {**right, "number": -1}, {**right, "number": 1 << 20}, {**right, "number": "1"},
        {**right, "group": "../x"}, {**right, "group": "s1-1/.."}, {**right, "group": ""},
        {**right, "group": "s1-1\n"}, {**right, "group": 1},
    ]  # fmt: skip
    for request in wrong:
        with pytest.raises(OSError, match=r"not"):
            zygote.check(request, uids)


@pytest.mark.parametrize("name", sorted(orders.ORDERS))
def test_every_order_is_checked_for_its_parts(name: str) -> None:
    with pytest.raises(OSError, match="other parts"):
        orders.checked({"op": name, "more": 1}, [])
    with pytest.raises(OSError, match="other parts"):
        orders.checked({"op": name}, [1] * 9)
