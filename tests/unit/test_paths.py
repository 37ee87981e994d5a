"""Parts of paths from requests: whatever the text, it stays one part below its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.paths import UnsafePart, account_part, name_of_part, name_part, region_part

NAMES = st.text(min_size=1, max_size=600) | st.sampled_from(
    ["." * length for length in range(1, 6)]
    + ["../..", "/", "//", "/etc/passwd", "~", "a~b", "%2e%2e", "..%2f", "\0", "\ud800", "\n"]
    + ["/" * 512, "x" * 200, "x" * 201, "x" * 255, "é" * 512]
)


@given(NAMES)
def test_a_name_is_one_part_of_a_path_and_never_leads_out(name: str) -> None:
    part = name_part(name)
    assert part not in ("", ".", "..") and "/" not in part and "\0" not in part
    assert len(os.fsencode(part)) <= 255
    assert os.path.normpath(f"/root/{part}") == f"/root/{part}"


@given(NAMES, NAMES)
def test_names_have_parts_of_their_own(one: str, other: str) -> None:
    assert (name_part(one) == name_part(other)) is (one == other)


@given(NAMES)
def test_a_name_is_read_back_from_its_part_unless_it_was_too_long(name: str) -> None:
    read = name_of_part(name_part(name))
    assert read is None or read == name or "\ud800" <= max(name) <= "\udfff"
    if len(name) < 60 and name.isascii() and "~" not in name:
        assert read == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "../us-east-1", "us-east-1/..", "US-EAST-1", "us_east_1", "us-east-1\n",
     "r" * 65, "a\0", "*", "é", "%2e"],
)  # fmt: skip
def test_what_is_no_region_becomes_no_path(text: str) -> None:
    with pytest.raises(UnsafePart):
        region_part(text)


@pytest.mark.parametrize(
    "text", ["", "..", "12345678901", "1234567890123", "\u0660" * 12, "0" * 12 + "\n"]
)
def test_what_is_no_account_becomes_no_path(text: str) -> None:
    with pytest.raises(UnsafePart):
        account_part(text)


def test_accounts_and_regions_are_parts_as_they_are(tmp_path: Path) -> None:
    place = tmp_path / account_part("000000000000") / region_part("us-gov-east-1")
    assert place == tmp_path / "000000000000" / "us-gov-east-1"
