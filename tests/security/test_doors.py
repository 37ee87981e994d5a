"""The public port: a request is what was signed, or it is refused and nothing came of it."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from dataclasses import replace

import boto3
import pytest
from botocore.config import Config

from lambent.aws import sigv4
from tests.conftest import Server, fetch
from tests.security.doors import REFUSED, REGION, Asked, Door, administrator


@pytest.fixture(scope="module")
def door(server: Server) -> Door:
    return Door(server)


# -- signatures -----------------------------------------------------------------------------

FUNCTIONS = "/2015-03-31/functions"


def _header(name: str, change: Callable[[str], str]) -> Callable[[Asked], None]:
    def apply(asked: Asked) -> None:
        asked.headers[name] = change(asked.headers[name])

    return apply


def _without(name: str) -> Callable[[Asked], None]:
    return lambda asked: asked.headers.__delitem__(name)


def _also(name: str, value: str) -> Callable[[Asked], None]:
    return lambda asked: asked.more.append((name, value))


def _set(name: str, value: str | bytes) -> Callable[[Asked], None]:
    return lambda asked: setattr(asked, name, value)


def _scope(part: int, value: str) -> Callable[[Asked], None]:
    def change(text: str) -> str:
        before, _, rest = text.partition("Credential=")
        credential, _, after = rest.partition(",")
        parts = credential.split("/")
        parts[part] = value
        return f"{before}Credential={'/'.join(parts)},{after}"

    return _header("authorization", change)


@pytest.mark.parametrize(
    "change",
    [
        _header("authorization", lambda text: text[:-2]),
        _header("authorization", lambda text: text[:-64] + text[-64:].upper()),
        _header("authorization", lambda text: text[:-64]),
        _header("authorization", lambda text: text.replace("host;", "")),
        _header("x-amz-date", lambda text: "20200101T000000Z"),
        _header("host", lambda text: "evil.example"),
        _header("x-amz-invocation-type", lambda text: "Event"),
        _without("x-amz-date"),
        _without("x-amz-invocation-type"),
        _also("X-Amz-Invocation-Type", "Event"),
        _also("X-Amz-Target", "Logs_20140328.DeleteLogGroup"),
        _also("Host", "x"),
        _also("Authorization", "AWS4-HMAC-SHA256 x"),
        _scope(0, "AKIAOTHER"),
        _scope(1, "20200101"),
        _scope(2, "eu-west-1"),
        _scope(3, "iam"),
        _scope(4, "aws4_requesty"),
        _set("method", "DELETE"),
        _set("query", "MaxItems=50"),
        _set("query", "MaxItems=1&Marker=x"),
        _set("body", b"{}"),
        _set("path", f"{FUNCTIONS}/x"),
        _set("path", "/2015-03-31/%66unctions"),
        _set("path", f"{FUNCTIONS}%2F"),
        _set("path", f"{FUNCTIONS};x"),
    ],
)
def test_what_was_not_signed_is_refused(door: Door, change: Callable[[Asked], None]) -> None:
    wanted = Asked("GET", FUNCTIONS, "MaxItems=1", {"x-amz-invocation-type": "RequestResponse"})
    asked = door.sign(wanted)
    assert door.send(asked)[0] == 200
    change(asked)
    assert door.send(asked)[0] in REFUSED


@pytest.mark.parametrize(
    "path",
    [
        f"/{FUNCTIONS}",
        f"/x/..{FUNCTIONS}",
        f"/.{FUNCTIONS}",
        f"{FUNCTIONS}/.",
        f"{FUNCTIONS}/x/..",
        f"/_lambent/..{FUNCTIONS}",
        f"{FUNCTIONS}/%2e%2e/functions",
    ],
)
def test_another_spelling_of_a_path_is_no_other_operation(door: Door, path: str) -> None:
    """AWS normalises a path before it is signed; what is not normal is no path of an operation."""
    asked = door.sign(Asked("GET", FUNCTIONS))
    assert door.send(replace(asked, path=path))[0] in REFUSED


def test_a_signature_lives_five_minutes(door: Door) -> None:
    for when, accepted in ((-240, True), (-360, False), (240, True), (360, False)):
        status, _ = door.send(door.sign(Asked("GET", FUNCTIONS), when=when))
        assert (status == 200) is accepted, when


def test_a_body_that_was_not_signed_is_refused(door: Door) -> None:
    form = Asked("POST", "/", "", {"content-type": "application/x-www-form-urlencoded"}, b"x")
    for declared in ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        named = replace(form, headers={**form.headers, "x-amz-content-sha256": declared})
        for service in ("iam", "lambda", "sqs", "dynamodb"):
            asked = door.sign(named, service, payload=declared)
            body = b"Action=ListUsers&Version=2010-05-08"
            assert door.send(replace(asked, body=body))[0] in REFUSED, service


def test_a_session_is_whose_its_token_says(door: Door, server: Server) -> None:
    other = administrator(server)
    asked = door.sign(Asked("GET", FUNCTIONS), keys=other)
    assert door.send(asked)[0] == 200
    assert other.token is not None
    for token in (other.token[:-8] + "AAAAAAA=", "", "AAAA", other.token + "A" * 4):
        changed = {**asked.headers, "x-amz-security-token": token}
        assert door.send(replace(asked, headers=changed))[0] in REFUSED
        forged = replace(other, token=token)
        assert door.send(door.sign(Asked("GET", FUNCTIONS), keys=forged))[0] in REFUSED
    left = {name: v for name, v in asked.headers.items() if name != "x-amz-security-token"}
    assert door.send(replace(asked, headers=left))[0] in REFUSED
    for path in ("/_lambent/usage", "/_lambent/events", "/metrics", f"/_lambent/code/{'0' * 64}"):
        assert door.send(Asked("GET", path, headers={"host": "x"}))[0] in REFUSED
        assert door.send(door.sign(Asked("GET", path), keys=other))[0] in REFUSED


# -- presigned URLs -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(server: Server) -> str:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="doors")
    for key in ("a", "b"):
        s3.put_object(Bucket="doors", Key=key, Body=key.encode())
    return "doors"


def _url(server: Server, version: str, operation: str, key: str) -> str:
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=server.key["access_key_id"],
        aws_secret_access_key=server.key["secret_access_key"],
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
    given = {"Bucket": "doors", "Key": key}
    return str(s3.generate_presigned_url(operation, Params=given, ExpiresIn=60))


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_gets_one_object(server: Server, bucket: str, version: str) -> None:
    url = _url(server, version, "get_object", "a")
    assert fetch(url)[:2] == (200, b"a")
    signature = "X-Amz-Signature" if version == "s3v4" else "Signature"
    for changed in (
        url.replace("/a?", "/b?"),
        url.replace("/a?", "/%61?"),
        url.replace("/a?", "/x/../a?"),
        re.sub(r"Expires=(\d+)", r"Expires=9\1", url),
        *(f"{url}&{more}" for more in ("acl", "versionId=null", "response-content-type=text/x")),
        *(f"{url}&{name}=x" for name in (signature, "X-Amz-Credential", "AWSAccessKeyId")),
    ):
        assert fetch(changed)[0] in REFUSED, changed
    for method in ("PUT", "DELETE", "POST", "HEAD"):
        assert fetch(urllib.request.Request(url, data=b"", method=method))[0] in REFUSED
    for name in ("x-amz-acl", "x-amz-meta-x", "x-amz-copy-source"):
        assert fetch(urllib.request.Request(url, headers={name: "x"}))[0] in REFUSED
    assert server.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-acl", "public-read"),
        ("x-amz-copy-source", "/doors/b"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-website-redirect-location", "http://evil"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("partNumber", "1&uploadId=x"),
    ],
)
def test_a_presigned_url_puts_what_was_signed(
    server: Server, bucket: str, version: str, name: str, value: str
) -> None:
    url = _url(server, version, "put_object", f"new-{version}-{name}")
    requests = [urllib.request.Request(f"{url}&{name}={value}", data=b"x", method="PUT")]
    if name.startswith("x-amz-"):
        header = {name: value}
        requests.append(urllib.request.Request(url, data=b"x", headers=header, method="PUT"))
    for request in requests:
        assert fetch(request)[0] in REFUSED
    listed = server.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"new-{version}-{name}")
    assert listed["KeyCount"] == 0


def test_a_changed_chunk_of_a_signed_stream_is_not_stored(door: Door, bucket: str) -> None:
    declared = sigv4.ALGORITHM.replace("AWS4", "STREAMING-AWS4") + "-PAYLOAD"
    sizes = [70_000, 70_000, 0]
    headers = {
        "x-amz-decoded-content-length": "140000",
        "content-encoding": "aws-chunked",
        "x-amz-content-sha256": declared,
    }
    asked = door.sign(Asked("PUT", f"/{bucket}/stream", "", headers), "s3", payload=declared)
    stamp = asked.headers["x-amz-date"]
    scope = sigv4.scope_of(door.owner.access_key, stamp[:8], REGION, "s3")
    previous = asked.headers["authorization"][-64:]
    key, body = sigv4.SigningKey(door.owner.secret, scope), b""
    for size in sizes:
        lines = [f"{sigv4.ALGORITHM}-PAYLOAD", stamp, scope.text, previous, sigv4.EMPTY_SHA256]
        previous = key.sign("\n".join([*lines, sigv4.sha256(b"A" * size)]))
        body += b"%x;chunk-signature=%s\r\n%s\r\n" % (size, previous.encode(), b"A" * size)
    first = body.index(b"\r\n11170;") + 2
    for changed in (
        body.replace(b"AAAA", b"AAAB", 1),
        body[: body.rindex(b"0;chunk")],
        body[first:],
        body.replace(b";chunk-signature=", b";x=", 1),
        b"ffffffff" + body[5:],
        b"-1" + body[5:],
        b"0" * 5_000,
    ):
        assert door.send(replace(asked, body=changed))[0] in REFUSED
        names = door.server.client("s3").list_objects_v2(Bucket=bucket, Prefix="stream")
        assert names["KeyCount"] == 0
    assert door.send(replace(asked, body=body))[0] == 200
