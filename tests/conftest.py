"""Fixtures all tests share: real servers on real sandboxes, and clients that know them."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

_NUMBERS = itertools.count()
ROLE = "arn:aws:iam::000000000000:role/lambda"
RUNTIME = f"python3.{sys.version_info.minor}"


def make_zip(files: Mapping[str, str | bytes], mode: int = 0o644) -> bytes:
    """An archive with readable files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return buffer.getvalue()


@dataclass
class Server:
    """A server process, and how to reach and end it."""

    process: subprocess.Popen[str]
    endpoint: str
    data: Path
    key: dict[str, str]

    def client(self, service: str = "lambda", **options: Any) -> Any:
        """A boto3 client that does not retry."""
        config = Config(
            retries={"total_max_attempts": 1},
            read_timeout=60,
            max_pool_connections=200,
            **options,
        )
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key["access_key_id"],
            aws_secret_access_key=self.key["secret_access_key"],
            config=config,
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it in order; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def start_server(
    data: Path, *flags: str, environment: dict[str, str] | None = None, user: int | None = None
) -> Server:
    """Start a server on a free port, as another user if one is named; wait for its greeting."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(data), *flags],
        stdout=subprocess.PIPE,
        text=True,
        # No test talks to the outside; tests/network has a world of its own.
        env={"LAMBENT_FUNCTION_NETWORK": "none", **os.environ, **(environment or {})},
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "ready at" not in line:
        process.wait(timeout=10)
        process.stdout.close()
        raise RuntimeError(f"the server did not start: {line!r}")
    key = json.loads((data / "credentials.json").read_text())
    return Server(process, line.split()[-1], data, key)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not harm it."""
    started = start_server(tmp_path_factory.mktemp("server"))
    yield started
    assert started.stop() == 0


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on this test's own data directory."""
    started: list[Server] = []

    def start(*flags: str, environment: dict[str, str] | None = None) -> Server:
        server = start_server(tmp_path / "data", *flags, environment=environment)
        started.append(server)
        return server

    yield start
    for each in started:
        if each.process.poll() is None:
            each.stop()
        elif each.process.stdout is not None:
            each.process.stdout.close()


def allow(action: str | list[str], resource: str = "*", **more: Any) -> str:
    """A policy of one statement."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


class User:
    """A user with a key, and clients that carry it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.iam = server.client("iam")
        self.iam.create_user(UserName=name)
        self.key = self.iam.create_access_key(UserName=name)["AccessKey"]

    def client(self, service: str, **changes: Any) -> Any:
        """A boto3 client with this user's key, or with what changes say instead."""
        return boto3.client(
            service,
            **{
                "endpoint_url": self.server.endpoint,
                "region_name": "us-east-1",
                "aws_access_key_id": self.key["AccessKeyId"],
                "aws_secret_access_key": self.key["SecretAccessKey"],
                **changes,
            },
        )

    def may(self, policy: str, name: str = "may") -> None:
        """Give the user an inline policy, or another in place of it."""
        self.iam.put_user_policy(UserName=self.name, PolicyName=name, PolicyDocument=policy)


def total(server: Server, metric: str, whose: str, dimension: str = "FunctionName") -> float:
    """The sum of a metric in the last hour, of a function or what another dimension names."""
    now = time.time()
    points = server.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": dimension, "Value": whose}],
        StartTime=now - 3600,
        EndTime=now + 60,
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(each["Sum"] for each in points))


def fetch(request: str | urllib.request.Request) -> tuple[int, bytes, dict[str, str]]:
    """Ask by HTTP: the answer's status, body and headers (lower-case), whatever the status."""

    def told(answer: Any) -> tuple[int, bytes, dict[str, str]]:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, answer.read(), headers

    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return told(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return told(refused)


@dataclass
class Answer:
    """An invocation's answer, read."""

    payload: Any
    error: str | None
    log: str
    raw: Any


class Functions:
    """Creates functions with names of their own and removes them afterwards."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.server = server
        self.client = server.client()
        self._prefix = prefix
        self._names: list[str] = []

    def create(self, source: str | dict[str, str | bytes], **options: Any) -> str:
        """Create a function from the text of app.py, or from files; waits until it is active."""
        name = f"{self._prefix}-{next(_NUMBERS)}"
        files: Mapping[str, str | bytes] = (
            source if isinstance(source, dict) else {"app.py": source}
        )
        self.client.create_function(
            **{
                "FunctionName": name,
                "Runtime": RUNTIME,
                "Handler": "app.handler",
                "Role": ROLE,
                "Code": {"ZipFile": make_zip(files)},
                **options,
            }
        )
        self._names.append(name)
        self.settle(name)
        return name

    def settle(self, name: str) -> None:
        """Wait until a function is active and its last update over."""
        for waiter in ("function_active_v2", "function_updated_v2"):
            self.client.get_waiter(waiter).wait(
                FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
            )

    def invoke(self, name: str, event: Any = None, **options: Any) -> Answer:
        """Invoke and read the answer."""
        import base64

        raw = self.client.invoke(
            FunctionName=name,
            Payload=json.dumps(event if event is not None else {}),
            **{"LogType": "Tail", **options},
        )
        body = raw["Payload"].read()
        return Answer(
            json.loads(body) if body else None,
            raw.get("FunctionError"),
            base64.b64decode(raw.get("LogResult", "")).decode(),
            raw,
        )

    def remove(self) -> None:
        """Delete what was created."""
        for name in self._names:
            try:
                self.client.delete_function(FunctionName=name)
            except self.client.exceptions.ResourceNotFoundException:
                pass


@pytest.fixture
def functions(server: Server, request: pytest.FixtureRequest) -> Iterator[Functions]:
    """Functions on the shared server."""
    import re

    prefix = re.sub(r"[^a-zA-Z0-9]", "-", request.node.name)[:40]
    made = Functions(server, prefix)
    yield made
    made.remove()
