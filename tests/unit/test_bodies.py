"""Bodies are refused by heads that prove nothing, kept on disk while they come, read in slices."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.api import body_limits
from lambent.aws import large_json, model, sigv4
from lambent.aws.large_json import LongStrings
from lambent.aws.parse import SerializationError, parse_large_rest, parse_rest
from lambent.clock import utc
from lambent.errors import RequestEntityTooLarge, RequestTooLarge, ServiceError
from lambent.gateway.bodies import receive
from lambent.http import BodyTooLarge, ClientGone, Exchange
from lambent.iam.authenticate import Authenticator
from tests.unit.test_authenticate import CLOCK, _authenticator
from tests.unit.test_http import Wire, run

KEPT = 1000


def _opened() -> list[str]:
    """The files that are open."""
    links = Path("/proc/self/fd").iterdir()
    return [os.readlink(each) for each in links if os.path.lexists(each)]


def post(wire: Wire, size: int, sent: bytes = b"", headers: str = "") -> None:
    wire.send(f"POST / HTTP/1.1\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + sent)


# -- coming in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, KEPT, 10 * KEPT, 300_000])
def test_a_body_is_whole_and_its_digest_known(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append, kept_bytes=KEPT, spool=str(tmp_path))
        body = os.urandom(size)
        post(wire, size)
        coming = asyncio.ensure_future(waiting[0].receive(400_000))
        for begin in range(0, size, 70_001):
            await asyncio.sleep(0)
            wire.send(body[begin : begin + 70_001])
        received = await coming
        assert (received.size, received.sha256) == (size, hashlib.sha256(body).hexdigest())
        assert wire.server.taken_in == size
        assert await received.load() == body
        assert wire.server.taken_in == 0 and os.listdir(tmp_path) == []

    run(scenario)


def test_a_large_body_is_on_disk_while_it_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append, kept_bytes=KEPT, spool=str(tmp_path))
        post(wire, 100 * KEPT)
        coming = asyncio.ensure_future(waiting[0].receive(200 * KEPT))
        for _ in range(50):
            await asyncio.sleep(0)
            wire.send(b"x" * KEPT)
            while waiting[0]._bytes:
                await asyncio.sleep(0.001)
        assert any(each.startswith(str(tmp_path)) for each in _opened())
        wire.connection.connection_lost(None)
        with pytest.raises(ClientGone):
            await coming
        assert wire.server.taken_in == 0

    run(scenario)


def test_all_bodies_that_come_in_share_a_bound() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append, spool_bytes=1000)
        post(wire, 5000, b"x" * 900)
        coming = asyncio.ensure_future(waiting[0].receive(10_000))
        await asyncio.sleep(0)
        assert wire.server.taken_in == 900
        wire.send(b"x" * 101)
        with pytest.raises(ClientGone):
            await coming
        assert b"503" in wire.out and wire.transport.closed and wire.server.taken_in == 0

    run(scenario)


def test_what_is_sent_after_a_refusal_is_not_kept() -> None:
    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        post(wire, 1_000_000, b"x" * 200_000)
        assert waiting[0]._bytes == 200_000
        waiting[0].respond(403)
        wire.send(b"x" * 200_000)
        assert waiting[0]._bytes == 0 and waiting[0]._body == []

    run(scenario)


# -- the head first ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authenticator, str, str]:
    """An authenticator, and a key that it knows."""
    authenticator, keys = _authenticator(tmp_path_factory.mktemp("keys"))
    owner = keys.open()
    return authenticator, owner.access_key_id, owner.secret


def signed(
    key: tuple[str, str], body: bytes, declared: bool = False, said: bytes | None = None
) -> dict[str, str]:
    headers = {"host": "x"}
    if declared:
        headers["x-amz-content-sha256"] = sigv4.sha256(body if said is None else said)
    now = utc(CLOCK.time())
    return sigv4.sign_headers("POST", "/f", "", headers, body, *key, "us-east-1", "lambda", now)


def offered(
    authenticator: Authenticator, headers: dict[str, str], body: bytes, limit: int = 1 << 20
) -> tuple[str, int]:
    """The outcome of a request, and how much of its body had been taken by then."""
    outcome = ["", 0]

    async def scenario() -> None:
        waiting: list[Exchange] = []
        wire = Wire(waiting.append)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /f HTTP/1.1\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        wire.send(head.encode())
        claim = authenticator.claim(waiting[0].headers, {})
        coming = asyncio.ensure_future(receive(authenticator, waiting[0], claim, limit))
        await asyncio.sleep(0)
        if not coming.done():
            wire.send(body)
            outcome[1] = len(body)
        try:
            principal, received = await coming
            assert await received.load() == body
            outcome[0] = principal.account
        except ServiceError as refused:
            outcome[0] = refused.code
        assert wire.server.taken_in == 0

    run(scenario)
    return outcome[0], outcome[1]  # type: ignore[return-value]


BODY = b"b" * 100_000


@pytest.mark.parametrize("declared", [True, False])
def test_a_signed_body_is_taken(door: tuple[Authenticator, str, str], declared: bool) -> None:
    authenticator, *key = door
    headers = signed((key[0], key[1]), BODY, declared)
    assert offered(authenticator, headers, BODY) == ("000000000000", len(BODY))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"authorization": None}, "MissingAuthenticationTokenException"),
        ({"x-amz-date": "20200101T000000Z"}, "SignatureDoesNotMatch"),
        ({"host": "elsewhere"}, "SignatureDoesNotMatch"),
        ({"x-amz-target": "unsigned"}, "InvalidSignatureException"),
        ({"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, "XAmzContentSHA256Mismatch"),
    ],
)
def test_nothing_is_read_where_the_head_is_wrong(
    door: tuple[Authenticator, str, str], change: dict[str, str | None], code: str
) -> None:
    authenticator, *key = door
    headers = signed((key[0], key[1]), BODY, declared=True)
    changed = {name: value for name, value in {**headers, **change}.items() if value is not None}
    assert offered(authenticator, changed, BODY) == (code, 0)


def test_nothing_is_read_of_a_key_that_is_unknown_or_a_secret_that_is_wrong(
    door: tuple[Authenticator, str, str],
) -> None:
    authenticator, access_key, secret = door
    unknown = signed(("AKIA" + "X" * 16, secret), BODY)
    assert offered(authenticator, unknown, BODY) == ("UnrecognizedClientException", 0)
    wrong = signed((access_key, "wrong"), BODY, declared=True)
    assert offered(authenticator, wrong, BODY) == ("SignatureDoesNotMatch", 0)
    undeclared = signed((access_key, "wrong"), BODY)
    assert offered(authenticator, undeclared, BODY)[0] == "SignatureDoesNotMatch"


def test_a_body_that_is_not_the_signed_one_is_refused(
    door: tuple[Authenticator, str, str],
) -> None:
    authenticator, access_key, secret = door
    headers = signed((access_key, secret), b"other", declared=True)
    assert offered(authenticator, headers, BODY)[0] == "XAmzContentSHA256Mismatch"
    headers = signed((access_key, secret), b"other")
    assert offered(authenticator, headers, BODY)[0] == "SignatureDoesNotMatch"


def test_a_body_over_its_limit_is_refused(door: tuple[Authenticator, str, str]) -> None:
    authenticator, access_key, secret = door
    with pytest.raises(BodyTooLarge):
        offered(authenticator, signed((access_key, secret), BODY), BODY, 99_999)


def test_each_operation_has_a_limit_and_an_error_of_its_own() -> None:
    limits = body_limits.of_lambda(6_000_000)
    assert limits["CreateFunction"] == 70_167_211 and limits["Invoke"] == 6_000_000
    too_large = body_limits.BodyLimit("Invoke", 6_000_000).refusal()
    assert isinstance(too_large, RequestTooLarge) and "InvokeFunction" in too_large.message
    too_large = body_limits.BodyLimit("CreateAlias", 1).refusal()
    assert isinstance(too_large, RequestEntityTooLarge) and "CreateAlias" in too_large.message


# -- archives in documents -----------------------------------------------------------------------

CREATE = model.load("lambda").operations["CreateFunction"]


def create(document: object) -> bytes:
    return json.dumps(document).encode()


@given(st.binary(max_size=100), st.booleans(), st.booleans())
def test_an_archive_is_read_as_it_would_be_in_one_piece(
    tail: bytes, escaped: bool, spaced: bool
) -> None:
    archive = bytes(range(256)) * 300 + tail
    document = {"FunctionName": 'a"\\', "Code": {"ZipFile": base64.b64encode(archive).decode()}}
    body = json.dumps(document, indent=2 if spaced else None).encode()
    if escaped:
        body = body.replace(b"/", b"\\/")
    expected = parse_rest(CREATE, {}, {}, {}, body)
    assert expected["Code"]["ZipFile"] == archive
    assert parse_large_rest(CREATE, {}, {}, {}, body) == expected


@pytest.mark.parametrize("extra", [0, 1, 2, 3])
def test_slices_of_an_archive_join(monkeypatch: pytest.MonkeyPatch, extra: int) -> None:
    monkeypatch.setattr(large_json, "_SLICE", 1001)
    archive = os.urandom(60_000 + extra)
    text = base64.b64encode(archive).replace(b"/", b"\\/")
    body = b'{"Code": {"ZipFile": "' + text + b'"}}'
    assert parse_large_rest(CREATE, {}, {}, {}, body)["Code"]["ZipFile"] == archive


LONG = base64.b64encode(b"x" * 90_000)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Description": "' + LONG + b'"}',
        b'{"Unknown": "' + LONG + b'"}',
        b'{"' + LONG + b'": 1}',
        b'{"Code": {"ZipFile": "' + LONG[:-3] + b'"}}',
        b'{"Code": {"ZipFile": "' + b"=" + LONG + b'"}}',
        b'{"Code": {"ZipFile": "' + LONG,
        b'{"a": "' + b'\\"' * 100_000,
        b"[" + b'"",' * 100_000 + b'""]',
        b"[" + b"1," * 1_000_000 + b"1]",
    ],
    ids=["string", "unknown", "name", "length", "padding", "open", "quotes", "many", "no string"],
)
def test_a_long_string_where_none_can_be_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationError):
        parse_large_rest(CREATE, {}, {}, {}, body)


def test_an_archive_is_read_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between slices the interpreter is free; processor time does not depend on the machine."""
    body = create({"Code": {"ZipFile": base64.b64encode(bytes(50 << 20)).decode()}})
    pauses = [time.thread_time()]
    monkeypatch.setattr(time, "sleep", lambda _: pauses.append(time.thread_time()))
    LongStrings().cut(body)
    pauses.append(time.thread_time())
    assert len(pauses) > 60
    assert max(after - before for before, after in pairwise(pauses)) < 0.05
