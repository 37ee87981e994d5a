"""The Extensions and Telemetry APIs without a sandbox: the test is the extension."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from lambent.clock import ManualClock
from lambent.functions.types import Configuration, FunctionVersion
from lambent.http import Exchange
from lambent.runtime.extensions import MOST, Extension, Extensions, State
from lambent.runtime.journal import Journal
from lambent.runtime.telemetry import Invalid, Subscription, Telemetry


class Asked:
    """What the APIs see of an exchange, and what they answered."""

    def __init__(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        self.method = method
        self.path = path
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.gone = False
        self.status = 0
        self.answer: Any = None
        self.told: dict[str, str] = {}
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def collect(self, limit: int, done: Callable[[bytes | None], None]) -> None:
        done(self._body)

    def respond(self, status: int, headers: Any = (), body: bytes = b"") -> None:
        self.status, self.told = status, dict(headers)
        self.answer = json.loads(body) if body[:1] == b"{" else body

    def abort(self) -> None:
        self.gone = True


class World:
    """Extensions with a listener that remembers."""

    def __init__(self, *names: str) -> None:
        self.changes = 0
        self.failed: list[str] = []
        function = {"functionName": "f", "accountId": "0"}
        self.extensions = Extensions(self, names, function)

    def extensions_changed(self) -> None:
        self.changes += 1

    def extension_failed(self, extension: Extension, kind: str) -> None:
        self.failed.append(f"{extension.name} {kind} {extension.error_type}")

    def ask(self, method: str, call: str, body: Any = None, **headers: str) -> Asked:
        asked = Asked(method, "/2020-01-01/extension/" + call, body, **headers)
        self.extensions.handle(cast(Exchange, asked))
        return asked

    def register(self, name: str, *events: str, **headers: str) -> Asked:
        body = {"events": list(events)}
        return self.ask("POST", "register", body, lambda_extension_name=name, **headers)

    def next(self, asked: Asked) -> Asked:
        identifier = asked.told["Lambda-Extension-Identifier"]
        return self.ask("GET", "event/next", lambda_extension_identifier=identifier)


def test_initialisation_waits_for_all_and_registration_closes() -> None:
    world = World("one", "two")
    extensions = world.extensions
    first = world.register("one", "INVOKE", "SHUTDOWN", lambda_extension_accept_feature="accountId")
    assert first.status == 200 and first.answer == {"functionName": "f", "accountId": "0"}
    assert not extensions.registered
    second = world.register("two")
    assert second.answer == {"functionName": "f"} and extensions.registered
    assert world.next(first).status == 0 and not extensions.ready
    world.next(second)
    assert extensions.ready and world.changes == 4
    extensions.close_registration()
    assert world.register("late").answer["errorType"] == "Extension.RegistrationClosed"


def test_events_go_to_who_wants_them_now_or_when_they_ask() -> None:
    world = World("one", "two")
    extensions = world.extensions
    first, second = world.register("one", "INVOKE"), world.register("two", "SHUTDOWN")
    waiting = world.next(first)
    extensions.invoke({"requestId": "r"})
    assert waiting.answer == {"eventType": "INVOKE", "requestId": "r"}
    assert "Lambda-Extension-Event-Identifier" in waiting.told
    extensions.shut_down("spindown", 7)
    told = world.next(second)
    assert told.answer == {
        "eventType": "SHUTDOWN", "deadlineMs": 7, "shutdownReason": "spindown",
    }  # fmt: skip
    assert extensions.living
    for name in ("one", "two"):
        assert extensions.ended(name).state is State.EXITED
    assert not extensions.living


@pytest.mark.parametrize(
    ("name", "events", "kind"),
    [
        ("", [], "Extension.InvalidExtensionName"),
        ("x" * 129, [], "Extension.InvalidExtensionName"),
        ("one", ["OTHER"], "Extension.InvalidEventType"),
        ("inner", ["SHUTDOWN"], "Extension.InvalidEventType"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(name: str, events: list[str], kind: str) -> None:
    asked = World("one").register(name, *events)
    assert (asked.status, asked.answer["errorType"]) == (403, kind)


def test_there_are_ten_at_most() -> None:
    world = World("one")
    for number in range(MOST - 1):
        assert world.register(f"inner-{number}").status == 200
    assert world.register("more").answer["errorType"] == "Extension.TooManyExtensions"


def test_every_transition_that_is_not_named_is_refused() -> None:
    world = World("one")
    registered = world.register("one")
    again = world.register("one")
    assert again.answer["errorType"] == "Extension.InvalidExtensionState"
    me = {"lambda_extension_identifier": registered.told["Lambda-Extension-Identifier"]}
    assert (
        world.ask("POST", "init/error", {}, **me).answer["errorType"] == "Extension.MissingHeader"
    )
    failed = world.ask("POST", "init/error", {}, lambda_extension_function_error_type="A.B", **me)
    assert failed.status == 202 and world.failed == ["one Extension.InitError A.B"]
    for call in (("GET", "event/next"), ("POST", "exit/error")):
        told = world.ask(*call, lambda_extension_function_error_type="A.B", **me)
        assert told.answer["errorType"] == "Extension.InvalidExtensionState"
    for bad, kind in (("", "Missing"), ("short", "Invalid"), ("0" * 36, "Unknown")):
        told = world.ask("GET", "event/next", lambda_extension_identifier=bad)
        assert told.answer["errorType"].startswith(f"Extension.{kind}")


def subscription(**changes: Any) -> bytes:
    destination = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/in"}
    return json.dumps({"types": ["platform"], "destination": destination, **changes}).encode()


def test_a_subscription_is_read() -> None:
    read = Subscription.read("one", subscription(buffering={"timeoutMs": 25}))
    assert (read.port, read.path, read.milliseconds, read.most_items) == (8080, "/in", 25, 10_000)
    lines = Subscription.read("one", subscription(destination={"protocol": "TCP", "port": 9}))
    assert (lines.port, lines.path) == (9, None)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", subscription(types=[]), subscription(types=["all"]),
        subscription(buffering={"timeoutMs": 24}), subscription(buffering={"maxItems": 10_001}),
        subscription(buffering={"maxBytes": "x"}), subscription(destination={"protocol": "UDP"}),
        subscription(destination={"protocol": "HTTP", "URI": "http://169.254.169.254/"}),
        subscription(destination={"protocol": "HTTP", "URI": "https://sandbox:1/"}),
    ],
)  # fmt: skip
def test_a_subscription_that_cannot_be_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        Subscription.read("one", body)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_telemetry_is_buffered_until_its_time_or_size_and_told_as_lines() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        async def connect(port: int) -> socket.socket:
            assert port == 9
            return theirs

        theirs.setblocking(False)
        told: list[Subscription] = []
        telemetry = Telemetry(clock, connect, told.append)
        body = subscription(
            destination={"protocol": "TCP", "port": 9}, buffering={"timeoutMs": 100}
        )
        telemetry.handle(cast(Exchange, Asked("PUT", "", body)), "one")
        assert telemetry.wants("platform") and not telemetry.wants("function") and len(told) == 1
        telemetry.emit("platform", {"n": 1})
        telemetry.emit("function", {"n": 2})
        clock.advance(0.09)
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            ours.recv(100)
        clock.advance(0.02)
        assert await asyncio.get_running_loop().sock_recv(ours, 100) == b'{"n": 1}\n'
        telemetry.close_registration()
        late = Asked("PUT", "", subscription())
        telemetry.handle(cast(Exchange, late), "two")
        assert late.answer["errorType"] == "Telemetry.SubscriptionClosed"
        telemetry.renew()
        assert not telemetry.any
        ours.close()

    run(scenario)


def test_what_nobody_takes_is_dropped_and_counted() -> None:
    async def scenario() -> None:
        async def refuse(port: int) -> socket.socket:
            raise ConnectionRefusedError

        telemetry = Telemetry(ManualClock(), refuse, lambda subscription: None)
        telemetry.handle(cast(Exchange, Asked("PUT", "", subscription())), "one")
        telemetry.emit("platform", {"n": 1})
        await telemetry.drain()
        assert telemetry.dropped() == 1 and telemetry.dropped() == 0

    run(scenario)


def test_the_journal_filters_what_the_platform_says_by_level() -> None:
    async def scenario() -> None:
        async def connect(port: int) -> socket.socket:
            raise AssertionError

        for level, kinds in (
            ("DEBUG", ["start", "runtimeDone", "report"]),
            ("INFO", ["start", "report"]),
            ("WARN", []),
        ):
            log: list[str] = []
            code = Configuration(
                "python3.11", "a.b", "r", "d", "s", 1, 1, log_format="JSON", system_log_level=level
            )
            version = FunctionVersion("0", "r", "f", "1", code, "revision", 0.0)
            clock = ManualClock()
            telemetry = Telemetry(clock, connect, lambda subscription: None)

            def append(_: int, lines: list[str], log: list[str] = log) -> None:
                log.extend(lines)

            journal = Journal(version, clock, append, telemetry)
            journal.start("id", "")
            journal.done("id", "success", 0.001, 5, None, None, 2, None)
            assert [json.loads(line)["type"] for line in log] == [f"platform.{k}" for k in kinds]
            log.clear()
            journal.done("id", "timeout", 3.0, 5, None, "Sandbox.Timedout", 0, "last")
            assert {json.loads(line)["record"]["status"] for line in log} == {"timeout"}

    run(scenario)
