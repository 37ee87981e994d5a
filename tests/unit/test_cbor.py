"""CBOR as Smithy's protocol uses it; what RFC 8949 gives as examples, and anything else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lambent.aws import cbor

VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**63), 2**64 - 1)
    | some.floats(allow_nan=False)
    | some.text()
    | some.binary(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
)


@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert cbor.loads(cbor.dumps(value)) == value


@given(some.binary(max_size=200))
def test_anything_else_is_refused_with_one_error(data: bytes) -> None:
    try:
        cbor.loads(data)
    except cbor.CborError:
        pass


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("00", 0), ("1903e8", 1000), ("1bffffffffffffffff", 2**64 - 1), ("3863", -100),
        ("f93c00", 1.0), ("fa47c35000", 100000.0), ("fb3ff199999999999a", 1.1), ("f4", False),
        ("f6", None), ("c11a514b67b0", 1363896240), ("4401020304", b"\1\2\3\4"), ("62c3bc", "ü"),
        ("83010203", [1, 2, 3]), ("9f010203ff", [1, 2, 3]), ("bf616101616202ff", {"a": 1, "b": 2}),
        ("7f657374726561646d696e67ff", "streaming"), ("5f42010243030405ff", b"\1\2\3\4\5"),
        ("f97c00", math.inf),
    ],
)  # fmt: skip
def test_the_examples_of_the_rfc(data: str, value: object) -> None:
    assert cbor.loads(bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    "data",
    ["", "ff", "0000", "18", "9bffffffffffffffff", "81" * 100 + "00", "a10000", "62ff00", "1c",
     "5f6161ff", "1f"],
)  # fmt: skip
def test_what_is_broken_is_refused(data: str) -> None:
    with pytest.raises(cbor.CborError):
        cbor.loads(bytes.fromhex(data))


def test_timestamps_are_tagged() -> None:
    assert cbor.dumps(cbor.Timestamp(1.5)).hex() == "c1fb3ff8000000000000"
