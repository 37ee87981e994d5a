"""Makes execution environments: the one place where a version meets a sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from lambent import ids
from lambent.clock import Clock, utc
from lambent.functions.types import FunctionVersion
from lambent.http import Application
from lambent.pool import trees
from lambent.pool.environment import ExecutionEnvironment, Measure
from lambent.pool.polling import Polling
from lambent.runtime import languages, variables
from lambent.runtime.journal import Append
from lambent.runtime.languages import Languages
from lambent.sandbox.base import Extension, Mount, SandboxBackend, SandboxError, SandboxSpec

_MB = 1024 * 1024
# One vCPU at 1,769 MB: AWS Lambda Developer Guide, "Configure Lambda function memory".
MEMORY_PER_CPU = 1769

Log = Callable[[FunctionVersion, str], Append]
"""How the lines of one stream of a version are taken."""
Unpacked = Callable[[str], Awaitable[Path]]
"""The tree of an archive's digest."""
Credentials = Callable[[FunctionVersion], dict[str, str]]
"""Variables with temporary credentials of a version's execution role."""
Endpoint = Callable[[], tuple[str, Application | None]]
"""The server's URL as programs inside see it, and who serves it there."""
Layers = Callable[[tuple[str, ...]], Awaitable[Path]]
"""The tree of several digests, the later over the earlier."""


class EnvironmentFactory:
    """Starts environments on a backend."""

    def __init__(
        self,
        backend: SandboxBackend,
        host: Languages,
        clock: Clock,
        unpacked: Unpacked,
        layers: Layers,
        log: Log,
        response_bytes: int,
        log_rate: int,
        poll_seconds: float,
        measured: Callable[[FunctionVersion, Measure], None],
        credentials: Credentials,
        endpoint: Endpoint,
    ) -> None:
        self._backend = backend
        self._host = host
        self._clock = clock
        self._unpacked = unpacked
        self._layers = layers
        self._log = log
        self._response_bytes = response_bytes
        self._log_rate = log_rate
        self._polling = Polling(clock, poll_seconds)
        self._measured = measured
        self._credentials = credentials
        self._endpoint = endpoint

    async def start(
        self, version: FunctionVersion, request_id: str, phase: str, limit: float, kind: str
    ) -> ExecutionEnvironment:
        """A ready environment; raises InitFailed or SandboxError.

        kind: the initialisation type, "on-demand" or "provisioned-concurrency".
        """
        stream = self._stream(version)
        mounts = await self._mounts(version)
        extensions = await _extensions(mounts)
        sandbox = await self._backend.start(self._spec(version, mounts, stream, kind, extensions))
        environment = ExecutionEnvironment(
            version,
            self._clock,
            self._log(version, stream),
            self._response_bytes,
            self._log_rate,
            self._polling,
            kind,
            tuple(each.name for each in extensions),
            self._measured,
            self._endpoint()[1],
        )
        try:
            await environment.start(sandbox, limit, phase, request_id)
        except BaseException:
            environment.stop()
            sandbox.destroy()
            raise
        return environment

    async def warm(self, version: FunctionVersion) -> None:
        """Get ready to start environments of a version."""
        language = self._host.get(version.configuration.runtime)
        if language is not None:
            program = languages.program(language, version.configuration)
            await self._backend.warm(version.account, language, program)

    def _stream(self, version: FunctionVersion) -> str:
        day = utc(self._clock.time()).strftime("%Y/%m/%d")
        return f"{day}/[{version.version}]{ids.hex32()}"

    async def _mounts(self, version: FunctionVersion) -> tuple[Mount, ...]:
        configuration = version.configuration
        code = Mount(str(await self._unpacked(configuration.code_digest)), "/var/task")
        if not configuration.layers:
            return (code,)
        layers = await self._layers(configuration.layer_digests)
        return (code, Mount(str(layers), "/opt"))

    def _spec(
        self,
        version: FunctionVersion,
        mounts: tuple[Mount, ...],
        stream: str,
        kind: str,
        extensions: tuple[Extension, ...],
    ) -> SandboxSpec:
        configuration = version.configuration
        language = self._host.get(configuration.runtime)
        if language is None:
            raise SandboxError(f"this host has no {configuration.runtime}")
        environment = variables.build(version, stream, kind, self._endpoint()[0])
        environment.update(self._credentials(version))
        return SandboxSpec(
            tenant=version.account,
            language=language,
            mounts=mounts,
            environment=environment,
            memory_bytes=configuration.memory_size * _MB,
            tmp_bytes=configuration.ephemeral_storage * _MB,
            cpus=configuration.memory_size / MEMORY_PER_CPU,
            program=languages.program(language, configuration),
            extensions=extensions,
            extension_environment=variables.for_extensions(environment) if extensions else {},
        )


async def _extensions(mounts: tuple[Mount, ...]) -> tuple[Extension, ...]:
    """The external extensions in the layers: every file in /opt/extensions."""
    found: list[Extension] = []
    for mount in mounts:
        if mount.target == "/opt":
            names = await asyncio.to_thread(trees.files_in, Path(mount.source), "extensions")
            found += [Extension(name, f"/opt/extensions/{name}") for name in names]
    return tuple(found)
