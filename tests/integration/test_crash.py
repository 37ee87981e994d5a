"""kill -9 at any moment: nothing acknowledged is lost, nothing is left after the next start."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROLE, RUNTIME, Server, make_zip

CODE = make_zip(
    {"app.py": "import time\ndef handler(e, c):\n    time.sleep(e.get('s', 0))\n    return e"}
)


def _create(client: Any, name: str) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Handler="app.handler",
        Role=ROLE,
        Timeout=60,
        Code={"ZipFile": CODE},
    )


def _descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


def _gone(pids: set[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_functions_survive_and_nothing_is_left_behind(servers: Callable[..., Server]) -> None:
    server = servers()
    client = server.client()
    _create(client, "kept")
    client.publish_version(FunctionName="kept")
    thread = threading.Thread(target=_invoke_until_broken, args=(client,))
    thread.start()
    while not (mine := _descendants(server.process.pid)) or len(mine) < 4:
        pass
    server.kill()
    thread.join()
    again = servers()
    assert again.key == server.key
    client = again.client()
    assert client.get_function(FunctionName="kept:1")["Configuration"]["Version"] == "1"
    client.get_waiter("function_active_v2").wait(
        FunctionName="kept", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
    )
    answer = client.invoke(FunctionName="kept", Payload=b'{"a": 1}')
    assert answer["Payload"].read() == b'{"a": 1}'
    deadline = time.monotonic() + 10
    while not _gone(mine) and time.monotonic() < deadline:
        os.sched_yield()
    assert _gone(mine)
    assert list((again.data / "blobs/incoming").iterdir()) == []
    assert not [p for p in (again.data / "code").iterdir() if p.name.startswith(".")]
    assert again.stop() == 0
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{_group_name(again.data)}"))


def _group_name(data: Path) -> str:
    import hashlib

    return "lambent-" + hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]


def _invoke_until_broken(client: Any) -> None:
    try:
        client.invoke(FunctionName="kept", Payload=b'{"s": 60}')
    except Exception:
        return


@pytest.mark.parametrize("seed", range(4))
def test_what_was_acknowledged_is_there_after_a_kill_at_any_instant(
    servers: Callable[..., Server], seed: int
) -> None:
    server = servers()
    client = server.client()
    acknowledged: list[str] = []
    deleted: list[str] = []

    def work() -> None:
        try:
            for number in range(1000):
                name = f"f{number}"
                _create(client, name)
                acknowledged.append(name)
                if number % 3 == 2:
                    client.delete_function(FunctionName=f"f{number - 1}")
                    deleted.append(f"f{number - 1}")
        except Exception:
            return

    thread = threading.Thread(target=work)
    thread.start()
    enough = random.Random(seed).randint(3, 25)
    while len(acknowledged) < enough:
        os.sched_yield()
    server.kill()
    thread.join()
    client = servers().client()
    pages = client.get_paginator("list_functions").paginate()
    there = {each["FunctionName"] for page in pages for each in page["Functions"]}
    # The deletion that was under way when the server died may have happened or not.
    uncertain = {f"f{len(acknowledged) - 2}"}
    assert set(acknowledged) - set(deleted) - uncertain <= there
    assert not set(deleted) & there
    name = next(each for each in acknowledged if each in there)
    assert client.invoke(FunctionName=name, Payload=b'{"n": 7}')["Payload"].read() == b'{"n": 7}'


def test_frozen_environments_die_with_the_server(servers: Callable[..., Server]) -> None:
    server = servers("--freeze-seconds", "0.01")
    client = server.client()
    _create(client, "frozen")
    client.invoke(FunctionName="frozen")
    mine = _descendants(server.process.pid)
    pause = time.monotonic() + 0.3
    while time.monotonic() < pause:
        os.sched_yield()
    server.kill()
    deadline = time.monotonic() + 10
    while not _gone(mine) and time.monotonic() < deadline:
        os.sched_yield()
    assert _gone(mine)
    assert servers().stop() == 0  # takes the empty groups away


def test_a_second_server_on_the_same_data_is_refused(
    servers: Callable[..., Server], capfd: pytest.CaptureFixture[str]
) -> None:
    servers()
    with pytest.raises(RuntimeError):
        servers()
    assert "another server is using the data directory" in capfd.readouterr().err


def test_a_client_that_hangs_up_leaves_the_function_running(
    servers: Callable[..., Server],
) -> None:
    import socket
    from datetime import UTC, datetime
    from urllib.parse import urlsplit

    from lambent.aws.sigv4 import sign_headers

    server = servers()
    client = server.client()
    code = make_zip(
        {"app.py": "import time\ndef handler(e, c):\n    time.sleep(0.3)\n    print('finished')"}
    )
    client.create_function(
        FunctionName="f", Runtime=RUNTIME, Handler="app.handler", Role=ROLE, Code={"ZipFile": code}
    )
    host = urlsplit(server.endpoint)
    path = "/2015-03-31/functions/f/invocations"
    headers = sign_headers(
        "POST", path, "", {"host": host.netloc}, b"{}",
        server.key["access_key_id"], server.key["secret_access_key"],
        "us-east-1", "lambda", datetime.now(UTC),
    )  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((host.hostname, host.port)) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{lines}Content-Length: 2\r\n\r\n{{}}".encode())
    logs = server.client("logs")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            events = logs.filter_log_events(logGroupName="/aws/lambda/f")["events"]
        except logs.exceptions.ResourceNotFoundException:
            continue
        if any(event["message"].startswith("REPORT") for event in events):
            break
    messages = [event["message"] for event in events]
    assert "finished" in messages
