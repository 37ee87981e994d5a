"""Filter patterns of CloudWatch Logs, after the examples of its guide."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lambent.aws.filter_pattern import InvalidPattern, compile_pattern
from lambent.aws.linear_regex import compile_regex

EVENT = (
    '{"level": "ERROR", "ms": 120, "user": {"id": "u-1", "tags": ["a", "b"]}, '
    '"no": null, "ok": true}'
)
ACCESS = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ("ERROR", "[ERROR] failed", True),
        ("ERROR", "error", False),
        ("ERROR failed", "failed with ERROR", True),
        ("ERROR failed", "ERROR only", False),
        ('"two words"', "these two words", True),
        ('"two words"', "words two", False),
        ("ERROR -expected", "ERROR expected", False),
        ("ERROR -expected", "ERROR", True),
        ("?ERROR ?WARN", "a WARN", True),
        ("?ERROR ?WARN", "an INFO", False),
        ("%5[0-9][0-9]%", "status 503", True),
        ("%5[0-9][0-9]%", "status 404", False),
        ('{ $.level = "ERROR" }', EVENT, True),
        ('{ $.level = "ERR*" && $.ms > 100 }', EVENT, True),
        ('{ $.level = "ERROR" && $.ms > 200 }', EVENT, False),
        ('{ $.level = "INFO" || ($.ms >= 120 && $.ms <= 120) }', EVENT, True),
        ('{ $.user.id != "u-2" }', EVENT, True),
        ('{ $.user.tags[1] = "b" }', EVENT, True),
        ('{ $.user.tags[*] = "b" }', EVENT, True),
        ("{ $.no IS NULL }", EVENT, True),
        ("{ $.ok IS TRUE }", EVENT, True),
        ("{ $.none NOT EXISTS }", EVENT, True),
        ("{ $.level NOT EXISTS }", EVENT, False),
        ("{ $.ms = 120 }", EVENT, True),
        ("{ $.level = %^ERR% }", EVENT, True),
        ('{ $.level = "ERROR" }', "not json", False),
        ("[ip, id, user, time, request, status = 4*, size]", ACCESS, True),
        ("[ip, id, user, time, request, status = 200, size]", ACCESS, False),
        ("[..., status = 404, size > 1000]", ACCESS, True),
        ("[ip, id]", ACCESS, False),
    ],
)  # fmt: skip
def test_patterns_match_as_the_guide_says(pattern: str, message: str, matches: bool) -> None:
    assert compile_pattern(pattern)(message) is matches


@pytest.mark.parametrize(
    "pattern",
    ["{", "{ $.a }", "{ $.a = }", "{ a = 1 }", "[a, ..., ...]", "%(a+)+%", "%%", '{ $.a > "x" }',
     "%a% %b% %c%", "x" * 1025, "{ " + "(" * 50 + "$.a = 1" + ")" * 50 + " }", "[a"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(pattern)


@given(some.text(max_size=60), some.text(max_size=60))
def test_no_pattern_does_anything_but_match_or_be_refused(pattern: str, message: str) -> None:
    try:
        assert compile_pattern(pattern)(message) in (True, False)
    except InvalidPattern:
        pass


def test_no_regular_expression_takes_for_ever() -> None:
    # One that backtracks would need longer than the universe has been there.
    hostile = compile_pattern("%" + "a*" * 100 + "b%")
    assert hostile("a" * 2000) is False and hostile("a" * 2000 + "b") is True


EXPRESSIONS = some.lists(
    some.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "1", r"\."]),
    min_size=1,
    max_size=5,
)
REPEATS = some.sampled_from(["", "", "?", "*", "+", "{1,2}", "{2}", "{0,}"])


@given(some.data(), some.text("ab1. ", max_size=12))
def test_regular_expressions_find_what_pythons_own_find(data: some.DataObject, text: str) -> None:
    body = "".join(each + data.draw(REPEATS) for each in data.draw(EXPRESSIONS))
    body = data.draw(some.sampled_from(["", "^"])) + body + data.draw(some.sampled_from(["", "$"]))
    body = data.draw(some.sampled_from([body, body + "|b1", "a$|" + body]))
    assert compile_regex(body)(text) is (re.search(body, text, re.DOTALL) is not None)
