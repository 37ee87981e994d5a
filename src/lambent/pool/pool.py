"""The pool: a warm environment if there is one, a new one if not.

An invocation that finds no idle environment waits for whichever comes first: one that another
invocation gives back, or one that is started for it.  Starts are budgeted; what is idle too long,
outdated or in the way of others is taken down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from lambent.clock import Clock
from lambent.errors import ServiceFailure, TooManyRequests
from lambent.functions.types import FunctionVersion
from lambent.pool.environment import ExecutionEnvironment, InitFailed, State
from lambent.pool.rates import TokenBucket
from lambent.sandbox.base import SandboxError

_log = logging.getLogger(__name__)

Starter = Callable[[FunctionVersion, str, str, float, str], Awaitable[ExecutionEnvironment]]
"""Makes an environment: version, request id, phase ("init" or "invoke"), seconds allowed,
initialisation type ("on-demand" or "provisioned-concurrency")."""

# Longest initialisation of a provisioned environment, unless the function's timeout is longer.
# Source: AWS Lambda Developer Guide, "Execution environment lifecycle".
PROVISIONED_INIT_SECONDS = 130.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Environments in all, starting at once; seconds until idle ones are frozen and retired, for
    an initialisation, and of an environment's whole life; new ones of one function in ten seconds,
    which come back little by little (AWS Lambda Developer Guide, "Lambda function scaling")."""

    environments: int
    cold_starts: int
    freeze_seconds: float
    idle_seconds: float
    init_seconds: float
    age_seconds: float = float("inf")
    scaling: int = 1000


Key = tuple[str, str, str, str, float, str]
"""A version's identity and the tenant, "" for functions that know none."""


@dataclass(slots=True)
class Lease:
    """An environment in an invocation's hands."""

    environment: ExecutionEnvironment
    first: bool
    spent: float = 0.0


@dataclass(slots=True, eq=False)
class _Waiter:
    """An invocation without an environment."""

    request_id: str
    future: asyncio.Future[Lease]


@dataclass(slots=True)
class _Line:
    """The environments and the waiting invocations of one version, or of one of its tenants."""

    version: FunctionVersion
    tenant: str = ""
    idle: list[ExecutionEnvironment] = field(default_factory=list)
    waiting: deque[_Waiter] = field(default_factory=deque)
    # Starts asked for, of which some are in progress; environments, those in progress included.
    starting: int = 0
    in_progress: int = 0
    total: int = 0
    # How many are to be kept ready, and whether the last attempt to start one failed.
    provisioned: int = 0
    failed: bool = False

    @property
    def key(self) -> Key:
        """What its environments are known by."""
        return (*self.version.identity, self.tenant)

    @property
    def ready(self) -> int:
        """Environments that have been started."""
        return self.total - self.in_progress

    @property
    def busy(self) -> int:
        """Environments in use."""
        return self.ready - len(self.idle)

    @property
    def wants(self) -> bool:
        """Whether another start should be asked for."""
        return len(self.waiting) > self.starting or (
            not self.failed and self.ready + self.starting < self.provisioned
        )

    @property
    def spare(self) -> bool:
        """Whether an idle environment may go."""
        return self.ready > self.provisioned


# How long an invocation waits for an environment that has answered to ask for the next event.
_REST_SECONDS = 0.3
_SCALING_SECONDS = 10.0
_MOST_BUCKETS = 10_000


class Pool:
    """All environments of this machine."""

    def __init__(self, start: Starter, clock: Clock, limits: PoolLimits) -> None:
        self._start = start
        self._clock = clock
        self._limits = limits
        self._lines: dict[Key, _Line] = {}
        # Idle environments, the longest idle first.
        self._idle: OrderedDict[ExecutionEnvironment, _Line] = OrderedDict()
        # Environments with the time they were given back: to be frozen unless used since.
        self._warm: deque[tuple[float, ExecutionEnvironment]] = deque()
        # Those that have answered and not asked for more yet.
        self._resting: set[ExecutionEnvironment] = set()
        self._scaling: dict[tuple[str, str, str], TokenBucket] = {}
        self._starts: deque[_Line] = deque()
        self._starting = 0
        self._total = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # -- taking and giving back -----------------------------------------------------------

    async def acquire(self, version: FunctionVersion, request_id: str, tenant: str = "") -> Lease:
        """An environment ready for an event, which no other tenant has been in; raises
        InitFailed, TooManyRequests."""
        key = (*version.identity, tenant)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(version, tenant)
        while line.idle:
            environment = line.idle.pop()
            self._idle.pop(environment, None)
            if environment.state is State.FROZEN:
                environment.thaw()
            if environment.state is State.IDLE:
                return Lease(environment, first=False)
            if environment.state is State.RESET:
                return await self._restarted(Lease(environment, first=False), request_id)
            self._forget(line)
        # Finding its last environment ended may have taken the line off the list.
        self._lines[key] = line
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        line.waiting.append(_Waiter(request_id, future))
        self._want(line)
        try:
            lease = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self.release(future.result().environment)
            raise
        if lease.environment.state is State.RESET:
            return await self._restarted(lease, request_id)
        return lease

    async def _restarted(self, lease: Lease, request_id: str) -> Lease:
        """Initialise an environment that was reset, in the function's own time."""
        environment = lease.environment
        began = self._clock.monotonic()
        try:
            await environment.restart(float(environment.version.configuration.timeout), request_id)
        except BaseException:
            self.release(environment)
            raise
        lease.spent = self._clock.monotonic() - began
        return lease

    def release(self, environment: ExecutionEnvironment) -> None:
        """Take an environment back; one that ended or is outdated is let go."""
        self._resting.discard(environment)
        line = self._lines.get((*environment.identity, environment.tenant))
        state = environment.state
        if line is not None and not self._closed:
            if state is State.FINISHING:
                self._resting.add(environment)
                self._await_rest(environment, line)
                return
            if state is State.BROKEN:
                self._spawn(self._reset(environment, line))
                return
        if state not in (State.IDLE, State.RESET) or line is None or self._closed:
            self._end(environment)
            if line is not None:
                self._forget(line)
                self._want(line)
            else:
                self._total -= 1
            return
        future = self._next_waiting(line)
        if future is not None:
            future.set_result(Lease(environment, first=False))
            return
        environment.idle_since = now = self._clock.monotonic()
        line.idle.append(environment)
        self._idle[environment] = line
        self._warm.append((now, environment))
        self._tick_soon()

    def _await_rest(self, environment: ExecutionEnvironment, line: _Line) -> None:
        """Its runtime has answered and will ask for more in a moment, which others wait for; its
        extensions may take longer, which they do not."""
        if environment.awaits_extensions:
            environment.when_rested(lambda: self.release(environment))
            return
        line.starting += 1
        counted = True

        def uncount() -> None:
            nonlocal counted
            if counted:
                counted = False
                line.starting -= 1

        def long() -> None:
            uncount()
            self._want(line)

        def rested() -> None:
            timer.cancel()
            uncount()
            self.release(environment)

        timer = asyncio.get_running_loop().call_later(_REST_SECONDS, long)
        environment.when_rested(rested)

    async def _reset(self, environment: ExecutionEnvironment, line: _Line) -> None:
        """After a timeout or a crash: empty it, so that it can be initialised again."""
        line.starting += 1  # whoever waits meanwhile waits for this one
        try:
            if not await environment.reset():
                environment.stop()
        finally:
            line.starting -= 1
        self.release(environment)

    def _end(self, environment: ExecutionEnvironment) -> None:
        """Let an environment end; in its own time if it has extensions that want to know."""
        if environment.lingers:
            self._spawn(environment.shut_down("spindown"))
        else:
            environment.stop()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def retire(self, keep: Callable[[FunctionVersion], bool]) -> None:
        """Let go of every line whose version is not kept; running invocations finish."""
        for key, line in list(self._lines.items()):
            if keep(line.version):
                continue
            line.provisioned = 0
            for environment in list(line.idle):
                line.idle.remove(environment)
                self._drop(environment)
            if not line.waiting and not line.starting:
                self._lines.pop(key, None)

    # -- provisioned concurrency ----------------------------------------------------------

    def _line(self, version: FunctionVersion) -> _Line | None:
        """A version's, where it knows no tenants."""
        return self._lines.get((*version.identity, ""))

    def provision(self, version: FunctionVersion, wanted: int) -> None:
        """Keep so many environments of a version, started ahead and never retired as idle."""
        line = self._line(version)
        if line is None:
            if not wanted:
                return
            line = _Line(version)
            self._lines[line.key] = line
        line.provisioned = wanted
        line.failed = False
        self._want(line)

    def provisioned(self, version: FunctionVersion) -> tuple[int, int]:
        """How many environments of a version are started, and how many of those are idle."""
        line = self._line(version)
        return (line.ready, len(line.idle)) if line is not None else (0, 0)

    def within_provision(self, version: FunctionVersion) -> bool | None:
        """Whether those in use are no more than are provisioned; None where none are."""
        line = self._line(version)
        if line is None or not line.provisioned:
            return None
        return line.busy <= line.provisioned

    def occupied(self) -> Iterator[tuple[FunctionVersion, int, int]]:
        """Each version, how many of its environments are in use, how many are provisioned."""
        for line in self._lines.values():
            yield line.version, line.busy, line.provisioned

    # -- starting -------------------------------------------------------------------------

    def _want(self, line: _Line) -> None:
        """Start what invocations wait for, and what is to be kept ready."""
        while line.wants and not self._closed:
            line.starting += 1
            self._starts.append(line)
        self._start_some()

    def _start_some(self) -> None:
        while self._starts and self._starting < self._limits.cold_starts:
            line = self._starts.popleft()
            line.starting -= 1
            if not line.wants:
                continue  # somebody gave one back in the meantime
            line.starting += 1
            if not self._may_scale(line.version) or not self._make_room():
                line.starting -= 1
                self._refuse(line)
                continue
            self._starting += 1
            self._total += 1
            line.total += 1
            line.in_progress += 1
            self._spawn(self._start_one(line))

    def _may_scale(self, version: FunctionVersion) -> bool:
        """Whether a function may have another environment now."""
        key = (version.account, version.region, version.name)
        bucket = self._scaling.get(key)
        if bucket is None:
            if len(self._scaling) >= _MOST_BUCKETS:
                self._scaling = {k: each for k, each in self._scaling.items() if not each.full}
            most = float(self._limits.scaling)
            bucket = self._scaling[key] = TokenBucket(self._clock, most, most / _SCALING_SECONDS)
        return bucket.take()

    def _make_room(self) -> bool:
        """Below the limit, or below it once the longest idle environment is gone."""
        if self._total < self._limits.environments:
            return True
        environment = next((each for each, line in self._idle.items() if line.spare), None)
        if environment is None:
            return False
        self._idle[environment].idle.remove(environment)
        self._drop(environment)
        return True

    def _refuse(self, line: _Line) -> None:
        future = self._next_waiting(line)
        if future is not None:
            reason = "ConcurrentInvocationLimitExceeded"
            future.set_exception(TooManyRequests(Reason=reason, retryAfterSeconds=1))

    async def _start_one(self, line: _Line) -> None:
        lease: Lease | None = None
        failure: Exception | None = None
        try:
            lease = await self._initialised(line)
        except (InitFailed, SandboxError) as error:
            failure = error
        except Exception as error:
            _log.exception("an environment could not be started")
            failure = error
        finally:
            self._starting -= 1
            line.starting -= 1
            line.in_progress -= 1
        line.failed = failure is not None
        if failure is not None and not isinstance(failure, InitFailed):
            _log.error("an environment could not be started: %s", failure)
            failure = ServiceFailure()
        if lease is None:
            self._forget(line)
        future = self._next_waiting(line)
        if future is not None and lease is not None:
            future.set_result(lease)
        elif future is not None and failure is not None:
            future.set_exception(failure)
        elif lease is not None:
            self.release(lease.environment)
        self._want(line)

    async def _initialised(self, line: _Line) -> Lease:
        """A ready environment; a failed initialisation is repeated once, as AWS does.

        The repetition counts against the function's own timeout.
        """
        version = line.version
        request_id = self._request_id(line)
        timeout = float(version.configuration.timeout)
        kind, limit = "on-demand", self._limits.init_seconds
        if line.ready < line.provisioned and not request_id:
            kind, limit = "provisioned-concurrency", max(PROVISIONED_INIT_SECONDS, timeout)
        try:
            environment = await self._start(version, request_id, "init", limit, kind)
            environment.tenant = line.tenant
            return Lease(environment, first=True)
        except InitFailed:
            pass
        began = self._clock.monotonic()
        environment = await self._start(version, request_id, "invoke", timeout, kind)
        environment.tenant = line.tenant
        return Lease(environment, first=False, spent=self._clock.monotonic() - began)

    @staticmethod
    def _request_id(line: _Line) -> str:
        return next((each.request_id for each in line.waiting if not each.future.done()), "")

    @staticmethod
    def _next_waiting(line: _Line) -> asyncio.Future[Lease] | None:
        while line.waiting:
            waiter = line.waiting.popleft()
            if not waiter.future.done():
                return waiter.future
        return None

    # -- letting go -----------------------------------------------------------------------

    def _forget(self, line: _Line) -> None:
        """One environment of a line is no more."""
        self._total -= 1
        line.total -= 1
        if line.total == 0 and not (line.waiting or line.starting or line.provisioned):
            self._lines.pop(line.key, None)

    def _drop(self, environment: ExecutionEnvironment) -> None:
        """Stop an idle environment."""
        line = self._idle.pop(environment)
        self._end(environment)
        self._forget(line)

    def _tick_soon(self) -> None:
        if self._ticker is None and not self._closed:
            delay = max(0.01, self._limits.freeze_seconds)
            self._ticker = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        """Freeze what has been idle for a moment."""
        self._ticker = None
        now = self._clock.monotonic()
        while self._warm:
            since, environment = self._warm[0]
            if now - since < self._limits.freeze_seconds:
                self._tick_soon()
                return
            self._warm.popleft()
            unused = environment.idle_since == since and environment in self._idle
            if unused and environment.state is State.IDLE:
                environment.freeze()

    def reap(self) -> None:
        """Take down what has been idle too long or has ended by itself; called now and then."""
        now = self._clock.monotonic()
        for environment, line in list(self._idle.items()):
            ended = environment.state is State.STOPPED
            unused = now - environment.idle_since >= self._limits.idle_seconds
            old = now - environment.born >= self._limits.age_seconds
            if ended or old or (unused and line.spare):
                line.idle.remove(environment)
                self._drop(environment)
        for line in list(self._lines.values()):
            if line.provisioned:
                line.failed = False
                self._want(line)

    def versions(self) -> list[FunctionVersion]:
        """The versions of which there are environments, or are to be."""
        return [line.version for line in self._lines.values()]

    @property
    def size(self) -> int:
        """Environments there are, starting ones included."""
        return self._total

    async def close(self) -> None:
        """Stop every environment."""
        self._closed = True
        if self._ticker is not None:
            self._ticker.cancel()
        for task in list(self._tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._lines.clear()
        for environment in list(self._resting):
            environment.stop()
        await asyncio.gather(*[each.shut_down("spindown") for each in self._idle])
        self._idle.clear()
        self._warm.clear()
        self._lines.clear()
