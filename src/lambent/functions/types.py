"""What a function is.

A Function is one aggregate: its $LATEST, its published versions and its tags change together, in
one document of the Store.  What is stored is frozen: a change makes a new
one; what lives for one request is not, because freezing costs it microseconds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lambent.arn import function_arn

LATEST = "$LATEST"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a version runs as.  memory_size and ephemeral_storage in MB, timeout in seconds."""

    runtime: str
    handler: str
    role: str
    code_digest: str
    code_sha256: str
    code_size: int
    unpacked_size: int
    description: str = ""
    timeout: int = 3
    memory_size: int = 128
    environment: dict[str, str] | None = None
    ephemeral_storage: int = 512
    architecture: str = "x86_64"
    tracing_mode: str = "PassThrough"


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """One version of a function, $LATEST included; what an invocation runs."""

    account: str
    region: str
    name: str
    version: str
    configuration: Configuration
    revision_id: str
    last_modified: float
    state: str = "Active"
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: str | None = "Successful"
    last_update_reason: str | None = None
    last_update_reason_code: str | None = None

    @property
    def function_arn(self) -> str:
        """The function's ARN, unqualified."""
        return function_arn(self.region, self.account, self.name)

    @property
    def arn(self) -> str:
        """The version's ARN, qualified."""
        return function_arn(self.region, self.account, self.name, self.version)

    @property
    def identity(self) -> tuple[str, str, str, str, float]:
        """What an environment of it depends on: it changes with code and configuration only."""
        return (self.account, self.region, self.name, self.version, self.last_modified)

    @property
    def log_group(self) -> str:
        """Where its logs go."""
        return f"/aws/lambda/{self.name}"


@dataclass(frozen=True, slots=True)
class Function:
    """The aggregate: $LATEST, published versions by number, tags."""

    latest: FunctionVersion
    versions: dict[str, FunctionVersion] = field(default_factory=dict)
    last_published: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return self.latest.name

    @property
    def arn(self) -> str:
        """Its unqualified ARN."""
        return self.latest.function_arn

    def with_latest(self, **changes: Any) -> Function:
        """This function with $LATEST changed."""
        return replace(self, latest=replace(self.latest, **changes))

    def find(self, qualifier: str | None) -> FunctionVersion | None:
        """The version a qualifier names; None if there is none."""
        if qualifier is None or qualifier == LATEST:
            return self.latest
        return self.versions.get(qualifier)

    def digests(self) -> set[str]:
        """Every code archive it needs."""
        every = [self.latest, *self.versions.values()]
        return {version.configuration.code_digest for version in every}

    def to_json(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Function:
        """As it was stored."""
        raw = json.loads(body)
        return cls(
            latest=_version(raw["latest"]),
            versions={number: _version(each) for number, each in raw["versions"].items()},
            last_published=raw["last_published"],
            tags=raw["tags"],
        )


def _version(raw: dict[str, Any]) -> FunctionVersion:
    configuration = Configuration(**raw.pop("configuration"))
    return FunctionVersion(configuration=configuration, **raw)


@dataclass(slots=True)
class Invocation:
    """One request to run a version.

    client_context is JSON text, already decoded; deadlines follow from the version's timeout.
    """

    version: FunctionVersion
    request_id: str
    payload: bytes
    invoked_arn: str
    client_context: str | None = None
    trace_id: str | None = None
    log_tail: bool = False
    cognito_identity: str | None = None


@dataclass(slots=True)
class Outcome:
    """What became of an invocation.

    function_error is None for success, else "Unhandled" and the payload describes the error.
    log_tail holds the last 4 KB of the invocation's log, if they were asked for.
    """

    payload: bytes
    executed_version: str
    function_error: str | None = None
    log_tail: bytes = b""
