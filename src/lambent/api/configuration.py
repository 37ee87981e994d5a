"""A function's configuration between the API's shape and ours."""

from __future__ import annotations

import json
from typing import Any

from lambent.clock import aws_timestamp
from lambent.errors import InvalidParameterValue, OperationNotOffered
from lambent.functions.types import LATEST, Configuration, FunctionVersion
from lambent.runtime.variables import RESERVED

_ENVIRONMENT_BYTES = 4096
_TIMEOUT, _MEMORY, _STORAGE = 900, 10_240, 10_240
_NOT_OFFERED = (
    "CapacityProviderConfig", "DurableConfig", "RuntimeConfig", "AcceleratorConfig", "PublishTo",
)  # fmt: skip
# Parameters that become a field of the configuration just as they are.
_PLAIN = (
    ("Runtime", "runtime"),
    ("Handler", "handler"),
    ("Role", "role"),
    ("Description", "description"),
    ("Timeout", "timeout"),
    ("MemorySize", "memory_size"),
)
# Parameters that are kept and shown; what they ask for is AWS's network, keys and images.
_KEPT = (
    ("KMSKeyArn", "kms_key_arn"),
    ("VpcConfig", "vpc"),
    ("ImageConfig", "image"),
    ("TenancyConfig", "tenancy"),
)


def refuse_unoffered(parameters: dict[str, Any]) -> None:
    """Refuse parameters this version would have to ignore; one by one, never in silence."""
    for name in _NOT_OFFERED:
        if parameters.get(name):
            raise OperationNotOffered(f"{name} is not offered by this version of Lambent.")


def check_environment(variables: dict[str, str]) -> None:
    """Reserved names and the 4 KB limit, in AWS's words."""
    reserved = sorted(name for name in variables if name in RESERVED)
    if reserved:
        raise InvalidParameterValue(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided contains reserved keys that are currently not supported "
            f"for modification. Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > _ENVIRONMENT_BYTES:
        raise InvalidParameterValue(
            "Lambda was unable to configure your environment variables because the environment "
            f"variables you have provided exceeded the 4KB limit. String measured: {measured}"
        )


def changes(parameters: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Configuration that a Create or Update request sets, but its layers."""
    found = {field: parameters[name] for name, field in _PLAIN if name in parameters}
    found |= {field: parameters[name] or None for name, field in _KEPT if name in parameters}
    _at_most("Timeout", found.get("timeout", 0), _TIMEOUT, "seconds")
    _at_most("MemorySize", found.get("memory_size", 0), _MEMORY, "MB")
    if "Environment" in parameters:
        variables = parameters["Environment"].get("Variables", {})
        check_environment(variables)
        found["environment"] = variables
    if "EphemeralStorage" in parameters:
        found["ephemeral_storage"] = parameters["EphemeralStorage"]["Size"]
        _at_most("EphemeralStorage", found["ephemeral_storage"], _STORAGE, "MB")
    if "TracingConfig" in parameters:
        found["tracing_mode"] = parameters["TracingConfig"].get("Mode", "PassThrough")
    if "Architectures" in parameters:
        found["architecture"] = parameters["Architectures"][0]
    if "DeadLetterConfig" in parameters:
        found["dead_letter_target"] = _dead_letter_target(parameters["DeadLetterConfig"])
    if "SnapStart" in parameters:
        found["snap_start"] = parameters["SnapStart"].get("ApplyOn", "None")
        if found.get("tenancy") and found["snap_start"] != "None":
            raise InvalidParameterValue(
                "SnapStart is not supported for functions with tenant isolation."
            )
    if "FileSystemConfigs" in parameters:
        found["file_systems"] = tuple(parameters["FileSystemConfigs"])
    if "LoggingConfig" in parameters:
        found |= _logging(parameters["LoggingConfig"])
    return found


def _at_most(name: str, value: int, limit: int, unit: str) -> None:
    if value > limit:
        raise InvalidParameterValue(f"{name} must be at most {limit} {unit}.")


def _dead_letter_target(config: dict[str, Any]) -> str | None:
    target: str | None = config.get("TargetArn") or None
    if target is not None and target.split(":")[2] not in ("sqs", "sns"):
        raise InvalidParameterValue(
            "The dead-letter queue must be an Amazon SQS queue or an Amazon SNS topic."
        )
    return target


def _logging(config: dict[str, Any]) -> dict[str, Any]:
    form = config.get("LogFormat", "Text")
    levels = {name for name in ("ApplicationLogLevel", "SystemLogLevel") if name in config}
    if form == "Text" and levels:
        raise InvalidParameterValue(
            "To configure application or system log levels, set the LogFormat to JSON."
        )
    json_default = "INFO" if form == "JSON" else None
    return {
        "log_format": form,
        "log_group": config.get("LogGroup"),
        "application_log_level": config.get("ApplicationLogLevel", json_default),
        "system_log_level": config.get("SystemLogLevel", json_default),
    }


def describe(version: FunctionVersion, qualifier: str | None = None) -> dict[str, Any]:
    """A version as FunctionConfiguration; qualifier: what its ARN is to end with."""
    configuration: Configuration = version.configuration
    qualifier = qualifier or (version.version if version.version != LATEST else None)
    shown: dict[str, Any] = {
        "FunctionName": version.name,
        "FunctionArn": version.function_arn + (f":{qualifier}" if qualifier else ""),
        "Runtime": configuration.runtime,
        "Role": configuration.role,
        "Handler": configuration.handler,
        "CodeSize": configuration.code_size,
        "Description": configuration.description,
        "Timeout": configuration.timeout,
        "MemorySize": configuration.memory_size,
        "LastModified": aws_timestamp(version.last_modified),
        "CodeSha256": configuration.code_sha256,
        "Version": version.version,
        "TracingConfig": {"Mode": configuration.tracing_mode},
        "RevisionId": version.revision_id,
        "State": version.state,
        "StateReason": version.state_reason,
        "StateReasonCode": version.state_reason_code,
        "LastUpdateStatus": version.last_update_status,
        "LastUpdateStatusReason": version.last_update_reason,
        "LastUpdateStatusReasonCode": version.last_update_reason_code,
        "PackageType": "Zip",
        "Architectures": [configuration.architecture],
        "EphemeralStorage": {"Size": configuration.ephemeral_storage},
        # Off, because no snapshot is taken yet.
        "SnapStart": {"ApplyOn": configuration.snap_start, "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {
            "RuntimeVersionArn": f"arn:aws:lambda:{version.region}::runtime:"
            + configuration.runtime.encode().hex().ljust(64, "0")[:64]
        },
        "LoggingConfig": {
            "LogFormat": configuration.log_format,
            "ApplicationLogLevel": configuration.application_log_level,
            "SystemLogLevel": configuration.system_log_level,
            "LogGroup": version.log_group,
        },
        "KMSKeyArn": configuration.kms_key_arn,
        "TenancyConfig": configuration.tenancy,
        "FileSystemConfigs": list(configuration.file_systems) or None,
    }
    if configuration.environment is not None:
        shown["Environment"] = {"Variables": configuration.environment}
    if configuration.dead_letter_target is not None:
        shown["DeadLetterConfig"] = {"TargetArn": configuration.dead_letter_target}
    if configuration.layers:
        shown["Layers"] = [
            {"Arn": each.arn, "CodeSize": each.size} for each in configuration.layers
        ]
    if configuration.vpc is not None:
        # A network of one's own has an identifier; there is none here to look up.
        shown["VpcConfig"] = {"VpcId": "", **configuration.vpc}
    if configuration.image is not None:
        shown["ImageConfigResponse"] = {"ImageConfig": configuration.image}
    return shown


def describe_in_list(version: FunctionVersion, qualifier: str | None = None) -> dict[str, Any]:
    """A version as lists show it: without its state, as on AWS."""
    return {
        key: value
        for key, value in describe(version, qualifier).items()
        if key != "RuntimeVersionConfig" and not key.startswith(("State", "LastUpdate"))
    }
