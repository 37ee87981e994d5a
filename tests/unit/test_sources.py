"""Queues feed functions: batches, what becomes of them, and how many there are at once."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from lambent.clock import ManualClock
from lambent.errors import (
    InvalidParameterValue,
    RecursiveInvocation,
    ResourceNotFound,
    TooManyRequests,
)
from lambent.functions import lineage
from lambent.functions.event_sources import EventSourceCatalog, EventSourceMapping
from lambent.functions.types import Outcome
from lambent.iam.authenticate import Principal
from lambent.neighbours.requests import RequestFailed
from lambent.sources.filters import compile_filters
from lambent.sources.places import Places
from lambent.sources.poller import Means
from lambent.sources.responses import failed
from lambent.sources.sources import Sources
from lambent.store.memory import MemoryStore

ARN = "arn:aws:sqs:r:1:queue"
VISIBILITY = 30


@dataclass
class Message:
    body: str
    attributes: dict[str, str]
    visible: float = 0.0
    receipt: str = ""
    received: int = 0


class Sqs:
    """A queue as SQS keeps it, asked as ``Requests`` is."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.messages: list[Message] = []
        self.fails: RequestFailed | None = None
        self.undeletable = False
        self.denied: set[str] = set()
        # How many were asked for, and for how long.
        self.asked: list[tuple[int, int]] = []
        self._came = asyncio.Event()
        self._numbers = itertools.count()

    def send(self, *bodies: str, trace: str = "") -> None:
        attributes = {"AWSTraceHeader": trace} if trace else {}
        self.messages += [Message(body, attributes) for body in bodies]
        self._came.set()

    async def permitted(self, principal: Principal, target: str, parameters: Any) -> bool:
        return target.removeprefix("AmazonSQS.") not in self.denied

    async def json(
        self, principal: Principal, target: str, parameters: Any, limit: int
    ) -> dict[str, Any]:
        assert (principal.service, principal.region) == ("sqs", "r")
        assert parameters["QueueUrl"] == "https://sqs.r.amazonaws.com/1/queue"
        if self.fails is not None:
            raise self.fails
        if target == "AmazonSQS.GetQueueAttributes":
            return {"Attributes": {"VisibilityTimeout": str(VISIBILITY)}}
        if target == "AmazonSQS.DeleteMessageBatch":
            return self._delete([each["ReceiptHandle"] for each in parameters["Entries"]])
        assert target == "AmazonSQS.ReceiveMessage"
        most, wait = parameters["MaxNumberOfMessages"], parameters["WaitTimeSeconds"]
        self.asked.append((most, wait))
        return await self._receive(most, self.clock.time() + wait)

    async def _receive(self, most: int, until: float) -> dict[str, Any]:
        while True:
            now = self.clock.time()
            visible = [each for each in self.messages if each.visible <= now][:most]
            if visible or now >= until:
                return {"Messages": [self._taken(each) for each in visible]}
            self._came.clear()
            timer = self.clock.call_later(until - now, self._came.set)
            await self._came.wait()
            timer.cancel()

    def _taken(self, message: Message) -> dict[str, Any]:
        message.visible = self.clock.time() + VISIBILITY
        message.receipt = f"receipt-{next(self._numbers)}"
        message.received += 1
        return {
            "MessageId": f"id-{message.body[:8]}",
            "ReceiptHandle": message.receipt,
            "Body": message.body,
            "MD5OfBody": "md5",
            "Attributes": {"ApproximateReceiveCount": str(message.received), **message.attributes},
        }

    def _delete(self, receipts: list[str]) -> dict[str, Any]:
        assert 1 <= len(receipts) <= 10
        if self.undeletable:
            return {"Failed": [{"Id": "0", "Code": "InternalError", "Message": "not now"}]}
        self.messages = [each for each in self.messages if each.receipt not in receipts]
        return {"Successful": []}


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sqs = Sqs(self.clock)
        self.counts: Counter[str] = Counter()
        # What was run: the bodies of each batch.
        self.runs: list[list[str]] = []
        self.traces: list[str | None] = []
        self.at_once = self.most_at_once = 0
        self.held: asyncio.Event | None = None
        self.gone = False
        self.answers: Callable[[list[str]], Any] = lambda bodies: None
        self.mappings = EventSourceCatalog(MemoryStore())
        self.sources = Sources(
            self.mappings,
            Means(
                self.sqs,  # type: ignore[arg-type]
                self,  # type: ignore[arg-type]
                lambda version: Principal("1", "key", "elsewhere", "lambda"),
                self.clock,
                6 * 1024 * 1024,
                self.count,
            ),
        )

    def count(self, mapping: EventSourceMapping, metric: str, value: int) -> None:
        self.counts[metric] += value

    # As ``Invoker``.

    async def resolve(self, account: str, region: str, name: str, qualifier: str | None) -> Any:
        assert (account, region, name, qualifier) == ("1", "r", "f", "live")
        if self.gone:
            raise ResourceNotFound
        return None

    async def invoke(
        self, account: str, region: str, name: str, qualifier: str, payload: bytes, trace_id: str
    ) -> tuple[str, Outcome]:
        assert (account, region, name, qualifier) == ("1", "r", "f", "live")
        assert len(payload) <= 6 * 1024 * 1024
        bodies = [each["body"] for each in json.loads(payload)["Records"]]
        self.runs.append(bodies)
        self.traces.append(trace_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.held is not None:
                await self.held.wait()
        finally:
            self.at_once -= 1
        answer = self.answers(bodies)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Outcome):
            return "request", answer
        return "request", Outcome(json.dumps(answer).encode(), "$LATEST")

    # What tests do.

    async def feed(self, **settings: Any) -> EventSourceMapping:
        everything = {
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            "FunctionResponseTypes": [],
            "MetricsConfig": {"Metrics": ["EventCount"]},
            **settings,
        }
        mapping = EventSourceMapping(
            "1", "r", "uuid", "arn:aws:lambda:r:1:function:f:live", 0.0, "Enabled", ARN, everything
        )
        return await self.mappings.create(mapping)

    async def change(self, **changes: Any) -> None:
        await self.mappings.change("1", "r", "uuid", lambda mapping: replace(mapping, **changes))

    async def settle(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
            await self.settle()


Scenario = Callable[[World], Awaitable[None]]
Play = Callable[[Scenario], None]


@pytest.fixture
def play() -> Play:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            world = World()
            await world.sources.open()
            try:
                async with asyncio.timeout(30):
                    await scenario(world)
            finally:
                await world.sources.close(0.0)

        asyncio.run(main())

    return run


FAILED = Outcome(b"{}", "$LATEST", "Unhandled")


def test_messages_are_run_as_a_batch_and_deleted(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.sqs.send("a", "b")
        await world.feed()
        await world.settle()
        assert world.runs == [["a", "b"]] and world.sqs.messages == []
        world.sqs.send("c")
        await world.settle()
        assert world.runs[1:] == [["c"]] and world.sqs.asked[0] == (10, 20)
        assert world.counts == {
            "PolledEventCount": 3,
            "InvokedEventCount": 3,
            "DeletedEventCount": 3,
        }

    play(scenario)


def test_what_fails_comes_again_when_the_queue_shows_it_again(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.answers = lambda bodies: FAILED if len(world.runs) == 1 else None
        world.sqs.send("a", "b")
        await world.feed()
        await world.pass_time(VISIBILITY - 1)
        assert world.runs == [["a", "b"]] and len(world.sqs.messages) == 2
        await world.pass_time(21)
        assert world.runs == [["a", "b"]] * 2 and world.sqs.messages == []
        assert world.counts["FailedInvokeEventCount"] == 2

    play(scenario)


def test_a_function_may_say_which_messages_failed(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.answers = lambda bodies: {"batchItemFailures": [{"itemIdentifier": "id-b"}]}
        world.sqs.send("a", "b", "c")
        await world.feed(FunctionResponseTypes=["ReportBatchItemFailures"])
        await world.settle()
        assert [each.body for each in world.sqs.messages] == ["b"]
        assert world.counts["DeletedEventCount"] == 2

    play(scenario)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", ""),
        (b"null", ""),
        (b"{}", ""),
        (b'{"batchItemFailures": []}', ""),
        (b'{"batchItemFailures": null}', ""),
        (b'{"batchItemFailures": [{"itemIdentifier": "b"}]}', "b"),
        (b'{"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}', "bb"),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', "abc"),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', "abc"),
        (b'{"batchItemFailures": [{"itemIdentifier": ["b"]}]}', "abc"),
        (b'{"batchItemFailures": [{"id": "b"}]}', "abc"),
        (b'{"batchItemFailures": ["b"]}', "abc"),
        (b'{"batchItemFailures": [{"itemIdentifier": "z"}]}', "abc"),
        (b'{"batchItemFailures": {"itemIdentifier": "b"}}', "abc"),
        (b'["b"]', "abc"),
        (b'"text"', "abc"),
        (b"{", "abc"),
        (b"[" * 100_000, "abc"),
    ],
)
def test_an_answer_is_understood_as_aws_does(answer: bytes, expected: str) -> None:
    outcome = Outcome(answer, "$LATEST")
    assert "".join(failed(outcome, ["a", "b", "c"], True)) == expected
    # Who does not say that he says so is not asked.
    assert list(failed(outcome, ["a", "b", "c"], False)) == []
    assert list(failed(FAILED, ["a"], True)) == ["a"]


def test_a_batch_is_gathered_until_it_is_full_or_its_time_is_up(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.feed(BatchSize=25, MaximumBatchingWindowInSeconds=5)
        world.sqs.send(*(f"m{number:02}" for number in range(24)))
        await world.pass_time(4)
        assert world.runs == []
        await world.pass_time(1.5)
        assert [len(batch) for batch in world.runs] == [24]
        world.sqs.send(*(f"n{number:02}" for number in range(40)))
        await world.settle()
        assert [len(batch) for batch in world.runs] == [24, 25]
        await world.pass_time(6)
        assert [len(batch) for batch in world.runs] == [24, 25, 15]
        assert world.sqs.messages == []

    play(scenario)


def test_what_was_gathered_is_run_though_the_queue_fails_then(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.sqs.send("a")
        await world.feed(BatchSize=25, MaximumBatchingWindowInSeconds=5)
        await world.settle()
        world.sqs.fails = RequestFailed("gone for a moment")
        world.sqs.send("b")
        await world.settle()
        assert world.runs == [["a", "b"]]
        # They could not be deleted either.
        world.sqs.fails = None
        await world.pass_time(VISIBILITY + 20)
        assert world.runs == [["a", "b"]] * 2 and world.sqs.messages == []

    play(scenario)


def test_a_batch_is_no_longer_than_an_event_may_be(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.sqs.send(*(f"{number}" + "x" * 1_000_000 for number in range(9)))
        await world.feed()
        await world.settle()
        assert [len(batch) for batch in world.runs] == [6, 3] and world.sqs.messages == []

    play(scenario)


def test_messages_that_do_not_pass_are_deleted_unseen(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.sqs.send('{"a": 1}', '{"a": 2}', "text")
        await world.feed(FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]})
        await world.settle()
        assert world.runs == [['{"a": 1}']] and world.sqs.messages == []
        assert world.counts["FilteredOutEventCount"] == 2
        world.sqs.send('{"a": 2}')
        await world.settle()
        assert len(world.runs) == 1 and world.sqs.messages == []

    play(scenario)


@pytest.mark.parametrize(
    ("pattern", "passed"),
    [
        ('{"body": {"a": [1]}}', ["json"]),
        ('{"body": ["text"]}', ["text"]),
        ('{"body": [{"prefix": "{\\""}]}', []),
        ('{"eventSource": ["aws:sqs"]}', ["json", "text", "half"]),
        ('{"eventSource": ["aws:sns"]}', []),
        ('{"body": [{"prefix": "{ "}]}', ["half"]),
    ],
)
def test_a_filter_knows_json_from_text(pattern: str, passed: list[str]) -> None:
    passes = compile_filters({"Filters": [{"Pattern": pattern}]}, "body")
    bodies = {"json": '{"a": 1}', "text": "text", "half": "{ half"}
    assert [
        name for name, body in bodies.items() if passes({"body": body, "eventSource": "aws:sqs"})
    ] == passed


def test_filters_are_alternatives_and_not_too_many() -> None:
    one, two = '{"body": {"a": [1]}}', '{"body": {"b": [1]}}'
    passes = compile_filters({"Filters": [{"Pattern": one}, {"Pattern": two}]}, "body")
    assert passes({"body": '{"b": 1}'}) and not passes({"body": '{"c": 1}'})
    assert compile_filters(None, "body")({"body": "x"})
    wrongs: list[Any] = [[{"Pattern": "text"}], [{}], [{"Pattern": one}] * 11]
    for wrong in wrongs:
        with pytest.raises(InvalidParameterValue):
            compile_filters({"Filters": wrong}, "body")


def test_a_throttled_batch_waits_while_its_messages_are_its_own(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.answers = lambda bodies: TooManyRequests() if len(world.runs) < 4 else None
        world.sqs.send("a")
        await world.feed()
        await world.pass_time(8)
        # At once, and after 1, 2 and 4 seconds.
        assert world.runs == [["a"]] * 4 and world.sqs.messages == []
        world.answers = lambda bodies: TooManyRequests()
        world.sqs.send("b")
        await world.pass_time(VISIBILITY - 0.5)
        # …, 8; sixteen more would be too late.
        assert world.runs[4:] == [["b"]] * 5 and world.sqs.messages[0].received == 1
        await world.pass_time(20)
        assert world.sqs.messages[0].received == 2

    play(scenario)


def test_no_more_batches_run_at_once_than_the_mapping_says(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.held = asyncio.Event()
        world.sqs.send(*(f"m{number:03}" for number in range(100)))
        await world.feed(BatchSize=1, ScalingConfig={"MaximumConcurrency": 3})
        await world.pass_time(3)
        assert world.most_at_once == len(world.runs) == 3
        # What nobody works at stays with the queue.
        assert sum(each.received for each in world.sqs.messages) == 3
        world.held.set()
        await world.pass_time(3)
        assert world.sqs.messages == [] and world.most_at_once == 3

    play(scenario)


def test_a_queue_that_stays_full_gets_five_more_places_every_second(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.held = asyncio.Event()
        world.sqs.send(*(f"m{number:03}" for number in range(100)))
        await world.feed(BatchSize=1)
        await world.settle()
        assert world.at_once == 5
        await world.pass_time(1)
        assert world.at_once == 10
        await world.pass_time(2)
        assert world.at_once == 20
        world.held.set()
        await world.pass_time(1)
        assert world.sqs.messages == []
        # It was found empty: the next crowd begins with five again.
        await world.pass_time(21)
        world.held.clear()
        world.sqs.send(*(f"n{number:03}" for number in range(50)))
        await world.settle()
        assert world.at_once == 5

    play(scenario)


def test_places_are_halved_by_a_throttle_once_a_second() -> None:
    async def main() -> None:
        clock = ManualClock()
        places = Places(clock, 100)
        places.limit = 40
        clock.advance(1)
        places.throttled()
        places.throttled()
        assert places.limit == 20
        for _ in range(10):
            clock.advance(1)
            places.throttled()
        assert places.limit == 1

    asyncio.run(main())


def test_a_mapping_that_changes_is_polled_as_it_is_now(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.feed(BatchSize=1)
        await world.settle()
        await world.change(state="Disabled")
        world.sqs.send("a")
        await world.pass_time(30)
        assert world.runs == [] and world.sqs.messages[0].received == 0
        await world.change(state="Enabled")
        await world.settle()
        assert world.runs == [["a"]]
        await world.mappings.delete("1", "r", "uuid")
        world.sqs.send("b")
        await world.pass_time(30)
        assert len(world.runs) == 1 and world.sqs.messages[0].received == 0

    play(scenario)


def test_what_was_begun_is_finished_though_the_mapping_is_gone(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.held = asyncio.Event()
        world.sqs.send("a")
        await world.feed()
        await world.settle()
        await world.mappings.delete("1", "r", "uuid")
        world.held.set()
        await world.settle()
        assert world.runs == [["a"]] and world.sqs.messages == []

    play(scenario)


def test_a_stop_does_not_wait_for_those_that_are_throttled(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.answers = lambda bodies: TooManyRequests()
        world.sqs.send("a")
        await world.feed()
        await world.pass_time(2)
        assert len(world.runs) == 2
        await world.sources.close(1e9)
        assert len(world.sqs.messages) == 1

    play(scenario)


def test_a_stop_waits_for_batches_and_polls_no_more(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.held = asyncio.Event()
        world.sqs.send("a")
        await world.feed()
        await world.settle()
        closing = asyncio.ensure_future(world.sources.close(10.0))
        world.sqs.send("b")
        await world.settle()
        assert not closing.done()
        world.held.set()
        await closing
        assert world.runs == [["a"]] and [each.body for each in world.sqs.messages] == ["b"]

    play(scenario)


def test_a_queue_that_cannot_be_read_is_asked_again(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(world: World) -> None:
        world.sqs.fails = RequestFailed("AccessDenied: no\nFORGED", "AccessDenied")
        world.sqs.send("a")
        await world.feed()
        await world.pass_time(10)
        assert world.runs == [] and len(caplog.records) == 1
        assert "no FORGED" in caplog.text
        world.sqs.fails = None
        await world.pass_time(30)
        assert world.runs == [["a"]]
        # A function that is gone, likewise.
        world.gone = True
        world.sqs.send("b")
        await world.pass_time(30)
        world.gone = False
        await world.pass_time(60)
        assert world.sqs.messages == []

    play(scenario)


def test_messages_that_cannot_be_deleted_come_again(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.sqs.undeletable = True
        world.sqs.send("a")
        await world.feed()
        await world.settle()
        assert world.runs == [["a"]] and "DeletedEventCount" not in world.counts
        world.sqs.undeletable = False
        await world.pass_time(VISIBILITY + 20)
        assert world.runs == [["a"]] * 2 and world.sqs.messages == []

    play(scenario)


def chain(times: int, name: str = "f") -> str:
    """The header of a chain in which a function was run so often."""
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    for _ in range(times):
        trace, _ = lineage.extended(trace, "1", "r", name)
    return trace


def test_a_message_goes_on_with_its_own_chain(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.sqs.send("a", trace=chain(3))
        await world.feed()
        await world.settle()
        assert world.traces == [chain(3)]
        # Several begin a new one, in which each function counts as often as it was run most.
        world.sqs.send("b", trace=chain(3))
        world.sqs.send("c", trace=chain(5))
        world.sqs.send("d", trace=chain(2, "g"))
        world.sqs.send("e")
        await world.settle()
        assert world.runs[1] == ["b", "c", "d", "e"] and world.traces[1] is not None
        assert "Root=1-5759e988" not in world.traces[1]
        assert lineage.extended(world.traces[1], "1", "r", "f")[1] == 6
        assert lineage.extended(world.traces[1], "1", "r", "g")[1] == 3

    play(scenario)


def test_a_loop_is_stopped_and_the_messages_beside_it_are_not(play: Play) -> None:
    async def scenario(world: World) -> None:
        def answers(bodies: list[str]) -> Any:
            _, runs = lineage.extended(world.traces[-1] or "", "1", "r", "f")
            return RecursiveInvocation("stopped") if runs > lineage.LIMIT else None

        world.answers = answers
        world.sqs.send("good")
        world.sqs.send("looping", trace=chain(16))
        world.sqs.send("fine", trace=chain(15))
        await world.feed()
        await world.settle()
        assert world.runs == [["good", "fine"], ["looping"]]
        # Laying it aside is the queue's business.
        assert [each.body for each in world.sqs.messages] == ["looping"]

    play(scenario)
