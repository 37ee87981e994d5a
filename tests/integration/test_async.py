"""Asynchronous invocation with real servers: accepted is kept, whatever happens to the server."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import ROLE, RUNTIME, Functions, Server, make_zip
from tests.integration.test_neighbours import eventually


def events_of(server: Server, name: str) -> list[str]:
    """What a function printed after EVENT."""
    found = server.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{name}", filterPattern="EVENT"
    )["events"]
    return [each["message"].partition(" ")[2].strip() for each in found]


def test_an_event_is_accepted_and_run_later(functions: Functions) -> None:
    name = functions.create(
        "def handler(e, c):\n    print('EVENT', e['n'], c.aws_request_id, c.client_context)\n"
    )
    answer = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    request = answer["ResponseMetadata"]["RequestId"]
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert eventually(lambda: events_of(functions.server, name)) == [f"1 {request} None"]
    older = functions.client.invoke_async(FunctionName=name, InvokeArgs=b'{"n": 2}')
    assert older["Status"] == 202
    assert eventually(lambda: events_of(functions.server, name)[1:])[0].startswith("2 ")


def test_what_cannot_be_queued_is_refused_at_once(functions: Functions) -> None:
    name = functions.create("def handler(e, c): pass")

    def refused(**parameters: Any) -> str:
        with pytest.raises(ClientError) as caught:
            functions.client.invoke(InvocationType="Event", **parameters)
        return str(caught.value.response["Error"]["Code"])

    large = json.dumps("x" * (1024 * 1024 - 1)).encode()
    code = "SerializedRequestEntityTooLargeException"
    assert refused(FunctionName=name, Payload=large) == code
    assert refused(FunctionName=name, Payload=b"{") == "InvalidRequestContentException"
    assert refused(FunctionName="nobody", Payload=b"{}") == "ResourceNotFoundException"
    fits = json.dumps("x" * (1024 * 1024 - 2)).encode()
    answer = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=fits)
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")


def test_the_aws_cli_invokes_asynchronously(functions: Functions, tmp_path: Path) -> None:
    name = functions.create("def handler(e, c):\n    print('EVENT', e)\n")
    server = functions.server
    aws = [sys.executable, str(Path(sys.executable).with_name("aws")), "lambda", "invoke"]
    done = subprocess.run(
        [*aws, "--function-name", name, "--invocation-type", "Event", str(tmp_path / "out")],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": server.key["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": server.key["secret_access_key"],
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"StatusCode": 202}
    assert eventually(lambda: events_of(server, name)) == ["{}"]


# Writes each request's id where a crash of the server cannot take it back, and fails some.
_WRITER = """
import os

def handler(event, context):
    line = f"{event['n']} {context.aws_request_id}\\n".encode()
    descriptor = os.open(os.environ["WHERE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)
    if event["n"] % 5 == 0:
        raise ValueError("every fifth")
"""


# What urllib3 leaves of a connection that is cut in the middle of an answer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(4))
def test_what_was_accepted_runs_whenever_the_server_is_killed(
    servers: Callable[..., Server], tmp_path: Path, seed: int
) -> None:
    dice = random.Random(f"async {seed}")
    where = tmp_path / "runs"
    flags = ("--isolation", "process", "--event-retry-seconds", "0.05")
    server = servers(*flags)
    server.client().create_function(
        FunctionName="writer",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": make_zip({"app.py": _WRITER})},
        Environment={"Variables": {"WHERE": str(where)}},
    )
    server.client().get_waiter("function_active_v2").wait(FunctionName="writer")
    accepted: dict[int, str] = {}
    for life in range(3):
        ended = threading.Event()

        def send(first: int, server: Server = server, ended: threading.Event = ended) -> None:
            client = server.client()
            for number in range(first, first + 100_000):
                try:
                    answer = client.invoke(
                        FunctionName="writer",
                        InvocationType="Event",
                        Payload=json.dumps({"n": number}),
                    )
                except (BotoCoreError, ClientError):
                    break
                accepted[number] = answer["ResponseMetadata"]["RequestId"]
                if ended.is_set():
                    break
            client.close()

        senders = [
            threading.Thread(target=send, args=((life * 4 + each) * 100_000,)) for each in range(4)
        ]
        for sender in senders:
            sender.start()
        time.sleep(0.3 + dice.random())
        server.kill()
        ended.set()
        for sender in senders:
            sender.join()
        server = servers(*flags)

    def runs() -> Counter[tuple[int, str]]:
        lines = where.read_text().splitlines() if where.exists() else []
        return Counter((int(n), request) for n, request in map(str.split, lines))

    def everything() -> bool:
        seen = runs()
        return all(
            seen[number, request] >= (3 if number % 5 == 0 else 1)
            for number, request in accepted.items()
        )

    assert len(accepted) > 50
    assert eventually(everything, 60)
    # The request's id stays the same, whoever runs it.
    by_number: dict[int, set[str]] = {}
    for number, request in runs():
        by_number.setdefault(number, set()).add(request)
    assert all(len(by_number[number]) == 1 for number in accepted)
