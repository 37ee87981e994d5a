"""Names of Lambda functions in all the forms AWS accepts."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_REFERENCE = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:"
    r"|(?:(?P<partial_account>\d{12}):)?(?:function:)?)"
    r"(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """A function as a client named it; account, region and qualifier only if it said them."""

    name: str
    account: str | None = None
    region: str | None = None
    qualifier: str | None = None


# Characters of the longest reference, with room.
_LONGEST = 300


def parse_function(text: str) -> FunctionReference | None:
    """Read a name, partial ARN or ARN, with or without qualifier; None if it is none of them."""
    return _parsed(text) if len(text) <= _LONGEST else None


@functools.lru_cache(4096)
def _parsed(text: str) -> FunctionReference | None:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    return FunctionReference(
        name=match["name"],
        account=match["account"] or match["partial_account"],
        region=match["region"],
        qualifier=match["qualifier"],
    )


def function_arn(region: str, account: str, name: str, qualifier: str | None = None) -> str:
    """The ARN of a function, or of one of its versions or aliases."""
    arn = f"arn:aws:lambda:{region}:{account}:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn
