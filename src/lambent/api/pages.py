"""Pages of lists: a marker says after which key the next one goes on.

Keys, not positions, so what is added or removed between two pages neither repeats nor hides
anything else.
"""

from __future__ import annotations

import base64
import bisect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from lambent.errors import InvalidParameterValue

T = TypeVar("T")
PAGE = 50


def limit(parameters: dict[str, Any], most: int = PAGE) -> int:
    """How many items a page may have."""
    return min(int(parameters.get("MaxItems", most)), most)


def after(parameters: dict[str, Any]) -> str:
    """The key the page comes after, "" for the first; raises InvalidParameterValue."""
    marker = parameters.get("Marker")
    if not marker:
        return ""
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidParameterValue("Invalid Marker") from None


def marker(key: str) -> str:
    """What leads to the page after a key."""
    return base64.urlsafe_b64encode(key.encode()).decode()


def page(
    items: Iterable[T], key: Callable[[T], str], parameters: dict[str, Any], most: int = PAGE
) -> tuple[list[T], str | None]:
    """One page of a collection held in memory, by key, and the marker of the next."""
    ordered = sorted(items, key=key)
    start = after(parameters)
    first = bisect.bisect_right(ordered, start, key=key) if start else 0
    size = limit(parameters, most)
    found = ordered[first : first + size]
    more = first + size < len(ordered)
    return found, marker(key(found[-1])) if more else None


def numbered(number: str | int) -> str:
    """A version's key: $LATEST before 1, and 9 before 10."""
    return f"{int(number):012d}" if str(number).isdecimal() else ""
