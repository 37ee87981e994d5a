"""Which sandboxes functions run in, as the settings want it and the host allows."""

from __future__ import annotations

import shutil
from pathlib import Path

from lambent.clock import Clock
from lambent.config import Settings
from lambent.errors import StartError
from lambent.sandbox import cgroups
from lambent.sandbox.addresses import networks
from lambent.sandbox.base import SandboxBackend, SandboxError
from lambent.sandbox.namespaces import NamespaceBackend
from lambent.sandbox.process import ProcessBackend


async def open_backend(
    settings: Settings, data: Path, clock: Clock, private: list[str] | None, warnings: list[str]
) -> SandboxBackend:
    """The backend, open; raises StartError.

    private: see ``private_networks``; warnings: what is not as it could be is added there.
    """
    backend: SandboxBackend
    groups: cgroups.ControlGroups | None = None
    if settings.isolation == "process":
        warnings.append(
            "isolation = process: functions are NOT isolated; they can read and change "
            "everything this user can"
        )
        backend = ProcessBackend(data / "run")
    else:
        groups = cgroups.detect(data)
        if groups is None:
            warnings.append(
                "no control groups can be used: CPU shares and freezing are not enforced, and "
                "memory is looked at ten times a second (lambent doctor says how to mend it)"
            )
        elif groups.missing:
            warnings.append(f"control groups lack: {', '.join(groups.missing)}")
        backend = NamespaceBackend(
            data / "run",
            groups,
            clock,
            settings.prepared,
            settings.prepared_megabytes * 1024 * 1024,
            private,
            _tmp_bytes(settings, data),
        )
    try:
        await backend.open()
        if backend.network_missing and settings.function_network == "required":
            raise SandboxError(f"no network for functions: {backend.network_missing}")
        if backend.disks_missing and settings.function_tmp == "disk":
            raise SandboxError(f"no disks for /tmp: {backend.disks_missing}")
    except (SandboxError, TimeoutError) as error:
        await backend.close()
        raise StartError(
            f"{error}\nRun `lambent doctor` to see why. Functions are never run without "
            "isolation unless you set isolation = process."
        ) from error
    if backend.network_missing:
        warnings.append(
            f"functions reach this server and nothing else: {backend.network_missing} "
            "(lambent doctor says how to mend it; function_network = none says you want it so)"
        )
    if backend.disks_missing and groups is not None and "memory" not in groups.missing:
        warnings.append(
            f"/tmp of functions counts as their memory: {backend.disks_missing} "
            "(function_tmp = memory says you want it so)"
        )
    return backend


def private_networks(settings: Settings) -> list[str] | None:
    """Those that functions may reach beside the internet; None where they have no network."""
    if settings.function_network == "none":
        return None
    try:
        return networks(settings.function_network_allow)
    except SandboxError as error:
        raise StartError(f"function_network_allow: {error}") from error


def _tmp_bytes(settings: Settings, data: Path) -> int:
    """What all /tmp of functions may take of the disk; 0 where they are memory."""
    if settings.function_tmp == "memory":
        return 0
    free = shutil.disk_usage(data).free
    return min(settings.function_tmp_megabytes * 1024 * 1024, free // 2)
