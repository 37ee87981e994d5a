"""A signature is good for the request that was signed, and for nothing that means another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from urllib.parse import quote, unquote

import pytest

from lambent.aws import signed_body, sigv2, sigv4
from lambent.aws.parse import parse_query
from lambent.clock import utc
from tests.fuzz import kit
from tests.fuzz.kit import Cases

_KEY, _SECRET, _HOST = "AKIAEXAMPLE", "secret/with+signs", "127.0.0.1:4566"
_NOW = 1_764_000_000.0
_KEYS = sigv4.SigningKeys()
_SCOPE = {
    "access_key": r"[A-Za-z0-9_]{1,128}",
    "day": r"[0-9]{8}",
    "region": r"[a-z0-9-]{1,64}",
    "service": r"[a-z0-9-]{1,64}",
}
# What every signature covers although no list of signed headers names it, or what proves itself.
_FREE = {"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}


@dataclass
class _Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    service: str = "s3"
    signed: tuple[str, ...] = field(default=())

    def meaning(self) -> tuple[object, ...]:
        """What a service does with it: equal for requests that differ in their spelling only."""
        query = {n: sorted(v) for n, v in parse_query(self.query).items() if n in self._names()}
        path = unquote(self.path, errors="surrogateescape")
        if self.service != "s3":
            path = _normal(self.path)
        headers = {name: " ".join(self.headers.get(name, "").split()) for name in self.signed}
        commands = {n: v for n, v in self.headers.items() if n.startswith("x-amz-")}
        free = dict.fromkeys(_FREE)
        commands = {n: v for n, v in commands.items() if n not in free and n not in headers}
        # Presigned URLs leave the body to whom they are given.
        declared = self.headers.get("x-amz-content-sha256", "")
        proven = "X-Amz-Signature" not in parse_query(self.query) and declared != "UNSIGNED-PAYLOAD"
        body = self.body if proven else None
        return self.method, path, sorted(query.items()), sorted(headers.items()), commands, body

    def _names(self) -> set[str]:
        return set(parse_query(self.query)) - {"X-Amz-Signature"}


def _normal(path: str) -> str:
    """A path as AWS's services but S3 normalise it (RFC 3986)."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")


def _signed(dice: Random) -> _Request:
    service = dice.choice(("s3", "s3", "lambda", "dynamodb"))
    method = dice.choice(("GET", "PUT", "POST", "DELETE"))
    path = dice.choice(("/bucket/key", "/b/a%20b/%C3%BC", "/2015-03-31/functions/f", "/"))
    query = dice.choice(("", "versionId=1", "prefix=a%20b&list-type=2", "a=1&a=2"))
    body = dice.choice((b"", b"body", b'{"TableName": "t"}'))
    headers = {"host": _HOST, "content-type": "text/x"}
    if dice.random() < 0.5:
        headers["x-amz-acl"] = "private"
    if service == "s3":
        payload = dice.choice((sigv4.sha256(body), "UNSIGNED-PAYLOAD"))
        headers["x-amz-content-sha256"] = payload
    else:
        payload = ""
    token = dice.choice((None, "dG9rZW4="))
    place = ("us-east-1", service, utc(_NOW), token)
    made = sigv4.sign_headers(
        method, path, query, headers, body, _KEY, _SECRET, *place, payload=payload
    )
    return _Request(method, path, query, made, body, service, _names(made["authorization"]))


def _names(authorization: str) -> tuple[str, ...]:
    found = re.search("SignedHeaders=([^,]*)", authorization)
    return tuple(found[1].split(";")) if found is not None else ()


def _presigned(dice: Random) -> _Request:
    path = dice.choice(("/bucket/key", "/b/a%20b/%C3%BC"))
    method = dice.choice(("GET", "PUT"))
    target = sigv4.presign(
        method, _HOST, path, _KEY, _SECRET, "us-east-1", "s3", utc(_NOW), dice.choice((60, 600))
    )
    query = target.partition("?")[2]
    return _Request(method, path, query, {"host": _HOST}, b"", "s3", ("host",))


def _claim(request: _Request) -> sigv4.Claim | None:
    """The claim that was accepted; None where it was refused."""
    query = parse_query(request.query)
    try:
        if "AWSAccessKeyId" in query:
            assert sigv2.read_claim(query, "us-east-1") is None
            return None
        claim = sigv4.read_claim(request.headers, query)
        if claim is None or claim.scope.access_key != _KEY:
            return None
        sigv4.check_time(claim, _NOW)
        digest = sigv4.sha256(request.body)
        hashed = sigv4.declared_hash(claim, request.headers) or digest
        sigv4.check_hash(hashed, digest)
        key = _KEYS.derive(_SECRET, claim.scope)
        place = (request.method, request.path, request.query, request.headers)
        sigv4.verify(claim, key, *place, hashed)
        sigv4.check_signed(claim, request.headers)
        declared = request.headers.get("x-amz-content-sha256")
        if declared and claim.scope.service == "s3":
            check = signed_body.BodyCheck(claim, key, declared)
            check.feed(request.body)
            check.end()
    except sigv4.SignatureError:
        return None
    return claim


def _changed(dice: Random, request: _Request) -> _Request:
    """The request with one of its parts changed, by its meaning or by its spelling only."""
    kind = dice.randrange(9)
    if kind == 0:
        return replace(request, method=dice.choice(("GET", "PUT", "POST", "DELETE", "HEAD")))
    if kind == 1:
        return replace(request, path=_as_sent("/" + kit.text(dice, request.path)[:9_000]))
    if kind == 2:
        return replace(request, query=_as_sent(kit.text(dice, request.query)[:9_000]))
    if kind == 3:
        name = _quoted(kit.text(dice, dice.choice(("versionId", "acl", "X-Amz-Expires")))[:90])
        value = _quoted(kit.text(dice, "1")[:900])
        pair = f"{name}={value}"
        parts = [pair, request.query] if dice.random() < 0.5 else [request.query, pair]
        return replace(request, query="&".join(filter(None, parts)))
    if kind == 4:
        name = dice.choice(("x-amz-acl", "x-amz-copy-source", "x-amz-target", "x-amz-meta-a"))
        return replace(request, headers={**request.headers, name: _header(dice, "private")})
    if kind == 5:
        name = dice.choice(list(request.headers))
        value = _header(dice, request.headers[name])
        return replace(request, headers={**request.headers, name: value})
    if kind == 6:
        name = dice.choice(list(request.headers))
        left = {each: value for each, value in request.headers.items() if each != name}
        return replace(request, headers=left)
    if kind == 7:
        return replace(request, body=kit.octets(dice, request.body))
    # The credential's parts.
    for part in ("/us-east-1/", "%2Fus-east-1%2F"):
        turned = dice.choice(("/../", "/eu-west-1/", "/us-east-1%0d%0a/", "//", "/US-EAST-1/"))
        if part in request.query:
            return replace(request, query=request.query.replace(part, quote(turned, safe="%")))
        if part in request.headers.get("authorization", ""):
            changed = request.headers["authorization"].replace(part, turned)
            return replace(request, headers={**request.headers, "authorization": changed})
    return request


def _quoted(text: str) -> str:
    return quote(text, errors="surrogatepass")


def _as_sent(text: str) -> str:
    """A target as it can arrive: of visible ASCII and bytes above."""
    data = text.encode("utf-8", "surrogatepass").decode("latin-1")
    return re.sub(r"[\x00-\x20\x7f?#]", "", data)


def _header(dice: Random, value: str) -> str:
    """A header's value as it can arrive."""
    data = kit.text(dice, value)[:9_000].encode("utf-8", "surrogatepass").decode("latin-1")
    return re.sub(r"[\r\n\0]", "", data).strip()


@pytest.mark.parametrize("how", ["header", "query"])
def test_what_was_changed_is_refused_unless_it_means_the_same(cases: Cases, how: str) -> None:
    accepted = 0
    for dice in cases(4_000):
        request = _signed(dice) if how == "header" else _presigned(dice)
        assert _claim(request) is not None
        changed = _changed(dice, request)
        claim = _claim(changed)
        if claim is None:
            continue
        accepted += 1
        changed.signed = claim.signed_headers
        assert changed.meaning() == request.meaning(), (request, changed)
        for name, grammar in _SCOPE.items():
            assert re.fullmatch(grammar, getattr(claim.scope, name)), claim
    assert accepted


def test_whatever_says_it_is_signed_claims_plain_names_or_is_refused(cases: Cases) -> None:
    """Also with a key that is nobody's: its scope is read before anything is verified."""
    for dice in cases(4_000):
        text = kit.text(dice, f"{_KEY}/20251124/us-east-1/s3/aws4_request")[:9_000]
        query = {
            "X-Amz-Algorithm": [sigv4.ALGORITHM],
            "X-Amz-Credential": [text],
            "X-Amz-Date": [kit.text(dice, "20251124T160000Z")],
            "X-Amz-Expires": [kit.text(dice, "60")],
            "X-Amz-SignedHeaders": [kit.text(dice, "host;x-amz-date")],
            "X-Amz-Signature": [kit.text(dice, "0" * 64)],
        }
        older = {"AWSAccessKeyId": [text], "Signature": ["x"], "Expires": [kit.text(dice, "9")]}
        header = f"{sigv4.ALGORITHM} Credential={text}, SignedHeaders=host, Signature=0"
        stamp = {"x-amz-date": kit.text(dice, "20251124T160000Z")}
        readings: tuple[Callable[[], sigv4.Claim | None], ...] = (
            partial(sigv4.read_claim, {}, query),
            partial(sigv4.read_claim, {"authorization": header, **stamp}, {}),
            partial(sigv2.read_claim, older, "us-east-1"),
        )
        for read in readings:
            try:
                claim = read()
                assert claim is not None
                sigv4.check_time(claim, time.time())
            except sigv4.SignatureError:
                continue
            for name, grammar in _SCOPE.items():
                assert re.fullmatch(grammar, getattr(claim.scope, name)), claim


def test_a_signed_stream_gives_what_was_signed_or_nothing(cases: Cases) -> None:
    for dice in cases(1_500):
        scope = sigv4.scope_of(_KEY, "20251124", "us-east-1", "s3")
        claim = sigv4.Claim(scope, "20251124T160000Z", ("host",), "0" * 64, None)
        key = _KEYS.derive(_SECRET, scope)
        chunks = [dice.randbytes(dice.randrange(1, 200)) for _ in range(dice.randrange(4))]
        wire, previous = b"", claim.signature
        for chunk in [*chunks, b""]:
            text = "\n".join(
                [
                    f"{sigv4.ALGORITHM}-PAYLOAD",
                    claim.stamp,
                    scope.text,
                    previous,
                    sigv4.EMPTY_SHA256,
                    sigv4.sha256(chunk),
                ]
            )
            previous = key.sign(text)
            wire += b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), previous.encode(), chunk)
        changed = kit.octets(dice, wire)
        decoder = signed_body.ChunkDecoder(claim, key, signed=True)
        decoded = b""
        try:
            size = dice.choice((1, 7, 1_000))
            for start in range(0, len(changed), size):
                decoded += decoder.feed(changed[start : start + size])
            decoder.end()
        except sigv4.SignatureError:
            assert b"".join(chunks).startswith(decoded)
            continue
        assert decoded == b"".join(chunks)
