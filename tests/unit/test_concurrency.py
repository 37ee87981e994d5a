"""Who may run beside whom."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from lambent.clock import ManualClock
from lambent.errors import TooManyRequests
from lambent.pool.concurrency import Concurrency


def reason(concurrency: Concurrency, *who: object) -> str:
    with pytest.raises(TooManyRequests) as refused:
        concurrency.admit(*who)  # type: ignore[arg-type]
    return str(refused.value.extra["Reason"])


def test_a_reservation_is_a_ceiling_for_one_and_a_floor_against_the_others() -> None:
    concurrency = Concurrency(5, 0, ManualClock())
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
    assert reason(Concurrency(5, 0, ManualClock()), "a", "r", "off", 0, 0) == (
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    )


def test_each_unit_of_concurrency_may_be_asked_ten_times_a_second() -> None:
    clock = ManualClock()
    concurrency = Concurrency(5, 10, clock)

    def ask(reserved: int | None, others: int, times: int) -> None:
        for _ in range(times):
            concurrency.leave(concurrency.admit("a", "r", "f", reserved, others))

    ask(None, 2, 30)
    assert reason(concurrency, "a", "r", "f", None, 2) == "FunctionInvocationRateLimitExceeded"
    # What has a share of its own has a rate of its own.
    ask(2, 2, 20)
    assert reason(concurrency, "a", "r", "f", 2, 2) == "ReservedFunctionInvocationRateLimitExceeded"
    clock.advance(0.125)
    ask(None, 2, 3)
    ask(2, 2, 2)
    assert reason(concurrency, "a", "r", "f", 2, 2) == "ReservedFunctionInvocationRateLimitExceeded"
    # Nobody waits for what is asynchronous.
    concurrency.leave(concurrency.admit("a", "r", "f", 2, 2, asynchronous=True))
    clock.advance(60)
    ask(None, 2, 30)
    assert reason(concurrency, "a", "r", "f", None, 2) == "FunctionInvocationRateLimitExceeded"


class ConcurrencyMachine(RuleBasedStateMachine):
    """Any course of admissions and departures, against a list of who is in."""

    admitted = Bundle("admitted")
    functions = st.sampled_from(["f", "g", "h"])

    def __init__(self) -> None:
        super().__init__()
        self.concurrency = Concurrency(6, 0, ManualClock())
        self.reserved: dict[str, int] = {}
        # Who runs, and whether it counted against a share of its own.
        self.inside: list[tuple[str, bool]] = []

    @rule(function=functions, share=st.integers(0, 2))
    def reserve(self, function: str, share: int) -> None:
        self.reserved[function] = share

    @rule(function=functions)
    def release(self, function: str) -> None:
        self.reserved.pop(function, None)

    @rule(target=admitted, function=functions)
    def admit(self, function: str) -> Any:
        share, others = self.reserved.get(function), sum(self.reserved.values())
        mine = (function, True) if share is not None else None
        running = sum(each == mine if mine else not each[1] for each in self.inside)
        limit = 6 - others if share is None else share
        try:
            key = self.concurrency.admit("a", "r", function, share, others)
        except TooManyRequests as refused:
            assert running >= limit
            assert refused.extra["retryAfterSeconds"] == 1
            return multiple()
        assert running < limit
        self.inside.append((function, share is not None))
        return key, self.inside[-1]

    @rule(who=consumes(admitted))
    def leave(self, who: Any) -> None:
        key, entry = who
        self.concurrency.leave(key)
        self.inside.remove(entry)

    @invariant()
    def the_counts_are_those_of_who_is_inside(self) -> None:
        expected: dict[str, int] = {}
        for function, reserved in self.inside:
            name = function if reserved else ""
            expected[name] = expected.get(name, 0) + 1
        counted = {name: count for _, _, name, count in self.concurrency.running()}
        assert counted == expected


TestConcurrency = ConcurrencyMachine.TestCase
TestConcurrency.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
