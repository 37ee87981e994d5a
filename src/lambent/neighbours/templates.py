"""What a CloudFormation request may carry, and which object a template's URL names."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from lambent.neighbours.subjects.base import Unreadable

# AWS's quotas, in bytes: a template in a request and in an object, a stack policy.
BODY_BYTES = 51_200
OBJECT_BYTES = 1_000_000
POLICY_BYTES = 16_384

_LONGEST = {
    "TemplateBody": BODY_BYTES,
    "StackPolicyBody": POLICY_BYTES,
    "StackPolicyDuringUpdateBody": POLICY_BYTES,
}
_URLS = ("TemplateURL", "StackPolicyURL", "StackPolicyDuringUpdateURL")


def check(parameters: Mapping[str, str]) -> None:
    """Raise Unreadable for what is not offered.

    Documents larger than AWS's quotas, URLs that name no object, the import of resources.
    """
    for name, most in _LONGEST.items():
        if len(parameters.get(name, "").encode()) > most:
            member = name[0].lower() + name[1:]
            raise Unreadable(
                "ValidationError",
                f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
                f"Member must have length less than or equal to {most}",
            )
    for name in _URLS:
        if parameters.get(name):
            object_of(parameters[name])
    imports = parameters.get("ImportExistingResources", "").lower() == "true"
    if imports or parameters.get("ChangeSetType") == "IMPORT":
        raise Unreadable(
            "ValidationError",
            "The import of resources is not offered by this version of Lambent.",
        )


def object_of(url: str) -> tuple[str, str]:
    """Bucket and key that a URL of S3 names, path-style or virtual-hosted; raises Unreadable.

    A query, as ``versionId``, is refused: it would name something else.
    """
    wrong = Unreadable("ValidationError", "TemplateURL must be a supported URL.")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise wrong from None
    path = unquote(parts.path).removeprefix("/")
    if parts.scheme not in ("http", "https") or parts.query or "\0" in path:
        raise wrong
    bucket, dot, rest = host.partition(".s3")
    if dot and bucket and rest[:1] in (".", "-"):
        key = path
    else:
        bucket, _, key = path.partition("/")
    if not bucket or not key:
        raise wrong
    return bucket, key
