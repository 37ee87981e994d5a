"""S3's: from a path-style method, path and query to actions on buckets and objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from lambent.neighbours.subjects import s3_documents, s3_headers
from lambent.neighbours.subjects.base import Outgoing, Unreadable, Wanted

# What a subresource of a bucket is called in actions: to read it, to write it and, where that has
# an action of its own, to delete it.
_BUCKET = {
    "accelerate": ("GetAccelerateConfiguration", "PutAccelerateConfiguration"),
    "acl": ("GetBucketAcl", "PutBucketAcl"),
    "analytics": ("GetAnalyticsConfiguration", "PutAnalyticsConfiguration"),
    "cors": ("GetBucketCORS", "PutBucketCORS"),
    "encryption": ("GetEncryptionConfiguration", "PutEncryptionConfiguration"),
    "intelligent-tiering": (
        "GetIntelligentTieringConfiguration",
        "PutIntelligentTieringConfiguration",
    ),
    "inventory": ("GetInventoryConfiguration", "PutInventoryConfiguration"),
    "lifecycle": ("GetLifecycleConfiguration", "PutLifecycleConfiguration"),
    "location": ("GetBucketLocation",),
    "logging": ("GetBucketLogging", "PutBucketLogging"),
    "metrics": ("GetMetricsConfiguration", "PutMetricsConfiguration"),
    "notification": ("GetBucketNotification", "PutBucketNotification"),
    "object-lock": ("GetBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
    "ownershipControls": ("GetBucketOwnershipControls", "PutBucketOwnershipControls"),
    "policy": ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    "policyStatus": ("GetBucketPolicyStatus",),
    "publicAccessBlock": ("GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock"),
    "replication": ("GetReplicationConfiguration", "PutReplicationConfiguration"),
    "requestPayment": ("GetBucketRequestPayment", "PutBucketRequestPayment"),
    "tagging": ("GetBucketTagging", "PutBucketTagging"),
    "uploads": ("ListBucketMultipartUploads",),
    "versioning": ("GetBucketVersioning", "PutBucketVersioning"),
    "versions": ("ListBucketVersions",),
    "website": ("GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite"),
}
# Of an object; where a version is named, "Object" becomes "ObjectVersion".
_OBJECT = {
    "acl": ("GetObjectAcl", "PutObjectAcl"),
    "attributes": ("GetObjectAttributes",),
    "legal-hold": ("GetObjectLegalHold", "PutObjectLegalHold"),
    "retention": ("GetObjectRetention", "PutObjectRetention"),
    "tagging": ("GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging"),
    "torrent": ("GetObjectTorrent",),
}
_OF_VERSIONS = {
    "GetObject",
    "DeleteObject",
    "GetObjectAcl",
    "PutObjectAcl",
    "GetObjectAttributes",
    "GetObjectTagging",
    "PutObjectTagging",
    "DeleteObjectTagging",
    "GetObjectTorrent",
}
_OTHERS = {"delete", "restore", "select", "uploadId", "session"}
# What a query may say beside.
_PLAIN = {
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "id",
    "key-marker",
    "list-type",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "partNumber",
    "prefix",
    "bucket-region",
    "select-type",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionId",
    "x-id",
}
_RESPONSE = {
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
}
_KEYS = {
    "prefix": "s3:prefix",
    "delimiter": "s3:delimiter",
    "max-keys": "s3:max-keys",
    "versionId": "s3:versionid",
}
_HEADER_KEYS = (
    "x-amz-acl",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
    "x-amz-copy-source",
    "x-amz-metadata-directive",
    "x-amz-content-sha256",
    "x-amz-grant-read",
    "x-amz-grant-write",
    "x-amz-grant-read-acp",
    "x-amz-grant-write-acp",
    "x-amz-grant-full-control",
)
_BUCKET_NAME = re.compile(r"[a-zA-Z0-9._-]{3,63}")
_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class S3Request:
    """A request, path-style: bucket and key decoded, "" where there is none."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def request(self) -> Outgoing:
        """What is sent on, the bucket in its path."""
        path = f"/{self.bucket}" + (f"/{self.key}" if self.key else "")
        headers = s3_headers.canonical(self.headers)
        return Outgoing(self.method, path, tuple(self.query.items()), headers)

    @property
    def streams(self) -> bool:
        """Whether the body is an object's, or a part's, and no document."""
        plain = not any(name in _OBJECT or name in _OTHERS - {"uploadId"} for name in self.query)
        return self.method == "PUT" and bool(self.key) and plain

    @property
    def deletes_many(self) -> bool:
        """Whether the body says what is to be deleted."""
        return self.method == "POST" and not self.key and "delete" in self.query


def read(method: str, path: str, query: dict[str, list[str]], headers: dict[str, str]) -> S3Request:
    """A request whose path (percent-encoded) begins with the bucket; raises Unreadable."""
    bucket, _, key = path.lstrip("/").partition("/")
    bucket, key = unquote(bucket), unquote(key)
    if bucket and not _BUCKET_NAME.fullmatch(bucket):
        raise Unreadable("InvalidBucketName", "The specified bucket is not valid.")
    if len(key.encode("utf-8", "surrogateescape")) > _KEY_BYTES:
        raise Unreadable("KeyTooLongError", "Your key is too long")
    known = _BUCKET.keys() | _OBJECT.keys() | _OTHERS
    named = [name for name in query if name in known]
    for name, values in query.items():
        if len(values) != 1:
            raise Unreadable("InvalidArgument", f"The parameter {name[:64]} is given twice.")
        if name not in known and name not in _PLAIN and name not in _RESPONSE:
            raise Unreadable(
                "NotImplemented", f"The parameter {name[:64]} is not offered by this S3.", 501
            )
    if len(named) > 1:
        raise Unreadable("InvalidArgument", "Conflicting query string parameters: " + named[0])
    single = {name: values[0] for name, values in query.items()}
    return S3Request(method, bucket, key, single, headers)


def wanted(request: S3Request, document: Element | None = None) -> Iterator[Wanted]:
    """What it wants; document: of a request that has one; raises Unreadable."""
    keys = tuple(_conditions(request))
    if not request.bucket:
        if request.method != "GET":
            raise Unreadable("MethodNotAllowed", "The method is not allowed here.", 405)
        yield Wanted("s3:ListAllMyBuckets", "*", keys=keys)
        return
    bucket = f"arn:aws:s3:::{request.bucket}"
    if request.deletes_many:
        if document is None:
            raise Unreadable("MissingRequestBodyError", "Request Body is empty")
        for key, version in s3_documents.deleted(document):
            action = "s3:DeleteObjectVersion" if version else "s3:DeleteObject"
            yield Wanted(action, f"{bucket}/{key}", request.bucket, keys)
        return
    if not request.key:
        yield Wanted(f"s3:{_of_bucket(request)}", bucket, request.bucket, keys)
        if document is not None and "replication" in request.query:
            yield from s3_documents.replicated(document)
        return
    resource = f"{bucket}/{request.key}"
    for action in _of_object(request):
        if "versionId" in request.query and action in _OF_VERSIONS:
            action = action.replace("Object", "ObjectVersion", 1)
        yield Wanted(f"s3:{action}", resource, request.bucket, keys)
    source = request.headers.get("x-amz-copy-source")
    if source is not None:
        name, version = s3_headers.copy_source(source)
        action = "s3:GetObjectVersion" if version else "s3:GetObject"
        yield Wanted(action, f"arn:aws:s3:::{name}", name.partition("/")[0], keys)


def _named(request: S3Request, table: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    return next((table[name] for name in request.query if name in table), None)


def _of_bucket(request: S3Request) -> str:
    actions = _named(request, _BUCKET)
    index = {"GET": 0, "HEAD": 0, "PUT": 1, "DELETE": 2}.get(request.method)
    if actions is not None and index is not None:
        # What has no action to delete it is deleted by whoever may write it.
        if index == 2 and len(actions) == 2:
            index = 1
        if index < len(actions):
            return actions[index]
    elif actions is None and not any(name in _OTHERS for name in request.query):
        plain = {
            "GET": "ListBucket",
            "HEAD": "ListBucket",
            "PUT": "CreateBucket",
            "DELETE": "DeleteBucket",
        }
        if request.method in plain:
            return plain[request.method]
    raise Unreadable("MethodNotAllowed", "The method is not allowed against this resource.", 405)


def _of_object(request: S3Request) -> list[str]:
    method, query = request.method, request.query
    actions = _named(request, _OBJECT)
    index = {"GET": 0, "HEAD": 0, "PUT": 1, "DELETE": 2}.get(method)
    if actions is not None:
        if index is not None and index < len(actions):
            # Who asks for an object's attributes must be allowed to read it.
            extra = ["GetObject"] if "attributes" in query else []
            return [actions[index], *extra]
    elif "uploadId" in query:
        parts = {
            "GET": ["ListMultipartUploadParts"],
            "PUT": ["PutObject"],
            "POST": ["PutObject"],
            "DELETE": ["AbortMultipartUpload"],
        }
        if method in parts:
            return parts[method]
    elif method == "POST":
        if "uploads" in query:
            return ["PutObject", *_beside(request)]
        if "restore" in query:
            return ["RestoreObject"]
        if "select" in query:
            return ["GetObject"]
    elif not any(name in _OTHERS or name in _BUCKET for name in query):
        if method in ("GET", "HEAD"):
            return ["GetObject"]
        if method == "PUT":
            return ["PutObject", *_beside(request)]
        if method == "DELETE":
            return ["DeleteObject"]
    raise Unreadable("MethodNotAllowed", "The method is not allowed against this resource.", 405)


def _beside(request: S3Request) -> list[str]:
    """What a new object's headers want beside the object."""
    headers = request.headers
    found = []
    if "x-amz-acl" in headers or any(name.startswith("x-amz-grant-") for name in headers):
        found.append("PutObjectAcl")
    if "x-amz-tagging" in headers:
        found.append("PutObjectTagging")
    if any(name.startswith("x-amz-object-lock-legal-hold") for name in headers):
        found.append("PutObjectLegalHold")
    if any(name.startswith("x-amz-object-lock-retain") for name in headers):
        found.append("PutObjectRetention")
    return found


def _conditions(request: S3Request) -> Iterator[tuple[str, str]]:
    for name, key in _KEYS.items():
        if name in request.query:
            yield key, request.query[name]
    for name in _HEADER_KEYS:
        if name in request.headers:
            yield f"s3:{name}", request.headers[name]
