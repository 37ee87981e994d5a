"""Patterns given to the embedded services never make them search for ever."""

from __future__ import annotations

import re
import time
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lambent.aws.wildcards import between
from lambent.neighbours.ministack import bounds


@pytest.fixture
def module() -> Any:
    """Stands for a service's module, with every name that is replaced."""
    made: Any = ModuleType("service")
    made._wildcard_matches = made._cors_pattern_matches = made._wildcard_regex = lambda *_: None
    made._wildcard_regex.cache_clear = lambda: None
    return made


@given(
    some.lists(some.sampled_from(["a", "b", "*", "**", "ab", ".", "?", "["]), max_size=8),
    some.text("ab.?[", max_size=12),
)
def test_wildcards_match_what_an_expression_would(tokens: list[str], text: str) -> None:
    pattern = "".join(tokens)
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL)
    assert between(pattern.split("*"))(text) is (expected is not None)


def test_a_wildcard_of_a_filter_policy_is_matched_in_one_pass(module: Any) -> None:
    bounds.in_sns(module)
    began = time.perf_counter()
    assert not module._wildcard_matches("a" * 200_000, "*a" * 100 + "b")
    assert module._wildcard_matches("a" * 200_000 + "b", "*a" * 100 + "b")
    assert time.perf_counter() - began < 1


def test_a_wildcard_of_a_cors_rule_is_matched_in_one_pass(module: Any) -> None:
    bounds.in_s3(module)
    began = time.perf_counter()
    assert not module._cors_pattern_matches("*a" * 100 + "b", "A" * 60_000, re.IGNORECASE)
    assert module._cors_pattern_matches("https://*.Example.com", "HTTPS://a.example.com", re.I)
    assert not module._cors_pattern_matches("https://*.Example.com", "https://a.example.com")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("a*c", "abc", True),
        ("a*c", "abd", False),
        (r"a\*c", "a*c", True),
        (r"a\*c", "abc", False),
        (r"a\\*", "a\\b", True),
        ("a\\", "a\\", True),
        ("*?[x]", "..?[x]", True),
        ("*", "", True),
    ],
)
def test_a_wildcard_of_a_rule_means_what_it_did(
    module: Any, pattern: str, value: str, matches: bool
) -> None:
    bounds.in_eventbridge(module)
    assert (module._wildcard_regex(pattern).match(value) is not None) is matches


def test_a_wildcard_of_a_rule_is_matched_in_one_pass(module: Any) -> None:
    bounds.in_eventbridge(module)
    began = time.perf_counter()
    pattern = "*" + "a" * 2000 + "b*c"
    assert module._wildcard_regex(pattern).match("a" * 250_000) is None
    assert time.perf_counter() - began < 1
