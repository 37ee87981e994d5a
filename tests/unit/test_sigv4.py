"""Signatures against botocore.auth: what it signs we accept, what was changed we refuse."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.aws import signed_body, sigv4
from lambent.aws.parse import parse_query

KEY, SECRET = "AKIAEXAMPLE", "secret/with+signs"
HOST = "127.0.0.1:4566"
KEYS = sigv4.SigningKeys()


def signed(
    method: str = "POST",
    path: str = "/2015-03-31/functions",
    query: str = "",
    body: bytes = b"{}",
    service: str = "lambda",
    headers: dict[str, str] | None = None,
    auth: Any = None,
    token: str | None = None,
) -> AWSRequest:
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, data=body, headers=headers or {})
    credentials = Credentials(KEY, SECRET, token)
    maker = auth or (botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth)
    maker(credentials, service, "us-east-1").add_auth(request)
    return request


def check(request: AWSRequest, now: datetime.datetime | None = None, **changed: Any) -> sigv4.Claim:
    url = urlsplit(request.url)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    headers.setdefault("host", HOST)
    headers |= changed.get("headers", {})
    query = changed.get("query", url.query)
    claim = sigv4.read_claim(headers, parse_query(query))
    assert claim is not None
    sigv4.check_time(claim, (now or datetime.datetime.now(datetime.UTC)).timestamp())
    body = changed.get("body", request.data or b"")
    body = body.encode() if isinstance(body, str) else body
    digest = sigv4.sha256(body)
    hashed = sigv4.declared_hash(claim, headers) or digest
    sigv4.check_hash(hashed, digest)
    sigv4.verify(
        claim,
        KEYS.derive(changed.get("secret", SECRET), claim.scope),
        changed.get("method", request.method),
        changed.get("path", url.path),
        query,
        headers,
        hashed,
    )
    return claim


def refused(request: AWSRequest, **changed: Any) -> str:
    with pytest.raises(sigv4.SignatureError) as caught:
        check(request, **changed)
    return caught.value.code


def test_a_signed_request_is_accepted() -> None:
    claim = check(signed(token="session"))
    assert claim.scope.access_key == KEY
    assert (claim.scope.region, claim.scope.service, claim.token) == (
        "us-east-1",
        "lambda",
        "session",
    )


@settings(max_examples=200, deadline=None)
@given(
    path=st.lists(st.text("abc:/$ _-%.é~+=&", min_size=1, max_size=8), max_size=4),
    query=st.dictionaries(
        st.text("ab&= é/+%", max_size=6), st.text("ab&= é/+%~", max_size=6), max_size=3
    ),
    body=st.binary(max_size=50),
    service=st.sampled_from(["lambda", "s3"]),
)
def test_whatever_botocore_signs_is_accepted(
    path: list[str], query: dict[str, str], body: bytes, service: str
) -> None:
    from urllib.parse import quote, urlencode

    where = "/" + "/".join(quote(segment, safe="~") for segment in path)
    if service == "s3" and ("//" in where or "/." in where):
        where = where.replace("//", "/").replace("/.", "/x")
    check(signed("PUT", where, urlencode(query, quote_via=quote), body, service))


@pytest.mark.parametrize(
    "changed",
    [
        {"body": b"{ }"},
        {"method": "GET"},
        {"path": "/2015-03-31/functions/f"},
        {"query": "Marker=x"},
        {"secret": "another"},
        {"headers": {"host": "evil"}},
        {"headers": {"x-amz-date": "20200101T000000Z"}},
    ],
    ids=str,
)
def test_a_changed_request_is_refused(changed: dict[str, Any]) -> None:
    assert refused(signed(), **changed) in ("SignatureDoesNotMatch", "InvalidSignatureException")


def test_a_body_unlike_its_declared_hash_is_refused() -> None:
    request = signed(service="s3")
    assert refused(request, body=b"other") == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize(
    "declared", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"]
)
def test_a_streaming_hash_does_not_leave_another_services_body_unproven(declared: str) -> None:
    request = signed(headers={"x-amz-content-sha256": declared})
    assert refused(request) == "XAmzContentSHA256Mismatch"


def test_old_and_future_signatures_are_refused() -> None:
    now = datetime.datetime.now(datetime.UTC)
    minute = datetime.timedelta(minutes=1)
    check(signed(), now=now + 4 * minute)
    check(signed(), now=now - 4 * minute)
    assert refused(signed(), now=now + 6 * minute) == "InvalidSignatureException"
    assert refused(signed(), now=now - 6 * minute) == "InvalidSignatureException"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic abc",
        "AWS4-HMAC-SHA256 Credential=a/b/c",
        "AWS4-HMAC-SHA256 Credential=A/20260101/r/s/nope, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=A//r/s/aws4_request, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=A/1/2/3/4/5/aws4_request, SignedHeaders=host, Signature=00",
    ],
)
def test_a_malformed_authorization_is_refused(authorization: str) -> None:
    with pytest.raises(sigv4.SignatureError) as caught:
        sigv4.read_claim({"authorization": authorization, "x-amz-date": "20260101T000000Z"}, {})
    assert caught.value.code == "IncompleteSignatureException"


def test_an_unsigned_request_makes_no_claim() -> None:
    assert sigv4.read_claim({}, {}) is None


def test_host_must_be_signed() -> None:
    request = signed()
    value = request.headers["Authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    assert refused(request, headers={"authorization": value}) == "SignatureDoesNotMatch"


def test_a_presigned_url_is_accepted_until_it_expires() -> None:
    class Auth(botocore.auth.S3SigV4QueryAuth):  # type: ignore[misc]
        def __init__(self, credentials: Any, service: str, region: str) -> None:
            super().__init__(credentials, service, region, expires=600)

    request = signed("GET", "/bucket/key", body=b"", service="s3", auth=Auth)
    now = datetime.datetime.now(datetime.UTC)
    check(request)
    check(request, now=now + datetime.timedelta(seconds=590))
    late = now + datetime.timedelta(seconds=610)
    assert refused(request, now=late) == "InvalidSignatureException"
    query = urlsplit(request.url).query.replace("Expires=600", "Expires=6000")
    assert refused(request, query=query) == "SignatureDoesNotMatch"


def test_our_own_presigned_url_is_accepted() -> None:
    now = datetime.datetime.now(datetime.UTC)
    target = sigv4.presign(
        "GET", HOST, "/_lambent/code/x", KEY, SECRET, "r", "lambda-code", now, 60
    )
    check(AWSRequest("GET", f"http://{HOST}{target}"))


def test_our_own_headers_are_accepted() -> None:
    now = datetime.datetime.now(datetime.UTC)
    headers = sigv4.sign_headers(
        "POST", "/a b", "x=1", {"host": HOST}, b"body", KEY, SECRET, "r", "lambda", now, "token"
    )
    request = AWSRequest("POST", f"http://{HOST}/a b?x=1", data=b"body", headers=headers)
    check(request, path="/a b")


def test_signed_chunks_are_verified_one_by_one() -> None:
    # The example of AWS's documentation of "Signature Calculations: Transferring Payload in
    # Multiple Chunks": 64 KB and 1 KB of "a".
    scope = sigv4.scope_of("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3")
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    claim = sigv4.Claim(scope, "20130524T000000Z", ("host",), seed, None)
    key = KEYS.derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", scope)
    chunks = [
        (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ]
    wire = b"".join(
        b"%x;chunk-signature=%s\r\n%s\r\n" % (size, signature.encode(), b"a" * size)
        for size, signature in chunks
    )
    decoder = signed_body.ChunkDecoder(claim, key, signed=True)
    decoded = b"".join(decoder.feed(wire[i : i + 1000]) for i in range(0, len(wire), 1000))
    assert decoded == b"a" * 66560 and decoder.done
    decoder = signed_body.ChunkDecoder(claim, key, signed=True)
    with pytest.raises(sigv4.SignatureError):
        decoder.feed(wire.replace(b"a" * 100, b"b" * 100, 1))


@pytest.mark.parametrize(
    "wire",
    [b"zz\r\n", b"5\r\nhello\r\n", b"x" * 200, b"ffffffff;chunk-signature=" + b"0" * 64 + b"\r\n"],
)
def test_malformed_chunks_are_refused(wire: bytes) -> None:
    scope = sigv4.scope_of("A", "20130524", "us-east-1", "s3")
    claim = sigv4.Claim(scope, "20130524T000000Z", ("host",), "0", None)
    with pytest.raises(sigv4.SignatureError):
        signed_body.ChunkDecoder(claim, sigv4.SigningKey("k", scope), signed=True).feed(wire)


@pytest.mark.parametrize(
    "credential",
    [
        "K/20260101/us-east-1\r\nx-a: b/s3/aws4_request",
        "K/20260101/../s3/aws4_request",
        "K/20260101/us-east-1/s3\n/aws4_request",
        "K/20260101/us-east-1/\0/aws4_request",
        "K/20260101/us_east_1/s3/aws4_request",
        "K/2026\r\n01/us-east-1/s3/aws4_request",
        "K\r\n/20260101/us-east-1/s3/aws4_request",
        "K/20260101/" + "r" * 65 + "/s3/aws4_request",
    ],
    ids=ascii,
)
def test_a_credential_scope_holds_names_and_nothing_else(credential: str) -> None:
    stamp = "20260101T000000Z"
    query = {
        "X-Amz-Algorithm": [sigv4.ALGORITHM],
        "X-Amz-Credential": [credential],
        "X-Amz-Date": [stamp],
        "X-Amz-Expires": ["60"],
        "X-Amz-SignedHeaders": ["host"],
        "X-Amz-Signature": ["0"],
    }
    with pytest.raises(sigv4.SignatureError):
        sigv4.read_claim({}, query)
    header = f"{sigv4.ALGORITHM} Credential={credential}, SignedHeaders=host, Signature=0"
    with pytest.raises(sigv4.SignatureError):
        sigv4.read_claim({"authorization": header, "x-amz-date": stamp}, {})


def test_an_unsigned_payload_is_accepted_by_s3_only() -> None:
    assert refused(signed(headers={"x-amz-content-sha256": sigv4.UNSIGNED})) == (
        "XAmzContentSHA256Mismatch"
    )


@pytest.mark.parametrize("service", ["s3", "sqs", "lambda"])
def test_a_header_that_commands_a_service_must_be_signed(service: str) -> None:
    claim = check(signed(service=service))
    sigv4.check_signed(claim, {"x-amz-date": "", "x-amz-security-token": "", "accept": ""})
    with pytest.raises(sigv4.SignatureError, match="not signed"):
        sigv4.check_signed(claim, {"x-amz-target": "AmazonSQS.DeleteQueue"})


def test_little_of_what_requests_say_is_kept() -> None:
    """Anybody can send heads, a hundred thousand different ones."""
    place = "AKIA/20270115/us-east-1/lambda/aws4_request"
    kept = (sigv4._credential, sigv4._canonical_path, sigv4._read_stamp)
    before = [each.cache_info().currsize for each in kept]
    for number in range(10):
        names = ";".join(["host", f"x-{number}", "x" * 10_000])
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={place}, SignedHeaders={names}, Signature=" + "0" * 64
        )
        stamp = "2027" + "0" * 10_000 + str(number)
        headers = {"authorization": authorization, "x-amz-date": stamp}
        claim = sigv4.read_claim(headers, {})
        assert claim is not None and len(claim.signed_headers) == 3
        with pytest.raises(sigv4.SignatureError):
            sigv4.check_time(claim, 1_800_000_000.0)
        path = "/" + "a" * 10_000 + str(number)
        assert sigv4.canonical_path(path, "lambda") == path
    assert [each.cache_info().currsize for each in kept] == before


@pytest.mark.parametrize("expires", ["9" * 5000, "\u0663", "-1", "1.5", "0", "604801", ""])
def test_a_presigned_url_lives_for_a_number_of_seconds(expires: str) -> None:
    query = {
        "X-Amz-Algorithm": [sigv4.ALGORITHM],
        "X-Amz-Credential": ["K/20260101/us-east-1/s3/aws4_request"],
        "X-Amz-Date": ["20260101T000000Z"],
        "X-Amz-Expires": [expires],
        "X-Amz-SignedHeaders": ["host"],
        "X-Amz-Signature": ["0"],
    }
    with pytest.raises(sigv4.SignatureError, match="1 to 604800"):
        sigv4.read_claim({}, query)
