"""Condition operators, by the tables of the IAM User Guide."""

from __future__ import annotations

import pytest

from lambent.iam.policy import conditions
from lambent.iam.policy.conditions import Condition

KEY = "aws:Key"


def holds(operator: str, wanted: str | list[str], given: str | list[str] | None) -> bool:
    """Whether a condition holds where its key has these values; None: is not there."""
    values = {"aws:username": ["ann"]}
    if given is not None:
        values["aws:key"] = [given] if isinstance(given, str) else given
    wants = [wanted] if isinstance(wanted, str) else wanted
    condition = Condition(operator, KEY, wants, True)

    def lookup(key: str) -> str | None:
        found = values.get(key, [])
        return found[0] if len(found) == 1 else None

    return condition.holds(values, lookup)


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a*", "a*", True),
        ("StringEquals", "${aws:username}", "ann", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEqualsIgnoreCase", "a", "A", False),
        ("StringLike", "a*", "ab", True),
        ("StringNotLike", "a*", "ab", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericNotEquals", "10", "10", False),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "10", False),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("NumericEquals", "ten", "10", False),
        ("NumericEquals", "10", "ten", False),
        ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", True),
        ("DateLessThan", "2026-01-01", "2025-12-31T23:59:59Z", True),
        ("DateGreaterThan", "2026-01-01T00:00:00Z", "1767225601", True),
        ("DateGreaterThanEquals", "1767225600", "2026-01-01T00:00:00Z", True),
        ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("DateLessThanEquals", "never", "2026-01-01T00:00:00Z", False),
        ("Bool", "true", "True", True),
        ("Bool", "false", "true", False),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("BinaryEquals", "QmluYXJ5", "other", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", ["203.0.113.0/24", "2001:db8::/32"], "2001:db8::1", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.7", False),
        ("IpAddress", "203.0.113.9", "203.0.113.9", True),
        ("IpAddress", "nonsense", "203.0.113.9", False),
        ("NotIpAddress", "203.0.113.0/24", "203.0.113.7", False),
        ("ArnEquals", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", True),
        ("ArnLike", "arn:aws:sns:*:1:*", "arn:aws:sns:r:1:topic", True),
        ("ArnLike", "arn:aws:sns:*:topic", "arn:aws:sns:r:1:topic", False),
        ("ArnNotLike", "arn:aws:sns:*:1:*", "arn:aws:sns:r:1:topic", False),
        ("ArnNotEquals", "arn:aws:sns:*:1:*", "arn:aws:sns:r:2:topic", True),
        ("Null", "true", None, True),
        ("Null", "true", "x", False),
        ("Null", "false", "x", True),
        ("Null", "false", None, False),
    ],
)
def test_an_operator_compares_as_documented(
    operator: str, wanted: str | list[str], given: str | None, expected: bool
) -> None:
    assert holds(operator, wanted, given) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringLike", False),
        ("IpAddress", False),
        ("NumericLessThan", False),
        ("Bool", False),
        # Nothing is not equal to anything.
        ("StringNotEquals", True),
        ("StringNotLike", True),
        ("NotIpAddress", True),
        ("ArnNotLike", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("NumericLessThanIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAnyValue:StringEqualsIfExists", True),
    ],
)
def test_a_key_that_is_not_there(operator: str, expected: bool) -> None:
    assert holds(operator, "1", None) is expected


@pytest.mark.parametrize(
    ("operator", "given", "expected"),
    [
        ("ForAllValues:StringEquals", ["a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAnyValue:StringEquals", ["a", "c"], True),
        ("ForAnyValue:StringEquals", ["c", "d"], False),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "c"], False),
        ("ForAnyValue:StringNotEquals", ["a", "c"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
        ("ForAnyValue:StringLike", ["xa", "a"], True),
    ],
)
def test_several_values_of_a_key(operator: str, given: list[str], expected: bool) -> None:
    assert holds(operator, ["a", "b"], given) is expected


def test_operators_are_known_by_name() -> None:
    for name in ("StringEquals", "ForAllValues:ArnLikeIfExists", "Null", "BoolIfExists"):
        assert conditions.known(name)
    for name in ("StringIs", "NullIfExists", "ForSomeValues:StringEquals", "", "IfExists"):
        assert not conditions.known(name)
