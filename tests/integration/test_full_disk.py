"""A data directory on a disk that runs full: errors for who asks for room, nothing for the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import ROLE, RUNTIME, Functions, Server, make_zip
from tests.integration.test_neighbours import eventually

DISK = 24 << 20
ECHO = "def handler(event, context):\n    print('heard')\n    return event\n"


def on_a_small_disk(data: Path) -> Server:
    """A server in a mount namespace of its own, where its data directory is a small disk."""
    mount = f"mount -t tmpfs -o size={DISK},mode=700 tmpfs {data}"
    namespaces = ["unshare", "--mount"]
    back = ""
    if os.getuid() != 0:
        # Root for the mount alone, then this user again.
        namespaces = ["unshare", "--user", "--map-root-user", "--mount"]
        back = f"unshare --user --map-user={os.getuid()} --map-group={os.getgid()} "
    process = subprocess.Popen(
        [*namespaces, "sh", "-c", f'{mount} && exec {back}"$@"', "sh",
         sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(data)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "ready at" in line, line
    inside = Path(f"/proc/{process.pid}/root", *data.parts[1:])
    key = json.loads((inside / "credentials.json").read_text())
    return Server(process, line.split()[-1], inside, key)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    data = tmp_path / "data"
    data.mkdir()
    server = on_a_small_disk(data)
    yield server
    assert server.stop() == 0


def fill(server: Server) -> Path:
    ballast = server.data / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def refused(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    return str(error.value.response["Error"]["Code"])


def test_a_full_disk_loses_nothing_and_stops_nobody(small: Server) -> None:
    functions = Functions(small, "full")
    client = small.client()
    warm = functions.create(ECHO)
    assert functions.invoke(warm, {"n": 1}).payload == {"n": 1}
    before = client.get_function_configuration(FunctionName=warm)
    ballast = fill(small)

    archive = make_zip({"app.py": ECHO, "random": os.urandom(1 << 20)})
    new = {"Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": archive}}
    assert refused(client.create_function, FunctionName="new", **new) == "ServiceException"
    assert refused(client.update_function_code, FunctionName=warm, ZipFile=archive) == (
        "ServiceException"
    )
    # Small changes may fit into what the log of the database has to spare, until they do not.
    told: list[str] = []
    for number in range(2000):
        try:
            client.update_function_configuration(FunctionName=warm, Description=f"{number}" * 40)
            client.get_waiter("function_updated_v2").wait(
                FunctionName=warm, WaiterConfig={"Delay": 0.01, "MaxAttempts": 500}
            )
            before = client.get_function_configuration(FunctionName=warm)
        except ClientError as error:
            told.append(error.response["Error"]["Code"])
            break
    assert told == ["ServiceException"]

    # An event is taken in or refused, and what was taken in is run.
    taken = []
    for number in range(2000):
        try:
            answer = client.invoke(
                FunctionName=warm, InvocationType="Event", Payload=json.dumps({"n": number})
            )
            answer["Payload"].read()
            taken.append(answer["ResponseMetadata"]["RequestId"])
        except ClientError as error:
            told.append(error.response["Error"]["Code"])
            break
    assert told == ["ServiceException"] * 2

    # Who needs no room does not notice: a warm function, a new environment of it, and reading.
    assert functions.invoke(warm, {"n": 2}).payload == {"n": 2}
    assert client.get_function_configuration(FunctionName=warm) | {"ResponseMetadata": 0} == (
        before | {"ResponseMetadata": 0}
    )
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="new")
    assert not list((small.data / "blobs/incoming").iterdir())

    ballast.unlink()
    logs = small.client("logs")

    def started() -> set[str]:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{warm}", filterPattern="START"
        )
        lines = [each["message"] for page in pages for each in page["events"]]
        return {line.split()[2] for line in lines}

    assert eventually(lambda: set(taken) <= started())
    client.create_function(FunctionName="new", **new)
    client.get_waiter("function_active_v2").wait(
        FunctionName="new", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
    )
    assert functions.invoke("new", {"n": 3}).payload == {"n": 3}
    client.update_function_configuration(FunctionName=warm, Description="room again")
    assert client.get_function_configuration(FunctionName=warm)["Description"] == "room again"
