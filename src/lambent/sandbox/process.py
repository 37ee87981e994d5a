"""The backend without isolation: a plain child process.

For tests, and for hosts that allow nothing else; must be asked for by name.  The Runtime API
listens on a loopback port of the host, /var/task is wherever the code lies, limits are those a
process can set for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from lambent.sandbox.base import Exit, Language, Program, SandboxSpec


class ProcessSandbox:
    """One unconfined process in a session of its own."""

    def __init__(
        self, spec: SandboxSpec, folder: Path, gone: Callable[[ProcessSandbox], None]
    ) -> None:
        """gone: told once it is destroyed and its process has been collected."""
        self._folder = folder
        self._gone = gone
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.connection: socket.socket | None = None
        # A plain process reaches the server as everybody does.
        self.endpoint: socket.socket | None = None
        self.extension_ended: Callable[[str, int], None] | None = None
        self.output, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._write, True)
        self.extension_output = -1
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        # The sandbox's paths, where they are on the host.
        language = spec.language
        self._paths = {mount.target: mount.source for mount in spec.mounts}
        self._paths.update({"/var/lang": language.prefix, "/var/runtime": language.bootstrap})
        self._paths.setdefault("/var/task", str(folder))
        environment = {name: self._here(value) for name, value in spec.environment.items()}
        environment["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{self.listener.getsockname()[1]}"
        environment["TMPDIR"] = str(folder)
        environment["LD_LIBRARY_PATH"] = f"{language.prefix}/lib"
        self._environment = environment

    def _here(self, value: str) -> str:
        for inside, outside in self._paths.items():
            if value == inside or value.startswith(inside + "/"):
                return outside + value[len(inside) :]
        return value

    def _commands(self) -> list[list[str]]:
        program = self._spec.program
        if program is None:
            interpreter = f"/var/lang/bin/{self._spec.language.interpreter}"
            commands = [[interpreter, "-S", "-s", "/var/runtime/bootstrap.py"]]
        else:
            commands = [list(command) for command in program.commands]
        return [[self._here(word) for word in command] for command in commands]

    def launch(self, extension: str | None = None) -> None:
        if extension is not None:
            return  # none are offered without isolation
        if self.exited.done():
            self.exited = asyncio.get_running_loop().create_future()
        commands = self._commands()
        command = next((each for each in commands if os.path.lexists(each[0])), None)
        memory = self._spec.memory_bytes

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        try:
            if command is None:
                names = " ".join(each[0] for each in commands)
                raise FileNotFoundError(2, f"Couldn't find valid bootstrap(s): [{names}]")
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                cwd=self._paths["/var/task"],
                stdin=subprocess.DEVNULL,
                stdout=self._write,
                stderr=self._write,
                start_new_session=True,
                preexec_fn=limit,
            )
        except OSError as error:
            self.exited.set_result(Exit(None, not_executed=error.strerror))
            return
        self._pidfd = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _ended(self) -> None:
        assert self._process is not None
        self._unwatch()
        code = self._process.wait()
        if self.output < 0:
            self._gone(self)
        if not self.exited.done():
            self.exited.set_result(Exit(-code if code < 0 else code << 8))

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def terminate(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def reset(self) -> bool:
        if self._process is None or self.output < 0:
            return False
        self._unwatch()
        self._kill()
        await asyncio.to_thread(self._process.wait)
        return True

    def throttle(self, throttled: bool = True) -> None:
        """Nothing limits the CPU of a plain process."""

    def freeze(self, frozen: bool = True) -> None:
        """A plain process is left running."""

    async def connect(self, port: int) -> socket.socket:
        raise OSError("extensions are not offered without isolation")

    def memory_peak(self) -> int:
        if self._process is None:
            return 0
        with (
            contextlib.suppress(OSError, StopIteration),
            open(f"/proc/{self._process.pid}/status") as file,
        ):
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        return 0

    def destroy(self) -> None:
        self._kill()
        if not self.exited.done():
            self.exited.set_result(Exit(None))
        self._close()
        if self._pidfd < 0:
            self._gone(self)

    def collect(self) -> None:
        """Wait for the process of one that was destroyed."""
        if self._process is not None:
            self._process.wait()

    def _close(self) -> None:
        if self.output >= 0:
            os.close(self.output)
            os.close(self._write)
            self.listener.close()
            self.output = -1
            shutil.rmtree(self._folder, ignore_errors=True)


class ProcessBackend:
    """See ``lambent.sandbox.base.SandboxBackend``."""

    def __init__(self, state: Path) -> None:
        # A plain process has the host's network.
        self.network_missing = ""
        self.disks_missing = ""
        self._state = state
        self._sandboxes: set[ProcessSandbox] = set()

    async def open(self) -> None:
        shutil.rmtree(self._state, ignore_errors=True)
        self._state.mkdir(parents=True)

    async def warm(self, tenant: str, language: Language, program: Program | None) -> None:
        """There is nothing to prepare."""

    async def start(self, spec: SandboxSpec) -> ProcessSandbox:
        sandbox = ProcessSandbox(
            spec, Path(tempfile.mkdtemp(dir=self._state)), self._sandboxes.discard
        )
        self._sandboxes.add(sandbox)
        return sandbox

    async def close(self) -> None:
        for sandbox in list(self._sandboxes):
            sandbox.destroy()
        for sandbox in list(self._sandboxes):
            await asyncio.to_thread(sandbox.collect)
