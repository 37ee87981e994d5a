"""The seam between the pool and isolation.

A backend is handed a SandboxSpec and answers with a running Sandbox: a process whose output comes
from one pipe and whose Runtime API connections arrive on one listening socket, or on one made
ahead.  It never learns a function's name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class SandboxError(Exception):
    """The sandbox could not be made; the host's fault, never the function's."""


@dataclass(frozen=True, slots=True)
class Language:
    """One runtime of this host.

    prefix: the host folder shown at /var/lang, "" for none; bootstrap: the one at /var/runtime.
    interpreter: a CPython in the prefix whose booted process can be forked, "" for none.
    """

    name: str
    prefix: str
    bootstrap: str
    interpreter: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """What a sandbox executes: the first of its commands that is there.

    connected: it takes a stream to the Runtime API at descriptor 3 and is told so by the argument
    ``--connected``; others connect to the listener.
    ahead: it may be booted before its function is known, with boot_environment; it is told so by
    ``--ahead``, writes a byte to descriptor 5 when it waits, reads descriptor 4 to its end, and
    finds its environment there as a JSON object.
    rewritten: the environment of one booted ahead is written into its memory too, for those that
    cannot set their own.
    """

    commands: tuple[tuple[str, ...], ...]
    connected: bool = False
    ahead: bool = False
    rewritten: bool = False
    boot_environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory shown read-only at a path inside."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Extension:
    """A program that runs beside the runtime: its name and the path inside."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """Everything a backend may know of what it runs.

    tenant: sandboxes of different tenants never share a zygote.
    program: what to execute, or None to fork the language's interpreter with its bootstrap loaded.
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
    program: Program | None = None
    extensions: tuple[Extension, ...] = ()
    extension_environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a runtime ended: a wait status (None: it was killed), whether memory ran out, and why
    it could not be executed at all, if it could not."""

    status: int | None
    out_of_memory: bool = False
    not_executed: str | None = None


class Sandbox(Protocol):
    """One sandbox, in which a runtime is launched, again and again if need be."""

    # A stream to the runtime, connected already, where our own bootstrap takes one; whoever takes
    # it leaves None and closes it.
    connection: socket.socket | None
    # Told the name and the wait status of an extension that has ended.
    extension_ended: Callable[[str, int], None] | None

    @property
    def listener(self) -> socket.socket:
        """Where the runtime and the extensions connect to; owned by the sandbox."""

    @property
    def endpoint(self) -> socket.socket | None:
        """Where programs inside reach the server's own API; owned by the sandbox."""

    @property
    def output(self) -> int:
        """The read end of the pipe behind the runtime's stdout and stderr; the sandbox's own."""

    @property
    def extension_output(self) -> int:
        """The same for the extensions; -1 where there are none."""

    @property
    def exited(self) -> asyncio.Future[Exit]:
        """Resolves when the runtime or the whole sandbox has ended; new with each launch."""

    def launch(self, extension: str | None = None) -> None:
        """Start an extension by its name, or the runtime; again, after ``reset``."""

    def throttle(self, throttled: bool = True) -> None:
        """Apply the CPU share (the end of initialisation), or lift it."""

    def freeze(self, frozen: bool = True) -> None:
        """Stop all its processes, if the host can, or let them run again."""

    async def connect(self, port: int) -> socket.socket:
        """A stream to a port that a program inside listens on; raises OSError."""

    def terminate(self) -> None:
        """Ask the runtime process to end (SIGTERM)."""

    async def reset(self) -> bool:
        """End every process inside; /tmp stays, and ``launch`` may be called again.

        Returns False if that could not be done: the sandbox is of no further use."""

    def memory_peak(self) -> int:
        """The most memory it has used so far, in bytes; 0 if the host cannot tell."""

    def destroy(self) -> None:
        """Kill everything inside and give back every resource; idempotent, does not wait."""


class SandboxBackend(Protocol):
    """Makes sandboxes."""

    # Once open: why functions do not have the network they should; "" if they have.
    network_missing: str
    # The same of /tmp that is not memory.
    disks_missing: str

    async def open(self) -> None:
        """Check the host, take over what a crashed predecessor left; raises SandboxError."""

    async def warm(self, tenant: str, language: Language, program: Program | None) -> None:
        """Get ready to start sandboxes of this kind quickly."""

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start one sandbox; raises SandboxError."""

    async def close(self) -> None:
        """Destroy every sandbox and helper process."""
