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
from pathlib import Path

from lambent.sandbox.base import Exit, Language, SandboxError, SandboxSpec


class ProcessSandbox:
    """One unconfined process in a session of its own."""

    def __init__(self, spec: SandboxSpec, folder: Path) -> None:
        self._folder = folder
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(16)
        self.listener.setblocking(False)
        self.connection: socket.socket | None = None
        self.output, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write, True)
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        task = next((m.source for m in spec.mounts if m.target == "/var/task"), str(folder))
        environment = dict(spec.environment)
        environment["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{self.listener.getsockname()[1]}"
        environment["LAMBDA_TASK_ROOT"] = task
        environment["TMPDIR"] = str(folder)
        prefix = spec.language.prefix
        environment["LD_LIBRARY_PATH"] = f"{prefix}/lib"
        interpreter = f"{prefix}/bin/{spec.language.interpreter}"
        memory = spec.memory_bytes

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        try:
            self._process = subprocess.Popen(
                [interpreter, "-S", "-s", f"{spec.language.bootstrap}/bootstrap.py"],
                env=environment,
                cwd=task,
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                start_new_session=True,
                preexec_fn=limit,
            )
        except OSError as error:
            self._close()
            raise SandboxError(str(error)) from error
        finally:
            os.close(write)
        self._pidfd = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        code = self._process.wait()
        if not self.exited.done():
            self.exited.set_result(Exit(-code if code < 0 else code << 8))

    def throttle(self) -> None:
        """Nothing limits the CPU of a plain process."""

    def freeze(self) -> None:
        """A plain process is left running."""

    def thaw(self) -> None:
        """See freeze."""

    def memory_peak(self) -> int:
        with (
            contextlib.suppress(OSError, StopIteration),
            open(f"/proc/{self._process.pid}/status") as file,
        ):
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        return 0

    def destroy(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if not self.exited.done():
            self.exited.set_result(Exit(None))
        self._close()

    def _close(self) -> None:
        if self.output >= 0:
            os.close(self.output)
            self.listener.close()
            self.output = -1
            shutil.rmtree(self._folder, ignore_errors=True)


class ProcessBackend:
    """See ``lambent.sandbox.base.SandboxBackend``."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._sandboxes: set[ProcessSandbox] = set()

    async def open(self) -> None:
        shutil.rmtree(self._state, ignore_errors=True)
        self._state.mkdir(parents=True)

    async def warm(self, tenant: str, language: Language) -> None:
        """There is nothing to prepare."""

    async def start(self, spec: SandboxSpec) -> ProcessSandbox:
        sandbox = ProcessSandbox(spec, Path(tempfile.mkdtemp(dir=self._state)))
        self._sandboxes.add(sandbox)
        sandbox.exited.add_done_callback(lambda done: self._sandboxes.discard(sandbox))
        return sandbox

    async def close(self) -> None:
        for sandbox in list(self._sandboxes):
            sandbox.destroy()
