"""A whole server in this process, MiniStack in it, and eyes on what MiniStack keeps.

The services run in a thread with an event loop of their own, in a network namespace without any way
out, so that what they touch can be seen and what they keep be put back.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from lambent.app import App, server
from lambent.config import Settings
from lambent.http import Application, HttpServer
from lambent.neighbours.base import Message
from lambent.neighbours.ministack import adapter, ours, stacks
from lambent.neighbours.ministack.facts import facts
from lambent.neighbours.subjects.base import Facts
from lambent.sandbox.kernel import netlink, syscalls

CANARY = "canary7f3a"
# A store of MiniStack's, and a key there.
Place = tuple[str, tuple[Any, ...]]
OWNER, FOREIGN = "000000000000", "222222222222"
REGION = "us-east-1"
# Nothing of a request's value may become structure on its way.
_STRUCTURE = ("\r", "\n", "\0")


def alone() -> None:
    """Leave the host's network; loopback goes on."""
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWNET | (syscalls.CLONE_NEWUSER if uid else 0))
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with netlink.open_socket() as end:
        netlink.perform(end, [netlink.up(1)])


class Watch:
    """Notes which protected entries of MiniStack's dictionaries are looked up by their names."""

    def __init__(self) -> None:
        self.on = False
        self.touched: list[str] = []
        self.protected: Callable[[tuple[Any, ...]], bool] = lambda key: False

    def put_in(self, responses: Any) -> None:
        """Wrap the lookups of both kinds of dictionaries."""
        for kind in (responses.AccountScopedDict, responses.AccountRegionScopedDict):
            scoped = kind._scoped
            for name in ("__getitem__", "__setitem__", "__delitem__", "__contains__", "get", "pop"):
                self._wrap(kind, name, lambda me, key, *_, scoped=scoped: scoped(me, key))
            self._wrap(kind, "setdefault", lambda me, key, *_, scoped=scoped: scoped(me, key))
            for name in ("get_scoped", "set_scoped", "contains_scoped", "pop_scoped"):
                self._wrap(kind, name, lambda me, account, region, key, *_: (account, region, key))

    def _wrap(self, kind: Any, name: str, key_of: Callable[..., tuple[Any, ...]]) -> None:
        inner = getattr(kind, name)

        def watched(me: Any, *arguments: Any) -> Any:
            if self.on:
                key = key_of(me, *arguments)
                if key in me._data and self.protected(key):
                    self.touched.append(f"{_caller()} {name.strip('_')} {key[-1]!r} of {key[0]}")
            return inner(me, *arguments)

        setattr(kind, name, watched)


def _caller() -> str:
    frame = sys._getframe(2)
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"


class Answered:
    """An answer of MiniStack's, as the gateway reads those that come over the socket."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    def header(self, name: str) -> str | None:
        """The first header of a name."""
        return next((value for key, value in self.headers if key == name), None)

    async def body(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        if self._body:
            yield self._body

    async def read(self, limit: int) -> bytes:
        """The whole body."""
        assert len(self._body) <= limit
        return self._body

    def close(self) -> None:
        """Nothing is open."""


class Beside:
    """MiniStack in this process; takes the place of ``embedded.Embedded``."""

    wants_framing = True
    last: Beside

    def __init__(
        self,
        folder: Path,
        region: str,
        ways_in: Mapping[str, Application],
        endpoint: Callable[[], str],
        *_: Any,
    ) -> None:
        Beside.last = self
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._ways_in = folder, ways_in
        os.environ["LAMBENT_ENDPOINT"] = "http://127.0.0.1:1"
        adapter.prepare(folder, region)
        os.environ["S3_PERSIST"] = "0"
        os.chdir(folder)
        self.watch = Watch()
        self.strange: list[str] = []
        self.calls = 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="ministack").start()
        self.stack = asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()
        self._pristine: list[tuple[Any, dict[Any, Any]]] = []
        self._texts: dict[str, dict[Place, str]] = {}
        self._before: dict[Place, str] = {}
        self._names: set[Any] = set()

    async def _begin(self) -> adapter.MiniStack:
        stack = adapter.MiniStack()
        self.watch.put_in(stack.responses)
        lambent = ours.Lambent("lambent")
        ours.install(stack, lambent)
        stacks.install(stack, lambent)
        for name in adapter.MODULES.values():
            stack.module(name)
        return stack

    def resume(self) -> None:
        """Nothing to start."""

    async def send(self, message: Message) -> Any:
        """See ``base.Neighbour``."""
        body = message.body
        if not isinstance(body, bytes):
            body = b"".join([piece async for piece in body])
        self._examine(message)
        path, _, query = message.target.partition("?")
        headers = {"host": message.host or "localhost", **dict(message.headers)}
        headers["content-length"] = str(len(body))
        request = adapter.Request(
            message.service,
            message.account,
            message.region,
            message.source or "127.0.0.1",
            message.method,
            unquote(path),
            parse_qs(query, keep_blank_values=True),
            headers,
            body,
        )
        credentials = message.extra.get("credentials")
        running = asyncio.run_coroutine_threadsafe(self._answer(request, credentials), self._loop)
        status, answered, content = await asyncio.wrap_future(running)
        pairs = [
            (name.lower(), str(each))
            for name, value in answered.items()
            for each in (value if isinstance(value, list | tuple) else (value,))
        ]
        data = content.encode() if isinstance(content, str) else content
        kept = [(name, value) for name, value in pairs if name != "content-length"]
        return Answered(status, [*kept, ("content-length", str(len(data)))], data)

    async def _answer(self, request: adapter.Request, credentials: str | None) -> adapter.Answer:
        self.calls += 1
        ours.tracing.set("")
        if credentials is not None:
            stacks.act_for(unquote(credentials), request.account, request.region)
        self.watch.on = True
        try:
            return await self.stack.answer(request)
        except Exception as error:
            return 503, {"x-failed": type(error).__name__}, b"failed"

    def _examine(self, message: Message) -> None:
        """Note what could become another request, or lead out of its account."""
        texts = [message.method, message.target, message.service, message.account, message.region]
        texts += [each for pair in message.headers for each in pair] + [message.host]
        if any(sign in text for text in texts for sign in _STRUCTURE):
            self.strange.append(f"a line break in {message.target!r} {message.headers!r}")
        if not message.region.replace("-", "").isalnum() or not message.region.isascii():
            self.strange.append(f"the region {message.region!r}")

    async def facts(self, service: str, account: str, region: str, about: str) -> Facts:
        """See ``base.Neighbour``."""
        self.watch.on = False  # until the next request: what it set going is seen as well
        return Facts(**facts(self.stack, service, account, region, about))

    async def answered(self, token: str, body: bytes) -> bool:
        """Nobody waits for anything."""
        return False

    async def serve(self) -> None:
        """Serve what MiniStack may ask of the server."""
        for name, application in self._ways_in.items():
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(name)
            listener.listen(64)
            listener.setblocking(False)
            await HttpServer(application).serve(listener)

    async def stop(self) -> None:
        """The process ends anyway."""

    # -- what is kept ----------------------------------------------------------------------

    def stores(self) -> dict[str, Any]:
        """Every dictionary that the services keep something in, by a name."""
        responses = self.stack.responses
        kinds = (responses.AccountScopedDict, responses.AccountRegionScopedDict)
        found: dict[int, tuple[str, Any]] = {}
        for name, module in list(sys.modules.items()):
            if name.startswith("ministack.services."):
                for attribute, value in vars(module).items():
                    if isinstance(value, kinds):
                        place = f"{name.rpartition('.')[2]}.{attribute}"
                        found.setdefault(id(value), (place, value))
        return dict(found.values())

    def remember(self) -> None:
        """What is kept now is what ``put_back`` brings back."""
        self._pristine = [(store, copy.deepcopy(store._data)) for store in self.stores().values()]
        self._texts.clear()

    def put_back(self) -> None:
        """Everything as it was remembered."""
        for store, data in self._pristine:
            store._data.clear()
            store._data.update(copy.deepcopy(data))

    def protected_texts(self) -> dict[Place, str]:
        """What is kept of protected entries, as texts."""
        found: dict[Place, str] = {}
        for name, store in self.stores().items():
            for key, value in list(store._data.items()):
                if self.watch.protected(key):
                    found[name, key] = repr(value)
        return found

    def protect(self, caller: str, protected: Callable[[tuple[Any, ...]], bool]) -> None:
        """From now on a caller asks to whom these entries must stay closed; all is as remembered."""
        self.watch.protected = protected
        if caller not in self._texts:
            self._texts[caller] = self.protected_texts()
        self._before = self._texts[caller]
        self._names = {_name(place) for place in self._before}

    def changes(self) -> list[str]:
        """How protected entries differ from what was remembered."""
        before, now = self._before, self.protected_texts()
        return [
            f"{name}: {_difference(before.get(key), now.get(key))}"
            for key in sorted(now.keys() | before.keys(), key=str)
            if before.get(key) != now.get(key) and (key in before or _name(key) in self._names)
            for name in [f"{key[0]}[{key[1]!r}]"]
        ]


def _name(place: Place) -> Any:
    """What an entry is about: of an object, its bucket."""
    name = place[1][-1]
    return name[0] if isinstance(name, tuple) else name


def _difference(before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return "gone" if after is None else f"new: {after[:200]}"
    start = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    at = max(0, start - 40)
    return f"…{before[at : start + 60]}… → …{after[at : start + 60]}…"


def settled(seconds: float = 2.0) -> None:
    """Wait for threads that the services started for something that goes on after its answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_works(each) for each in threading.enumerate()):
        time.sleep(0.005)


_STANDING: set[str] = {"MainThread", "ministack", "fuzzer"}


def _works(thread: threading.Thread) -> bool:
    return thread.name not in _STANDING and not thread.name.startswith(
        ("asyncio_", "ThreadPoolExecutor")
    )


def needles() -> list[bytes]:
    """The canary as it may stand in an answer: plain, and in base64 at each alignment."""
    found = [CANARY.encode()]
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + CANARY.encode() + b"\0\0")
        found.append(coded[4 if shift else 0 : 4 + 8])
    return found


async def start(folder: Path) -> tuple[App, Beside]:
    """A server with MiniStack inside; call ``alone`` first."""
    logging.disable(logging.CRITICAL)
    server.Embedded = Beside  # type: ignore[assignment, misc]
    app = App(
        Settings(port=0, data_dir=str(folder), isolation="process", function_network="none")
    )
    await app.start()
    await Beside.last.serve()
    return app, Beside.last
