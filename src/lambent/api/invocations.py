"""Invoke: the API's side of the path."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from lambent import ids
from lambent.api.context import Context
from lambent.api.names import owner, reference
from lambent.aws import jsontext
from lambent.clock import Clock
from lambent.errors import (
    InvalidRequestContent,
    OperationNotOffered,
    RequestTooLarge,
    SerializedRequestEntityTooLarge,
    ServiceError,
)
from lambent.functions.response_stream import ResponseStream
from lambent.functions.types import LATEST, Outcome
from lambent.invoke import Invoker, check_tenant
from lambent.queue.base import Event

_CLIENT_CONTEXT_BYTES = 3583


class Invocations:
    """Handlers of the invoke operations."""

    def __init__(
        self,
        invoker: Invoker,
        payload_bytes: int,
        event_bytes: int,
        accept: Callable[[Event], Awaitable[None]],
        clock: Clock,
        new_stream: Callable[[], ResponseStream],
    ) -> None:
        """accept: takes an event in, durably (``EventWorker.accept``)."""
        self._invoker = invoker
        self._payload_bytes = payload_bytes
        self._event_bytes = event_bytes
        self._accept = accept
        self._clock = clock
        self._new_stream = new_stream

    async def invoke(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        account = owner(context, parameters["FunctionName"])
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier"), account
        )
        payload = self._payload(parameters)
        kind = parameters.get("InvocationType", "RequestResponse")
        region = context.region
        if kind == "DryRun":
            await self._invoker.resolve(account, region, name, qualifier)
            return {"StatusCode": 204}
        if "DurableExecutionName" in parameters:
            raise OperationNotOffered(
                "DurableExecutionName is not offered by this version of Lambent."
            )
        _check_json(payload)
        if kind == "Event":
            return await self._queue(context, account, name, qualifier, payload, parameters)
        log_tail = parameters.get("LogType") == "Tail"
        request_id, outcome = await self._invoker.invoke(
            account,
            region,
            name,
            qualifier,
            payload or b"{}",
            client_context=_client_context(parameters),
            trace_id=context.headers.get("x-amzn-trace-id"),
            log_tail=log_tail,
            tenant=parameters.get("TenantId", ""),
        )
        result: dict[str, Any] = {
            "StatusCode": 200,
            "ExecutedVersion": outcome.executed_version or LATEST,
            "Payload": outcome.payload,
            "RequestId": request_id,
        }
        if outcome.function_error is not None:
            result["FunctionError"] = outcome.function_error
        if log_tail:
            result["LogResult"] = base64.b64encode(outcome.log_tail).decode()
        return result

    def _payload(self, parameters: dict[str, Any]) -> bytes:
        payload: bytes = parameters.get("Payload") or b""
        if len(payload) > self._payload_bytes:
            raise RequestTooLarge(
                f"Request must be smaller than {self._payload_bytes} bytes for the "
                "InvokeFunction operation"
            )
        return payload

    async def invoke_with_response_stream(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        account = owner(context, parameters["FunctionName"])
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier"), account
        )
        payload = self._payload(parameters)
        if parameters.get("InvocationType") == "DryRun":
            await self._invoker.resolve(account, context.region, name, qualifier)
            return {"StatusCode": 204}
        _check_json(payload)
        log_tail = parameters.get("LogType") == "Tail"
        stream, request_id = self._new_stream(), ids.uuid()
        task = await self._invoker.begin(
            stream,
            account,
            context.region,
            name,
            qualifier,
            payload or b"{}",
            client_context=_client_context(parameters),
            trace_id=context.headers.get("x-amzn-trace-id"),
            log_tail=log_tail,
            request_id=request_id,
            tenant=parameters.get("TenantId", ""),
        )
        version = stream.executed_version or task.result()[1].executed_version
        return {
            "StatusCode": 200,
            "ExecutedVersion": version or LATEST,
            "EventStream": _events(stream, task, log_tail),
            "RequestId": request_id,
        }

    async def invoke_async(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        account = owner(context, parameters["FunctionName"])
        name, qualifier = reference(context, parameters["FunctionName"], None, account)
        payload = parameters.get("InvokeArgs") or b""
        _check_json(payload)
        await self._queue(context, account, name, qualifier, payload, {})
        return {"Status": 202}

    async def _queue(
        self,
        context: Context,
        account: str,
        name: str,
        qualifier: str | None,
        payload: bytes,
        parameters: dict[str, Any],
    ) -> dict[str, Any]:
        """Take an event in: it is durable when this answers."""
        if len(payload) > self._event_bytes:
            raise SerializedRequestEntityTooLarge(
                f"Request must be smaller than {self._event_bytes} bytes for the InvokeFunction "
                "operation"
            )
        version = await self._invoker.resolve(account, context.region, name, qualifier)
        tenant = parameters.get("TenantId", "")
        if tenant or version.configuration.tenancy is not None:
            check_tenant(version, tenant)
        event = Event(
            ids.uuid(),
            account,
            context.region,
            name,
            qualifier,
            payload or b"{}",
            self._clock.time(),
            _client_context(parameters),
            context.headers.get("x-amzn-trace-id")
            or ids.trace_id(self._clock.time(), version.configuration.tracing_mode == "Active"),
            tenant,
        )
        await self._accept(event)
        return {"StatusCode": 202, "RequestId": event.id}


async def _events(
    stream: ResponseStream, task: asyncio.Task[tuple[str, Outcome]], log_tail: bool
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """What a function answers as it comes, and how it ended."""
    try:
        if stream.begun.done():
            async for piece in stream.pieces():
                yield "PayloadChunk", {"Payload": piece}
        complete: dict[str, Any] = {}
        try:
            _, outcome = await asyncio.shield(task)
        except ServiceError as error:
            complete = {"ErrorCode": error.code, "ErrorDetails": error.message}
        else:
            if outcome.function_error is not None:
                complete["ErrorCode"] = outcome.function_error
                complete["ErrorDetails"] = outcome.payload.decode("utf-8", "replace")
            elif outcome.payload:
                yield "PayloadChunk", {"Payload": outcome.payload}
            if log_tail:
                complete["LogResult"] = base64.b64encode(outcome.log_tail).decode()
        yield "InvokeComplete", complete
    finally:
        stream.abandon()


def _check_json(payload: bytes) -> None:
    """A payload must be JSON; the function never sees one that is not."""
    try:
        if payload:
            jsontext.check(payload)
    except ValueError as error:
        raise InvalidRequestContent(
            f"Could not parse request body into json: Could not parse payload into json: {error}"
        ) from None


def _client_context(parameters: dict[str, Any]) -> str | None:
    """The decoded JSON of X-Amz-Client-Context, if it is there."""
    text = parameters.get("ClientContext")
    if text is None:
        return None
    if len(text) > _CLIENT_CONTEXT_BYTES:
        raise InvalidRequestContent("Client context must be no more than 3583 bytes.")
    try:
        decoded = base64.b64decode(text, validate=True).decode()
        json.loads(decoded)
    except (ValueError, RecursionError, binascii.Error):
        raise InvalidRequestContent(
            "Client context must be a valid Base64-encoded JSON object."
        ) from None
    # It travels to the function in a header: one line.
    return json.dumps(json.loads(decoded))
