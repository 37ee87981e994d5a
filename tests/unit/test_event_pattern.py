"""Event patterns: what passes a filter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.event_pattern import MOST, InvalidPattern, compile_pattern, read_pattern

EVENT = {
    "kind": "Created",
    "size": 5,
    "ratio": 0.5,
    "none": None,
    "empty": "",
    "yes": True,
    "tags": ["a", "b"],
    "nothing": [],
    "who": {"name": "Ada", "roles": ["reader"]},
    "items": [{"id": 1, "of": "x"}, {"id": 2, "of": "y"}],
}


def matches(pattern: Any, event: Any = EVENT) -> bool:
    return compile_pattern(read_pattern(json.dumps(pattern)))(event)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"kind": ["Created"]}, True),
        ({"kind": ["Deleted", "Created"]}, True),
        ({"kind": ["created"]}, False),
        ({"kind": ["Created"], "size": [5]}, True),
        ({"kind": ["Created"], "size": [6]}, False),
        ({"size": ["5"]}, False),
        ({"size": [5.0]}, True),
        ({"yes": [1]}, False),
        ({"yes": [True]}, True),
        ({"none": [None]}, True),
        ({"absent": [None]}, False),
        ({"empty": [""]}, True),
        ({"none": [""]}, False),
        # Of a list one element is enough.
        ({"tags": ["b"]}, True),
        ({"tags": ["c"]}, False),
        ({"nothing": ["a"]}, False),
        ({"nothing": [{"exists": False}]}, True),
        # Names lead inwards, through lists of objects too, where one element is all that is meant.
        ({"who": {"name": ["Ada"], "roles": ["reader"]}}, True),
        ({"who": {"name": ["Bob"]}}, False),
        ({"items": {"id": [2], "of": ["y"]}}, True),
        ({"items": {"id": [2], "of": ["x"]}}, False),
        ({"kind": {"name": ["Ada"]}}, False),
        ({"who": ["Ada"]}, False),
        # Operators.
        ({"kind": [{"prefix": "Cre"}]}, True),
        ({"kind": [{"prefix": "cre"}]}, False),
        ({"size": [{"prefix": "5"}]}, False),
        ({"kind": [{"suffix": "ted"}]}, True),
        ({"kind": [{"equals-ignore-case": "CREATED"}]}, True),
        ({"kind": [{"anything-but": "Deleted"}]}, True),
        ({"kind": [{"anything-but": ["Deleted", "Created"]}]}, False),
        ({"absent": [{"anything-but": "x"}]}, False),
        ({"size": [{"anything-but": [5]}]}, False),
        ({"size": [{"numeric": ["=", 5]}]}, True),
        ({"size": [{"numeric": [">", 0, "<=", 5]}]}, True),
        ({"size": [{"numeric": [">", 0, "<", 5]}]}, False),
        ({"ratio": [{"numeric": ["<", 1]}]}, True),
        ({"kind": [{"numeric": ["<", 1]}]}, False),
        ({"yes": [{"numeric": ["=", 1]}]}, False),
        ({"kind": [{"exists": True}]}, True),
        ({"kind": [{"exists": False}]}, False),
        ({"absent": [{"exists": False}]}, True),
        ({"absent": {"deeper": [{"exists": False}]}}, True),
        # Only what has no parts exists.
        ({"who": [{"exists": True}]}, False),
        ({"$or": [{"kind": ["no"]}, {"size": [5]}]}, True),
        ({"$or": [{"kind": ["no"]}, {"size": [6]}]}, False),
        ({"kind": ["Created"], "$or": [{"size": [6]}, {"who": {"name": ["Ada"]}}]}, True),
        ({"kind": [{"prefix": "x"}, {"numeric": [">", 1]}, "Created"]}, True),
    ],
)
def test_a_pattern_lets_through_what_it_says(pattern: Any, expected: bool) -> None:
    assert matches(pattern) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        [],
        "text",
        None,
        {"a": []},
        {"a": "b"},
        {"a": 1},
        {"a": {}},
        {"a": [[1]]},
        {"a": [{}]},
        {"a": [{"prefix": 1}]},
        {"a": [{"prefix": "x", "suffix": "y"}]},
        {"a": [{"wildcard": "*"}]},
        {"a": [{"exists": "true"}]},
        {"a": [{"anything-but": []}]},
        {"a": [{"anything-but": {"prefix": "x"}}]},
        {"a": [{"numeric": []}]},
        {"a": [{"numeric": ["<"]}]},
        {"a": [{"numeric": ["!", 1]}]},
        {"a": [{"numeric": ["<", "1"]}]},
        {"a": [{"numeric": ["<", True]}]},
        {"a": [{"numeric": [["<"], 1]}]},
        {"$or": [{"a": [1]}]},
        {"$or": {"a": [1]}, "b": []},
    ],
)
def test_what_is_no_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(InvalidPattern):
        matches(pattern)


@pytest.mark.parametrize("text", ["", "{", "nan", '{"a": [1]}' + " " * MOST, '{"a":' * 800])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(read_pattern(text))


def test_a_pattern_is_no_deeper_than_it_may_be() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {"a": [1]} if not depth else {"a": nested(depth - 1)}

    event = nested(64)
    assert matches(nested(64), json.loads(json.dumps(event).replace("[1]", "1")))
    with pytest.raises(InvalidPattern):
        matches(nested(65))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(JSON, JSON)
def test_nothing_is_too_strange_to_be_judged(pattern: Any, event: Any) -> None:
    try:
        predicate = compile_pattern(read_pattern(json.dumps(pattern)))
    except InvalidPattern:
        return
    assert predicate(event) in (True, False)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(), min_size=1))
def test_an_event_matches_the_pattern_made_of_it(event: dict[str, Any]) -> None:
    event.pop("$or", None)
    if event:
        assert matches({name: [value] for name, value in event.items()}, event)
