"""MiniStack as Lambent uses it: its services by name, their state, and what is ours instead.

The only module that knows MiniStack's insides.  They change from release to release, so every name
that is used or replaced is looked up when the adapter is made; one that is gone is an error that
says so.  Lambda's place in it is taken by an empty module: what its services send to functions goes
through ``Lambent``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Answer = tuple[int, dict[str, Any], bytes | str]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Answer]]

# The service as its signatures name it → MiniStack's module, which is also its state's name.
MODULES = {
    "s3": "s3",
    "dynamodb": "dynamodb",
    "dynamodbstreams": "dynamodb_streams",
    "sqs": "sqs",
    "sns": "sns",
    "events": "eventbridge",
    "scheduler": "scheduler",
    "kinesis": "kinesis",
    "kms": "kms",
    "ssm": "ssm",
    "secretsmanager": "secretsmanager",
    "cloudformation": "cloudformation",
}
# Loaded with the process where there is state of them: they act by themselves.
_CLOCKS = ("eventbridge", "scheduler")


class Incompatible(Exception):
    """The installed MiniStack is not the one this adapter was written for."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a verified caller; path is percent-decoded, header names in lower case."""

    service: str
    account: str
    region: str
    source: str
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


def prepare(folder: Path, region: str) -> None:
    """Say where its files are and what it must not do, before MiniStack is imported."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "LOCALSTACK_"))]:
        del os.environ[name]
    os.environ.update(
        SERVICES=",".join(name for name in MODULES),
        AUTH="false",
        PERSIST_STATE="0",
        STATE_DIR=str(folder / "state"),
        S3_PERSIST="1",
        S3_DATA_DIR=str(folder / "objects"),
        MINISTACK_ACCOUNT_ID="0" * 12,
        MINISTACK_REGION=region,
        DOCKER_HOST="unix:///nowhere",
        LOG_LEVEL="WARNING",
        SFTP_ENABLED="0",
        IOT_MTLS_ENABLED="0",
        HOME=str(folder),
        TMPDIR=str(folder),
    )


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Incompatible(f"MiniStack has no {name}: {error}") from error


def need(module: Any, name: str) -> Any:
    """Something of MiniStack's by its name."""
    found = getattr(module, name, None)
    if found is None:
        raise Incompatible(f"MiniStack's {module.__name__} has no {name}")
    return found


class MiniStack:
    """Its services, each imported when it is first asked for."""

    def __init__(self) -> None:
        _take_lambdas_place()
        self._app = _module("ministack.app")
        responses = self.responses = _module("ministack.core.responses")
        persistence = _module("ministack.core.persistence")
        self.scope = need(responses, "request_scope")
        self._client = need(responses, "set_request_client_ip")
        self._error_type = need(responses, "fix_error_content_type")
        self._success_type = need(responses, "fix_success_content_type")
        self._default = need(persistence, "_json_default")
        self._hook = need(persistence, "_json_object_hook")
        self._loaded: dict[str, Any] = {}
        self._first_uses: dict[str, list[Callable[[], None]]] = {}

    def at_first_use(self, module: str, prepare: Callable[[], None]) -> None:
        """Call prepare when a service is first asked, of one that no other imports."""
        self._first_uses.setdefault(module, []).append(prepare)

    def start(self, loop: Any) -> None:
        """Begin what goes on without requests; loop: of the requests to come."""
        self._app._MAIN_LOOP = loop
        for name in _CLOCKS:
            need(self.module(name), "start_scheduler")()

    def module(self, name: str) -> Any:
        """A service's module."""
        found = self._loaded.get(name)
        if found is None:
            found = _module(f"ministack.services.{name}")
            for each in ("handle_request", "get_state", "load_persisted_state"):
                need(found, each)
            self._app._loaded_modules[name] = found
            self._loaded[name] = found
            for prepare in self._first_uses.pop(name, ()):
                prepare()
        return found

    @staticmethod
    def part(name: str) -> Any:
        """A part of a service's module."""
        return _module(f"ministack.services.{name}")

    async def answer(self, request: Request) -> Answer:
        """What a service answers."""
        module = self.module(MODULES[request.service])
        self._client(request.source)
        headers: dict[str, str] = dict(request.headers)
        if request.service == "s3":
            # So it sees that the request was signed, and for which region.
            scope = f"{request.account}/20000101/{request.region}/s3/aws4_request"
            headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}"
        with self.scope(request.account, request.region):
            response: Answer = await module.handle_request(
                request.method, request.path, headers, request.body, request.query
            )
            if request.service == "s3" and request.method == "HEAD":
                response = module.format_head_response(request.path, request.headers, response)
        status, answered, _ = response
        self._error_type(request.service, status, answered)
        self._success_type(request.service, status, answered)
        return response

    # -- state ----------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Callable[[], bytes]]:
        """See ``state.Keeper``; modules that others loaded are among them."""
        loaded = {
            name: module
            for name in MODULES.values()
            if (module := sys.modules.get(f"ministack.services.{name}")) is not None
        }
        return {name: partial(self._dump, module) for name, module in loaded.items()}

    def _dump(self, module: Any) -> bytes:
        return json.dumps(module.get_state(), default=self._default).encode()

    def restore(self, name: str, content: bytes) -> None:
        """See ``state.Keeper``."""
        if name not in MODULES.values():
            raise ValueError("there is no such service")
        self.module(name).load_persisted_state(json.loads(content, object_hook=self._hook))


def _take_lambdas_place() -> None:
    """A module without functions instead of MiniStack's Lambda, whose every use is an error."""
    name = "ministack.services.lambda_svc"
    place = types.ModuleType(name)
    place._functions = {}  # type: ignore[attr-defined]
    package = _module("ministack.services")
    sys.modules[name] = place
    package.lambda_svc = place
