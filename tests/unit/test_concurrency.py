"""Who may run beside whom."""

from __future__ import annotations

import pytest

from lambent.errors import TooManyRequests
from lambent.pool.concurrency import Concurrency


def reason(concurrency: Concurrency, *who: object) -> str:
    with pytest.raises(TooManyRequests) as refused:
        concurrency.admit(*who)  # type: ignore[arg-type]
    return str(refused.value.extra["Reason"])


def test_a_reservation_is_a_ceiling_for_one_and_a_floor_against_the_others() -> None:
    concurrency = Concurrency(5)
    mine = [concurrency.admit("a", "r", "mine", 2, 2) for _ in range(2)]
    assert reason(concurrency, "a", "r", "mine", 2, 2) == (
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    )
    others = [concurrency.admit("a", "r", f"f{number}", None, 2) for number in range(3)]
    assert reason(concurrency, "a", "r", "f9", None, 2) == "ConcurrentInvocationLimitExceeded"
    concurrency.leave(mine[0])
    assert reason(concurrency, "a", "r", "f9", None, 2) == "ConcurrentInvocationLimitExceeded"
    concurrency.admit("a", "r", "mine", 2, 2)
    concurrency.leave(others[0])
    concurrency.admit("a", "r", "f9", None, 2)
    # Another region is another account's, as far as this goes.
    concurrency.admit("a", "s", "f9", None, 0)


def test_a_reservation_of_nothing_lets_nothing_run() -> None:
    assert reason(Concurrency(5), "a", "r", "off", 0, 0) == (
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    )
