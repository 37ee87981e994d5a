"""Text is searched in threads, in slices, within a budget; the event loop keeps turning."""

from __future__ import annotations

import asyncio
import functools
import time
from itertools import pairwise
from pathlib import Path

import pytest

from lambent.api import scans
from lambent.api.context import Context
from lambent.api.logs import Logs
from lambent.api.scans import Effort, ScanEnded, Scans
from lambent.aws.filter_pattern import compile_pattern
from lambent.clock import ManualClock
from lambent.errors import ServiceFailure
from lambent.iam.authenticate import Principal
from lambent.observe.logs import LogStore

HOSTILE = [
    "%" + ".*" * 12 + "x%",
    "%a*a*a*a*a*a*a*a*a*b%",
    "%" + "a?" * 100 + "b%",
    "%" + ".*" * 60 + "x%",
    "%[a-z0-9]{1,250}[a-z0-9]{1,240}!%",
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_megabyte_is_searched_in_seconds_whatever_the_expression(pattern: str) -> None:
    matches = compile_pattern(pattern)
    letters = "".join(chr(ord("a") + number * 7919 % 26) for number in range(250_000))
    began = time.perf_counter()
    assert not matches("a" * 1_000_000)
    assert matches(letters) in (True, False)
    assert time.perf_counter() - began < 5


def test_characters_of_any_script_cost_no_more_than_letters() -> None:
    matches = compile_pattern("%" + "[a-z]{1,50}" * 9 + "!%")
    text = "".join(chr(0x4E00 + number % 20_000) for number in range(300_000))
    began = time.perf_counter()
    assert not matches(text)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("[a, b, c]", "[ " * 200_000),
        ("[a, b, c]", '" [ ' * 100_000),
        ('{ $.a = "*' + "a" * 900 + 'b" }', '{"a": "' + "a" * 500_000 + '"}'),
        ('{ $.a = "' + "*a" * 400 + 'b" }', '{"a": "' + "a" * 500_000 + '"}'),
    ],
)
def test_fields_and_wildcards_take_time_in_proportion_to_the_message(
    pattern: str, message: str
) -> None:
    matches = compile_pattern(pattern)
    began = time.perf_counter()
    assert not matches(message)
    assert time.perf_counter() - began < 3


def test_text_is_searched_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between slices the interpreter is free; processor time does not depend on the machine."""
    pauses = [time.thread_time()]
    monkeypatch.setattr(time, "sleep", lambda _: pauses.append(time.thread_time()))
    effort = Effort()
    matches = compile_pattern("%" + ".*" * 12 + "x%", effort.spend)
    text = "".join(chr(97 + n % 23) for n in range(250_000))
    for _ in range(8):
        assert not matches(text)
    pauses.append(time.thread_time())
    assert len(pauses) > 10
    assert max(after - before for before, after in pairwise(pauses)) < 0.05


def test_a_scan_whose_caller_has_gone_ends() -> None:
    async def scenario() -> None:
        effort = Effort()
        ended: list[bool] = []

        def scan() -> None:
            try:
                while True:
                    effort.spend(1)
            except ScanEnded:
                ended.append(True)
                raise

        running = asyncio.ensure_future(Scans().run("000000000000", effort, scan))
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ended == [True]

    asyncio.run(scenario())


def test_an_account_has_one_scan_at_a_time_and_does_not_hold_up_another() -> None:
    async def scenario() -> None:
        all_scans = Scans()
        efforts = [Effort() for _ in range(3)]

        def endless(effort: Effort) -> None:
            while True:
                effort.spend(1)

        greedy = [
            asyncio.ensure_future(
                all_scans.run("000000000000", each, functools.partial(endless, each))
            )
            for each in efforts
        ]
        await asyncio.sleep(0.01)
        assert await all_scans.run("1", Effort(), lambda: "done") == "done"
        for each in greedy:
            each.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
        assert not all_scans._accounts

    asyncio.run(scenario())


def test_a_page_ends_where_its_budget_does_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans.Effort.__init__, "__defaults__", (2500, bool))

    async def scenario() -> None:
        store = LogStore(tmp_path, 1 << 20)
        store.writer("000000000000", "r", "/g", "s")(1, [f"{'a' * 1000} {n}" for n in range(7)])
        logs = Logs(store, ManualClock(), Scans())
        context = Context(Principal("000000000000", "key", "r", "logs"), "http://here", {})
        asked = {"logGroupName": "/g", "filterPattern": "%[a]+ [0-9]%"}
        pages = []
        token = None
        while True:
            answer = await logs.filter_log_events(context, {**asked, "nextToken": token})
            pages.append([each["message"][-1] for each in answer["events"]])
            token = answer["nextToken"]
            if token is None:
                break
        assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"]]

    asyncio.run(scenario())


def test_a_page_is_a_megabyte_however_many_events_may_be_on_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LogStore(tmp_path, 1 << 24)
        store.writer("000000000000", "r", "/g", "s")(1, ["x" * 300_000] * 8)
        logs = Logs(store, ManualClock(), Scans())
        context = Context(Principal("000000000000", "key", "r", "logs"), "http://here", {})
        answer = await logs.filter_log_events(context, {"logGroupName": "/g"})
        assert len(answer["events"]) == 4 and answer["nextToken"] is not None

    asyncio.run(scenario())


def test_a_search_ends_when_its_caller_hangs_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LogStore(tmp_path, 1 << 24)
        letters = "".join(chr(97 + number % 23) for number in range(100_000))
        store.writer("000000000000", "us-east-1", "/g", "s")(1, [letters] * 8)
        logs = Logs(store, ManualClock(), Scans())
        asked = {"logGroupName": "/g", "filterPattern": "%" + ".*" * 12 + "x%"}
        principal = Principal("000000000000", "key", "us-east-1", "logs")
        gone = Context(principal, "http://here", {}, gone=lambda: True)
        with pytest.raises(ServiceFailure):
            await logs.filter_log_events(gone, asked)
        answer = await logs.filter_log_events(Context(principal, "http://here", {}), asked)
        assert answer["events"] == []

    asyncio.run(scenario())
