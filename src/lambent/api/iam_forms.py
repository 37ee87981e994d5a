"""What IAM's operations share: documents, tags, pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import quote

from lambent.api import pages
from lambent.api.context import Context
from lambent.errors import (
    InvalidInput,
    InvalidParameterValue,
    MalformedPolicyDocument,
    QuotaExceeded,
    ValidationError,
)
from lambent.iam.policy.document import Malformed, read

T = TypeVar("T")
_PAGE, _LARGEST_PAGE = 100, 1000
_TAGS = 50

Parameters = dict[str, Any]


def policy_document(text: str, most: int, what: str = "PolicySize") -> str:
    """A policy that identities hold, found valid; raises MalformedPolicyDocument, QuotaExceeded.

    White space does not count against the size, as in IAM.
    """
    _check_size(text, most, what)
    try:
        read(text)
    except Malformed as error:
        raise MalformedPolicyDocument(str(error)) from None
    return text


def trust_document(text: str, most: int) -> str:
    """A role's trust policy, found valid; raises MalformedPolicyDocument, QuotaExceeded."""
    _check_size(text, most, "ACLSizePerRole")
    try:
        read(text, principals=True, resources=False)
    except Malformed as error:
        raise MalformedPolicyDocument(str(error)) from None
    return text


def size(text: str) -> int:
    """A document's size as quotas have it."""
    return sum(1 for character in text if not character.isspace())


def _check_size(text: str, most: int, what: str) -> None:
    if size(text) > most:
        raise QuotaExceeded(f"Cannot exceed quota for {what}: {most}")


def encoded(document: str) -> str:
    """A document as answers bring it."""
    return quote(document, safe="")


def own_name(context: Context) -> str:
    """The name of the user who asks, for operations that mean him if they name nobody."""
    if context.principal.user is None:
        raise ValidationError("Must specify userName when calling with non-User credentials")
    return context.principal.user.name


def tags(parameters: Parameters) -> dict[str, str]:
    """The tags of a request."""
    return tagged({}, parameters)


def tagged(before: dict[str, str], parameters: Parameters) -> dict[str, str]:
    """Tags with those of a request added; raises InvalidInput, QuotaExceeded."""
    found = dict(before)
    given = [each["Key"] for each in parameters.get("Tags", [])]
    if len({key.lower() for key in given}) < len(given):
        raise InvalidInput("Duplicate tag keys found. Please note that Tag keys are case "
                           "insensitive.")  # fmt: skip
    for each in parameters.get("Tags", []):
        found = {key: value for key, value in found.items() if key.lower() != each["Key"].lower()}
        found[each["Key"]] = each["Value"]
    if len(found) > _TAGS:
        raise QuotaExceeded(f"The number of tags has reached the maximum limit: {_TAGS}.")
    return found


def untagged(before: dict[str, str], parameters: Parameters) -> dict[str, str]:
    """Tags without those of a request."""
    gone = {key.lower() for key in parameters["TagKeys"]}
    return {key: value for key, value in before.items() if key.lower() not in gone}


def listed(found: dict[str, str]) -> list[dict[str, str]]:
    """Tags as answers bring them."""
    return [{"Key": key, "Value": value} for key, value in sorted(found.items())]


def tag_page(found: dict[str, str], parameters: Parameters) -> Parameters:
    """One page of them."""
    some, more = page(listed(found), lambda each: each["Key"], parameters)
    return {"Tags": some, **more}


def page(
    items: Iterable[T], key: Callable[[T], str], parameters: Parameters
) -> tuple[list[T], Parameters]:
    """One page of a list, and what its answer says of the next."""
    asked = {"MaxItems": _PAGE, **parameters}
    try:
        found, marker = pages.page(items, key, asked, _LARGEST_PAGE)
    except InvalidParameterValue as error:
        raise ValidationError(error.message) from None
    more: Parameters = {"IsTruncated": marker is not None}
    if marker is not None:
        more["Marker"] = marker
    return found, more
