"""What every sandbox backend promises, on real sandboxes; and how zygotes are replaced."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lambent.clock import SystemClock
from lambent.runtime.languages import Languages
from lambent.sandbox import cgroups, namespaces
from lambent.sandbox.base import (
    Exit,
    Extension,
    Language,
    Mount,
    Program,
    SandboxBackend,
    SandboxError,
    SandboxSpec,
)
from lambent.sandbox.channel import Channel
from lambent.sandbox.host_agent import Grants, HostAgent
from lambent.sandbox.kernel import wire
from lambent.sandbox.namespace_sandbox import NamespaceSandbox
from lambent.sandbox.namespaces import NamespaceBackend
from lambent.sandbox.process import ProcessBackend

MB = 1 << 20
NONE = Language("provided.al2023", "", "")
COMMANDS = (("/var/runtime/bootstrap",), ("/var/task/bootstrap",))
Scenario = Callable[[SandboxBackend, Path], Awaitable[None]]


def make(kind: str, folder: Path) -> SandboxBackend:
    if kind == "process":
        return ProcessBackend(folder / "run")
    groups = cgroups.detect(folder)
    if groups is not None:
        groups.sweep()
    languages = Languages()
    grants = Grants(
        folder,
        [folder, folder.parent],
        {name: each for name in languages.names() if (each := languages.get(name))},
        groups=groups.folders if groups is not None else (),
        freezers=groups.freezers if groups is not None else "",
    )
    agent = HostAgent(grants)
    agent.wait_ready()
    return NamespaceBackend(agent, groups, SystemClock(), 1, 64 * MB)


def spec(task: Path, **changes: object) -> SandboxSpec:
    environment = {"COLOUR": "green", "PATH": "/usr/bin:/bin", "LAMBDA_TASK_ROOT": "/var/task"}
    values = {
        "tenant": "0", "language": NONE, "mounts": (Mount(str(task), "/var/task"),),
        "environment": environment,
        "memory_bytes": 256 * MB, "tmp_bytes": 16 * MB, "cpus": 1.0, "program": Program(COMMANDS),
    }  # fmt: skip
    return SandboxSpec(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(params=["namespaces", "process"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, Scenario], None]:
    """Run a scenario on a backend whose function is a shell script."""
    tmp_path.chmod(0o755)
    task = tmp_path / "task"
    task.mkdir(mode=0o755)

    def runner(script: str, scenario: Scenario) -> None:
        if script:
            (task / "bootstrap").write_text(script)
            (task / "bootstrap").chmod(0o755)

        async def whole() -> None:
            backend = make(request.param, tmp_path)
            await backend.open()
            try:
                await scenario(backend, task)
            finally:
                await backend.close()

        asyncio.run(asyncio.wait_for(whole(), 60))

    return runner


def printed(descriptor: int) -> str:
    """What the pipe holds."""
    found = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except BlockingIOError:
            return found.decode()
        if not piece:
            return found.decode()
        found += piece


def test_a_program_runs_with_its_environment_and_its_end_is_told(
    run: Callable[[str, Scenario], None],
) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        sandbox = await backend.start(spec(task))
        sandbox.launch()
        assert await sandbox.exited == Exit(7 << 8)
        assert printed(sandbox.output) == "green\nwrong\n"
        sandbox.destroy()
        sandbox.destroy()

    run("#!/bin/sh\necho $COLOUR; echo wrong >&2; exit 7\n", scenario)


@pytest.mark.parametrize(
    ("script", "reason"),
    [("", "Couldn't find valid bootstrap(s)"), ("\0", "exec format error")],
)
def test_what_cannot_be_executed_says_why(
    run: Callable[[str, Scenario], None], script: str, reason: str
) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        sandbox = await backend.start(spec(task))
        sandbox.launch()
        ended = await sandbox.exited
        assert ended.status is None and ended.not_executed is not None
        assert reason.lower() in ended.not_executed.lower()
        sandbox.destroy()

    run(script, scenario)


def test_a_reset_ends_all_inside_and_another_launch_finds_its_files(
    run: Callable[[str, Scenario], None],
) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        sandbox = await backend.start(spec(task))
        for lines in (1, 2):
            sandbox.launch()
            exited = sandbox.exited
            said = ""
            while not said.endswith("lines\n"):
                await asyncio.sleep(0.01)
                said += printed(sandbox.output)
            assert said == f"{lines} lines\n"
            assert not exited.done() and sandbox.memory_peak() > 0
            assert await sandbox.reset()
        sandbox.destroy()
        assert not await sandbox.reset()

    script = (
        "#!/bin/sh\nd=${TMPDIR:-/tmp}; echo x >> $d/kept\n"
        'echo "$(wc -l < $d/kept) lines"\nsleep 100 & sleep 100\n'
    )
    run(script, scenario)


def test_a_runtime_can_be_asked_to_end(run: Callable[[str, Scenario], None]) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        sandbox = await backend.start(spec(task))
        sandbox.launch()
        while "ready" not in printed(sandbox.output):
            await asyncio.sleep(0.01)
        sandbox.terminate()
        assert (await sandbox.exited).status == 5 << 8
        sandbox.destroy()

    script = "#!/bin/sh\ntrap 'exit 5' TERM\necho ready\nwhile true; do sleep 0.01; done\n"
    run(script, scenario)


def test_freezing_stops_it_and_thawing_lets_it_go_on(run: Callable[[str, Scenario], None]) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        sandbox = await backend.start(spec(task))
        sandbox.launch()
        sandbox.throttle()
        sandbox.freeze()
        sandbox.freeze()
        sandbox.freeze(False)
        sandbox.throttle(False)
        assert (await sandbox.exited).status == 0
        sandbox.destroy()

    run("#!/bin/sh\nsleep 0.2\n", scenario)


def test_destroying_ends_what_runs(run: Callable[[str, Scenario], None]) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        sandbox = await backend.start(spec(task))
        sandbox.launch()
        sandbox.destroy()
        assert (await sandbox.exited).status is None

    run("#!/bin/sh\nsleep 100\n", scenario)


# -- namespaces alone -------------------------------------------------------------------------


def isolated(tmp_path: Path, scenario: Scenario) -> None:
    tmp_path.chmod(0o755)
    task = tmp_path / "task"
    task.mkdir(mode=0o755)

    async def whole() -> None:
        backend = make("namespaces", tmp_path)
        await backend.open()
        try:
            await scenario(backend, task)
        finally:
            await backend.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_extensions_run_beside_the_runtime_and_can_be_connected_to(tmp_path: Path) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        (task / "beside").write_text(
            "#!/usr/bin/python3\nimport os, socket\n"
            "listener = socket.create_server(('127.0.0.1', 8080)); print('up', flush=True)\n"
            "stream, _ = listener.accept(); stream.sendall(os.environ['WHO'].encode())\n"
            "stream.close(); raise SystemExit(3)\n"
        )
        (task / "beside").chmod(0o755)
        extension = Extension("beside", "/var/task/beside")
        sandbox = await backend.start(
            spec(task, extensions=(extension,), extension_environment={"WHO": "me"})
        )
        ended: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
        sandbox.extension_ended = lambda name, status: ended.set_result((name, status))
        with pytest.raises(OSError, match="refused"):
            await sandbox.connect(8080)
        sandbox.launch("beside")
        while "up" not in printed(sandbox.extension_output):
            await asyncio.sleep(0.01)
        stream = await sandbox.connect(8080)
        assert await asyncio.get_running_loop().sock_recv(stream, 10) == b"me"
        stream.close()
        assert await ended == ("beside", 3 << 8)
        # Also those of another user end with a reset.
        sandbox.launch("beside")
        while "up" not in printed(sandbox.extension_output):
            await asyncio.sleep(0.01)
        assert await sandbox.reset()
        with pytest.raises(OSError, match="refused"):
            await sandbox.connect(8080)
        sandbox.destroy()

    isolated(tmp_path, scenario)


def test_one_booted_ahead_gets_its_function_late(tmp_path: Path) -> None:
    async def scenario(backend: SandboxBackend, task: Path) -> None:
        (task / "here").write_text("code")
        # By their paths: the shell's own variables lie in what is written over.
        shell = "echo >&5; /bin/cat <&4; pwd; /bin/cat here /proc/self/stat"
        program = Program(
            (("/bin/sh", "-c", shell),), ahead=True, rewritten=True,
            boot_environment=(("PATH", "/usr/bin:/bin"),),
        )  # fmt: skip
        await backend.warm("0", NONE, program)
        sandbox = await backend.start(spec(task, program=program))
        sandbox.launch()
        assert (await sandbox.exited).status is not None
        said = printed(sandbox.output)
        assert '"COLOUR": "green"' in said and "/var/task\ncode" in said
        sandbox.destroy()

    isolated(tmp_path, scenario)


def test_a_zygote_is_replaced_when_it_is_worn_and_outlives_its_sandboxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "RECYCLE_SPAWNS", 3)
    python = Languages().get(f"python3.{sys.version_info.minor}")
    assert python is not None

    async def scenario(backend: SandboxBackend, task: Path) -> None:
        assert isinstance(backend, NamespaceBackend)
        (task / "app.py").write_text("")
        made: list[NamespaceSandbox] = []
        zygotes = set()
        for _ in range(8):
            sandbox = await backend.start(
                spec(task, language=python, program=None, environment={"_HANDLER": "app.x"})
            )
            assert isinstance(sandbox, NamespaceSandbox)
            made.append(sandbox)
            zygotes.add(backend._sandboxes[sandbox])
            await asyncio.gather(*backend._recycling.values())
        assert len(zygotes) >= 2
        retired = [each for each in zygotes if each.retired]
        assert retired and not any(each.channel.closed for each in retired)
        assert not any(each.exited.done() for each in made)
        for sandbox in made:
            sandbox.destroy()
        for sandbox in list(backend._sandboxes):
            sandbox.destroy()
        assert all(each.channel.closed for each in retired)

    isolated(tmp_path, scenario)


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user's sandboxes have that user's uid")
def test_the_sandboxes_of_two_servers_have_different_host_uids(tmp_path: Path) -> None:
    async def mapped(backend: SandboxBackend, task: Path) -> set[int]:
        """The host uids of a sandbox."""
        sandbox = await backend.start(spec(task))
        sandbox.launch()
        await sandbox.exited
        inside, outside, count = map(int, printed(sandbox.output).split())
        assert (inside, count) == (993, 2)
        sandbox.destroy()
        return {outside, outside + 1}

    async def scenario(backend: SandboxBackend, task: Path) -> None:
        (task / "bootstrap").write_text("#!/bin/sh\ncat /proc/self/uid_map\n")
        (task / "bootstrap").chmod(0o755)
        folder = tmp_path / "other"
        folder.mkdir()
        other = make("namespaces", folder)
        await other.open()
        try:
            seen = [await mapped(each, task) for each in (backend, other, backend, other)]
            assert len(set().union(*seen)) == 8
        finally:
            await other.close()

    isolated(tmp_path, scenario)


@pytest.mark.parametrize("lie", ["no pidfd", "another process", "a child that is no init", "files"])
def test_what_is_no_init_of_the_zygotes_is_not_believed_and_leaves_nothing(lie: str) -> None:
    async def whole() -> None:
        before = os.listdir("/proc/self/fd")
        channel, theirs = Channel.pair()
        output, write = os.pipe()
        released: list[NamespaceSandbox] = []
        sandbox = NamespaceSandbox(
            channel, output, None, None, os.close, lambda sandbox, group: released.append(sandbox)
        )
        with subprocess.Popen(["sleep", "60"]) as child, socket.create_server(("", 0)) as listener:
            pid = child.pid if lie == "a child that is no init" else os.getpid()
            pidfd, null = os.pidfd_open(pid), os.open("/dev/null", os.O_RDONLY)
            first = null if lie == "files" else listener.fileno()
            last = null if lie == "no pidfd" else pidfd
            wire.send(theirs, {"ready": 1}, [first, listener.fileno(), last])
            with pytest.raises(SandboxError):
                await sandbox.prepared(os.getpid())
            sandbox.destroy()
            assert released == [sandbox] and child.poll() is None
            child.kill()
        for each in (pidfd, null, write):
            os.close(each)
        theirs.close()
        assert os.listdir("/proc/self/fd") == before

    asyncio.run(whole())
