"""The seam between the pool and isolation.

A backend is handed a SandboxSpec and answers with a running Sandbox: a process whose output comes
from one pipe and whose Runtime API connections arrive on one listening socket, or on one made
ahead.  It never learns a function's name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class SandboxError(Exception):
    """The sandbox could not be made; the host's fault, never the function's."""


@dataclass(frozen=True, slots=True)
class Language:
    """One runtime tree of this host: the interpreter and the prefix it lives in."""

    name: str
    prefix: str
    interpreter: str
    bootstrap: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory shown read-only at a path inside."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """Everything a backend may know of what it runs.

    tenant: sandboxes of different tenants never share a zygote.
    execute: argv to run, or None to run the language's bootstrap the fastest way there is.
    memory_bytes and tmp_bytes are hard limits; cpus is a share of one core once ``throttle`` is
    called: initialisation runs unthrottled, as it does on AWS.
    """

    tenant: str
    language: Language
    mounts: tuple[Mount, ...]
    environment: Mapping[str, str]
    memory_bytes: int
    tmp_bytes: int
    cpus: float
    execute: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a sandbox ended: a wait status (None: it was killed), and whether memory ran out."""

    status: int | None
    out_of_memory: bool = False


class Sandbox(Protocol):
    """One running sandbox."""

    # A stream to the runtime, connected already, where our own bootstrap was forked; whoever takes
    # it leaves None and closes it.
    connection: socket.socket | None

    @property
    def listener(self) -> socket.socket:
        """Where the runtime connects to; owned by the sandbox."""

    @property
    def output(self) -> int:
        """The read end of the pipe behind stdout and stderr; owned by the sandbox."""

    @property
    def exited(self) -> asyncio.Future[Exit]:
        """Resolves once, when the runtime process or the whole sandbox has ended."""

    def throttle(self) -> None:
        """Apply the CPU share; the end of initialisation."""

    def freeze(self) -> None:
        """Stop all its processes, if the host can."""

    def thaw(self) -> None:
        """Let them run again."""

    def memory_peak(self) -> int:
        """The most memory it has used so far, in bytes; 0 if the host cannot tell."""

    def destroy(self) -> None:
        """Kill everything inside and give back every resource; idempotent, does not wait."""


class SandboxBackend(Protocol):
    """Makes sandboxes."""

    async def open(self) -> None:
        """Check the host, take over what a crashed predecessor left; raises SandboxError."""

    async def warm(self, tenant: str, language: Language) -> None:
        """Get ready to start sandboxes of this tenant and language quickly."""

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start one sandbox; raises SandboxError."""

    async def close(self) -> None:
        """Destroy every sandbox and helper process."""
