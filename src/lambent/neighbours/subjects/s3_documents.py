"""The documents in S3's requests: read once, within limits, and written again to be sent on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from lambent.aws import xmltext
from lambent.neighbours.subjects.base import Unreadable, Wanted

# Source: Amazon S3, CompleteMultipartUpload of 10,000 parts with checksums, the longest of all.
DOCUMENT_BYTES = 5 * 1024 * 1024
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_POLICY_BYTES = 20 * 1024
_MOST_DELETED = 1000


def _malformed() -> Unreadable:
    return Unreadable(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )


def write(root: Element) -> bytes:
    """A document as it is sent on: in S3's namespace; a grantee's type has one of its own."""
    root.set("xmlns", _NAMESPACE)
    for each in root.iter():
        if "type" in each.attrib:
            root.set("xmlns:xsi", _INSTANCE)
            each.set("xsi:type", each.attrib.pop("type"))
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def canonical(query: Mapping[str, str], body: bytes) -> tuple[Element | None, bytes]:
    """A request's document, and how it is sent on; raises Unreadable.

    A bucket's policy is JSON, which has one reader only, the policy evaluation.
    """
    if not body.strip():
        return None, b""
    if "policy" in query:
        if len(body) > _POLICY_BYTES:
            raise Unreadable("MalformedPolicy", "Policies must be smaller than 20 KB.")
        return None, body
    try:
        root = xmltext.parse(body, DOCUMENT_BYTES)
    except xmltext.Refused:
        raise _malformed() from None
    return root, write(root)


def check_digests(headers: Mapping[str, str], body: bytes) -> None:
    """Raise Unreadable unless a document is what its checksums say of it."""
    declared = headers.get("content-md5")
    if declared is not None:
        _check(declared, hashlib.md5(body, usedforsecurity=False).digest(), "Content-MD5")
    for name, digest in _DIGESTS.items():
        declared = headers.get(f"x-amz-checksum-{name}")
        if declared is not None:
            _check(declared, digest(body), name)


def digests(body: bytes) -> dict[str, str]:
    """The checksum of a document as it is sent on."""
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"content-md5": base64.b64encode(digest).decode()}


_DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
}


def _check(declared: str, digest: bytes, name: str) -> None:
    if not hmac.compare_digest(declared.encode(), base64.b64encode(digest)):
        raise Unreadable("BadDigest", f"The {name} you specified did not match what we received.")


# -- what documents name ------------------------------------------------------------------


def _texts(root: Element, name: str) -> list[str]:
    return [(each.text or "").strip() for each in root.iter() if each.tag == name]


def deleted(root: Element) -> Iterator[tuple[str, str]]:
    """Keys and versions that a DeleteObjects document names; raises Unreadable."""
    found = 0
    for each in root:
        if each.tag != "Object":
            continue
        texts = {child.tag: child.text or "" for child in each}
        if len(texts) != len(each) or not texts.get("Key"):
            raise _malformed()
        found += 1
        yield texts["Key"], texts.get("VersionId", "")
    if not 0 < found <= _MOST_DELETED:
        raise _malformed()


def replicated(root: Element) -> Iterator[Wanted]:
    """What it takes to have objects copied to other buckets: the role, and writing there."""
    roles, buckets = _texts(root, "Role"), _texts(root, "Bucket")
    if len(roles) != 1 or not buckets:
        raise _malformed()
    keys = (("iam:passedtoservice", "s3.amazonaws.com"),)
    yield Wanted("iam:PassRole", roles[0], keys=keys)
    for arn in sorted(set(buckets)):
        name = arn.removeprefix("arn:aws:s3:::")
        if name == arn or not name or "/" in name:
            raise _malformed()
        yield Wanted("s3:ReplicateObject", f"{arn}/*", name)
