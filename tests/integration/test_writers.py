"""Thirty-two writers on one function, the server killed among them: nothing is lost or doubled."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import RUNTIME, Functions, Server, make_zip

WRITERS = 32
ECHO = "def handler(event, context): return event"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:shared"
# What one writer may do to another's request; anything else is a failure of the server.
EXPECTED = {"ResourceConflictException", "PreconditionFailedException"}


@dataclass
class Seen:
    """What the server acknowledged, by all writers."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    # Version number → what it was published with; tags and aliases by writer, as last answered.
    versions: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    requests: int = 0


class Writer:
    """One client that does as it likes until it is told to stop."""

    def __init__(self, number: int, client: Any, seen: Seen, seed: int) -> None:
        self.number = number
        self.client = client
        self.seen = seen
        self.random = random.Random(f"{seed}/{number}")

    def run(self, stop: threading.Event) -> None:
        actions = [self.publish, self.configure, self.tag, self.move_alias, self.delete_version]
        weights = [4, 4, 3, 3, 1]
        while not stop.is_set():
            action = self.random.choices(actions, weights)[0]
            try:
                action()
            except ClientError as error:
                code = error.response["Error"]["Code"]
                missing = code in ("ResourceNotFoundException",) and action is not self.tag
                if code not in EXPECTED and not missing:
                    self.seen.wrong.append(f"{action.__name__}: {error}")
            except BotoCoreError:
                return  # the server is gone
            self.seen.requests += 1

    def publish(self) -> None:
        made = self.client.publish_version(FunctionName="shared")
        settled = (made["CodeSha256"], made["Timeout"], made["MemorySize"])
        with self.seen.lock:
            if self.seen.versions.setdefault(made["Version"], settled) != settled:
                self.seen.wrong.append(f"version {made['Version']} is two things")

    def configure(self) -> None:
        self.client.update_function_configuration(
            FunctionName="shared",
            Timeout=self.random.randint(1, 900),
            MemorySize=self.random.randint(128, 10_240),
        )

    def tag(self) -> None:
        value = str(self.random.random())
        self.client.tag_resource(Resource=ARN, Tags={f"w{self.number}": value})
        self.seen.tags[f"w{self.number}"] = value

    def move_alias(self) -> None:
        with self.seen.lock:
            there = sorted(set(self.seen.versions) - self.seen.deleted)
        version = self.random.choice(there or ["$LATEST"])
        name = f"a{self.number}"
        if name in self.seen.aliases:
            before = self.client.get_alias(FunctionName="shared", Name=name)
            moved = self.client.update_alias(
                FunctionName="shared", Name=name, FunctionVersion=version,
                RevisionId=before["RevisionId"],
            )  # fmt: skip
        else:
            moved = self.client.create_alias(
                FunctionName="shared", Name=name, FunctionVersion=version
            )
        self.seen.aliases[name] = moved["FunctionVersion"]

    def delete_version(self) -> None:
        with self.seen.lock:
            there = sorted(set(self.seen.versions) - self.seen.deleted)
        if len(there) > 3:
            version = self.random.choice(there)
            self.client.delete_function(FunctionName="shared", Qualifier=version)
            with self.seen.lock:
                self.seen.deleted.add(version)


def write(server: Server, seen: Seen, seed: int, requests: int, end: Callable[[], Any]) -> None:
    """Let all writers write until so many requests are answered, then end the server or them."""
    stop = threading.Event()
    until = seen.requests + requests
    threads = [
        threading.Thread(target=Writer(number, server.client(), seen, seed).run, args=(stop,))
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    while seen.requests < until and not seen.wrong and any(t.is_alive() for t in threads):
        threads[0].join(0.001)
    end()
    stop.set()
    for thread in threads:
        thread.join()


def check(server: Server, seen: Seen, certain: bool) -> None:
    """What was acknowledged is there.

    certain: no request was cut off, so nothing else can be there either.
    """
    assert seen.wrong == []
    client = server.client()
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName="shared")
    versions = {
        each["Version"]: (each["CodeSha256"], each["Timeout"], each["MemorySize"])
        for page in pages
        for each in page["Versions"]
        if each["Version"] != "$LATEST"
    }
    for number, settled in seen.versions.items():
        if number in versions:
            assert versions[number] == settled
        elif certain:
            assert number in seen.deleted
    assert not seen.deleted & set(versions)
    tags = client.list_tags(Resource=ARN)["Tags"]
    shown = client.get_paginator("list_aliases").paginate(FunctionName="shared")
    aliases = {each["Name"]: each["FunctionVersion"] for p in shown for each in p["Aliases"]}
    assert set(seen.tags) <= set(tags) and set(seen.aliases) <= set(aliases)
    if certain:
        assert set(versions) == set(seen.versions) - seen.deleted
        assert tags == seen.tags and aliases == seen.aliases
    for version in aliases.values():
        assert version == "$LATEST" or version in versions, "an alias leads nowhere"


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_doubled_among_many_writers(
    servers: Callable[..., Server], seed: int
) -> None:
    server = servers()
    functions = Functions(server, "shared")
    server.client().create_function(
        FunctionName="shared", Runtime=RUNTIME, Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/lambda", Code={"ZipFile": make_zip({"app.py": ECHO})},
    )  # fmt: skip
    functions.settle("shared")
    seen = Seen()
    write(server, seen, seed, 1500, lambda: None)
    check(server, seen, certain=True)
    write(server, seen, seed + 100, 700, server.kill)
    server = servers()
    check(server, seen, certain=False)
    # What was under way when the server died happened or did not: begin anew from what is there.
    client = server.client()
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName="shared")
    last = max([int(v) for v in seen.versions] + [0])
    there = [e["Version"] for p in pages for e in p["Versions"] if e["Version"] != "$LATEST"]
    for version in set(there) - set(seen.versions):
        assert int(version) > last - WRITERS, "a number nobody was about to be given"
    write(server, seen, seed + 200, 700, lambda: None)
    assert seen.wrong == [] and seen.requests >= 2900
