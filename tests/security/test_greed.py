"""What a function can take of the host: memory in every form, processes, the kernel's tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Answer, Functions

_GLUTTON = Path(__file__).with_name("glutton.py")
_MEMORY = 128


@pytest.fixture
def glutton(anyones: Functions) -> Iterator[tuple[Functions, str]]:
    """A function of 128 MB on a server of either kind."""
    yield (
        anyones,
        anyones.create(_GLUTTON.read_text(), Timeout=30, MemorySize=_MEMORY),
    )


def take(glutton: tuple[Functions, str], what: str, amount: int = 0) -> Answer:
    functions, name = glutton
    return functions.invoke(name, {"take": what, "amount": amount})


@pytest.mark.parametrize(
    "form", ["private", "shared", "zero", "memfd", "segment", "children", "tables"]
)
def test_memory_in_every_form_is_limited(glutton: tuple[Functions, str], form: str) -> None:
    answer = take(glutton, form, 1024)
    if answer.error is None:
        assert answer.payload in ("MemoryError", "OSError"), answer.payload
    else:
        assert answer.payload["errorType"] in ("Runtime.OutOfMemory", "Runtime.ExitError")
        assert "signal: killed" in answer.payload["errorMessage"]
    # The next one starts afresh.
    assert take(glutton, "private", 16).payload == 16


def test_what_forks_share_is_there_once(glutton: tuple[Functions, str]) -> None:
    assert take(glutton, "copies", 48).payload == [0] * 8


def test_processes_are_limited(glutton: tuple[Functions, str]) -> None:
    got = take(glutton, "processes", 1100)
    # Memory may end it before.
    assert got.error is not None or got.payload <= 1024


def test_the_hosts_table_of_asynchronous_io_is_out_of_reach(
    glutton: tuple[Functions, str],
) -> None:
    assert take(glutton, "contexts").payload == 0


def test_every_limit_of_a_process_is_hard(glutton: tuple[Functions, str]) -> None:
    assert take(glutton, "limits").payload == {
        "NPROC": [1024, 1024],
        "NOFILE": [1024, 1024],
        "CORE": [0, 0],
        "MSGQUEUE": [819200, 819200],
        "SIGPENDING": [4096, 4096],
        "MEMLOCK": [65536, 65536],
    }
