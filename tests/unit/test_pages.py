"""Pages of lists: complete, in order, whatever changes between two of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.api import pages
from lambent.errors import InvalidParameterValue

NAMES = st.text("abcXYZ019-_", min_size=1, max_size=6)


@given(st.sets(NAMES, max_size=30), st.integers(1, 7), st.data())
def test_what_stays_is_shown_once_and_in_order(
    names: set[str], size: int, data: st.DataObject
) -> None:
    stays = set(names)
    there = set(names)
    shown: list[str] = []
    marker: str | None = None
    while True:
        parameters: dict[str, Any] = {"MaxItems": size, "Marker": marker}
        found, marker = pages.page(there, lambda each: each, parameters)
        assert len(found) <= size
        shown += found
        if marker is None:
            break
        # Between two pages others add and remove what they like.
        gone = data.draw(st.sets(st.sampled_from(sorted(there)), max_size=3)) if there else set()
        there = (there - gone) | data.draw(st.sets(NAMES, max_size=3))
        stays -= gone
    assert shown == sorted(shown) and len(shown) == len(set(shown))
    assert stays <= set(shown)


def test_a_page_is_never_larger_than_awss() -> None:
    found, marker = pages.page(range(200), str, {"MaxItems": 10_000})
    assert len(found) == 50 and marker is not None


def test_a_marker_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidParameterValue, match="Invalid Marker"):
        pages.page([], str, {"Marker": "?"})


def test_versions_are_ordered_as_numbers() -> None:
    every = ["10", "$LATEST", "9", "1"]
    assert sorted(every, key=pages.numbered) == ["$LATEST", "1", "9", "10"]
