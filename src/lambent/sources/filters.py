"""An event source mapping's filters: which records its function is to see.

A pattern whose key for the record's data leads into it is for data that is JSON; one that lists
texts there is for data that is not.  Either drops data of the other kind.
Source: AWS Lambda Developer Guide, "Properly filtering Amazon SQS messages".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lambent.aws import jsontext
from lambent.aws.event_pattern import InvalidPattern, Predicate, compile_pattern, read_pattern
from lambent.errors import InvalidParameterValue
from lambent.functions.types import Shape

# Filters of one mapping.  Source: the same guide, "Filter criteria": five, ten on request.
MOST = 10


def compile_filters(criteria: Shape | None, data: str) -> Callable[[Shape], bool]:
    """What tells whether a record passes one of FilterCriteria's patterns, or there is none.

    data: the name of the record's member that has its data, as a text.  Raises
    InvalidParameterValue.
    """
    filters = (criteria or {}).get("Filters") or []
    if len(filters) > MOST:
        raise InvalidParameterValue(f"A mapping has at most {MOST} filters.")
    try:
        ways = [_way(each.get("Pattern", ""), data) for each in filters]
    except InvalidPattern:
        raise InvalidParameterValue("Invalid filter pattern definition.") from None
    if not ways:
        return lambda record: True

    def passes(record: Shape) -> bool:
        parsed = _parsed(record[data])
        return any(way(record, parsed) for way in ways)

    return passes


def _way(text: str, data: str) -> Callable[[Shape, Any], bool]:
    document = read_pattern(text)
    matches: Predicate = compile_pattern(document)
    if isinstance(document.get(data), dict):
        return lambda record, parsed: parsed is not None and matches({**record, data: parsed})
    if data in document:
        return lambda record, parsed: parsed is None and matches(record)
    return lambda record, parsed: matches(record)


def _parsed(text: str) -> Any:
    """Data that is a JSON object or list; None where it is a text of another kind."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return jsontext.decode(text.encode())
    except ValueError:
        return None
