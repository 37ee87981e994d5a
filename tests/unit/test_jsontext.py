"""JSON is told from what is not, and without parsing it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_every_json_text_passes(value: object, escaped: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=escaped, indent=indent)
    jsontext.check(text.encode("utf-8", "replace"))


@pytest.mark.parametrize("text", [b'"\\ud800"', b" 1 ", b"1e999", b'{"a":1,"a":2}', b'"\xc3\xa9"'])
def test_what_other_parsers_stumble_over_passes(text: bytes) -> None:
    jsontext.check(text)


@pytest.mark.parametrize(
    "text",
    [
        b"{", b"[1,]", b'{"a":1,}', b"{1:2}", b"tru", b"01", b"1.", b"-", b"1 2", b'"a', b'"\x01"',
        b'"\\x"', b"NaN", b"[Infinity]", b"-Infinity", b'"\xff"', b'"\xc3("', b'"\xed\xa0\x80"',
        "1".encode("utf-16"), b"\xef\xbb\xbf1", b"[" * 100_000 + b"]" * 100_000, b"\x00",
    ],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_everything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.check(text)


@given(
    st.binary(max_size=12) | st.text("[]{}:,\"'\\1eE+-. \ntruefalsn", max_size=12).map(str.encode)
)
def test_it_agrees_with_the_standard_library(text: bytes) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text.decode(), parse_constant=refuse)
    except ValueError:
        with pytest.raises(ValueError):
            jsontext.check(text)
    else:
        jsontext.check(text)


@given(VALUES)
def test_a_value_is_built_as_by_any_parser(value: object) -> None:
    assert jsontext.decode(json.dumps(value).encode()) == value
    assert json.loads(jsontext.encode(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"{}," * 300_000 + b"{}]",
        b"[" * 300_000,
        b"[" + b"1," * 300_000 + b"1]",
        b'["' + b'","' * 300_000 + b'"]',
        b'{"a":' + b'{"b":' * 300_000,
        b"9" * 100_000,
        "[1]".encode("utf-16"),
        b"[NaN]",
    ],
    ids=["objects", "arrays", "numbers", "strings", "nested", "digits", "utf-16", "constant"],
)
def test_what_would_take_long_to_build_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.decode(text)


def test_what_strings_say_is_no_structure() -> None:
    inner = json.dumps({"a": [1, "\\", '"']}) * 30_000
    assert jsontext.decode(json.dumps([inner]).encode()) == [inner]
