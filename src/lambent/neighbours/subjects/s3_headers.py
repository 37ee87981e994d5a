"""The headers of S3 requests that mean something to a service, and nothing else.

Source: Amazon S3 API Reference, the request headers of each operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote, unquote

from lambent.neighbours.subjects.base import Outgoing, Unreadable

_PLAIN = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "origin",
    "range",
}
_AMZ = {
    "x-amz-acl",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-mode",
    "x-amz-checksum-type",
    "x-amz-confirm-remove-self-bucket-access",
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-copy-source-range",
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key-md5",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-if-match-initiated-time",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-max-parts",
    "x-amz-metadata-directive",
    "x-amz-mfa",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-ownership",
    "x-amz-optional-object-attributes",
    "x-amz-part-number-marker",
    "x-amz-request-payer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
    "x-amz-skip-destination-validation",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-transition-default-minimum-object-size",
    "x-amz-website-redirect-location",
}
_CHECKSUMS = {
    f"x-amz-checksum-{name}" for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
}
# Read by the gateway, and over with it.
_OF_THE_GATEWAY = {
    "x-amz-cf-id",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expected-bucket-owner",
    "x-amz-security-token",
    "x-amz-source-expected-bucket-owner",
    "x-amz-te",
    "x-amz-trailer",
    "x-amz-user-agent",
}
_NOT_OFFERED = "A header you provided implies functionality that is not implemented"


def canonical(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are sent on; raises Unreadable for one that would be lost in silence."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        if name in _PLAIN or name in _AMZ or name in _CHECKSUMS or name.startswith("x-amz-meta-"):
            kept[name] = value
        elif name.startswith("x-amz-") and name not in _OF_THE_GATEWAY:
            raise Unreadable("NotImplemented", f"{_NOT_OFFERED}: {name[:64]}", 501)
    encodings = [each.strip() for each in kept.pop("content-encoding", "").split(",")]
    # The framing of a signed stream is taken off by the gateway.
    encoding = ",".join(each for each in encodings if each and each.lower() != "aws-chunked")
    if encoding:
        kept["content-encoding"] = encoding
    if "x-amz-trailer" in headers:
        # Its checksum comes with the trailer.
        kept.pop("x-amz-sdk-checksum-algorithm", None)
    if "x-amz-copy-source" in kept:
        bucket_and_key, version = copy_source(kept["x-amz-copy-source"])
        suffix = f"?versionId={quote(version, safe='')}" if version else ""
        kept["x-amz-copy-source"] = quote(bucket_and_key) + suffix
    return kept


def trailers(announced: str, given: Mapping[str, str]) -> dict[str, str]:
    """The checksums in a body's trailer that its x-amz-trailer announced."""
    names = {name.strip().lower() for name in announced.split(",")}
    return {name: value for name, value in given.items() if name in names & _CHECKSUMS}


def copy_source(text: str) -> tuple[str, str]:
    """The object to copy, as bucket/key, and its version, "" if none; raises Unreadable."""
    path, question, query = text.partition("?")
    name = unquote(path).lstrip("/")
    parameter, _, version = query.partition("=")
    version = unquote(version)
    wrong = question and (parameter != "versionId" or not version or "&" in query)
    if name.startswith("arn:") or "/" not in name or wrong:
        raise Unreadable("InvalidArgument", "Invalid copy source object key")
    return name, version


def with_digest(request: Outgoing, digests: Mapping[str, str]) -> Outgoing:
    """A request with the checksums of the document it is sent with, and no others."""
    others = {
        name: value
        for name, value in request.headers.items()
        if name not in _CHECKSUMS and name not in ("content-md5", "x-amz-sdk-checksum-algorithm")
    }
    return replace(request, headers={**others, **digests})
