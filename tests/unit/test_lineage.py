"""How often a function was run in one chain."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from lambent.functions.lineage import extended

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def test_a_chain_counts_each_function_by_itself() -> None:
    first, count = extended(TRACE, "1", "r", "f")
    assert count == 1 and re.fullmatch(re.escape(TRACE) + ";Lineage=[0-9a-f]{8}:1", first)
    second, count = extended(first, "1", "r", "g")
    assert count == 1
    third, count = extended(second, "1", "r", "f")
    assert count == 2 and third.count(":") == 2 and third.startswith(TRACE)


def test_what_else_is_in_the_header_stays() -> None:
    once, _ = extended(TRACE, "1", "r", "f")
    twice, count = extended(once + ";Self=1", "1", "r", "f")
    assert count == 2 and twice.endswith(":2;Self=1")


def test_a_long_chain_of_many_functions_stays_short() -> None:
    trace = TRACE
    for number in range(100):
        trace, _ = extended(trace, "1", "r", f"f{number}")
    assert len(trace) < 600
    assert extended(trace, "1", "r", "f99")[1] == 2
    assert extended(trace, "1", "r", "f0")[1] == 1


@given(st.text(max_size=200))
def test_no_header_is_too_strange(text: str) -> None:
    for trace in (text, f"Root=1;Lineage={text}"):
        following, count = extended(trace, "1", "r", "f")
        assert count >= 1
        assert extended(following, "1", "r", "f")[1] == count + 1
