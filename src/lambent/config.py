"""The settings: one table, read once at start.

Order, later wins: default, ``lambent.toml`` in the data directory (or --config FILE), environment
(``LAMBENT_PORT``), flag (``--port``).  The reference page in docs/ is checked against this table.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from dataclasses import field as _field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lambent.errors import StartError

_PREFIX = "LAMBENT_NEIGHBOURS_"


def _setting(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    return _field(default=default, metadata={"text": text, "choices": choices})


# The services beside Lambda, as signatures name them.
NEIGHBOURS = (
    "s3",
    "dynamodb",
    "sqs",
    "sns",
    "events",
    "scheduler",
    "kinesis",
    "kms",
    "ssm",
    "secretsmanager",
    "cloudformation",
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one of them is instead, and as whom it is asked; region "": that of each request."""

    endpoint: str
    access_key_id: str = ""
    secret_access_key: str = _field(default="", repr=False)
    session_token: str = _field(default="", repr=False)
    region: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the server; its metadata is its documentation."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(4566, "Port to listen on; 0 lets the system choose.")
    data_dir: str = _setting(
        "~/.lambent", "Where everything durable lives: metadata, code, logs, keys."
    )
    region: str = _setting("us-east-1", "Region of requests that do not name one.")
    tls_certificate: str = _setting(
        "", "Serve HTTPS with this certificate (a PEM file, intermediate ones behind it)."
    )
    tls_key: str = _setting("", "The certificate's private key (a PEM file without a password).")
    authentication: str = _setting(
        "strict",
        "strict: every request must carry a valid signature. any: accept whatever credentials a "
        "request brings (a 12-digit access key is the account); for development only.",
        ("strict", "any"),
    )
    authorization: str = _setting(
        "enforce",
        "enforce: users, and functions with the credentials of their roles, may do what their "
        "policies allow. log: what would be denied is logged and done. off: everybody may do "
        "everything in his account.",
        ("enforce", "log", "off"),
    )
    isolation: str = _setting(
        "namespaces",
        "namespaces: every environment in its own sandbox. process: none at all; functions run as "
        "plain processes of the server's user. Never chosen for you.",
        ("namespaces", "process"),
    )
    function_network: str = _setting(
        "auto",
        "Network of functions beside this server's endpoint. auto: the internet, if the host "
        "allows it (lambent doctor). required: no start without. none: nothing.",
        ("auto", "required", "none"),
    )
    function_network_allow: str = _setting(
        "",
        "Private networks that functions may reach too, as 10.1.0.0/16, 192.168.7.4; never this "
        "host, link-local addresses or other functions.",
    )
    function_tmp: str = _setting(
        "auto",
        "What /tmp of functions is. disk: a file system of its own, not counted as memory. memory: "
        "counted. auto: disk, if the host allows it (root; lambent doctor).",
        ("auto", "disk", "memory"),
    )
    function_tmp_megabytes: int = _setting(
        65_536,
        "Disk that all /tmp may take together; never more than half of what is free at start.",
    )
    object_bytes: int = _setting(
        1024 * 1024 * 1024,
        "Largest object, or part of one, in a request to S3 (AWS: 5 GiB); the embedded S3 holds it "
        "in memory while it is written.",
    )
    embedded_megabytes: int = _setting(
        0,
        "Memory that the embedded services may use; a request that needs more fails. 0: half of "
        "the machine's.",
    )
    embedded_silent_seconds: float = _setting(
        20.0,
        "The embedded services are ended and started again when they have answered nothing for "
        "this long, in which they used as much processor time.",
    )
    account_concurrency: int = _setting(
        1000, "Invocations of one account and region that may run at the same time."
    )
    requests_per_environment: int = _setting(
        10,
        "Synchronous invocations a second for each that may run at the same time, of an account or "
        "of a reserved function (AWS: 10); 0 for no bound.",
    )
    scaling_environments: int = _setting(
        1000, "New environments of one function in ten seconds (AWS: 1,000)."
    )
    environments: int = _setting(
        1000, "Execution environments kept on this machine; the longest idle makes room."
    )
    cold_starts: int = _setting(8, "Environments that may be starting at the same time.")
    prepared: int = _setting(
        2, "Sandboxes made ready ahead for each runtime in use; more while they are in demand."
    )
    prepared_megabytes: int = _setting(
        512, "Memory that what is ready ahead may take; a booted Node.js or Java counts 48."
    )
    idle_seconds: float = _setting(600.0, "An environment unused for this long is taken down.")
    age_seconds: float = _setting(
        21_600.0,
        "An environment this old is taken down when idle; its credentials last twice that long.",
    )
    freeze_seconds: float = _setting(
        0.05, "An environment idle for this long is frozen until its next invocation."
    )
    poll_microseconds: int = _setting(
        200,
        "Longest time the server stays awake for a function that answers at once, where a "
        "processor is to spare; 0 never.",
    )
    init_seconds: float = _setting(10.0, "Longest initialisation of an environment (AWS: 10).")
    payload_bytes: int = _setting(
        6 * 1024 * 1024, "Largest synchronous request payload (AWS: 6 MiB)."
    )
    event_bytes: int = _setting(
        1024 * 1024, "Largest payload of an asynchronous invocation (AWS: 1 MiB)."
    )
    event_retry_seconds: float = _setting(
        60.0,
        "Wait before a failed event is tried again, doubled the second time (AWS: 60); less for "
        "development.",
    )
    response_bytes: int = _setting(
        6 * 1024 * 1024 + 100, "Largest response payload (AWS: 6 MiB + 100)."
    )
    stream_bytes: int = _setting(
        200 * 1024 * 1024, "Largest response that is streamed (AWS: 200 MiB)."
    )
    stream_burst_bytes: int = _setting(
        6 * 1024 * 1024,
        "Bytes of a streamed response that go as fast as they can (AWS: 6 MiB).",
    )
    stream_rate_bytes: int = _setting(
        2 * 1024 * 1024,
        "Bytes a second of the rest of a streamed response (AWS: 2 MiB); 0 for no bound.",
    )
    zipped_bytes: int = _setting(
        50 * 1024 * 1024, "Largest code archive in a request (AWS: 50 MiB)."
    )
    unzipped_bytes: int = _setting(
        250 * 1024 * 1024, "Largest unpacked code with its layers (AWS: 250 MiB)."
    )
    account_code_megabytes: int = _setting(
        76_800,
        "Disk that the code of one account may use, archives and what they unpack to (AWS: 75 GB "
        "of archives in a region).",
    )
    log_group_bytes: int = _setting(
        64 * 1024 * 1024, "Disk one log group may use; the oldest events go first."
    )
    log_rate_bytes: int = _setting(
        8 * 1024 * 1024, "Bytes a second one environment may write to its log; then it waits."
    )
    otlp_endpoint: str = _setting(
        "",
        "URL of an OpenTelemetry collector (OTLP over HTTP) that traces of sampled invocations are "
        "sent to, as http://127.0.0.1:4318; none by default.",
    )
    price_request: float = _setting(
        0.0000002, "Price of a request in US dollars, for lambent cost (AWS, us-east-1, x86)."
    )
    price_gb_second: float = _setting(
        0.0000166667, "Price of a GB-second in US dollars, for lambent cost (AWS, us-east-1, x86)."
    )
    drain_seconds: float = _setting(
        5.0, "How long requests in progress may take when the server stops."
    )

    # [neighbours.s3] in the file, LAMBENT_NEIGHBOURS_S3_ENDPOINT in the environment: by service.
    neighbours: Mapping[str, Endpoint] = _field(default_factory=dict)

    @property
    def data_path(self) -> Path:
        """The data directory, resolved."""
        return Path(self.data_dir).expanduser().resolve()

    @property
    def embedded_bytes(self) -> int:
        """Memory that the embedded services may use, in bytes."""
        if self.embedded_megabytes:
            return self.embedded_megabytes * 1024 * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the settings table."""

    name: str
    kind: type
    default: Any
    text: str
    choices: tuple[str, ...]

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"LAMBENT_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Its command-line flag."""
        return "--" + self.name.replace("_", "-")


def entries() -> list[Entry]:
    """The settings table."""
    return [
        Entry(
            each.name,
            type(each.default),
            each.default,
            each.metadata["text"],
            each.metadata["choices"],
        )
        for each in fields(Settings)
        if "text" in each.metadata
    ]


def _read(entry: Entry, value: Any, source: str) -> Any:
    try:
        if entry.kind is float and isinstance(value, int | str):
            value = float(value)
        elif entry.kind is int and isinstance(value, str):
            value = int(value)
    except ValueError:
        raise StartError(f"{source}: {entry.name} must be a number, not {value!r}") from None
    if not isinstance(value, entry.kind) or isinstance(value, bool):
        raise StartError(f"{source}: {entry.name} must be {entry.kind.__name__}, not {value!r}")
    if entry.choices and value not in entry.choices:
        raise StartError(f"{source}: {entry.name} must be one of {', '.join(entry.choices)}")
    if isinstance(value, int | float) and value < 0:
        raise StartError(f"{source}: {entry.name} cannot be negative")
    return value


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None
) -> Settings:
    """The settings in force; raises StartError for an unknown name or an impossible value."""
    table = {entry.name: entry for entry in entries()}
    values: dict[str, Any] = {}

    def take(name: str, value: Any, source: str) -> None:
        if name not in table:
            raise StartError(f"{source}: there is no setting {name!r}")
        values[name] = _read(table[name], value, source)

    remotes: dict[str, dict[str, tuple[Any, str]]] = {}
    variables = {entry.variable: entry.name for entry in table.values()}
    from_environment = {
        variables[key]: value for key, value in environment.items() if key in variables
    }
    directory = flags.get("data_dir") or from_environment.get("data_dir") or Settings().data_dir
    path = file or Path(str(directory)).expanduser() / "lambent.toml"
    if file is not None or path.exists():
        try:
            document = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise StartError(f"{path}: {error}") from error
        named = document.pop("neighbours", {})
        if not isinstance(named, dict) or not all(
            isinstance(each, dict) for each in named.values()
        ):
            raise StartError(f"{path}: neighbours must be tables, as [neighbours.s3]")
        for service, members in named.items():
            for member, value in members.items():
                remotes.setdefault(service, {})[member] = (value, f"{path}: neighbours.{service}")
        for name, value in document.items():
            take(name, value, str(path))
    for key, value in environment.items():
        service, _, member = key.removeprefix(_PREFIX).lower().partition("_")
        if key.startswith(_PREFIX):
            remotes.setdefault(service, {})[member] = (value, key)
    for name, value in from_environment.items():
        take(name, value, table[name].variable)
    for name, value in flags.items():
        if value is not None:
            take(name, value, table[name].flag if name in table else name)
    values["neighbours"] = {name: _endpoint(name, remote) for name, remote in remotes.items()}
    return Settings(**values)


def _endpoint(service: str, members: dict[str, tuple[Any, str]]) -> Endpoint:
    """The endpoint of a service from what was said of it, and where."""
    known = {each.name for each in fields(Endpoint)}
    for member, (value, source) in members.items():
        if service not in NEIGHBOURS:
            raise StartError(f"{source}: there is no service {service!r} among the neighbours")
        if member not in known:
            raise StartError(f"{source}: there is no setting {member!r} of a neighbour")
        if not isinstance(value, str):
            raise StartError(f"{source}: {member} must be a string")
    url, source = members.get("endpoint", ("", f"neighbours.{service}"))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise StartError(f"{source}: endpoint must be a URL, as https://s3.example.com:9000")
    return Endpoint(**{member: value for member, (value, _) in members.items()})


def from_process(flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """The settings for this process."""
    return load(flags, os.environ, file)
