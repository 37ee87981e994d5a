"""Every fuzzer's cases, and in the report of one that fails the command that repeats it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.fuzz.kit import Cases

_CASES = pytest.StashKey[Cases]()


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Cases:
    """The cases of this test."""
    request.node.stash[_CASES] = made = Cases(request.node.name, request.node.nodeid)
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Say how a failed case is repeated."""
    report: Any = yield
    made = item.stash.get(_CASES, None)
    if report.failed and made is not None and report.when == "call":
        report.sections.append((f"case {made.number}; to repeat it", made.repeat()))
    return report
