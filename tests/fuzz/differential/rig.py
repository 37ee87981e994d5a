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
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from lambent.app import App, server
from lambent.config import Settings
from lambent.neighbours import embedded
from lambent.neighbours.base import Message
from lambent.neighbours.ministack import adapter, bounds, facts, ours, stacks
from lambent.neighbours.ministack.dispatch import Dispatch
from lambent.sandbox.kernel import netlink, syscalls

CANARY = "canary7f3a"
# A store of MiniStack's, and a key there.
Place = tuple[str, tuple[Any, ...]]
OWNER, FOREIGN = "000000000000", "222222222222"
REGION = "us-east-1"
_REGION = re.compile("[a-z0-9-]{1,64}")
_ACCOUNT = re.compile(r"\d{12}")


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
        self.protected: set[tuple[Any, ...]] = set()

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
                if key in self.protected and not _decides():
                    self.touched.append(f"{_caller()} {name.strip('_')} {key[-1]!r} of {key[0]}")
            return inner(me, *arguments)

        setattr(kind, name, watched)


def _caller() -> str:
    frame = sys._getframe(2)
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"


def _decides() -> bool:
    """Whether a lookup is one of those that a decision needs (``facts``)."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != facts.__file__:
        frame = frame.f_back
    return frame is not None


class Beside(embedded.Embedded):
    """The embedded services in a thread of this process, behind the same channel."""

    last: Beside

    def __init__(self, folder: Path, region: str, *rest: Any) -> None:
        super().__init__(folder, region, *rest)
        Beside.last = self
        folder.mkdir(mode=0o700, exist_ok=True)
        os.environ["LAMBENT_ENDPOINT"] = "http://127.0.0.1:1"
        adapter.prepare(folder, region)
        os.environ["S3_PERSIST"] = "0"
        os.chdir(folder)
        self.watch = Watch()
        self.strange: list[str] = []
        self.calls = 0
        self._pristine: list[tuple[Any, dict[Any, Any]]] = []
        self._texts: dict[str, dict[Place, str]] = {}
        self._before: dict[Place, str] = {}
        self._names: set[Any] = set()
        self._protected: Callable[[tuple[Any, ...]], bool] = lambda key: False
        self._threads: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self.stack: adapter.MiniStack

    def _begin(self) -> None:
        """There is no process."""

    async def serve(self) -> None:
        """Begin, in a thread with an event loop of its own: services wait for the server."""
        await self._open()
        listener = self._listen("socket")
        listener.setblocking(False)
        threading.Thread(target=self._loop.run_forever, daemon=True, name="ministack").start()
        begun = asyncio.run_coroutine_threadsafe(self._serve(listener), self._loop)
        await asyncio.wrap_future(begun)
        self._up.set()

    async def _serve(self, listener: socket.socket) -> None:
        self.stack = stack = adapter.MiniStack()
        self.watch.put_in(stack.responses)
        lambent = ours.Lambent("lambent")
        ours.install(stack, lambent)
        stacks.install(stack, lambent)
        bounds.install(stack)
        for name in adapter.MODULES.values():
            stack.module(name)
        answer = stack.answer

        async def watched(request: adapter.Request) -> adapter.Answer:
            self.calls += 1
            self.watch.on = True
            return await answer(request)

        stack.answer = watched  # type: ignore[method-assign]
        await Dispatch(stack, lambda: None).serve(listener)

    async def send(self, message: Message) -> Any:
        """See ``base.Neighbour``."""
        if not _REGION.fullmatch(message.region) or not _ACCOUNT.fullmatch(message.account):
            self.strange.append(f"the region {message.region!r} of {message.account!r}")
        request = message.request
        lines = [request.method, *(each for pair in request.headers.items() for each in pair)]
        if any(sign in line for line in lines for sign in "\r\n\0"):
            self.strange.append(f"a line break in {request.method} {request.headers!r}")
        return await super().send(message)

    def settle(self, seconds: float = 2.0) -> None:
        """Wait for what the services go on with after their answer, in threads or in tasks."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._busy():
            time.sleep(0.002)

    def _busy(self) -> bool:
        tasks = asyncio.run_coroutine_threadsafe(_tasks(), self._loop).result()
        names = {each.name for each in threading.enumerate()} - self._threads
        return tasks > 0 or any(not each.startswith("asyncio_") for each in names)

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
        self._threads = {each.name for each in threading.enumerate()}
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
                if self._protected(key):
                    found[name, key] = repr(value)
        return found

    def protect(self, caller: str, protected: Callable[[tuple[Any, ...]], bool]) -> None:
        """A caller asks from now on, to whom these entries must stay closed."""
        self._protected = protected
        if caller not in self._texts:
            self._texts[caller] = self.protected_texts()
        self._before = self._texts[caller]
        self.watch.protected = {key for _, key in self._before}
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


async def _tasks() -> int:
    """How many tasks there are beside this one and those that wait for connections."""
    return len([each for each in asyncio.all_tasks() if each is not asyncio.current_task()])


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
    vars(server)["Embedded"] = Beside
    app = App(Settings(port=0, data_dir=str(folder), isolation="process", function_network="none"))
    await app.start()
    await Beside.last.serve()
    return app, Beside.last
