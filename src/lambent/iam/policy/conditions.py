"""The Condition element: operators over context keys.

Source: AWS IAM User Guide, "IAM JSON policy elements: Condition operators" and "Conditions with
multiple context keys or values".
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lambent.iam.policy.globs import ArnPattern, Lookup, Pattern

Values = Mapping[str, Sequence[str]]
"""Context keys in lower case → their values; an absent key is not there."""

# Whether one value of a context key fits one value of the policy.
_Test = Callable[[str, Any, Lookup], bool]


def _equals(value: str, wanted: Pattern, lookup: Lookup) -> bool:
    return value == wanted.resolved(lookup)


def _equals_folded(value: str, wanted: Pattern, lookup: Lookup) -> bool:
    resolved = wanted.resolved(lookup)
    return resolved is not None and value.lower() == resolved.lower()


def _like(value: str, wanted: Pattern | ArnPattern, lookup: Lookup) -> bool:
    return wanted.matches(value, lookup)


def _numbers(compare: Callable[[float, float], bool]) -> _Test:
    def test(value: str, wanted: Pattern, lookup: Lookup) -> bool:
        try:
            return compare(float(value), float(wanted.resolved(lookup) or ""))
        except ValueError:
            return False

    return test


def _moment(text: str) -> float:
    """Seconds of an ISO 8601 date or of a number of seconds; raises ValueError."""
    if re.fullmatch(r"\d+(\.\d+)?", text) and len(text) > 4:
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _dates(compare: Callable[[float, float], bool]) -> _Test:
    def test(value: str, wanted: Pattern, lookup: Lookup) -> bool:
        try:
            return compare(_moment(value), _moment(wanted.resolved(lookup) or ""))
        except (ValueError, OverflowError):
            return False

    return test


def _binary(value: str, wanted: Pattern, lookup: Lookup) -> bool:
    try:
        return base64.b64decode(value) == base64.b64decode(wanted.resolved(lookup) or "?")
    except ValueError:
        return False


def _address(value: str, wanted: Pattern, lookup: Lookup) -> bool:
    try:
        network = ipaddress.ip_network(wanted.resolved(lookup) or "", strict=False)
        return ipaddress.ip_address(value) in network
    except ValueError:
        return False


def _pair(name: str, opposite: str, test: _Test) -> dict[str, tuple[_Test, bool]]:
    return {name: (test, False), opposite: (test, True)}


# Operator → its test, and whether it asks for the opposite.
_OPERATORS: dict[str, tuple[_Test, bool]] = {
    **_pair("StringEquals", "StringNotEquals", _equals),
    **_pair("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", _equals_folded),
    **_pair("StringLike", "StringNotLike", _like),
    **_pair("NumericEquals", "NumericNotEquals", _numbers(lambda a, b: a == b)),
    "NumericLessThan": (_numbers(lambda a, b: a < b), False),
    "NumericLessThanEquals": (_numbers(lambda a, b: a <= b), False),
    "NumericGreaterThan": (_numbers(lambda a, b: a > b), False),
    "NumericGreaterThanEquals": (_numbers(lambda a, b: a >= b), False),
    **_pair("DateEquals", "DateNotEquals", _dates(lambda a, b: a == b)),
    "DateLessThan": (_dates(lambda a, b: a < b), False),
    "DateLessThanEquals": (_dates(lambda a, b: a <= b), False),
    "DateGreaterThan": (_dates(lambda a, b: a > b), False),
    "DateGreaterThanEquals": (_dates(lambda a, b: a >= b), False),
    "Bool": (_equals_folded, False),
    "BinaryEquals": (_binary, False),
    **_pair("IpAddress", "NotIpAddress", _address),
    **_pair("ArnEquals", "ArnNotEquals", _like),
    **_pair("ArnLike", "ArnNotLike", _like),
}
NULL = "Null"
ALL, ANY = "ForAllValues:", "ForAnyValue:"


def known(operator: str) -> bool:
    """Whether there is such an operator."""
    return _taken_apart(operator)[1] in {*_OPERATORS, NULL}


def _taken_apart(operator: str) -> tuple[str, str, bool]:
    """The quantifier or "", the bare operator, and whether it ends with IfExists."""
    quantifier = next((each for each in (ALL, ANY) if operator.startswith(each)), "")
    bare = operator.removeprefix(quantifier)
    if bare.endswith("IfExists") and bare != NULL + "IfExists":
        return quantifier, bare.removesuffix("IfExists"), True
    return quantifier, bare, False


class Condition:
    """One operator on one key: ``{"StringEquals": {"aws:username": ["a", "b"]}}``."""

    __slots__ = ("_if_exists", "_key", "_negated", "_null", "_quantifier", "_test", "_wanted")

    def __init__(self, operator: str, key: str, wanted: Sequence[str], variables: bool) -> None:
        """The operator must be a known one."""
        self._quantifier, bare, self._if_exists = _taken_apart(operator)
        self._key = key.lower()
        self._null = wanted if bare == NULL else None
        self._test, self._negated = _OPERATORS.get(bare, (_equals, False))
        kind = ArnPattern if bare.startswith("Arn") else Pattern
        self._wanted = [kind(each, variables) for each in wanted]

    def holds(self, values: Values, lookup: Lookup) -> bool:
        """Whether it is true of a request."""
        given = values.get(self._key, ())
        if self._null is not None:
            return any(each.lower() == str(not given).lower() for each in self._null)
        if not given:
            # A key that is not there fits no value; all of none are whatever one asks.
            return (
                self._if_exists
                or self._quantifier == ALL
                or (self._negated and self._quantifier != ANY)
            )
        if self._quantifier == ANY or (not self._quantifier and not self._negated):
            return any(self._fits(each, lookup) for each in given)
        return all(self._fits(each, lookup) for each in given)

    def _fits(self, value: str, lookup: Lookup) -> bool:
        """Several values of the policy are alternatives; of a negated operator none may fit."""
        found = any(self._test(value, each, lookup) for each in self._wanted)
        return found is not self._negated
