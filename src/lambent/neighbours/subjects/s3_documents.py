"""The documents in S3's requests: read once, within limits, and written again to be sent on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from lambent.neighbours.subjects.base import Unreadable, Wanted

# Source: Amazon S3, CompleteMultipartUpload of 10,000 parts with checksums, the longest of all.
DOCUMENT_BYTES = 5 * 1024 * 1024
_MOST_ELEMENTS = 100_000
_DEEPEST = 20
_PIECE = 64 * 1024
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
# What begins with <! and is neither a comment nor text: a document type, an entity.
_DECLARATION = re.compile(rb"<!(?!--|\[CDATA\[)")
_POLICY_BYTES = 20 * 1024
_MOST_DELETED = 1000
ElementTree.register_namespace("", _NAMESPACE)
ElementTree.register_namespace("xsi", "http://www.w3.org/2001/XMLSchema-instance")


def _malformed() -> Unreadable:
    return Unreadable(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )


def parse(body: bytes) -> Element:
    """A document's root; raises Unreadable for what is not plain XML in UTF-8, or too large."""
    if _DECLARATION.search(body) or b"\0" in body or body.count(b"<") > 2 * _MOST_ELEMENTS:
        raise _malformed()  # no document type, so no entities; no other encoding
    try:
        body.decode()
        parser = ElementTree.XMLParser(encoding="utf-8")  # noqa: S314 - without entities
        for start in range(0, len(body), _PIECE):
            parser.feed(body[start : start + _PIECE])
        root: Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError):
        raise _malformed() from None
    level = [root]
    for _ in range(_DEEPEST):
        level = [child for each in level for child in each]
        if not level:
            return root
    raise _malformed()


def write(root: Element) -> bytes:
    """A document as it is sent on."""
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
    root = parse(body)
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


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _texts(root: Element, name: str) -> list[str]:
    return [(each.text or "").strip() for each in root.iter() if _tag(each) == name]


def deleted(root: Element) -> Iterator[tuple[str, str]]:
    """Keys and versions that a DeleteObjects document names; raises Unreadable."""
    found = 0
    for each in root:
        if _tag(each) != "Object":
            continue
        texts = {_tag(child): child.text or "" for child in each}
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
