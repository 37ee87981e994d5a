"""Asynchronous invocation: how fast events are taken in and worked off; what a full queue costs.

The reference for taking in is 32 writers of one row each that share commits, and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from lambent.aws import sigv4
from lambent.cli.client import Client, profile
from lambent.queue.base import Event
from lambent.queue.sqlite import SqliteQueue
from tests.conftest import Server, make_zip, start_server

CLIENTS, ROUNDS, SECONDS = 32, 5, 1.0
MANY, DRAINED = 1_000_000, 20_000
BODY = b'{"hello": "world", "numbers": [1, 2, 3]}'
ACCOUNT, REGION = "000000000000", "us-east-1"
# What the other function takes while a million events of the noisy one wait.
QUIET_SECONDS = 0.2
_SLEEPER = "import time\ndef handler(event, context):\n    time.sleep(600)\n"
_QUIET = (
    "import time\n"
    "def handler(event, context):\n"
    "    print('EVENT', time.time() - event['sent'])\n"
    f"    time.sleep({QUIET_SECONDS})\n"
)


class Reference:
    """Rows written in groups by a thread."""

    def __init__(self, path: Path) -> None:
        self.jobs: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
        self.loop = asyncio.get_running_loop()
        self.thread = threading.Thread(target=self.run, args=(path,))
        self.thread.start()

    def run(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, body BLOB)")
        while (job := self.jobs.get()) is not None:
            batch = [job]
            while not self.jobs.empty() and (more := self.jobs.get()) is not None:
                batch.append(more)
            connection.execute("BEGIN")
            for _ in batch:
                connection.execute("INSERT INTO t (body) VALUES (?)", (BODY,))
            connection.execute("COMMIT")
            self.loop.call_soon_threadsafe(settle, batch)
        connection.close()

    async def put(self) -> None:
        future = self.loop.create_future()
        self.jobs.put(future)
        await future


def settle(batch: list[asyncio.Future[None]]) -> None:
    for future in batch:
        future.set_result(None)


async def rate(put: Callable[[], Awaitable[Any]]) -> float:
    """How often a second so many clients put."""
    until = time.perf_counter() + SECONDS
    counts = [0] * CLIENTS

    async def client(number: int) -> None:
        while time.perf_counter() < until:
            await put()
            counts[number] += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return sum(counts) / SECONDS


def event(number: int, function: str = "f") -> Event:
    return Event(f"{number:036d}", ACCOUNT, REGION, function, None, BODY, time.time())


def compared() -> tuple[float, float]:
    """Puts a second into the queue, and into the reference."""

    async def main(folder: Path) -> tuple[float, float]:
        reference = Reference(folder / "r.db")
        base = await rate(reference.put)
        reference.jobs.put(None)
        reference.thread.join()
        ours = SqliteQueue(folder / "q.db")
        await ours.open()
        numbers = itertools.count()
        found = await rate(lambda: ours.put(event(next(numbers)), time.time()))
        await ours.close()
        return found, base

    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(main(Path(folder)))


def signed(server: Server, name: str) -> bytes:
    path = f"/2015-03-31/functions/{name}/invocations"
    headers = sigv4.sign_headers(
        "POST", path, "",
        {"host": urlsplit(server.endpoint).netloc, "x-amz-invocation-type": "Event"}, BODY,
        server.key["access_key_id"], server.key["secret_access_key"], REGION, "lambda",
        datetime.now(UTC),
    )  # fmt: skip
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}content-length: {len(BODY)}\r\n\r\n".encode() + BODY


def enqueue(table: Any, create: Any, load: Any) -> None:
    """Over HTTP, while a few of the events run, and sleep."""
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data", "--drain-seconds", "0")
        create(server.client(), "sleeper", make_zip({"app.py": _SLEEPER}), Timeout=900)
        port = int(urlsplit(server.endpoint).port or 0)
        load(port, CLIENTS, 2.0, signed(server, "sleeper"))
        rates = [
            load(port, CLIENTS, SECONDS, signed(server, "sleeper"))["rate"] for _ in range(ROUNDS)
        ]
        server.stop()
    pairs = [compared() for _ in range(ROUNDS)]
    ratios = [ours / base for ours, base in pairs]
    print(f"     into the queue {pairs[-1][0]:.0f}/s against {pairs[-1][1]:.0f}/s")
    table.add(
        "events taken in over HTTP, 32 clients, a second", statistics.median(rates), 5000, False
    )
    table.add(
        "events into the queue / raw inserts in groups", statistics.median(ratios), 0.4, False
    )


async def _seed(path: Path, function: str, count: int) -> None:
    """Fill a queue faster than clients could."""
    filled = SqliteQueue(path)
    await filled.open()
    for first in range(0, count, 1_000):
        puts = [event(n, function) for n in range(first, min(first + 1_000, count))]
        await asyncio.gather(*(filled.put(each, each.accepted) for each in puts))
    await filled.close()


def waiting(server: Server, function: str) -> int:
    """How many events of a function wait or run."""
    answer = Client(profile(server.data, server.endpoint)).request("GET", "/_lambent/events")
    return sum(e["waiting"] for e in answer.json()["events"] if e["function"] == function)


def drain(table: Any, create: Any, load: Any, sync: Any) -> None:
    """Working off a queue against synchronous invocations of the same function."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        server = start_server(data)
        create(server.client(), "echo")
        server.stop()
        ratios = []
        for _ in range(3):
            asyncio.run(_seed(data / "queue.db", "echo", DRAINED))
            server = start_server(data, "--requests-per-environment", "0")
            while waiting(server, "echo") > DRAINED - 2_000:
                time.sleep(0.005)  # the start, and the first environments
            first, began = waiting(server, "echo"), time.perf_counter()
            while (left := waiting(server, "echo")) > 2_000:
                time.sleep(0.05)
            drained = (first - left) / (time.perf_counter() - began)
            while waiting(server, "echo"):
                time.sleep(0.05)
            port = int(urlsplit(server.endpoint).port or 0)
            load(port, CLIENTS, 1.0, sync(server, "echo"))
            ratios.append(drained / load(port, CLIENTS, SECONDS, sync(server, "echo"))["rate"])
            server.stop()
        print(f"     {drained:.0f}/s worked off")
    table.add("events worked off / synchronous invocations", statistics.median(ratios), 0.7, False)


def depth(table: Any) -> None:
    """A queue with a million events of a function against an empty one, asked alternately."""

    async def turn(each: SqliteQueue, numbers: Any) -> tuple[float, float]:
        """Seconds to put 32 events 50 times, and to lease and acknowledge as many."""
        began = time.perf_counter()
        for _ in range(50):
            await asyncio.gather(
                *(each.put(event(next(numbers)), time.time()) for _ in range(CLIENTS))
            )
        put = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(50):
            leased, _following = await each.lease(event(0).shard, time.time(), CLIENTS)
            assert len(leased) == CLIENTS
            await asyncio.gather(*(each.ack(one) for one in leased))
        return put, time.perf_counter() - began

    async def main(folder: Path) -> tuple[float, float]:
        await _seed(folder / "full.db", "f", MANY)
        queues = [SqliteQueue(folder / name) for name in ("empty.db", "full.db")]
        for each in queues:
            await each.open()
        numbers = iter(range(10**9, 10**10))
        puts, leases = [], []
        for _ in range(2 * ROUNDS):
            empty, full = [await turn(each, numbers) for each in queues]
            puts.append(full[0] / empty[0])
            leases.append(full[1] / empty[1])
        for each in queues:
            await each.close()
        return statistics.median(puts), statistics.median(leases)

    with tempfile.TemporaryDirectory() as folder:
        put, lease = asyncio.run(main(Path(folder)))
    table.add("taking in with a million queued / none", put, 1.5, True)
    table.add("leasing and done with a million queued / none", lease, 1.5, True)


def fairness(table: Any, create: Any) -> None:
    """How long an event waits while a million of another function do."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        server = start_server(data)
        client = server.client()
        create(client, "noisy")
        create(client, "quiet", make_zip({"app.py": _QUIET}))
        server.stop()
        asyncio.run(_seed(data / "queue.db", "noisy", MANY))
        server = start_server(data, "--drain-seconds", "0")
        client = server.client()
        client.invoke(FunctionName="quiet", Payload=json.dumps({"sent": time.time()}))
        time.sleep(5)
        for _ in range(20):
            payload = json.dumps({"sent": time.time()})
            client.invoke(FunctionName="quiet", InvocationType="Event", Payload=payload)
            time.sleep(0.3)
        assert waiting(server, "noisy") > MANY / 2
        logs = server.client("logs")
        delays: list[float] = []
        while len(delays) < 21:
            found = logs.filter_log_events(logGroupName="/aws/lambda/quiet", filterPattern="EVENT")
            delays = [float(each["message"].split()[1]) for each in found["events"]]
        server.stop()
    table.add(
        "an event's wait while a million of another's do / its run",
        max(delays[1:]) / QUIET_SECONDS, 2.0, True,
    )  # fmt: skip


def run(table: Any, create: Any, load: Any, sync: Any) -> None:
    """All of it."""
    enqueue(table, create, load)
    drain(table, create, load, sync)
    depth(table)
    fairness(table, create)
