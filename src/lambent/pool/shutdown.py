"""The shutdown phase: what extensions are told when their environment ends."""

from __future__ import annotations

import asyncio
import contextlib

from lambent.clock import Clock
from lambent.runtime.extensions import Extensions
from lambent.runtime.telemetry import Telemetry
from lambent.sandbox.base import Sandbox

# What it may take with external extensions, and with internal ones only; the part of it that the
# runtime has.  Source: AWS Lambda Developer Guide, "Shutdown phase".
EXTERNAL_SECONDS, INTERNAL_SECONDS, RUNTIME_PART = 2.0, 0.5, 0.3
_LOOK_SECONDS = 0.005


async def end_extensions(
    sandbox: Sandbox, extensions: Extensions, telemetry: Telemetry, clock: Clock, reason: str
) -> None:
    """SIGTERM for the runtime, then SHUTDOWN for the external extensions; nothing without any.

    reason: "spindown", "timeout" or "failure".
    """
    if not extensions.any:
        return
    budget = EXTERNAL_SECONDS if extensions.external else INTERNAL_SECONDS
    until = clock.monotonic() + budget
    sandbox.terminate()
    await asyncio.wait((sandbox.exited,), timeout=budget * RUNTIME_PART)
    left = max(0.0, until - clock.monotonic())
    extensions.shut_down(reason, int((clock.time() + left) * 1000))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(left):
            await telemetry.drain()
            while extensions.living:
                await asyncio.sleep(_LOOK_SECONDS)
