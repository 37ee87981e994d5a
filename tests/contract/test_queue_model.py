"""Any course of events leaves a queue as a simple model of it says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from lambent.queue.base import Answer, Depth, Ending, Event
from lambent.queue.sqlite import SqliteQueue

SHARDS = ("a", "b")
T = TypeVar("T")


class Modelled:
    """An event as the model has it."""

    def __init__(self, event: Event, due: float) -> None:
        self.event = event
        self.due = due
        self.state = "waiting"


class QueueMachine(RuleBasedStateMachine):
    """Puts, leases, returns, crashes; the model is a list."""

    leased = Bundle("leased")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.model: dict[str, Modelled] = {}
        self.numbers = 0
        self.now = 100.0
        # Leases of before a crash, or of what was purged, are worth nothing.
        self.lives = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.queue = SqliteQueue(Path(self.folder.name) / "queue.db")
        self.run(self.queue.open())

    @rule(function=st.sampled_from(SHARDS), wait=st.integers(0, 3))
    def put(self, function: str, wait: int) -> None:
        self.numbers += 1
        event = Event(f"e{self.numbers}", "1", "r", function, None, b"{}", self.now)
        self.run(self.queue.put(event, self.now + wait))
        self.model[event.id] = Modelled(event, self.now + wait)

    @rule(seconds=st.integers(1, 3))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(target=leased, function=st.sampled_from(SHARDS), limit=st.integers(1, 3))
    def lease(self, function: str, limit: int) -> Any:
        shard = f"1/r/{function}"
        events, following = self.run(self.queue.lease(shard, self.now, limit))
        waiting = [
            each
            for each in self.model.values()
            if each.event.shard == shard and each.state == "waiting"
        ]
        due = sorted(each.due for each in waiting if each.due <= self.now)
        dues = [self.model[event.id].due for event in events]
        assert dues == due[:limit]
        for event in events:
            known = self.model[event.id]
            assert known.state == "waiting" and replace(event, key=0) == known.event
            known.state = "running"
        left = [each.due for each in waiting if each.state == "waiting"]
        assert following == min(left, default=None)
        return multiple(*((event, self.lives) for event in events))

    def held(self, lease: tuple[Event, int]) -> Modelled | None:
        """What the model has of a lease that still counts."""
        event, life = lease
        return self.model.get(event.id) if life == self.lives else None

    @rule(lease=consumes(leased))
    def ack(self, lease: tuple[Event, int]) -> None:
        if lease[1] == self.lives:
            self.run(self.queue.ack(lease[0]))
            self.model.pop(lease[0].id, None)

    @rule(lease=consumes(leased), wait=st.integers(0, 3), ended=st.booleans())
    def retry(self, lease: tuple[Event, int], wait: int, ended: bool) -> None:
        if lease[1] != self.lives:
            return
        ending = Ending("Success", self.now, "arn") if ended else None
        changed = replace(lease[0], failures=lease[0].failures + 1, ending=ending)
        self.run(self.queue.retry(changed, self.now + wait))
        known = self.held(lease)
        if known is not None:
            known.event = replace(changed, key=0)
            known.due, known.state = self.now + wait, "waiting"

    @rule(lease=consumes(leased))
    def give_up(self, lease: tuple[Event, int]) -> None:
        if lease[1] != self.lives:
            return
        changed = replace(lease[0], answer=Answer(b"no", "1", "Unhandled"))
        self.run(self.queue.give_up(changed, self.now))
        known = self.held(lease)
        if known is not None:
            known.event, known.state = replace(changed, key=0), "failed"

    @rule(function=st.sampled_from(SHARDS))
    def replay(self, function: str) -> None:
        failed = [
            each
            for each in self.model.values()
            if each.event.function == function and each.state == "failed"
        ]
        assert self.run(self.queue.replay(f"1/r/{function}", self.now)) == len(failed)
        for each in failed:
            each.event = replace(
                each.event, accepted=self.now, failures=0, answer=None, ending=None
            )
            each.due, each.state = self.now, "waiting"

    @rule(function=st.sampled_from(SHARDS))
    def purge(self, function: str) -> None:
        mine = [each.event.id for each in self.model.values() if each.event.function == function]
        assert self.run(self.queue.purge(f"1/r/{function}")) == len(mine)
        for identifier in mine:
            del self.model[identifier]

    @rule()
    def crash(self) -> None:
        self.run(self.queue.close())
        self.lives += 1
        for each in self.model.values():
            if each.state == "running":
                each.state = "waiting"
        self.begin()

    @invariant()
    def the_depths_are_those_of_the_model(self) -> None:
        if not hasattr(self, "queue"):
            return
        expected: dict[str, Depth] = {}
        for function in SHARDS:
            mine = [each for each in self.model.values() if each.event.function == function]
            live = [each for each in mine if each.state != "failed"]
            if mine:
                # One that was put to be due later counts from then.
                oldest = min((min(each.event.accepted, each.due) for each in live), default=None)
                expected[f"1/r/{function}"] = Depth(len(live), len(mine) - len(live), oldest)
        assert self.run(self.queue.depths()) == expected
        waiting = {
            shard: min(dues)
            for shard in expected
            if (
                dues := [
                    each.due
                    for each in self.model.values()
                    if each.event.shard == shard and each.state == "waiting"
                ]
            )
        }
        assert self.run(self.queue.shards()) == waiting

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            self.run(self.queue.close())
        self.loop.close()
        self.folder.cleanup()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
