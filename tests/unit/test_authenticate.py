"""From what a request says of itself to who it is: whatever it says, it is known or refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import string
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws import signed_body, sigv2, sigv4
from lambent.aws.parse import parse_query
from lambent.clock import ManualClock
from lambent.errors import ServiceError
from lambent.iam.authenticate import Authenticator
from lambent.iam.credentials import CredentialStore
from lambent.iam.directory import Directory
from lambent.iam.key_use import KeyUse, Use
from lambent.iam.keyring import KeyRing
from lambent.iam.sessions import Sessions
from lambent.store.memory import MemoryStore

CLOCK = ManualClock(1_800_000_000.0)
RING = KeyRing(b"k" * 32)


def _authenticator(folder: Path, strict: bool = True) -> tuple[Authenticator, CredentialStore]:
    keys = CredentialStore(folder, RING, Directory(MemoryStore()))
    keys.open()
    sessions, used = Sessions(CLOCK, RING), KeyUse(folder / "used.json")
    return Authenticator(keys, sessions, CLOCK, strict, "us-east-1", used), keys


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authenticator, CredentialStore]:
    return _authenticator(tmp_path_factory.mktemp("keys"))


WORDS = st.sampled_from(
    [
        "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "AWS", "Credential=", "SignedHeaders=",
        "Signature=", "A/20270115/us-east-1/s3/aws4_request", "A/B/C", "host;x-amz-date", ",", " ",
        "/", "=", ";", ":", "\0", "ü", "a" * 300, "20270115T080000Z", "99999999999999", "-1", "",
    ]
) | st.text(string.printable, max_size=6)  # fmt: skip
TEXT = st.lists(WORDS, max_size=8).map("".join)
HEADERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        (
            "authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "host",
            "content-type", "content-md5",
        ),
        TEXT,
    ),
)  # fmt: skip
QUERY = st.dictionaries(
    st.sampled_from(
        [
            "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature",
            "X-Amz-SignedHeaders", "X-Amz-Security-Token", "AWSAccessKeyId", "Signature", "Expires",
            "x-amz-security-token", "acl",
        ]
    ),
    TEXT,
    max_size=8,
)  # fmt: skip


@given(headers=HEADERS, query=QUERY, path=TEXT, body=st.binary(max_size=20))
def test_whatever_a_request_says_it_is_only_refused(
    store: tuple[Authenticator, CredentialStore],
    headers: dict[str, str],
    query: dict[str, str],
    path: str,
    body: bytes,
) -> None:
    authenticator = store[0]
    raw = urlencode(query)
    try:
        claim = authenticator.claim(headers, parse_query(raw))
    except ServiceError as refused:
        assert refused.status in (400, 403)
        return
    for ahead in (True, False):
        try:
            if ahead:
                authenticator.authenticate_ahead(claim, "PUT", path, raw, headers, path)
            else:
                authenticator.authenticate(claim, "PUT", path, raw, headers, body)
        except ServiceError as refused:
            assert refused.status in (400, 403)
        else:
            raise AssertionError("let in")


@given(
    said=st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=6,
    ),
    tail=st.binary(max_size=40),
)
def test_a_token_that_is_not_ours_is_nobodys(said: object, tail: bytes) -> None:
    token = base64.b64encode(json.dumps(said).encode() + tail).decode()
    sessions = Sessions(CLOCK, RING)
    assert sessions.read("ASIA", token) is None
    assert sessions.read("ASIA", token + "=") is None


@given(
    pieces=st.lists(
        st.binary(max_size=12)
        | st.sampled_from([b"\r\n", b"5;chunk-signature=", b"0", b"a" * 64, b"ffffffff", b"-1"]),
        max_size=12,
    ),
    declared=st.sampled_from(
        [
            signed_body.SIGNED_STREAM,
            signed_body.SIGNED_STREAM_TRAILER,
            signed_body.UNSIGNED_STREAM_TRAILER,
            sigv4.EMPTY_SHA256,
            sigv4.UNSIGNED,
        ]
    ),
)
def test_a_body_is_taken_or_refused(pieces: list[bytes], declared: str) -> None:
    scope = sigv4.scope_of("A", "20270115", "us-east-1", "s3")
    claim = sigv4.Claim(scope, "20270115T080000Z", ("host",), "0" * 64, None)
    check = signed_body.BodyCheck(claim, sigv4.SigningKey("secret", scope), declared)
    try:
        for piece in pieces:
            check.feed(piece)
        check.end()
    except sigv4.SignatureError:
        pass


def test_an_older_presigned_url_is_good_for_what_it_says_until_it_is_over(
    store: tuple[Authenticator, CredentialStore],
) -> None:
    authenticator, keys = store
    owner = keys.open()
    until = int(CLOCK.time()) + 60
    text = f"GET\n\n\n{until}\n/bucket/k?versionId=3"
    digest = hmac.digest(owner.secret.encode(), text.encode(), hashlib.sha1)
    signature = quote(base64.b64encode(digest), safe="")
    raw = f"AWSAccessKeyId={owner.access_key_id}&Expires={until}&Signature={signature}&versionId=3"

    def ask(raw: str, method: str = "GET", path: str = "/bucket/k") -> str:
        claim = authenticator.claim({}, parse_query(raw))
        try:
            return authenticator.authenticate_ahead(claim, method, path, raw, {}, path)[0].account
        except ServiceError as refused:
            return refused.code

    assert ask(raw) == "000000000000"
    assert ask(raw, "PUT") == "SignatureDoesNotMatch"
    assert ask(raw, path="/bucket/l") == "SignatureDoesNotMatch"
    assert ask(raw.replace("versionId=3", "versionId=4")) == "SignatureDoesNotMatch"
    assert ask(raw.replace(f"Expires={until}", f"Expires={until + 1}")) == "SignatureDoesNotMatch"
    before = CLOCK.time()
    CLOCK.advance(61)
    assert ask(raw) == "AccessDenied"
    CLOCK.advance(before - CLOCK.time())
    # It is for S3 alone.
    claim = authenticator.claim({}, parse_query(raw))
    with pytest.raises(ServiceError, match="Unsupported signing algorithm"):
        authenticator.authenticate(claim, "GET", "/bucket/k", raw, {}, b"")
    assert sigv2.read_claim({"AWSAccessKeyId": ["a"], "Signature": ["b"]}, "r") is None


def test_the_last_use_of_a_key_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "used.json"
    first = KeyUse(path)
    assert first.last("AKIA") is None
    first.note("AKIA", 12.7, "s3", "eu-west-1")
    first.note("AKIB", 13.0, "iam", "us-east-1")
    first.save()
    second = KeyUse(path)
    assert second.last("AKIA") == Use(12, "s3", "eu-west-1")
    second.forget("AKIA")
    second.save()
    assert KeyUse(path).last("AKIA") is None
    path.write_text('{"AKIB": 7}')
    assert KeyUse(path).last("AKIB") is None
