"""The server's side of the host agent: what it may do, its start, and orders to it.

The agent is started before the server reads anything of others, and before the server gives up
what it will not need; see ``kernel.agent`` for what it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambent.sandbox.base import Language, SandboxError
from lambent.sandbox.channel import Channel, Message
from lambent.sandbox.kernel import wire
from lambent.sandbox.uids import Uids

START_TIMEOUT = 10.0
_KILL_SECONDS = 0.2
_AGENT = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from lambent.sandbox.kernel.agent import main; main(int(sys.argv[2]))"
)


@dataclass(frozen=True)
class Grants:
    """What an agent may do for its server, fixed at its start."""

    # The data directory.
    data: Path
    # Folders that sandboxes may see, and what lies beneath them.
    folders: Sequence[Path] = ()
    # The runtimes it may start zygotes of, by name.
    languages: Mapping[str, Language] = field(default_factory=dict)
    # None for no network, else the private networks that functions may reach beside the internet.
    network: Sequence[str] | None = None
    # What all /tmp may take of the host's disk together; 0 for none, then /tmp is memory.
    disk_bytes: int = 0
    # The folders that control groups lie in; which of them freezes in version 1, or "".
    groups: Sequence[str] = ()
    freezers: str = ""
    # The region of the embedded services' own resources; memory that they may have, 0: any.
    region: str = ""
    services_bytes: int = 0

    def given(self, uids: Uids | None) -> dict[str, Any]:
        """For the agent, as ``kernel.orders.Grants`` reads it; uids: of sandboxes."""
        languages = [each for each in self.languages.values() if each.prefix]
        folders = [str(each) for each in self.folders]
        for each in languages:
            folders += [each.prefix, each.bootstrap]
        command = [sys.executable, "-P", "-m", "lambent.neighbours.ministack"]
        return {
            "data": str(self.data),
            "folders": [os.path.normpath(each) for each in dict.fromkeys(folders)],
            "languages": {
                each.name: [each.prefix, each.bootstrap, each.interpreter]
                for each in languages
                if each.interpreter
            },
            "network": None if self.network is None else list(self.network),
            "disk_bytes": self.disk_bytes,
            "groups": list(self.groups),
            "freezers": self.freezers,
            "uids": [uids.first, uids.count] if uids is not None else [0, 1],
            "services": [*command, str(self.data / "neighbours"), self.region],
            "environment": services_environment(self.services_bytes),
        }


def services_environment(memory_bytes: int) -> dict[str, str]:
    """What the embedded services' interpreter is to know; no setting or secret of the server."""
    kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TZ")
    variables = {name: os.environ[name] for name in kept if name in os.environ}
    bounds = {"LAMBENT_MEMORY_BYTES": str(memory_bytes)}
    return {**variables, **bounds, "PYTHONUNBUFFERED": "1"}


class HostAgent:
    """A running agent."""

    def __init__(self, grants: Grants) -> None:
        """Start it; orders come once it is open.  Raises SandboxError."""
        self.grants = grants
        # Of sandboxes, where the agent is the host's root; None for an ordinary user.
        self.uids = Uids() if os.getuid() == 0 else None
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel: Channel | None = None
        source = str(Path(__file__).resolve().parents[2])
        arguments = [source, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _AGENT, *arguments],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        wire.send(self._end, grants.given(self.uids))

    def wait_ready(self) -> None:
        """Wait until it has its own view of the host; raises SandboxError if it may not."""
        self._end.settimeout(START_TIMEOUT)
        try:
            received = wire.receive(self._end)
        except TimeoutError:
            received = None
        if received is None:
            raise SandboxError("the host agent did not start")
        if "error" in received[0]:
            raise SandboxError(f"this host does not allow sandboxes: {received[0]['error']}")

    def open(self) -> None:
        """In the event loop: orders from now on."""
        self._channel = Channel(self._end)

    async def ask(self, order: dict[str, Any], descriptors: Sequence[int] = ()) -> Message:
        """Its answer to an order; raises SandboxError with what it failed of."""
        if self._channel is None:
            raise SandboxError("the host agent is not there")
        answer = self._channel.expect()
        self._channel.send(order, list(descriptors))
        message, given = await answer
        if "error" in message:
            raise SandboxError(message["error"])
        return message, given

    async def start(self, listener: int, stdin: int, endpoint: str) -> tuple[int, int]:
        """Start the embedded services: ``lambent.neighbours.starting.Starter``."""
        try:
            answer, given = await self.ask(
                {"op": "services", "endpoint": endpoint}, [listener, stdin]
            )
        except SandboxError as error:
            raise OSError(str(error)) from error
        return answer["pid"], given[0]

    def kill(self, pidfd: int, number: int = signal.SIGKILL) -> None:
        """Kill a sandbox or the services, or abort these; done soon, without an answer."""
        if self._channel is None or self._channel.closed:
            return  # it ended, and with it everything that it started
        # A burst of kills may fill the channel for a moment.
        select.select([], [self._end], [], _KILL_SECONDS)
        with contextlib.suppress(SandboxError):
            self._channel.send({"op": "kill", "signal": int(number)}, [pidfd])

    async def close(self) -> None:
        """End it, and with it all zygotes and sandboxes."""
        if self._channel is not None:
            self._channel.close()
        self._end.close()
        if self.uids is not None:
            self.uids.close()
        try:
            await asyncio.to_thread(self._process.wait, 5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError):  # it is root's
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
