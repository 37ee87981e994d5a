"""What a function is.

A Function is one aggregate: its $LATEST, its published versions, its aliases and everything that
is configured about them change together, in one document of the Store.  What is stored is frozen:
a change makes a new one; what lives for one request is not, because freezing costs microseconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from lambent.arn import function_arn
from lambent.functions.response_stream import ResponseStream

LATEST = "$LATEST"

Shape = dict[str, Any]
"""A structure of the API kept as it came, because nothing here looks into it."""


@dataclass(frozen=True, slots=True)
class LayerUse:
    """A layer version in a function: it keeps the code, so deleting the layer harms nobody."""

    arn: str
    digest: str
    size: int
    unpacked: int


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
    layers: tuple[LayerUse, ...] = ()
    dead_letter_target: str | None = None
    kms_key_arn: str | None = None
    source_kms_key_arn: str | None = None
    log_format: str = "Text"
    log_group: str | None = None
    application_log_level: str | None = None
    system_log_level: str | None = None
    snap_start: str = "None"
    vpc: Shape | None = None
    file_systems: tuple[Shape, ...] = ()
    image: Shape | None = None
    tenancy: Shape | None = None

    def digests(self) -> set[str]:
        """Every archive it needs."""
        return {self.code_digest, *self.layer_digests}

    @property
    def layer_digests(self) -> tuple[str, ...]:
        """Its layers' archives, in the order in which they are laid over one another."""
        return tuple(layer.digest for layer in self.layers)

    def sha256(self) -> str:
        """ConfigSha256: the same for the same configuration, whatever it is called."""
        plain = msgspec.json.encode(replace(self, description=""))
        return hashlib.sha256(plain).hexdigest()


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
        return self.configuration.log_group or f"/aws/lambda/{self.name}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version, or for two of them with a chance for the second."""

    name: str
    version: str
    revision_id: str
    description: str = ""
    weights: dict[str, float] = field(default_factory=dict)

    def choose(self, chance: float) -> str:
        """The version for a chance between 0 and 1."""
        for version, weight in self.weights.items():
            if chance < weight:
                return version
            chance -= weight
        return self.version

    def refers_to(self, version: str) -> bool:
        """Whether a version may be reached through it."""
        return version == self.version or version in self.weights


@dataclass(frozen=True, slots=True)
class Policy:
    """A resource-based policy: its statements in the order they were added."""

    revision_id: str
    statements: tuple[Shape, ...] = ()
    version: str = "2012-10-17"
    id: str = "default"


@dataclass(frozen=True, slots=True)
class EventInvokeConfig:
    """How asynchronous invocations of a function, version or alias are treated."""

    last_modified: float
    maximum_retry_attempts: int | None = None
    maximum_event_age: int | None = None
    on_success: str | None = None
    on_failure: str | None = None


@dataclass(frozen=True, slots=True)
class UrlConfig:
    """A function URL."""

    url_id: str
    auth_type: str
    invoke_mode: str
    created: float
    last_modified: float
    cors: Shape | None = None


@dataclass(frozen=True, slots=True)
class ProvisionedConcurrency:
    """How many environments of a version or alias are to be kept ready."""

    requested: int
    last_modified: float


@dataclass(frozen=True, slots=True)
class RuntimeManagement:
    """When a function's runtime may change."""

    update_on: str = "Auto"
    version_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """The aggregate.  Maps by qualifier use "$LATEST" for the function itself."""

    latest: FunctionVersion
    versions: dict[str, FunctionVersion] = field(default_factory=dict)
    last_published: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    reserved_concurrency: int | None = None
    provisioned: dict[str, ProvisionedConcurrency] = field(default_factory=dict)
    event_invoke: dict[str, EventInvokeConfig] = field(default_factory=dict)
    urls: dict[str, UrlConfig] = field(default_factory=dict)
    runtime_management: dict[str, RuntimeManagement] = field(default_factory=dict)
    recursive_loop: str = "Terminate"
    code_signing_config: str | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.latest.name

    @property
    def arn(self) -> str:
        """Its unqualified ARN."""
        return self.latest.function_arn

    def qualified_arn(self, qualifier: str) -> str:
        """Its ARN with a qualifier."""
        return f"{self.latest.function_arn}:{qualifier}"

    @property
    def has_tenants(self) -> bool:
        """Whether each invocation is for a tenant, whose environments are nobody else's."""
        return self.latest.configuration.tenancy is not None

    def with_latest(self, **changes: Any) -> Function:
        """This function with $LATEST changed."""
        return replace(self, latest=replace(self.latest, **changes))

    def find(self, qualifier: str | None, chance: float = 1.0) -> FunctionVersion | None:
        """The version a qualifier names; None if there is none.

        chance: 0 to 1, decides for an alias that leads to two versions; at 1 the alias's own.
        """
        if qualifier is None or qualifier == LATEST:
            return self.latest
        alias = self.aliases.get(qualifier)
        return self.versions.get(qualifier if alias is None else alias.choose(chance))

    def every_version(self) -> list[FunctionVersion]:
        """$LATEST and the published versions, oldest first."""
        return [self.latest, *self.versions.values()]

    def digests(self) -> set[str]:
        """Every archive it needs."""
        return set().union(*(each.configuration.digests() for each in self.every_version()))


@dataclass(slots=True)
class Invocation:
    """One request to run a version.

    client_context is JSON text, already decoded; deadlines follow from the version's timeout.
    stream: where a response goes that the function streams; without one it is gathered.
    tenant: whom it is for, where the function keeps its tenants apart.
    """

    version: FunctionVersion
    request_id: str
    payload: bytes
    invoked_arn: str
    client_context: str | None = None
    trace_id: str = ""
    log_tail: bool = False
    cognito_identity: str | None = None
    stream: ResponseStream | None = None
    tenant: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of an invocation.

    function_error is None for success, else "Unhandled" and the payload describes the error.
    log_tail holds the last 4 KB of the invocation's log, if they were asked for.  The payload of
    a response that was streamed went there.
    """

    payload: bytes
    executed_version: str
    function_error: str | None = None
    log_tail: bytes = b""
