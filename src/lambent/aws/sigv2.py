"""Signature Version 2 in S3's presigned URLs, which SDKs still make for the oldest regions.

Pure.  Source of the rules: Amazon S3 API Reference, "Signing and authenticating REST requests".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

from lambent.aws.sigv4 import Claim, SignatureError, is_access_key, scope_of

# Query parameters that are part of the resource.
_OF_RESOURCE = {
    "accelerate",
    "acl",
    "cors",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
}


def read_claim(query: dict[str, list[str]], region: str) -> Claim | None:
    """The claim of a presigned URL of this version; None if it is not one."""
    if not all(
        len(query.get(name, ())) == 1 for name in ("AWSAccessKeyId", "Signature", "Expires")
    ):
        return None
    expires = query["Expires"][0]
    if not (expires.isascii() and expires.isdecimal()) or len(expires) > 12:
        raise SignatureError("AccessDenied", f"Invalid date (should be seconds): {expires[:32]}")
    access_key = query["AWSAccessKeyId"][0]
    if not is_access_key(access_key):
        raise SignatureError(
            "InvalidAccessKeyId", "The AWS Access Key Id you provided is not valid."
        )
    token = query.get("x-amz-security-token", [None])[0]
    scope = scope_of(access_key, "", region, "s3")
    signature = query["Signature"][0]
    return Claim(scope, "", (), signature, token, presigned=True, expires=int(expires), legacy=True)


def verify(
    claim: Claim,
    secret: str,
    method: str,
    path: str,
    raw_query: str,
    headers: Mapping[str, str],
    now: float,
) -> None:
    """Raise SignatureError unless a claim is right and not over; path begins with the bucket."""
    if claim.expires < now:
        raise SignatureError("AccessDenied", "Request has expired")
    amz = {name: value.strip() for name, value in headers.items() if name.startswith("x-amz-")}
    kept = []
    for part in raw_query.split("&"):
        name, equals, value = part.partition("=")
        name = unquote(name)
        if name.lower().startswith("x-amz-"):
            # A header that the client put here after it had signed it.
            amz[name.lower()] = unquote_plus(value).strip()
        elif name in _OF_RESOURCE:
            kept.append(f"{name}={unquote(value)}" if equals and value else name)
    resource = path + ("?" + "&".join(sorted(kept)) if kept else "")
    text = "\n".join(
        [
            method,
            headers.get("content-md5", ""),
            headers.get("content-type", ""),
            str(claim.expires),
            *(f"{name}:{amz[name]}" for name in sorted(amz)),
            resource,
        ]
    )
    digest = hmac.digest(secret.encode(), text.encode(), hashlib.sha1)
    expected = base64.b64encode(digest)
    if not hmac.compare_digest(expected, claim.signature.encode()):
        raise SignatureError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check "
            "your key and signing method.",
        )
