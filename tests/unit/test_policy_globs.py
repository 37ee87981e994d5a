"""Patterns of policies."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.iam.policy.globs import ArnPattern, Pattern

VALUES = {"aws:username": "ann", "aws:starred": "a*", "s3:prefix": "home/ann"}


def fits(pattern: str, text: str, *, variables: bool = True, folded: bool = False) -> bool:
    return Pattern(pattern, variables, folded).matches(text, VALUES.get)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("*", "anything", True),
        ("", "", True),
        ("", "x", False),
        ("lambda:*", "lambda:InvokeFunction", True),
        ("lambda:Get*", "lambda:InvokeFunction", False),
        ("*Function", "lambda:InvokeFunction", True),
        ("lambda:*Function*", "lambda:GetFunctionConfiguration", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a?", "ab", True),
        ("??", "a", False),
        ("a**b", "axyzb", True),
        ("*a*b*c*", "--a--b--c--", True),
        ("*a*b*c*", "--a--c--b--", False),
        ("[a-z]", "b", False),
        ("a.c", "abc", False),
    ],
)
def test_a_star_is_any_text_and_a_question_mark_one_character(
    pattern: str, text: str, expected: bool
) -> None:
    assert fits(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("home/${aws:username}/*", "home/ann/x", True),
        ("home/${AWS:UserName}/*", "home/ann/x", True),
        ("home/${aws:username}/*", "home/bob/x", False),
        ("${aws:nobody}", "", False),
        ("${aws:nobody, 'guest'}", "guest", True),
        ("${aws:username, 'guest'}", "guest", False),
        # What a variable stands for is no wildcard.
        ("${aws:starred}", "ab", False),
        ("${aws:starred}", "a*", True),
        ("${*}${?}${$}", "*?$", True),
        ("${*}", "x", False),
        ("${}", "${}", True),
        ("${aws:username", "${aws:username", True),
    ],
)
def test_a_variable_is_its_value(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


def test_variables_mean_nothing_in_the_older_version() -> None:
    assert not fits("${aws:username}", "ann", variables=False)
    assert fits("${aws:username}", "${aws:username}", variables=False)


def test_actions_are_compared_without_regard_to_case() -> None:
    assert fits("LAMBDA:invoke*", "lambda:InvokeFunction", folded=True)
    assert not fits("LAMBDA:invoke*", "lambda:InvokeFunction")


@given(st.text(alphabet="ab*?", max_size=12), st.text(alphabet="ab", max_size=12))
def test_patterns_mean_what_shells_mean_by_them(pattern: str, text: str) -> None:
    assert fits(pattern, text) is fnmatch.fnmatchcase(text, pattern)


@given(
    st.lists(st.sampled_from(["a", "b", "?", "*", "??", "a?", "*a", "é", "\n", "."]), max_size=12),
    st.text(alphabet="abé\n.", max_size=16),
)
def test_pieces_with_question_marks_are_where_they_fit(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    assert fits(pattern, text) is fnmatch.fnmatchcase(text, pattern)


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 1000 + "b", "*a?" * 600 + "b", "*" + "a?" * 900 + "b*", "*" + "?" * 1800 + "b*",
     "${" * 1000, "${a" * 600 + "}"],
)  # fmt: skip
def test_no_pattern_takes_long(pattern: str) -> None:
    def took() -> float:
        began = time.process_time()
        assert not Pattern(pattern).matches("a" * 4000, VALUES.get)
        return time.process_time() - began

    # Where a matcher goes back, these take ages.
    assert min(took() for _ in range(3)) < 0.05


@pytest.mark.parametrize(
    ("pattern", "arn", "expected"),
    [
        ("*", "arn:aws:s3:::bucket/key", True),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a:b/c", True),
        ("arn:aws:lambda:*:*:function:f", "arn:aws:lambda:r:1:function:f", True),
        ("arn:aws:lambda:*:function:f", "arn:aws:lambda:r:1:function:f", False),
        ("arn:*", "arn:aws:s3:::bucket", False),
        ("arn:aws:sqs:*:1:*", "arn:aws:sqs:r:1:queue", True),
        ("arn:aws:sqs:*:1:*", "arn:aws:sqs:r:2:queue", False),
        ("arn:aws:s3:::${s3:prefix}/*", "arn:aws:s3:::home/ann/x", True),
    ],
)
def test_a_wildcard_in_an_arn_stays_in_its_part(pattern: str, arn: str, expected: bool) -> None:
    assert ArnPattern(pattern).matches(arn, VALUES.get) is expected
