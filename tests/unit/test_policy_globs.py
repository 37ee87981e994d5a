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


def test_time_follows_the_text_and_not_the_pattern() -> None:
    def took(stars: int) -> float:
        pattern = Pattern("*a" * stars + "b")
        best = 1.0
        for _ in range(3):
            began = time.process_time()
            assert not pattern.matches("a" * 4000, VALUES.get)
            best = min(best, time.process_time() - began)
        return best

    # A backtracking matcher takes ages; this one the same but for wider integers.
    assert took(1000) < 50 * took(2)


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
