"""AWS Signature Version 4: signing and verifying, headers, presigned URLs and signed chunks.

Pure: time and secrets are handed in.  A derived key is valid for one secret, day, region and
service, so keys are cached; a warm verification costs one SHA-256 and one HMAC over the canonical
request.  Source of the rules: AWS General Reference, "Signature Version 4 signing process".
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote_plus

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
# Seconds a signature's time may lie from ours; AWS refuses beyond five minutes.
SKEW = 300
# A presigned URL lives a week at most.
LONGEST_PRESIGNED = 7 * 24 * 3600
_STAMP = "%Y%m%dT%H%M%SZ"
HEX64 = re.compile("[0-9a-f]{64}")
# What a scope may say.  A region or a service becomes a part of paths, resource names and messages
# to other processes, so nothing but letters, digits and dashes is one.
_ACCESS_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DAY = re.compile("[0-9]{8}")
_REGION = re.compile("[a-z0-9-]{1,64}")
_EXPIRES = re.compile("[0-9]{1,6}")
_KEYS_CACHED = 1024
# Characters of a text from outside that is kept for the next request.
_LONGEST_KEPT = 1024


class SignatureError(Exception):
    """A request's signature is absent or wrong: AWS's error code, HTTP status and message."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Scope:
    """A credential scope: whose key, which day, which region, which service.

    text: as it stands in the string to sign.
    """

    access_key: str
    day: str
    region: str
    service: str
    text: str


def is_region(text: str) -> bool:
    """Whether a text can be the name of a region, or of a service."""
    return _REGION.fullmatch(text) is not None


def is_access_key(text: str) -> bool:
    """Whether a text can be the id of an access key."""
    return _ACCESS_KEY.fullmatch(text) is not None


def scope_of(access_key: str, day: str, region: str, service: str) -> Scope:
    """The scope of these four."""
    return Scope(access_key, day, region, service, f"{day}/{region}/{service}/aws4_request")


@dataclass(slots=True)
class Claim:
    """What a request says of its signature, before anything is verified."""

    scope: Scope
    stamp: str
    signed_headers: tuple[str, ...]
    signature: str
    token: str | None
    presigned: bool = False
    expires: int = 0
    # Of Signature Version 2 (sigv2.py).
    legacy: bool = False


_BEFORE_SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*"
)


def read_claim(headers: dict[str, str], query: dict[str, list[str]]) -> Claim | None:
    """The claim of a request; None if it is unsigned; raises SignatureError if it is malformed."""
    authorization = headers.get("authorization")
    if authorization is not None:
        return _header_claim(authorization, headers)
    if "X-Amz-Algorithm" in query or "X-Amz-Signature" in query:
        return _query_claim(query)
    return None


def _header_claim(authorization: str, headers: dict[str, str]) -> Claim:
    before, _, signature = authorization.rpartition("Signature=")
    stamp = headers.get("x-amz-date")
    if stamp is None:
        raise SignatureError(
            "IncompleteSignatureException",
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        )
    read = _credential if len(before) <= _LONGEST_KEPT else _credential.__wrapped__
    scope, signed_headers = read(before)
    token = headers.get("x-amz-security-token")
    return Claim(scope, stamp, signed_headers, signature, token)


@functools.lru_cache(1024)
def _credential(before_signature: str) -> tuple[Scope, tuple[str, ...]]:
    """The part of an Authorization header that a client repeats all day."""
    found = _BEFORE_SIGNATURE.fullmatch(before_signature)
    if found is None:
        raise SignatureError(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential' parameter, 'Signature' parameter and "
            "'SignedHeaders' parameter with the AWS4-HMAC-SHA256 algorithm.",
        )
    return _scope(found[1]), tuple(found[2].split(";"))


def _query_claim(query: dict[str, list[str]]) -> Claim:
    def one(name: str) -> str:
        values = query.get(name)
        if not values or len(values) != 1:
            raise SignatureError(
                "IncompleteSignatureException",
                f"AWS query-string parameters must include '{name}'.",
            )
        return values[0]

    if one("X-Amz-Algorithm") != ALGORITHM:
        raise SignatureError("IncompleteSignatureException", "Unsupported signing algorithm.")
    expires = one("X-Amz-Expires")
    if not _EXPIRES.fullmatch(expires) or not 0 < int(expires) <= LONGEST_PRESIGNED:
        raise SignatureError("IncompleteSignatureException", "X-Amz-Expires must be 1 to 604800.")
    tokens = query.get("X-Amz-Security-Token")
    return Claim(
        scope=_scope(one("X-Amz-Credential")),
        stamp=one("X-Amz-Date"),
        signed_headers=tuple(one("X-Amz-SignedHeaders").split(";")),
        signature=one("X-Amz-Signature"),
        presigned=True,
        expires=int(expires),
        token=tokens[0] if tokens else None,
    )


def _scope(credential: str) -> Scope:
    # Access keys hold no slash; a scope has exactly five parts.
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts):
        raise SignatureError(
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            f"keyid/date/region/service/term, got '{credential[:128]}'",
        )
    access_key, day, region, service, _ = parts
    if not (is_access_key(access_key) and _DAY.fullmatch(day)):
        raise SignatureError(
            "IncompleteSignatureException",
            "Credential must have a valid access key id and a date in the form YYYYMMDD.",
        )
    if not (is_region(region) and is_region(service)):
        raise SignatureError(
            "SignatureDoesNotMatch", "Credential should be scoped to a valid region and service."
        )
    return scope_of(access_key, day, region, service)


@functools.lru_cache(64)
def _read_stamp(stamp: str) -> float | None:
    """X-Amz-Date in seconds since the epoch; cached: a client's requests of one second share it."""
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(_STAMP)


def check_time(claim: Claim, now: float) -> None:
    """Refuse a claim of another day than it says, too old, or from the future."""
    signed_at = _read_stamp(claim.stamp) if len(claim.stamp) < _LONGEST_KEPT else None
    if signed_at is None:
        raise SignatureError(
            "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'."
        )
    if claim.stamp[:8] != claim.scope.day:
        raise SignatureError(
            "SignatureDoesNotMatch", "Date in Credential scope does not match YYYYMMDD of the date."
        )
    if signed_at > now + SKEW:
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature not yet current: {claim.stamp} is still later than {_stamp(now + SKEW)} "
            f"({_stamp(now)} + 5 min.)",
        )
    if signed_at + (claim.expires if claim.presigned else SKEW) < now:
        limit = now if claim.presigned else now - SKEW
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature expired: {claim.stamp} is now earlier than {_stamp(limit)} "
            f"({_stamp(now)} - 5 min.)",
        )


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class SigningKey:
    """A key derived for one secret and scope, ready to sign with."""

    def __init__(self, secret: str, scope: Scope) -> None:
        key = _hmac(f"AWS4{secret}".encode(), scope.day)
        for part in (scope.region, scope.service, "aws4_request"):
            key = _hmac(key, part)
        # Copying a keyed HMAC costs half of making one.
        self._keyed = hmac.new(key, digestmod="sha256")

    def sign(self, text: str) -> str:
        """The signature of a string to sign, in hex."""
        mac = self._keyed.copy()
        mac.update(text.encode())
        return mac.digest().hex()


class SigningKeys:
    """Derived keys, cached; bounded, because scopes come from clients."""

    def __init__(self) -> None:
        self._cache: dict[tuple[str, str], SigningKey] = {}

    def derive(self, secret: str, scope: Scope) -> SigningKey:
        """The signing key for a secret and a scope."""
        name = (secret, scope.text)
        key = self._cache.get(name)
        if key is None:
            key = SigningKey(secret, scope)
            if len(self._cache) >= _KEYS_CACHED:
                self._cache.clear()
            self._cache[name] = key
        return key


@functools.lru_cache(1024)
def _canonical_path(path: str, service: str) -> str:
    if service == "s3":
        return quote(path, safe="/-_.~%") or "/"
    if "%" not in path and "//" not in path and "/." not in path:
        return quote(path, safe="/-_.~") or "/"
    return quote(_normalised(path), safe="/-_.~")


def canonical_path(path: str, service: str) -> str:
    """The path as it is signed: normalised and encoded once more, but for S3 as it is."""
    encode = _canonical_path if len(path) <= _LONGEST_KEPT else _canonical_path.__wrapped__
    return encode(path, service)


def _normalised(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == ".." and kept:
            kept.pop()
        elif segment and segment not in (".", ".."):
            kept.append(segment)
    closing = "/" if path.endswith("/") and kept else ""
    return "/" + "/".join(kept) + closing


def canonical_query(query: str) -> str:
    """The query as it is signed: decoded, encoded and sorted, without the signature itself."""
    if not query:
        return ""
    pairs = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        name = quote(unquote_plus(name), safe="-_.~")
        if name != "X-Amz-Signature":
            pairs.append((name, quote(unquote_plus(value), safe="-_.~")))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def _folded(value: str) -> str:
    return " ".join(value.split()) if "  " in value else value.strip()


def string_to_sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    names: Sequence[str],
    payload_hash: str,
    stamp: str,
    scope: Scope,
) -> str:
    """What the signature is computed over; raises KeyError where a signed header is absent."""
    lines = "\n".join([name + ":" + headers[name] for name in names])
    if "  " in lines or ": " in lines or " \n" in lines or lines.endswith(" "):
        lines = "\n".join([f"{name}:{_folded(headers[name])}" for name in names])
    canonical = (
        f"{method}\n{canonical_path(path, scope.service)}\n"
        f"{canonical_query(query) if query else ''}\n"
        f"{lines}\n\n{';'.join(names)}\n{payload_hash}"
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{ALGORITHM}\n{stamp}\n{scope.text}\n{digest}"


# Services whose clients may leave a body out of the signature; the second is Lambent's own.
_UNSIGNED_BODIES = ("s3", "lambda-code")


def declared_hash(claim: Claim, headers: Mapping[str, str]) -> str | None:
    """What the head of a request says stands for its body in the signature; None if nothing.

    Raises SignatureError where it says what the service does not take.  Chunks that are signed
    prove a body of S3's clients only (``signed_body``); elsewhere it would stay unproven.
    """
    declared = headers.get("x-amz-content-sha256")
    service = claim.scope.service
    if declared is None:
        return UNSIGNED if claim.presigned and service in _UNSIGNED_BODIES else None
    unproven = (declared == UNSIGNED and service in _UNSIGNED_BODIES) or (
        declared.startswith("STREAMING-") and service == "s3"
    )
    if not unproven and not HEX64.fullmatch(declared):
        raise hash_mismatch()
    return declared


def check_hash(declared: str, digest: str) -> None:
    """Raise SignatureError if a body is not the one that was declared.

    digest: the SHA-256 of the body.  What is declared may leave the body out (``declared_hash``).
    """
    if HEX64.fullmatch(declared) and not hmac.compare_digest(declared, digest):
        raise hash_mismatch()


def sha256(body: bytes) -> str:
    """The hex digest of a body."""
    return hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256


MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)


def verify(
    claim: Claim,
    key: SigningKey,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    hashed: str,
) -> None:
    """Raise SignatureError unless the claim's signature is right, compared in constant time."""
    if "host" not in claim.signed_headers:
        raise SignatureError(
            "SignatureDoesNotMatch", "'Host' must be a 'SignedHeader' in the AWS Authorization."
        )

    try:
        text = string_to_sign(
            method, path, query, headers, claim.signed_headers, hashed, claim.stamp, claim.scope
        )
    except KeyError:
        raise SignatureError("SignatureDoesNotMatch", MISMATCH) from None
    expected = key.sign(text)
    # Compared as bytes: what a client sends need not be ASCII.
    if not hmac.compare_digest(expected.encode(), claim.signature.strip().encode()):
        raise SignatureError("SignatureDoesNotMatch", MISMATCH)


# Headers that need no signature: they prove themselves, or go with the key that proves them, or say
# what a proxy or a browser is.
_NEED_NO_SIGNATURE = {
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-cf-id",
    "x-amz-user-agent",
}


def check_signed(claim: Claim, headers: Mapping[str, str]) -> None:
    """Raise SignatureError for a header that tells a service what to do and is not signed.

    The receiver of a presigned URL, or a proxy on the way, could add one.  Source: AWS General
    Reference, "Create a signed AWS API request": all x-amz-* headers must be signed.
    """
    for name in headers:
        if (
            name.startswith("x-amz-")
            and name not in claim.signed_headers
            and name not in _NEED_NO_SIGNATURE
        ):
            code = "AccessDenied" if claim.scope.service == "s3" else "InvalidSignatureException"
            raise SignatureError(
                code, "There were headers present in the request which were not signed"
            )


def sign_headers(
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    access_key: str,
    secret: str,
    region: str,
    service: str,
    now: datetime,
    token: str | None = None,
    payload: str = "",
) -> dict[str, str]:
    """The headers to send, Authorization included; names are lower-case and "host" is needed.

    payload: what stands for the body in the signature; its digest if "".
    """
    stamp = now.strftime(_STAMP)
    signed = {name.lower(): value for name, value in headers.items()} | {"x-amz-date": stamp}
    if token is not None:
        signed["x-amz-security-token"] = token
    scope = scope_of(access_key, stamp[:8], region, service)
    names = sorted(signed)
    hashed = payload or sha256(body)
    text = string_to_sign(method, path, query, signed, names, hashed, stamp, scope)
    signature = SigningKey(secret, scope).sign(text)
    signed["authorization"] = (
        f"{ALGORITHM} Credential={access_key}/{scope.text}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return signed


def presign(
    method: str,
    host: str,
    path: str,
    access_key: str,
    secret: str,
    region: str,
    service: str,
    now: datetime,
    expires: int,
) -> str:
    """The path and query of a presigned URL."""
    stamp = now.strftime(_STAMP)
    scope = scope_of(access_key, stamp[:8], region, service)
    query = "&".join(
        f"{name}={quote(value, safe='-_.~')}"
        for name, value in (
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", f"{access_key}/{scope.text}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", "host"),
        )
    )
    text = string_to_sign(method, path, query, {"host": host}, ("host",), UNSIGNED, stamp, scope)
    signature = SigningKey(secret, scope).sign(text)
    return f"{path}?{query}&X-Amz-Signature={signature}"


def hash_mismatch() -> SignatureError:
    """The error of a body that is not what its declared hash says."""
    return SignatureError(
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        400,
    )
