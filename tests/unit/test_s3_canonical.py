"""What is sent on of an S3 request: nothing that was not read."""

from __future__ import annotations

import base64
import hashlib

import pytest

from lambent.neighbours.subjects import s3, s3_documents, s3_headers
from lambent.neighbours.subjects.base import Unreadable


def test_headers_that_mean_something_are_sent_on_and_others_are_not() -> None:
    sent = s3_headers.canonical(
        {
            "content-type": "text/plain",
            "content-encoding": "aws-chunked, gzip",
            "x-amz-meta-a": "b",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-sdk-checksum-algorithm": "CRC32",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": "5",
            "x-lambent-account": "222222222222",
            "transfer-encoding": "chunked",
            "authorization": "secret",
            "x-forwarded-for": "1.2.3.4",
        }
    )
    assert sent == {"content-type": "text/plain", "content-encoding": "gzip", "x-amz-meta-a": "b"}


def test_a_header_that_would_be_lost_is_refused() -> None:
    with pytest.raises(Unreadable, match="not implemented"):
        s3_headers.canonical({"x-amz-write-offset-bytes": "7"})


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ("/b/k%20x", "b/k%20x"),
        ("b/k?versionId=1", "b/k?versionId=1"),
        ("b/k?x=1&versionId=1", None),
        ("b/k?versionId=1&versionId=2", None),
        ("b/k?", None),
        ("b/k?versionId=", None),
        ("b", None),
        ("arn:aws:s3:us-east-1:1:accesspoint/a/object/k", None),
    ],
)
def test_a_copy_source_names_an_object_or_one_version_of_it(source: str, sent: str | None) -> None:
    if sent is None:
        with pytest.raises(Unreadable):
            s3_headers.canonical({"x-amz-copy-source": source})
    else:
        assert s3_headers.canonical({"x-amz-copy-source": source})["x-amz-copy-source"] == sent


def test_only_checksums_that_were_announced_are_taken_from_a_trailer() -> None:
    given = {"x-amz-checksum-crc32": "a", "x-amz-checksum-sha1": "b", "x-amz-acl": "public-read"}
    announced = "x-amz-checksum-crc32, x-amz-acl"
    assert s3_headers.trailers(announced, given) == {"x-amz-checksum-crc32": "a"}


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(Unreadable, match="twice"):
        s3.read("GET", "/bbb/k", {"versionId": ["1", "2"]}, {})


@pytest.mark.parametrize(
    "document",
    [
        b"<!DOCTYPE a><a/>",
        '<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"),
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16-be"),
        b"<a>" * 40 + b"</a>" * 40,
        b"<a>" + b"<b/>" * 200_001 + b"</a>",
        b"<a>\xff</a>",
        b"<a",
        b"text",
        b"<?x y?><a/>",
    ],
    ids=lambda document: repr(document[:30]),
)
def test_a_document_that_is_not_plain_xml_within_limits_is_refused(document: bytes) -> None:
    with pytest.raises(Unreadable, match="not well-formed"):
        s3_documents.canonical({}, document)


def test_a_document_is_written_again_with_a_checksum_of_its_own() -> None:
    namespace = b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    body = b"<!-- note --><Delete " + namespace
    body += b"><Object><Key><![CDATA[\xc3\xbc]]></Key></Object></Delete>"
    root, sent = s3_documents.canonical({"delete": ""}, body)
    assert root is not None
    assert list(s3_documents.deleted(root)) == [("\u00fc", "")]
    assert b"<!" not in sent and namespace in sent
    digest = base64.b64encode(hashlib.md5(sent, usedforsecurity=False).digest()).decode()
    assert s3_documents.digests(sent) == {"content-md5": digest}


def test_a_document_unlike_its_checksum_is_refused() -> None:
    s3_documents.check_digests({"x-amz-checksum-crc32": "7W96eg=="}, b"hi\n")
    for name in ("content-md5", "x-amz-checksum-crc32", "x-amz-checksum-sha256"):
        with pytest.raises(Unreadable, match="did not match"):
            s3_documents.check_digests({name: "AAAA"}, b"hi\n")


def test_replication_takes_the_role_and_writing_to_the_destination() -> None:
    body = (
        b"<ReplicationConfiguration><Role>arn:aws:iam::000000000000:role/r</Role><Rule>"
        b"<Destination><Bucket>arn:aws:s3:::theirs</Bucket></Destination></Rule>"
        b"</ReplicationConfiguration>"
    )
    request = s3.read("PUT", "/mine", {"replication": [""]}, {})
    root, _ = s3_documents.canonical(request.query, body)
    assert [(each.action, each.resource) for each in s3.wanted(request, root)] == [
        ("s3:PutReplicationConfiguration", "arn:aws:s3:::mine"),
        ("iam:PassRole", "arn:aws:iam::000000000000:role/r"),
        ("s3:ReplicateObject", "arn:aws:s3:::theirs/*"),
    ]
