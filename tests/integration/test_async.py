"""Asynchronous invocation with real servers: accepted is kept, whatever happens to the server."""

from __future__ import annotations

import json
import os
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

from lambent.cli.client import Client, profile
from tests.conftest import ROLE, RUNTIME, Functions, Server, allow, make_zip, start_server
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


# How often the server is killed; more where there is time (LAMBENT_KILLS=300).
KILLS = int(os.environ.get("LAMBENT_KILLS", "20"))

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


class World:
    """A server that is killed again and again, and another that keeps its queues."""

    def __init__(
        self, servers: Callable[..., Server], remote: Server, folder: Path, dice: random.Random
    ) -> None:
        self.remote = remote
        self.where = folder / "runs"
        self.dice = dice
        self.accepted: dict[int, tuple[str, str]] = {}
        self._sent = 0
        prefix = "LAMBENT_NEIGHBOURS_SQS_"
        environment = {
            prefix + "ENDPOINT": remote.endpoint,
            prefix + "ACCESS_KEY_ID": remote.key["access_key_id"],
            prefix + "SECRET_ACCESS_KEY": remote.key["secret_access_key"],
        }
        flags = ("--isolation", "process", "--event-retry-seconds", "0.05")

        def start() -> Server:
            return servers(*flags, environment=environment)

        self._start = start
        self.server = self._start()
        self._queues: dict[str, Any] = {}
        sqs = remote.client("sqs")
        for name in ("success", "failure", "dead"):
            self._queues[name] = sqs.create_queue(QueueName=f"{name}-{dice.random()}"[2:40])
        self._create()

    def _create(self) -> None:
        client, iam = self.server.client(), self.server.client("iam")
        iam.put_role_policy(
            RoleName="lambda", PolicyName="send", PolicyDocument=allow("sqs:SendMessage")
        )

        def arn(name: str) -> str:
            queue = str(self._queues[name]["QueueUrl"]).rpartition("/")[2]
            return f"arn:aws:sqs:us-east-1:000000000000:{queue}"

        for name, more in (("told", {}), ("buried", {"TargetArn": arn("dead")})):
            client.create_function(
                FunctionName=name,
                Runtime=RUNTIME,
                Role=ROLE,
                Handler="app.handler",
                Code={"ZipFile": make_zip({"app.py": _WRITER})},
                Environment={"Variables": {"WHERE": str(self.where)}},
                **({"DeadLetterConfig": more} if more else {}),
            )
            client.get_waiter("function_active_v2").wait(FunctionName=name)
        client.put_function_event_invoke_config(
            FunctionName="told",
            DestinationConfig={
                "OnSuccess": {"Destination": arn("success")},
                "OnFailure": {"Destination": arn("failure")},
            },
        )

    def live(self) -> None:
        """Send from four clients until the server is killed, at an instant nobody chose."""
        first = self._sent
        self._sent += 4_000_000
        threads = [
            threading.Thread(target=self._send, args=(first + each * 1_000_000,))
            for each in range(4)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.05 + self.dice.random() * 0.6)
        self.server.kill()
        for thread in threads:
            thread.join()
        self.server = self._start()

    def _send(self, number: int) -> None:
        client = self.server.client()
        while True:
            number += 1
            name = "told" if number % 2 else "buried"
            try:
                answer = client.invoke(
                    FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": number})
                )
                answer["Payload"].read()
            except (BotoCoreError, ClientError):
                break
            self.accepted[number] = (name, answer["ResponseMetadata"]["RequestId"])
        client.close()

    def runs(self) -> Counter[tuple[int, str]]:
        """How often each number was run, under which request's id."""
        lines = self.where.read_text().splitlines() if self.where.exists() else []
        return Counter((int(n), request) for n, request in map(str.split, lines))

    def everything_ran(self) -> bool:
        seen = self.runs()
        return all(
            seen[number, request] >= (3 if number % 5 == 0 else 1)
            for number, (_, request) in self.accepted.items()
        )

    def nothing_waits(self) -> bool:
        here = profile(self.server.data, self.server.endpoint)
        answer = Client(here).request("GET", "/_lambent/events").json()
        return not any(each["waiting"] or each["failed"] for each in answer["events"])

    def ends(self, name: str) -> set[str]:
        """The request ids that a queue was told of."""
        sqs, url = self.remote.client("sqs"), self._queues[name]["QueueUrl"]
        found: set[str] = set()
        while True:
            messages = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                VisibilityTimeout=600,
            ).get("Messages", [])
            if not messages:
                return found
            for each in messages:
                if name == "dead":
                    found.add(each["MessageAttributes"]["RequestID"]["StringValue"])
                else:
                    found.add(json.loads(each["Body"])["requestContext"]["requestId"])


# What urllib3 leaves of a connection that is cut in the middle of an answer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_was_accepted_runs_and_ends_in_one_way_whenever_the_server_is_killed(
    servers: Callable[..., Server], tmp_path: Path
) -> None:
    remote = start_server(tmp_path / "remote")
    world = World(servers, remote, tmp_path, random.Random("kills"))
    for _ in range(KILLS):
        world.live()
    assert len(world.accepted) > 10 * KILLS
    assert eventually(world.everything_ran, 120)
    assert eventually(world.nothing_waits, 120)
    # The request's id stays the same, whoever runs it.
    by_number: dict[int, set[str]] = {}
    for number, request in world.runs():
        by_number.setdefault(number, set()).add(request)
    assert all(len(by_number[number]) == 1 for number in world.accepted)
    ends = {name: world.ends(name) for name in ("success", "failure", "dead")}
    for number, (name, request) in world.accepted.items():
        told = {end for end, requests in ends.items() if request in requests}
        failed = number % 5 == 0
        expected = ("failure" if failed else "success") if name == "told" else "dead" * failed
        assert told == ({expected} if expected else set()), (number, name, told)
    print(f"{KILLS} kills, {len(world.accepted)} events")
    assert remote.stop() == 0
