"""The path.  Every way to run a function goes through here:

    resolve → admit → acquire → run → settle

``Invoker.invoke`` resolves a name to one version and admits the request; the router carries it to
a node; the node's ``LocalExecutor`` acquires an environment, runs the event and settles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lambent import ids
from lambent.arn import function_arn
from lambent.clock import Clock
from lambent.errors import InvalidParameterValue, RecursiveInvocation, TooManyRequests
from lambent.functions import lineage
from lambent.functions.catalog import Catalog
from lambent.functions.response_stream import ResponseStream
from lambent.functions.types import FunctionVersion, Invocation, Outcome
from lambent.pool.concurrency import Concurrency
from lambent.pool.environment import InitFailed
from lambent.pool.pool import Pool
from lambent.router.base import Router


class LocalExecutor:
    """acquire → run → settle, on this node."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self, invocation: Invocation) -> Outcome:
        version = invocation.version
        try:
            lease = await self._pool.acquire(version, invocation.request_id, invocation.tenant)
        except InitFailed as failed:
            tail = failed.tail if invocation.log_tail else b""
            return Outcome(failed.result.payload, version.version, "Unhandled", tail)
        environment = lease.environment
        environment.provisioned = self._pool.within_provision(version)
        try:
            result, tail = await environment.run(invocation, lease.first, lease.spent)
        finally:
            self._pool.release(environment)
        error = None if result.status == "success" else "Unhandled"
        return Outcome(result.payload, version.version, error, tail)


def check_tenant(version: FunctionVersion, tenant: str) -> None:
    """Raise InvalidParameterValue where a tenant is missing, or is none of a function's business.

    Source: AWS Lambda Developer Guide, "Tenant isolation".
    """
    if version.configuration.tenancy is None:
        raise InvalidParameterValue(
            "The invoked function is not enabled with tenancy configuration."
        )
    if not tenant:
        raise InvalidParameterValue("Add a valid tenant ID in your request.")


class Invoker:
    """resolve → admit → dispatch."""

    def __init__(
        self,
        catalog: Catalog,
        concurrency: Concurrency,
        router: Router,
        clock: Clock,
        throttled: Callable[[tuple[str, str, str], str], None],
        stopped: Callable[[tuple[str, str, str]], None],
    ) -> None:
        """throttled: told of each refusal, with account, region, function and the version;
        stopped: of each loop that was, with account, region and function."""
        self._stopped = stopped
        self._throttled = throttled
        self._clock = clock
        self._catalog = catalog
        self._concurrency = concurrency
        self._router = router
        self._streaming: set[asyncio.Task[tuple[str, Outcome]]] = set()

    async def resolve(
        self, account: str, region: str, name: str, qualifier: str | None
    ) -> FunctionVersion:
        """The version a request means; raises ResourceNotFound."""
        return (await self._catalog.resolve(account, region, name, qualifier))[0]

    async def begin(
        self, stream: ResponseStream, *args: Any, **more: Any
    ) -> asyncio.Task[tuple[str, Outcome]]:
        """``invoke`` with a stream, as a task that goes on when its caller does not; returns when
        the function begins to answer, or has ended."""
        task = asyncio.ensure_future(self.invoke(*args, stream=stream, **more))
        self._streaming.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait((task, stream.begun), return_when=asyncio.FIRST_COMPLETED)
        return task

    def _ended(self, task: asyncio.Task[tuple[str, Outcome]]) -> None:
        self._streaming.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def close(self) -> None:
        """End what still streams."""
        tasks = list(self._streaming)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check_recursion(self, version: FunctionVersion) -> None:
        """Raise RecursiveInvocation unless the function may call itself without end."""
        place = (version.account, version.region, version.name)
        if (await self._catalog.get(*place)).recursive_loop != "Allow":
            self._stopped(place)
            raise RecursiveInvocation(
                f"Lambda detected and stopped a recursive loop that involves the function "
                f"{version.function_arn}."
            )

    async def invoke(
        self,
        account: str,
        region: str,
        name: str,
        qualifier: str | None,
        payload: bytes,
        *,
        client_context: str | None = None,
        trace_id: str | None = None,
        log_tail: bool = False,
        request_id: str | None = None,
        stream: ResponseStream | None = None,
        asynchronous: bool = False,
        tenant: str = "",
    ) -> tuple[str, Outcome]:
        """Run a function once and return the request's id and what became of it.

        payload is JSON text; client_context is decoded JSON text.  trace_id: the caller's; without
        one a trace begins here, sampled if the function's tracing is Active, as on AWS.
        request_id: of an event that has one already.  stream: see ``Invocation``.  asynchronous:
        nobody waits for it.  tenant: whom it is for; wanted by functions with tenants and by no
        others, which raises InvalidParameterValue.
        """
        target = self._catalog.known(account, region, name, qualifier)
        if target is None:
            target = await self._catalog.resolve(account, region, name, qualifier)
        version, reserved = target
        trace_id, runs = lineage.extended(
            trace_id
            or ids.trace_id(self._clock.time(), version.configuration.tracing_mode == "Active"),
            account,
            region,
            name,
        )
        if runs > lineage.LIMIT:
            await self._check_recursion(version)
        if tenant or version.configuration.tenancy is not None:
            check_tenant(version, tenant)
        others = self._catalog.reserved(account, region)
        try:
            admitted = self._concurrency.admit(
                account, region, name, reserved, others, asynchronous
            )
        except TooManyRequests:
            self._throttled((account, region, name), version.version)
            raise
        try:
            request_id = request_id or ids.uuid()
            invocation = Invocation(
                version,
                request_id,
                payload,
                function_arn(region, account, name, qualifier),
                client_context,
                trace_id,
                log_tail,
                stream=stream,
                tenant=tenant,
            )
            return request_id, await self._router.dispatch(invocation)
        finally:
            self._concurrency.leave(admitted)
