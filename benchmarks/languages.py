"""Cold and warm starts of each language, and what memory and the size of a package make of them."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import Server, make_zip
from tests.contract.test_sandbox import make, spec
from tests.official.functions import ROOT, SUBJECTS

COLD_ROUNDS = 25
# Bounds in milliseconds, first Invoke to response, p50.
BOUNDS = {"python": 20.0, "node": 30.0, "module": 30.0, "java": 120.0, "java25": 80.0, "go": 30.0}


def _options(name: str, memory: int) -> dict[str, Any]:
    subject = SUBJECTS["java" if name == "java25" else name]
    return {
        "Runtime": "java25" if name == "java25" else subject.runtime,
        "Handler": subject.handler,
        "Code": {"ZipFile": make_zip(subject.files(), 0o755)},
        "MemorySize": memory,
    }


def cold(client: Any, create: Callable[..., None], name: str, memory: int, rounds: int) -> float:
    """First invokes of new functions, p50 in milliseconds; time between them to make ready."""
    options = _options(name, memory)
    took = []
    for number in range(rounds):
        function = f"{name}-{memory}-{number}"
        create(client, function, **options)
        time.sleep(0.4 if name.startswith("java") else 0.15)
        began = time.perf_counter()
        answer = client.invoke(FunctionName=function, Payload=b'{"do": ""}')
        took.append(time.perf_counter() - began)
        assert "FunctionError" not in answer, answer["Payload"].read()
        client.delete_function(FunctionName=function)
    return statistics.median(took) * 1000


def run(
    table: Any,
    server: Server,
    create: Callable[..., None],
    load: Callable[..., dict[str, float]],
    signed: Callable[..., bytes],
) -> None:
    """All of it."""
    subprocess.run([str(ROOT / "scripts/setup-official")], check=True)
    client = server.client()
    _cold(table, client, create)
    _warm(table, server, client, create, load, signed)
    _processor(table, client, create)
    _package(table, client, create)
    _freeze(table)


def _freeze(table: Any) -> None:
    """Freezing a sandbox with a process in it and letting it go on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        task = folder / "task"
        task.mkdir(mode=0o755)
        (task / "bootstrap").write_text("#!/bin/sh\nsleep 1000\n")
        (task / "bootstrap").chmod(0o755)

        async def measure() -> float:
            backend = make("namespaces", folder)
            await backend.open()
            sandbox = await backend.start(spec(task))
            sandbox.launch()
            await asyncio.sleep(0.3)
            took = []
            for _ in range(300):
                began = time.perf_counter()
                sandbox.freeze()
                sandbox.freeze(False)
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0.002)
            sandbox.destroy()
            await backend.close()
            return statistics.median(took) * 1000

        table.add("freeze and thaw, p50", asyncio.run(measure()), 0.5, True, " ms")


def _cold(table: Any, client: Any, create: Callable[..., None]) -> None:
    for name, bound in BOUNDS.items():
        big = cold(client, create, name, 2048, COLD_ROUNDS)
        table.add(f"cold start, {name}, 2 GB, p50", big, bound, True, " ms")
        if name in ("python", "node", "go"):
            small = cold(client, create, name, 128, COLD_ROUNDS)
            table.add(f"cold start, {name}, 128 MB / 2 GB", small / big, 1.25, True)


def _warm(
    table: Any,
    server: Server,
    client: Any,
    create: Callable[..., None],
    load: Callable[..., dict[str, float]],
    signed: Callable[..., bytes],
) -> None:
    port = int(urlsplit(server.endpoint).port or 0)
    names = ("python", "node", "go")
    for name in names:
        create(client, f"warm-{name}", **_options(name, 1769))
        load(port, 1, 0.5, signed(server, f"warm-{name}"))
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(5):
        for name in names:
            found[name].append(load(port, 1, 1.0, signed(server, f"warm-{name}"))["p50"])
    base = statistics.median(found["python"])
    print(
        f"     warm p50 in us: { {n: round(statistics.median(v) * 1e6) for n, v in found.items()} }"
    )
    for name in names[1:]:
        ratio = statistics.median(found[name]) / base
        table.add(f"warm invoke, {name} / python, p50", ratio, 1.5, True)


_BURN = """
import time
def handler(event, context):
    began = time.process_time()
    while time.process_time() - began < event["seconds"]:
        pass
"""


def _processor(table: Any, client: Any, create: Callable[..., None]) -> None:
    """The duration of the same work at four sizes, against what the size promises."""
    worst = 0.0
    for memory in (128, 256, 512, 1024, 1769):
        create(client, f"burn-{memory}", make_zip({"app.py": _BURN}), MemorySize=memory, Timeout=60)
        work = 0.15
        event = json.dumps({"seconds": work}).encode()
        took = []
        for _ in range(4):
            began = time.perf_counter()
            client.invoke(FunctionName=f"burn-{memory}", Payload=event)
            took.append(time.perf_counter() - began)
        ratio = statistics.median(took[1:]) / (work * 1769 / memory)
        worst = max(worst, abs(ratio - 1))
    table.add("CPU-bound duration against 1,769 MB / memory, worst deviation", worst, 0.15, True)


def _package(table: Any, client: Any, create: Callable[..., None]) -> None:
    """A 250 MB package (zipped small, as the request's limit has it) against a 1 MB one."""

    def first(megabytes: int, number: int) -> float:
        files: dict[str, str | bytes] = {"app.py": "def handler(e, c): return 1"}
        block = os.urandom(1024) * 1024
        for part in range(megabytes):
            files[f"data/{number}-{part}.bin"] = block
        name = f"package-{megabytes}-{number}"
        create(client, name, make_zip(files) if megabytes < 2 else _zip(files))
        began = time.perf_counter()
        answer = client.invoke(FunctionName=name)
        took = time.perf_counter() - began
        assert "FunctionError" not in answer
        client.delete_function(FunctionName=name)
        return took

    small = statistics.median(first(1, number) for number in range(5))
    large = statistics.median(first(240, number) for number in range(3))
    table.add("first cold start, 240 MB package / 1 MB", large / small, 3.0, True)


def _zip(files: dict[str, str | bytes]) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
