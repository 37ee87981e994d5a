"""``python -m tests.fuzz.differential SEED COUNT [SERVICE …]``: prints findings, exits 1 if any.

For random and mutated requests of every operation: what the gateway let through touched nothing
that was not authorised.  A case is one to three requests of one caller, each time on services that
hold exactly what ``world`` made.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import os
import re
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit

from lambent.aws import sigv4
from lambent.clock import utc
from tests.fuzz.differential import corpus, rig, world
from tests.fuzz.differential.ambiguity import Mutator
from tests.fuzz.differential.requests import (
    OWN,
    SERVICES,
    TRIGGERS,
    Maker,
    Wire,
    chosen,
    operations,
)
from tests.fuzz.differential.world import Keys, World

_SECONDS = 30.0
# An answer may take so long on a busy machine, unless it waits for a message.
_LONGEST_SECONDS = 5.0


class Link:
    """A connection to the server, kept alive."""

    def __init__(self, endpoint: str) -> None:
        found = urlsplit(endpoint)
        self._place = (found.hostname or "", found.port or 0)
        self.host = found.netloc
        self._socket: socket.socket | None = None

    def ask(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Status, and everything of the answer; 0 where the connection broke."""
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append(f"content-length: {len(body)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
        for _ in range(2):
            fresh = self._socket is None
            try:
                return self._exchange(method, data)
            except (OSError, http.client.HTTPException):
                self._drop()
                if fresh:
                    return 0, b""
        return 0, b""

    def _exchange(self, method: str, data: bytes) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(self._place, _SECONDS)
        self._socket.sendall(data)
        answer = http.client.HTTPResponse(self._socket, method=method)
        answer.begin()
        content = answer.read()
        head = "\n".join(f"{name}: {value}" for name, value in answer.getheaders())
        if answer.will_close:
            self._drop()
        return answer.status, head.encode("latin-1", "replace") + b"\n\n" + content

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_SIGNED_AS = {"dynamodbstreams": "dynamodb", "cloudwatch": "monitoring"}


def send(link: Link, wire: Wire, keys: Keys) -> tuple[int, bytes]:
    """Sign a request and send it."""
    service = _SIGNED_AS.get(wire.service, wire.service)
    if wire.presigned:
        return link.ask(wire.method, _presigned(link, wire, keys), {"host": link.host}, wire.body)
    headers = {"host": link.host, **wire.headers}
    if service == "s3":
        headers["x-amz-content-sha256"] = sigv4.sha256(wire.body)
    given = (keys.access_key, keys.secret, rig.REGION, service, utc(time.time()), keys.token)
    path = wire.path
    signed = sigv4.sign_headers(wire.method, path, wire.query, headers, wire.body, *given)
    target = path + ("?" + wire.query if wire.query else "")
    return link.ask(wire.method, target, signed, wire.body)


def _presigned(link: Link, wire: Wire, keys: Keys) -> str:
    """The target of a presigned URL that carries the request's headers in its query."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = sigv4.scope_of(keys.access_key, stamp[:8], rig.REGION, "s3")
    carried = {name: value for name, value in wire.headers.items() if name.startswith("x-amz-")}
    parameters = {
        **carried,
        "X-Amz-Algorithm": sigv4.ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{scope.text}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "300",
        "X-Amz-SignedHeaders": "host",
    }
    if keys.token:
        parameters["X-Amz-Security-Token"] = keys.token
    pairs = [f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items()]
    query = "&".join(filter(None, [wire.query, *pairs]))
    text = sigv4.string_to_sign(
        wire.method, wire.path, query, {"host": link.host}, ("host",), sigv4.UNSIGNED, stamp, scope
    )
    signature = sigv4.SigningKey(keys.secret, scope).sign(text)
    return f"{wire.path}?{query}&X-Amz-Signature={signature}"


# Lookups that need no leave of their own: patterns of what is touched.
_LOOKED_AT = re.compile(
    # Lists of all names, which the fuzzing user may read.
    r"s3\.(_list_buckets|bucket_region|_bucket_)|secretsmanager\.(_list_secrets|<listcomp>)"
    r"|kinesis\._list_streams|eventbridge\._list_event_buses|kms\._list_aliases"
    r"|dynamodb_streams\._enabled_stream_info"
    # What an index tells is the index's.
    r"|dynamodb\._(describe|update)_contributor_insights|dynamodb\._(query|scan|search_vectors) get"
    r"|dynamodb\._(list_tags|validate_tag_arn|resource_arn_exists) contains"
    # An upload is looked up by its id, then held against bucket and key.
    r"|s3\._list_parts|s3\._abort_multipart_upload"
)


# A name that begins with "victim", as part of a key: of nothing that is mine.
_VICTIMS = re.compile(r"^(?:(?!mine).)*(?<![^'/:|])/?victim")


# As on AWS: who may read a path may read all below ("Restricting access to parameters").
_AS_ON_AWS = ("ssm.GetParametersByPath",)
# Mutations whose effect shows later.
_SEQUELS = (["copied"], ["configured"])


class Fuzzer:
    """Runs cases and gathers what should not have been."""

    def __init__(self, beside: rig.Beside, made: World) -> None:
        self._beside = beside
        self._world = made
        self._link = Link(made.endpoint)
        self._needles = rig.needles()
        self.findings: dict[str, str] = {}
        self.statistics: Counter[str] = Counter()
        self.reached: set[str] = set()

    def case(self, dice: Random, services: list[str]) -> None:
        """One case: on things as they were made, and put back as they were afterwards."""
        service = dice.choice(services)
        caller = dice.choices(("mine", "denied", "foreign"), (6, 3, 1))[0]
        if service in OWN and dice.random() < 0.7:
            caller = "owner"
        wires: list[Wire] = []

        def following() -> Wire | None:
            go_on = 0.6 if wires and wires[-1].notes[-1:] in _SEQUELS else 0.25
            if wires and (len(wires) == 3 or dice.random() > go_on):
                return None
            wires.append(self._following(dice, wires) if wires else self._wire(dice, service))
            return wires[-1]

        found = self._play(caller, following)
        for each in wires if found else ():
            alone = iter([each])
            again = self._play(caller, functools.partial(next, alone, None))
            if {kind for kind, _ in again} >= {kind for kind, _ in found}:
                found, wires = again, [each]
                break
        for kind, what in found:
            self._note(kind, what, caller, wires)

    def replay(self, caller: str, wires: list[Wire]) -> None:
        """One case whose requests are known."""
        left = iter(wires)
        for kind, what in self._play(caller, lambda: next(left, None)):
            self._note(kind, what, caller, wires)

    def _play(self, caller: str, following: Callable[[], Wire | None]) -> list[tuple[str, str]]:
        """What should not have been, while these requests were made one after another."""
        self._protect(caller)
        before = self._beside.calls
        self._beside.watch.touched.clear()
        self._beside.strange.clear()
        found: list[tuple[str, str]] = []
        while (wire := following()) is not None:
            called, began = self._beside.calls, time.monotonic()
            status, answer = send(self._link, wire, self._world.callers[caller])
            if time.monotonic() - began > _LONGEST_SECONDS:
                found.append(("slow", f"{time.monotonic() - began:.1f} s"))
            self.statistics[f"{wire.service} {status}"] += 1
            if status < 400 and (self._beside.calls > called or wire.service in OWN):
                self.reached.add(f"{wire.service}.{wire.operation}")
            if status in (0, 500):
                found.append(("crash", f"status {status}"))
            for each in self._needles:
                if each in answer:
                    place = answer.find(each)
                    found.append(("leak", repr(answer[max(0, place - 80) : place + 40])))
        if self._beside.calls == before:
            return found
        self._beside.settle()
        found += [("change", each) for each in self._beside.changes()[:3]]
        found += [("strange", each) for each in self._beside.strange[:1]]
        touched = dict.fromkeys(self._beside.watch.touched)
        found += [("touch", each) for each in touched if not _LOOKED_AT.match(each)]
        self._beside.put_back()
        return found

    def _wire(self, dice: Random, service: str) -> Wire:
        wire = Maker(self._world, dice).request(service, chosen(service, dice), "mine")
        if dice.random() < 0.85:
            Mutator(self._world, dice).change(wire)
        return self._sendable(dice, wire)

    def _following(self, dice: Random, before: list[Wire]) -> Wire:
        """What comes after a request: another, what makes a setting work, or a look at it."""
        last, kind = before[-1], dice.random()
        if kind < 0.4 and last.service in TRIGGERS:
            operation = dice.choice(TRIGGERS[last.service])
            wire = Maker(self._world, dice).request(last.service, operation, "mine")
            return self._sendable(dice, wire)
        if kind < 0.7 and last.service == "s3":
            return self._sendable(
                dice, Wire("s3", "GetObject", "GET", last.path, "", {}, b"", ["look"])
            )
        return self._wire(dice, last.service)

    @staticmethod
    def _sendable(dice: Random, wire: Wire) -> Wire:
        """The request without what no HTTP client could send."""
        wire.query = re.sub(r"[^!-~]|#", "", wire.query)
        wire.path = re.sub(r"[^!-~]|[?#]", "", wire.path) or "/"
        wire.headers = {n: re.sub(r"[\r\n\0]", "", v).strip() for n, v in wire.headers.items()}
        wire.presigned = wire.service == "s3" and dice.random() < 0.25
        return wire

    def _protect(self, caller: str) -> None:
        texts = self._world.protected
        if caller == "foreign":
            self._beside.protect(caller, lambda key: key[0] == rig.OWNER)
            return

        def victims(key: tuple[Any, ...]) -> bool:
            if key[0] != rig.OWNER:
                return False
            name = str(key[1:])
            return bool(_VICTIMS.search(name)) or any(each in name for each in texts)

        self._beside.protect(caller, victims)

    def _note(self, kind: str, what: str, caller: str, wires: list[Wire]) -> None:
        named = {f"{each.service}.{_operation(each)}" for each in wires}
        if named & {*_AS_ON_AWS}:
            return
        self.statistics[kind] += 1
        asked = " ".join(f"{each.service}.{each.operation}" for each in wires)
        where = what.partition(" ")[0].partition("[")[0] if kind in ("touch", "change") else ""
        told = "\n    ".join(str(each) for each in wires)
        text = f"{kind} ({caller}): {what}\n    {told}"
        self.findings.setdefault(f"{kind} {asked} {where}", text)


def _operation(wire: Wire) -> str:
    """The operation that a request asks for in the end."""
    return wire.headers.get("x-amz-target", f".{wire.operation}").rpartition(".")[2]


def _fuzz(app: Any, beside: rig.Beside, seed: str, count: int, services: list[str]) -> int:
    owner = Keys(app.owner.access_key_id, app.owner.secret, None, rig.OWNER)
    began = time.monotonic()
    made = world.build(app.endpoint, owner)
    made.callers["owner"] = owner
    if set(services) & set(OWN):
        world.build_own(app.endpoint, owner)
    made.names["victim"]["oldversion"] = [world.old_version(made, owner)]
    made.protected.append(made.names["victim"]["oldversion"][0])
    time.sleep(0.5)  # what goes on after the last answer
    fuzzer = Fuzzer(beside, made)
    beside.remember()
    print(f"the world took {time.monotonic() - began:.1f} s", flush=True)
    began = time.monotonic()
    for caller, wires in corpus.cases(made) if services == [*SERVICES] else ():
        fuzzer.replay(caller, wires)
    for number in range(count):
        fuzzer.case(Random(f"{seed} differential {number}"), services)
    seconds = time.monotonic() - began
    print(f"{count} cases in {seconds:.1f} s; seed {seed}", flush=True)
    offered = sum(len(operations(each)) for each in services)
    print(f"{len(fuzzer.reached)} of {offered} operations answered", flush=True)
    print(dict(sorted(fuzzer.statistics.items())), flush=True)
    for text in fuzzer.findings.values():
        print("FINDING", text, flush=True)
    return 1 if fuzzer.findings else 0


async def _main() -> None:
    seed, count, *services = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    app, beside = await rig.start(folder)
    code = 2
    try:
        code = await asyncio.to_thread(
            _fuzz, app, beside, seed, int(count), services or list(SERVICES)
        )
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    rig.alone()
    asyncio.run(_main())
