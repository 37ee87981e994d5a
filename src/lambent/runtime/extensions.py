"""The Extensions API of one execution environment.

An extension registers for events, then asks for the next one again and again; initialisation and
every invocation last until all of them have.  Paths, headers, error types: AWS Lambda, "Using the
Lambda Extensions API".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from lambent import ids
from lambent.http import Exchange

PREFIX = "/2020-01-01/extension/"
MOST = 10
_JSON = [("Content-Type", "application/json")]
_ACCEPTED = b'{"status":"OK"}\n'
_BODY_BYTES = 64 * 1024
_NAME = 128
_EVENTS = ("INVOKE", "SHUTDOWN")


class State(Enum):
    """Where an extension stands."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_FAILED = "InitError"
    EXIT_FAILED = "ExitError"
    EXITED = "Exited"


@dataclass(slots=True, eq=False)
class Extension:
    """One program that takes part in the life of an environment.

    external: a process of its own, started by the platform; others live in the runtime's.
    """

    name: str
    external: bool
    state: State = State.STARTED
    identifier: str = ""
    events: tuple[str, ...] = ()
    error_type: str | None = None
    poll: Exchange | None = None
    pending: dict[str, Any] | None = None


class Listener(Protocol):
    """Who is told what extensions do."""

    def extensions_changed(self) -> None:
        """One has registered or has become ready."""

    def extension_failed(self, extension: Extension, kind: str) -> None:
        """One reports that it cannot go on; it is about to exit."""


class Extensions:
    """All extensions of one environment."""

    def __init__(
        self, listener: Listener, names: Iterable[str], function: Mapping[str, str]
    ) -> None:
        """names: the external ones to come; function: what a registration tells of the function."""
        self._listener = listener
        self._names = tuple(names)
        self._function = dict(function)
        self._all: dict[str, Extension] = {}
        self._by_identifier: dict[str, Extension] = {}
        self._closed = False
        self.renew()

    def renew(self) -> None:
        """Forget who was there: everything in the environment starts anew."""
        for extension in self._all.values():
            if extension.poll is not None:
                extension.poll.abort()
        self._all = {name: Extension(name, external=True) for name in self._names}
        self._by_identifier = {}
        self._closed = False

    @property
    def any(self) -> bool:
        """Whether there are extensions."""
        return bool(self._all)

    @property
    def external(self) -> bool:
        """Whether any of them is external."""
        return any(each.external for each in self._all.values())

    @property
    def living(self) -> bool:
        """Whether a process of an external one is still there."""
        return any(each.external and each.state is not State.EXITED for each in self._all.values())

    @property
    def registered(self) -> bool:
        """Whether all external ones have registered, so that the runtime may start."""
        return all(each.state is not State.STARTED for each in self._all.values())

    @property
    def ready(self) -> bool:
        """Whether all wait for their next event."""
        return not self._all or all(
            each.state in (State.READY, State.EXITED) for each in self._all.values()
        )

    def __iter__(self) -> Iterator[Extension]:
        return iter(self._all.values())

    def close_registration(self) -> None:
        """The runtime asks for its first event: nobody may join any more."""
        self._closed = True

    def invoke(self, event: dict[str, Any]) -> None:
        """Hand an INVOKE event to all that want it."""
        for extension in self._all.values():
            if "INVOKE" in extension.events and extension.state is State.READY:
                self._hand(extension, {"eventType": "INVOKE", **event})

    def shut_down(self, reason: str, deadline_ms: int) -> None:
        """Hand a SHUTDOWN event to all that want it."""
        event = {"eventType": "SHUTDOWN", "deadlineMs": deadline_ms, "shutdownReason": reason}
        for extension in self._all.values():
            if "SHUTDOWN" in extension.events:
                self._hand(extension, event)

    def ended(self, name: str) -> Extension:
        """The process of an external extension has ended."""
        extension = self._all[name]
        extension.state = State.EXITED
        return extension

    def _hand(self, extension: Extension, event: dict[str, Any]) -> None:
        extension.pending = event
        if extension.poll is not None and not extension.poll.gone:
            self._deliver(extension)

    def _deliver(self, extension: Extension) -> None:
        poll, extension.poll = extension.poll, None
        event, extension.pending = extension.pending, None
        assert poll is not None
        extension.state = State.RUNNING
        headers = [*_JSON, ("Lambda-Extension-Event-Identifier", ids.uuid())]
        poll.respond(200, headers, json.dumps(event).encode())

    # -- the calls ------------------------------------------------------------------------

    def handle(self, exchange: Exchange) -> None:
        """Route one request below PREFIX."""
        call = (exchange.method, exchange.path.removeprefix(PREFIX))
        if call == ("POST", "register"):
            self._register(exchange)
        elif call == ("GET", "event/next"):
            self._next(exchange)
        elif call in (("POST", "init/error"), ("POST", "exit/error")):
            self._error(exchange, call[1] == "init/error")
        else:
            exchange.respond(404, (), b"404 page not found\n")

    def _register(self, exchange: Exchange) -> None:
        name = exchange.headers.get("lambda-extension-name", "")
        features = exchange.headers.get("lambda-extension-accept-feature", "")

        def done(body: bytes | None) -> None:
            if not name or len(name) > _NAME:
                _refuse(exchange, "Extension.InvalidExtensionName", "Invalid extension name")
                return
            try:
                events = json.loads(body or b"{}").get("events", [])
                unknown = [each for each in events if each not in _EVENTS]
            except (ValueError, AttributeError, TypeError, RecursionError):
                _refuse(exchange, "InvalidRequestFormat", "Could not parse the request", 400)
                return
            self._take(exchange, name, events, unknown, "accountId" in features)

        exchange.collect(_BODY_BYTES, done)

    def _take(
        self, exchange: Exchange, name: str, events: list[str], unknown: list[str], account: bool
    ) -> None:
        extension = self._all.get(name)
        if self._closed:
            _refuse(
                exchange, "Extension.RegistrationClosed", "Extension registration closed already"
            )
        elif unknown:
            kind = "Extension.InvalidEventType"
            _refuse(exchange, kind, f"{unknown[0]}: Unknown event type")
        elif extension is not None and extension.state is not State.STARTED:
            self._refuse_state(exchange, extension, State.REGISTERED)
        elif extension is None and "SHUTDOWN" in events:
            kind = "Extension.InvalidEventType"
            _refuse(exchange, kind, "SHUTDOWN: Event type not supported for internal extensions")
        elif extension is None and len(self._all) >= MOST:
            _refuse(exchange, "Extension.TooManyExtensions", "Extension limit (10) reached")
        else:
            if extension is None:
                extension = self._all[name] = Extension(name, external=False)
            extension.state = State.REGISTERED
            extension.identifier = ids.uuid()
            extension.events = tuple(dict.fromkeys(events))
            self._by_identifier[extension.identifier] = extension
            function = dict(self._function)
            if not account:
                function.pop("accountId", None)
            headers = [*_JSON, ("Lambda-Extension-Identifier", extension.identifier)]
            exchange.respond(200, headers, json.dumps(function).encode())
            self._listener.extensions_changed()

    def identify(self, exchange: Exchange) -> Extension | None:
        """Who asks; None if it was refused because nobody knows."""
        identifier = exchange.headers.get("lambda-extension-identifier", "")
        if not identifier:
            kind = "Extension.MissingExtensionIdentifier"
            _refuse(exchange, kind, "Missing Lambda-Extension-Identifier header")
        elif len(identifier) != 36:
            _refuse(
                exchange,
                "Extension.InvalidExtensionIdentifier",
                "Invalid Lambda-Extension-Identifier",
            )
        elif identifier not in self._by_identifier:
            _refuse(
                exchange,
                "Extension.UnknownExtensionIdentifier",
                "Unknown Lambda-Extension-Identifier",
            )
        else:
            return self._by_identifier[identifier]
        return None

    def _next(self, exchange: Exchange) -> None:
        extension = self.identify(exchange)
        if extension is None:
            return
        if extension.state not in (State.REGISTERED, State.READY, State.RUNNING):
            self._refuse_state(exchange, extension, State.READY)
            return
        if extension.poll is not None and not extension.poll.gone:
            self._refuse_state(exchange, extension, State.READY)
            return
        extension.poll = exchange
        if extension.pending is not None:
            self._deliver(extension)
            return
        extension.state = State.READY
        self._listener.extensions_changed()

    def _error(self, exchange: Exchange, init: bool) -> None:
        extension = self.identify(exchange)
        if extension is None:
            return
        kind = exchange.headers.get("lambda-extension-function-error-type", "")
        wanted = State.INIT_FAILED if init else State.EXIT_FAILED
        if not kind:
            _refuse(
                exchange,
                "Extension.MissingHeader",
                "Missing Lambda-Extension-Function-Error-Type header",
            )
            return
        if extension.state in (State.INIT_FAILED, State.EXIT_FAILED, State.EXITED) or (
            init and extension.state is not State.REGISTERED
        ):
            self._refuse_state(exchange, extension, wanted)
            return
        extension.state = wanted
        extension.error_type = kind[:256]

        def done(body: bytes | None) -> None:
            exchange.respond(202, _JSON, _ACCEPTED)
            told = "Extension.InitError" if init else "Extension.ExitError"
            self._listener.extension_failed(extension, told)

        exchange.collect(_BODY_BYTES, done)

    @staticmethod
    def _refuse_state(exchange: Exchange, extension: Extension, target: State) -> None:
        message = (
            f"State transition from {extension.state.value} to {target.value} failed for extension "
            f"{extension.name}. Error: State transition is not allowed"
        )
        _refuse(exchange, "Extension.InvalidExtensionState", message)


def _refuse(exchange: Exchange, kind: str, message: str, status: int = 403) -> None:
    body = json.dumps({"errorMessage": message, "errorType": kind}).encode()
    exchange.respond(status, _JSON, body)
