"""One AWS service behind the gateway: from a verified request to a response on the wire."""

from __future__ import annotations

import abc
import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lambent import ids
from lambent.api.authorization import Authorization
from lambent.api.body_limits import ASIDE_BYTES, PLAIN_BYTES, BodyLimit
from lambent.api.context import Context, Handler
from lambent.aws import parse, serialize, validate
from lambent.aws import query as aws_query
from lambent.aws.large_json import FROM_BYTES
from lambent.aws.model import Operation, ServiceModel
from lambent.aws.router import Router
from lambent.aws.serialize import WireResponse
from lambent.errors import (
    InvalidAction,
    InvalidRequestContent,
    MalformedInput,
    OperationNotOffered,
    SerializationFailed,
    ServiceError,
    ServiceFailure,
    UnknownOperation,
    ValidationError,
    ValidationFailed,
)

_log = logging.getLogger(__name__)


_RPC = re.compile(r"/service/(\w+)/operation/(\w+)")


# What services of the query protocol call it; others lose their "Exception".
_QUERY_CODES = {
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ServiceException": "ServiceFailure",
}


class Service(Protocol):
    """What the gateway needs of a service."""

    async def call(
        self, context: Context, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> WireResponse:
        """Answer a request; never raises."""

    def body_limit(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str]
    ) -> BodyLimit:
        """How large the body of a request may be, by its head."""

    def refuse(self, error: ServiceError) -> WireResponse:
        """An error on this service's wire."""


def _not_offered(name: str, errors: tuple[str, ...] = ()) -> ServiceError:
    """An error that the operation's model knows, naming what is missing."""
    message = f"The operation {name} is not offered by this version of Lambent."
    if InvalidRequestContent.code in errors and OperationNotOffered.code not in errors:
        return InvalidRequestContent(message)
    return OperationNotOffered(message)


class _ModelledService(abc.ABC):
    """A service driven by its model: its handlers, and who may ask for them."""

    def __init__(
        self,
        model: ServiceModel,
        handlers: dict[str, Handler],
        authorization: Authorization,
        body_limits: Mapping[str, int],
    ) -> None:
        """body_limits: the largest body in bytes, of operations that take more than PLAIN_BYTES."""
        self._model = model
        self._handlers = handlers
        self._authorization = authorization
        self._body_limits = body_limits

    @abc.abstractmethod
    def body_limit(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str]
    ) -> BodyLimit:
        """How large the body of a request may be, by its head."""

    def _limit_of(self, operation: str) -> BodyLimit:
        return BodyLimit(operation, self._body_limits.get(operation, PLAIN_BYTES))

    async def call(
        self, context: Context, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> WireResponse:
        """Answer a request; never raises."""
        try:
            return await self._respond(context, method, path, query, body)
        except ServiceError as error:
            return self.refuse(error)
        except Exception:
            _log.exception("a request failed")
            return self.refuse(ServiceFailure())

    @abc.abstractmethod
    async def _respond(
        self, context: Context, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> WireResponse:
        """Answer a request in the service's protocol; raises ServiceError."""

    @abc.abstractmethod
    def refuse(self, error: ServiceError) -> WireResponse:
        """An error on this service's wire."""

    async def _answer(
        self,
        operation: Operation,
        context: Context,
        size: int,
        read: Callable[..., dict[str, Any]],
        *request: Any,
    ) -> dict[str, Any]:
        """What an operation answers, if its parameters are valid and the caller may ask.

        read: reads the operation's parameters from a request of so many bytes; a large one is read
        and checked beside the event loop.
        """
        if size > ASIDE_BYTES:
            parameters = await asyncio.to_thread(_checked, operation, read, *request)
        else:
            parameters = _checked(operation, read, *request)
        handler = self._handlers.get(operation.name)
        if handler is None:
            raise _not_offered(operation.name, operation.errors)
        others = self._authorization.crosses_accounts(context, parameters)
        if others or not context.principal.is_root:
            await self._authorization.check(operation.name, context, parameters)
        return await handler(context, parameters)


def _checked(
    operation: Operation, read: Callable[..., dict[str, Any]], *request: Any
) -> dict[str, Any]:
    """An operation's parameters, found valid."""
    parameters = read(operation, *request)
    try:
        validate.validate(operation.input, parameters)
    except validate.ValidationError as error:
        raise ValidationFailed(str(error)) from None
    return parameters


class RestService(_ModelledService):
    """A rest-json service: Lambda."""

    def __init__(
        self,
        model: ServiceModel,
        handlers: dict[str, Handler],
        authorization: Authorization,
        body_limits: Mapping[str, int],
    ) -> None:
        super().__init__(model, handlers, authorization, body_limits)
        self._router = Router(model)

    def body_limit(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str]
    ) -> BodyLimit:
        found = self._router.match(method, path, query)
        return self._limit_of(found[0].name if found is not None else "")

    async def _respond(
        self, context: Context, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> WireResponse:
        found = self._router.match(method, path, query)
        if found is None:
            raise UnknownOperation(f"There is no operation {method} {path[:200]}")
        operation, labels = found
        large = len(body) > FROM_BYTES and operation.takes.body
        read = parse.parse_large_rest if large else parse.parse_rest
        try:
            result = await self._answer(
                operation, context, len(body), read, labels, query, context.headers, body
            )
        except parse.SerializationError as error:
            raise SerializationFailed(str(error)) from None
        response = serialize.serialize_rest(operation, result)
        response.request_id = result.get("RequestId", "")
        return response

    def refuse(self, error: ServiceError) -> WireResponse:
        return serialize.serialize_rest_error(
            self._model, error.code, error.status, error.message, error.extra
        )


class JsonService(_ModelledService):
    """A json-protocol service: CloudWatch Logs."""

    def body_limit(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str]
    ) -> BodyLimit:
        return self._limit_of(headers.get("x-amz-target", "").rpartition(".")[2])

    async def _respond(
        self, context: Context, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> WireResponse:
        prefix, _, name = context.headers.get("x-amz-target", "").partition(".")
        if prefix != self._model.target_prefix or not name:
            raise UnknownOperation
        operation = self._model.operations.get(name)
        if operation is None:
            raise _not_offered(name)
        try:
            result = await self._answer(operation, context, len(body), parse.parse_json, body)
        except parse.SerializationError as error:
            raise SerializationFailed(str(error)) from None
        for name, member in operation.output.members.items() if operation.output else ():
            if member.shape.event_stream:
                return serialize.serialize_json_stream(member.shape, result[name])
        return serialize.serialize_json(operation, result, self._model.json_version)

    def refuse(self, error: ServiceError) -> WireResponse:
        return serialize.serialize_json_error(
            error.code, error.status, error.message, self._model.json_version
        )


class QueryService(_ModelledService):
    """A query-protocol service: IAM, STS."""

    def body_limit(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str]
    ) -> BodyLimit:
        return BodyLimit("", aws_query.MOST_BYTES)

    async def _respond(
        self, context: Context, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> WireResponse:
        try:
            form = aws_query.parse_form(body) if body else {k: v[-1] for k, v in query.items()}
            name = form.get("Action", "")
            operation = self._model.operations.get(name)
            if operation is None:
                raise InvalidAction(f"Could not find operation {name[:100]}")
            result = await self._answer(operation, context, len(body), aws_query.parameters, form)
        except parse.SerializationError as error:
            raise MalformedInput(str(error)) from None
        except ValidationFailed as error:
            # The same words under the code that these services have for it.
            raise ValidationError(error.message) from None
        namespace = self._model.xml_namespace
        answer = (operation, result, namespace, ids.uuid())
        if len(body) > ASIDE_BYTES:  # many policies and actions: as many results
            return await asyncio.to_thread(aws_query.serialize, *answer)
        return aws_query.serialize(*answer)

    def refuse(self, error: ServiceError) -> WireResponse:
        code = _QUERY_CODES.get(error.code) or error.code.removesuffix("Exception")
        namespace = self._model.xml_namespace
        return aws_query.serialize_error(code, error.status, error.message, namespace, ids.uuid())


class RpcService(JsonService):
    """A service of Smithy's rpc-v2-cbor protocol that speaks its json protocol too: CloudWatch."""

    def body_limit(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str]
    ) -> BodyLimit:
        found = _RPC.fullmatch(path)
        if found is None:
            return super().body_limit(method, path, query, headers)
        return self._limit_of(found[2])

    async def call(
        self, context: Context, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> WireResponse:
        found = _RPC.fullmatch(path)
        if found is None:
            return await super().call(context, method, path, query, body)
        try:
            operation = self._model.operations.get(found[2])
            if found[1] != self._model.target_prefix or operation is None:
                raise _not_offered(found[2][:100])
            try:
                result = await self._answer(operation, context, len(body), parse.parse_cbor, body)
            except parse.SerializationError as error:
                raise SerializationFailed(str(error)) from None
            return serialize.serialize_cbor(operation, result)
        except ServiceError as error:
            return serialize.serialize_cbor_error(error.code, error.status, error.message)
        except Exception:
            _log.exception("a request failed")
            failure = ServiceFailure()
            return serialize.serialize_cbor_error(failure.code, failure.status, failure.message)
