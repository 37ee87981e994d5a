"""Control operations: how they fare with size, and how many changes a second are taken.

Sizes are compared in one run: a server with ten functions against one with ten thousand, of 20
versions each, asked alternately.  The functions are written into the Store as they would be there
after 200,000 publishes, which would take longer than the benchmark.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lambent.aws import sigv4
from lambent.functions.catalog import PREFIX
from lambent.functions.types import Configuration, Function, FunctionVersion
from lambent.iam.keyring import KeyRing
from lambent.store.repository import Repository
from lambent.store.sealed import SealedStore
from lambent.store.sqlite import SqliteStore
from tests.conftest import ROLE, RUNTIME, Server, start_server

FEW, MANY, VERSIONS = 10, 10_000, 20
CLIENTS = 32


def _function(number: int) -> Function:
    configuration = Configuration(
        RUNTIME, "app.handler", ROLE, "0" * 64, "A" * 44, 1000, 2000,
        environment={"STAGE": "test", "TABLE": "orders"},
    )  # fmt: skip
    latest = FunctionVersion(
        "000000000000", "us-east-1", f"f{number:05}", "$LATEST", configuration,
        "00000000-0000-4000-8000-000000000000", 1.8e9,
    )  # fmt: skip
    versions = {
        str(each): replace(
            latest, version=str(each), configuration=replace(configuration, timeout=each)
        )
        for each in range(1, VERSIONS + 1)
    }
    return Function(latest, versions, VERSIONS)


async def _seed(data: Path, count: int) -> None:
    key = KeyRing.open(data / "secret.key").derive(b"store", b"")
    store = SealedStore(SqliteStore(data / "metadata.db"), key)
    await store.open()
    functions = Repository(store, PREFIX, Function)
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        await asyncio.gather(
            *(
                functions.create(f"000000000000/us-east-1/f{number:05}", _function(number))
                for number in numbers
            )
        )
    await store.close()


def _request(server: Server, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
    headers = sigv4.sign_headers(
        method, path, query,
        {"host": urlsplit(server.endpoint).netloc, "content-type": "application/json"}, body,
        server.key["access_key_id"], server.key["secret_access_key"], "us-east-1", "lambda",
        datetime.now(UTC),
    )  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    target = f"{path}?{query}" if query else path
    head = f"{method} {target} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Caller:
    """One keep-alive connection."""

    async def open(self, server: Server) -> Caller:
        port = urlsplit(server.endpoint).port
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def call(self, request: bytes) -> int:
        """Send a request, read the answer, return its status."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length: ") + 16
        await self._reader.readexactly(int(head[at : head.index(b"\r", at)]))
        return int(head[9:12])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def _sizes(few: Server, many: Server) -> dict[str, float]:
    """Medians at many functions over medians at few."""
    servers = {"few": (few, FEW), "many": (many, MANY)}
    callers = {name: await Caller().open(server) for name, (server, _) in servers.items()}
    took: dict[tuple[str, str], list[float]] = {}
    for turn in range(1500):
        for name, (server, count) in servers.items():
            number = turn * 7919 % count
            path = f"/2015-03-31/functions/f{number:05}"
            for operation, request in (
                ("GetFunction", _request(server, "GET", path)),
                (
                    "ListFunctions",
                    _request(server, "GET", "/2015-03-31/functions", f"MaxItems={FEW}"),
                ),
            ):
                began = time.perf_counter()
                status = await callers[name].call(request)
                took.setdefault((operation, name), []).append(time.perf_counter() - began)
                assert status == 200, status
    for caller in callers.values():
        caller.close()
    return {
        operation: statistics.median(took[operation, "many"])
        / statistics.median(took[operation, "few"])
        for operation in ("GetFunction", "ListFunctions")
    }


async def _updates(server: Server, seconds: float) -> float:
    """Accepted updates a second, each client on functions of its own."""
    accepted = 0
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal accepted
        caller = await Caller().open(server)
        # Two functions in turn: while one is being activated the other is changed.
        for turn in itertools.count():
            if time.perf_counter() > until:
                break
            name = f"f{number * 2 + turn % 2:05}"
            body = json.dumps({"Timeout": 3 + turn % 800}).encode()
            path = f"/2015-03-31/functions/{name}/configuration"
            status = await caller.call(_request(server, "PUT", path, body=body))
            assert status in (200, 409), status
            accepted += status == 200
        caller.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return accepted / (time.perf_counter() - began)


def run(table: Any) -> None:
    """Measure and add to the table."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        started = []
        for name, count in (("few", FEW), ("many", MANY)):
            data = Path(folder) / name
            data.mkdir()
            asyncio.run(_seed(data, count))
            started.append(start_server(data))
            stack.callback(started[-1].stop)
        few, many = started
        for operation, ratio in asyncio.run(_sizes(few, many)).items():
            table.add(f"{operation} at 10,000 functions / at 10", ratio, 2.0, True)
        rate = asyncio.run(_updates(many, 4.0))
        table.add("UpdateFunctionConfiguration at 32 clients", rate, 500, False, "/s")
