"""Event patterns: which events a filter lets through.

    {"kind": ["created"], "size": [{"numeric": [">", 0, "<=", 5]}], "$or": [{…}, {…}]}

Names lead into the event; the list at the end has what its value may be: a value, null, or one of
prefix, suffix, equals-ignore-case, anything-but, numeric, exists.  Of a list in the event one
element is enough.
Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MOST = 4096
_DEEPEST = 64
_ABSENT = object()
Predicate = Callable[[Any], bool]


class InvalidPattern(Exception):
    """The pattern cannot be read."""


def read_pattern(text: str) -> dict[str, Any]:
    """A pattern's document; raises InvalidPattern."""
    try:
        document = json.loads(text) if len(text) <= MOST else None
    except (ValueError, RecursionError):
        raise InvalidPattern from None
    if not isinstance(document, dict):
        raise InvalidPattern
    return document


def compile_pattern(document: dict[str, Any]) -> Predicate:
    """What tells whether an event, as decoded JSON, matches; raises InvalidPattern."""
    return _object(document, 0)


def _object(pattern: dict[str, Any], depth: int) -> Predicate:
    if not pattern or depth > _DEEPEST:
        raise InvalidPattern
    tests = [_member(name, inner, depth) for name, inner in pattern.items()]

    def matches(value: Any) -> bool:
        if isinstance(value, list):
            return any(matches(each) for each in value if isinstance(each, dict))
        return all(test(value if isinstance(value, dict) else {}) for test in tests)

    return matches


def _member(name: str, inner: Any, depth: int) -> Predicate:
    if name == "$or" and isinstance(inner, list) and all(isinstance(each, dict) for each in inner):
        ways = [_object(each, depth + 1) for each in inner]
        if len(ways) < 2:
            raise InvalidPattern
        return lambda event: any(way(event) for way in ways)
    if isinstance(inner, dict):
        deeper = _object(inner, depth + 1)
        return lambda event: deeper(event.get(name, {}))
    if not isinstance(inner, list) or not inner:
        raise InvalidPattern
    allowed = [_leaf(each) for each in inner]

    def matches(event: Any) -> bool:
        value = event.get(name, _ABSENT)
        values = value if isinstance(value, list) else [value]
        # Only what has no parts is compared; of an empty list nothing is.
        plain = [each for each in values if not isinstance(each, dict | list)] or [_ABSENT]
        return any(test(each) for test in allowed for each in plain)

    return matches


def _leaf(wanted: Any) -> Predicate:
    if not isinstance(wanted, dict):
        if isinstance(wanted, list):
            raise InvalidPattern
        return lambda value: _same(value, wanted)
    if len(wanted) != 1:
        raise InvalidPattern
    ((operator, operand),) = wanted.items()
    if operator == "exists" and isinstance(operand, bool):
        return lambda value: (value is not _ABSENT) is operand
    if operator in ("prefix", "suffix") and isinstance(operand, str):
        test = str.startswith if operator == "prefix" else str.endswith
        return lambda value: isinstance(value, str) and test(value, operand)
    if operator == "equals-ignore-case" and isinstance(operand, str):
        folded = operand.casefold()
        return lambda value: isinstance(value, str) and value.casefold() == folded
    if operator == "anything-but":
        others = operand if isinstance(operand, list) else [operand]
        if not others or any(isinstance(each, dict | list) for each in others):
            raise InvalidPattern
        return lambda value: value is not _ABSENT and not any(_same(value, each) for each in others)
    if operator == "numeric" and isinstance(operand, list):
        return _numeric(operand)
    raise InvalidPattern


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


def _numeric(operand: list[Any]) -> Predicate:
    """One comparison, or a lower and an upper bound."""
    if len(operand) not in (2, 4):
        raise InvalidPattern
    tests = []
    for sign, bound in zip(operand[::2], operand[1::2], strict=True):
        if not isinstance(sign, str) or sign not in _COMPARISONS or not _is_number(bound):
            raise InvalidPattern
        tests.append((_COMPARISONS[sign], bound))
    return lambda value: _is_number(value) and all(test(value, bound) for test, bound in tests)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(value: Any, wanted: Any) -> bool:
    """Equal as JSON has it: true is not 1."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)
