"""Parts of paths that come from requests: each is checked where a path is made of it.

What a request says of itself was checked when its signature was read.  This is the second lock: no
text becomes a part of a path unless it is one of these.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
# A file system's limit of one part is 255 bytes.
_LONGEST = 200
_CUT = 100
# quote() leaves it as it is, and no name of AWS's log groups has it.
_DIGEST_MARK = "~"


class UnsafePart(ValueError):
    """A text that must not become a part of a path."""


def account_part(account: str) -> str:
    """An account's number; raises UnsafePart if it is anything else."""
    if _ACCOUNT.fullmatch(account) is None:
        raise UnsafePart(f"{account[:100]!r} is not an account")
    return account


def region_part(region: str) -> str:
    """A region's name; raises UnsafePart if it is anything else."""
    if _REGION.fullmatch(region) is None:
        raise UnsafePart(f"{region[:100]!r} is not a region")
    return region


def name_part(name: str) -> str:
    """Any name as one part: percent-encoded, never "." or "..", and not too long.

    A long name becomes its beginning and its digest, from which it cannot be read back.
    """
    encoded = quote(name, safe="", errors="surrogatepass")
    if not encoded.strip("."):
        encoded = encoded.replace(".", "%2E")
    if not encoded:
        raise UnsafePart("a name is empty")
    if len(encoded) <= _LONGEST and _DIGEST_MARK not in encoded:
        return encoded
    digest = hashlib.sha256(encoded.encode()).hexdigest()
    return f"{encoded[:_CUT].replace(_DIGEST_MARK, '%7E')}{_DIGEST_MARK}{digest}"


def name_of_part(part: str) -> str | None:
    """The name that became a part; None if the part has its digest only."""
    return None if _DIGEST_MARK in part else unquote(part)
