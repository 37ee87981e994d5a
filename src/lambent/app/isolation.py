"""Which sandboxes functions run in, as the settings want it and the host allows."""

from __future__ import annotations

from lambent.app.host import Host
from lambent.clock import Clock
from lambent.config import Settings
from lambent.errors import StartError
from lambent.sandbox.base import SandboxBackend, SandboxError
from lambent.sandbox.namespaces import NamespaceBackend
from lambent.sandbox.process import ProcessBackend


async def open_backend(
    settings: Settings, host: Host, clock: Clock, warnings: list[str]
) -> SandboxBackend:
    """The backend, open; raises StartError.

    warnings: what is not as it could be is added there.
    """
    backend: SandboxBackend
    groups = host.groups
    if host.agent is None:
        warnings.append(
            "isolation = process: functions are NOT isolated; they can read and change "
            "everything this user can, and the server keeps this user's rights"
        )
        backend = ProcessBackend(host.data / "run")
    else:
        if groups is None:
            warnings.append(
                "no control groups can be used: CPU shares and freezing are not enforced, and "
                "memory is looked at ten times a second (lambent doctor says how to mend it)"
            )
        elif groups.missing:
            warnings.append(f"control groups lack: {', '.join(groups.missing)}")
        backend = NamespaceBackend(
            host.agent,
            groups,
            clock,
            settings.prepared,
            settings.prepared_megabytes * 1024 * 1024,
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
