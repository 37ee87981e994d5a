"""The embedded services: a process of their own, started on first use and again when it dies."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from lambent.http import Application, HttpLimits, HttpServer
from lambent.http.client import UpstreamError, to_socket
from lambent.neighbours import channel, watchdog
from lambent.neighbours.base import Message, NeighbourUnavailable
from lambent.neighbours.starting import Life, OwnStarter, Starter
from lambent.neighbours.subjects.base import Facts
from lambent.neighbours.watchdog import Bounds

_log = logging.getLogger(__name__)

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
# Between the end of a process and the next attempt; doubled each time it dies young.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
_YOUNG_SECONDS = 10.0
_FACTS_BYTES = 1024 * 1024
_WAY_IN = HttpLimits(connections=256)


class Embedded:
    """See ``base.Neighbour``; folder: everything it keeps, for nobody else to see.

    ways_in: what it may ask of this server, by the name of a socket in the folder.  endpoint: how
    functions reach this server.  starter: who starts the process; without one, this process.
    """

    def __init__(
        self,
        folder: Path,
        region: str,
        ways_in: Mapping[str, Application],
        endpoint: Callable[[], str],
        bounds: Bounds,
        starter: Starter | None = None,
    ) -> None:
        self._folder = folder
        self._bounds = bounds
        self._region = region
        self._ways_in = ways_in
        self._endpoint = endpoint
        self._starter = starter or OwnStarter(folder, region, bounds.memory_bytes)
        self._servers: list[HttpServer] = []
        self._directory = -1
        self._keeping: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._pause = _FIRST_PAUSE

    def resume(self) -> None:
        """Start with the server where it was used before: schedules go on."""
        if (self._folder / "state").is_dir():
            self._begin()

    async def send(self, message: Message) -> channel.FramedReply:
        """See ``base.Neighbour``."""
        request = message.request
        head = {
            "kind": "request",
            "service": message.service,
            "account": message.account,
            "region": message.region,
            "source": message.source,
            "host": message.host,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "trace": message.trace_id,
            "credentials": message.credentials,
        }
        return await self._ask(head, message.body, message.trailers)

    async def _ask(
        self,
        head: dict[str, Any],
        body: AsyncIterator[bytes] | bytes = b"",
        tail: Callable[[], dict[str, str]] = dict,
    ) -> channel.FramedReply:
        """The answer of the process, started if need be; raises NeighbourUnavailable."""
        self._begin()
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._up.wait()
        except TimeoutError:
            raise NeighbourUnavailable from None
        try:
            connect = to_socket(self._address("socket"))
            reply = await channel.ask(connect, head, body, tail)
        except UpstreamError as error:
            _log.warning("%s did not answer: %s", head.get("service", head["kind"]), error)
            raise NeighbourUnavailable from None
        if not reply.status:
            reply.close()
            raise NeighbourUnavailable("An internal error occurred.")
        return reply

    async def facts(self, service: str, account: str, region: str, about: str) -> Facts:
        """See ``base.Neighbour``."""
        place = {"service": service, "account": account, "region": region}
        reply = await self._ask({"kind": "facts", **place, "about": about})
        try:
            return Facts(**json.loads(await reply.read(_FACTS_BYTES)))
        except (UpstreamError, ValueError, TypeError):
            raise NeighbourUnavailable from None

    async def answered(self, token: str, body: bytes) -> bool:
        """Pass on what a custom resource's function says; False if nobody waits for it."""
        if self._keeping is None:
            return False
        reply = await self._ask({"kind": "answer", "token": token}, body)
        reply.close()
        return reply.status == 200

    async def stop(self) -> None:
        """End it in order: it saves what it knows."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            for server in self._servers:
                await server.close()
            if self._directory >= 0:
                os.close(self._directory)

    def _address(self, name: str) -> str:
        """A socket's path, which has 107 bytes however deep its folder is."""
        return f"/proc/self/fd/{self._directory}/{name}"

    # -- the process ----------------------------------------------------------------------

    def _begin(self) -> None:
        if self._keeping is None:
            self._keeping = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        """Start it, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                if not self._servers:
                    await self._open()
                await self._run()
            except OSError as error:
                _log.error("the neighbours cannot be started: %s", error)
            self._pause = (
                _FIRST_PAUSE
                if loop.time() - began > _YOUNG_SECONDS
                else min(self._pause * 2, _LONGEST_PAUSE)
            )
            await asyncio.sleep(self._pause)

    async def _open(self) -> None:
        """The folder, and the ways in for what will live there."""
        if self._directory < 0:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._directory = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for name, application in self._ways_in.items():
            server = HttpServer(application, _WAY_IN)
            await server.serve(self._listen(name))
            self._servers.append(server)

    async def _run(self) -> None:
        """One life of the process."""
        listener = self._listen("socket")
        try:
            process = await self._start(listener)
        finally:
            # From here on only the process accepts: when it is gone, whoever connects knows.
            listener.close()
        try:
            self._up.set()
            await watchdog.ended(process, self._ping, self._bounds.silent_seconds)
            _log.error("the neighbours ended; they are started again")
        except asyncio.CancelledError:
            self._up.clear()
            await self._end(process)
            raise
        finally:
            self._up.clear()

    async def _start(self, listener: socket.socket) -> Life:
        stdin, held = os.pipe2(os.O_CLOEXEC)
        try:
            pid, pidfd = await self._starter.start(listener.fileno(), stdin, self._endpoint())
        except BaseException:
            os.close(held)
            raise
        finally:
            os.close(stdin)
        return Life(pid, pidfd, held, self._starter.kill)

    async def _ping(self) -> None:
        """See ``watchdog.Ping``."""
        reply = await channel.ask(to_socket(self._address("socket")), {"kind": "ping"})
        reply.close()

    def _listen(self, name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            (self._folder / name).unlink(missing_ok=True)
            listener.bind(self._address(name))
            # The folder decides who gets here: this server, and the services under their uid.
            os.chmod(self._address(name), 0o666)  # noqa: S103
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
        return listener

    @staticmethod
    async def _end(process: Life) -> None:
        process.close_input()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            _log.error("the neighbours did not end in time; they are killed")
            process.kill()
            await process.wait()
