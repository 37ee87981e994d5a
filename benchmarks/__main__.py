"""``scripts/bench``: measures, prints a table, exits 1 where a bound is missed."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import authorization, control, events, languages, urls
from lambent.aws import sigv4
from tests.conftest import ROLE, RUNTIME, Server, make_zip, start_server

ECHO = make_zip({"app.py": "def handler(event, context): return event"})
BODY = b'{"hello": "world", "numbers": [1, 2, 3]}'
ROUNDS = 5


class Table:
    """Figures as they come, and whether all bounds held."""

    def __init__(self) -> None:
        self.failed = False

    def add(self, name: str, value: float, bound: float, at_most: bool, unit: str = "") -> None:
        fine = value <= bound if at_most else value >= bound
        self.failed |= not fine
        sign = "<=" if at_most else ">="
        print(
            f"{'ok  ' if fine else 'MISS'} {name:<58} {value:10.2f}{unit} ({sign} {bound:g}{unit})",
            flush=True,
        )


def load(port: int, clients: int, seconds: float, request: bytes) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", str(port), str(clients), str(seconds)],
        input=request,
        capture_output=True,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout)
    assert not result["errors"], result
    return result


def create(client: Any, name: str, code: bytes = ECHO, **options: Any) -> None:
    client.create_function(
        **{
            "FunctionName": name, "Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE,
            "MemorySize": 1769, "Code": {"ZipFile": code}, **options,
        }
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
    )


def signed(server: Server, name: str, body: bytes = BODY) -> bytes:
    host = urlsplit(server.endpoint).netloc
    path = f"/2015-03-31/functions/{name}/invocations"
    headers = sigv4.sign_headers(
        "POST", path, "",
        {"host": host, "content-type": "application/json", "user-agent": "bench"}, body,
        server.key["access_key_id"], server.key["secret_access_key"], "us-east-1", "lambda",
        datetime.now(UTC),
    )  # fmt: skip
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def warm(table: Table, server: Server) -> None:
    """Warm invokes against the reference, alternating."""
    client = server.client()
    create(client, "echo")
    port = int(urlsplit(server.endpoint).port or 0)
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.reference"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reference:
        assert reference.stdout is not None and reference.stdin is not None
        theirs = int(reference.stdout.readline())
        plain = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
        p50s, rates = [], []
        for clients in (1, 32):
            load(port, clients, 1.0, signed(server, "echo"))
            for _ in range(ROUNDS):
                base = load(theirs, clients, 1.0, plain)
                ours = load(port, clients, 1.0, signed(server, "echo"))
                if clients == 1:
                    p50s.append(ours["p50"] / base["p50"])
                    latest = ours["p50"], base["p50"]
                else:
                    rates.append(ours["rate"] / base["rate"])
                    fastest = ours["rate"], base["rate"]
        reference.stdin.close()
    print(f"     p50 {latest[0] * 1e6:.0f} us against {latest[1] * 1e6:.0f} us; "
          f"{fastest[0]:.0f}/s against {fastest[1]:.0f}/s")  # fmt: skip
    table.add("warm invoke, p50 at 1 client / reference", statistics.median(p50s), 2.5, True)
    table.add("warm invoke, rate at 32 clients / reference", statistics.median(rates), 0.4, False)


def first_invokes(client: Any, count: int, prefix: str, **options: Any) -> float:
    took = []
    for number in range(count):
        create(client, f"{prefix}{number}", **options)
        began = time.perf_counter()
        answer = client.invoke(FunctionName=f"{prefix}{number}", Payload=BODY)
        took.append(time.perf_counter() - began)
        assert "FunctionError" not in answer, answer["Payload"].read()
        client.delete_function(FunctionName=f"{prefix}{number}")
    return statistics.median(took) * 1000


def cold(table: Table, server: Server) -> None:
    client = server.client()
    table.add("cold start from the zygote, p50", first_invokes(client, 40, "c"), 20, True, " ms")
    fresh = {"Environment": {"Variables": {"PYTHONUTF8": "1"}}}
    table.add("cold start by exec, p50", first_invokes(client, 20, "x", **fresh), 50, True, " ms")


def burst(table: Table, server: Server) -> None:
    """100 first invokes of one new function at once, from a process that is not the server's."""
    client = server.client()
    walls = []
    for number in range(3):
        name = f"burst{number}"
        create(client, name)

        def first(_: int, name: str = name) -> Any:
            return client.invoke(FunctionName=name, Payload=BODY)

        with ThreadPoolExecutor(100) as threads:
            list(threads.map(str, range(100)))
            began = time.perf_counter()
            answers = list(threads.map(first, range(100)))
            walls.append(time.perf_counter() - began)
        assert all("FunctionError" not in each for each in answers)
    table.add("100 first invokes at once, wall", statistics.median(walls), 2.0, True, " s")


def rss(pid: int, field: str = "VmRSS", file: str = "status") -> float:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def memory(table: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        start_server(data).stop()
        began = time.perf_counter()
        server = start_server(data, "--prepared", "0")
        table.add("second start, until it greets", time.perf_counter() - began, 1.0, True, " s")
        table.add("server after its start, RSS", rss(server.process.pid), 80, True, " MB")
        client = server.client()
        create(client, "hello")
        for each in range(12):
            create(client, f"hello{each}")
            client.invoke(FunctionName=f"hello{each}")
        agent = children(server.process.pid)[0]
        # The agent's other child is the name server of functions.
        environments = max((children(each) for each in children(agent)), key=len)
        sizes = []
        for init in environments:
            pids = [init, *children(init)]
            sizes.append(sum(rss(pid, "Pss", "smaps_rollup") for pid in pids))
        table.add("idle hello-world environment, PSS", statistics.median(sizes), 6, True, " MB")
        server.stop()


def thousand(table: Table) -> None:
    """1,000 environments kept warm on one machine, invoked in turn, none lost."""
    source = "import os\nx = os.urandom(8).hex()\ndef handler(e, c): return x"
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data", "--idle-seconds", "3600")
        client = server.client()
        code = make_zip({"app.py": source})
        seen = {}
        for number in range(1000):
            create(client, f"f{number}", code, MemorySize=128)
            answer = client.invoke(FunctionName=f"f{number}")
            seen[number] = answer["Payload"].read()
        kept = sum(
            client.invoke(FunctionName=f"f{number}")["Payload"].read() == seen[number]
            for number in range(1000)
        )
        table.add("environments of 1,000 still warm in the second round", kept, 1000, False)
        server.stop()


def main() -> int:
    """Run what is asked for, or everything."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    names = ["warm", "cold", "burst", "memory", "thousand", "control", "languages", "authorization"]
    names += ["events", "urls"]
    parser.add_argument("names", nargs="*", metavar="|".join(names))
    chosen = parser.parse_args().names or names
    table = Table()
    print(f"{os.cpu_count()} cores, {RUNTIME}, uid {os.getuid()}")
    with tempfile.TemporaryDirectory() as folder:
        # AWS's 10,000 requests a second are fewer than are measured here.
        server = start_server(Path(folder) / "data", "--requests-per-environment", "0")
        for name, run in (("warm", warm), ("cold", cold), ("burst", burst)):
            if name in chosen:
                run(table, server)
        if "languages" in chosen:
            languages.run(table, server, create, load, signed)
        server.stop()
    if "memory" in chosen:
        memory(table)
    if "thousand" in chosen:
        thousand(table)
    if "authorization" in chosen:
        authorization.run(table)
    if "events" in chosen:
        events.run(table, create, load, signed)
    if "urls" in chosen:
        urls.run(table, create, load, signed)
    if "control" in chosen:
        control.run(table)
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
