"""A function's configuration between the API's shape and ours."""

from __future__ import annotations

import json
from typing import Any

from lambent.clock import aws_timestamp
from lambent.errors import InvalidParameterValue, OperationNotOffered
from lambent.functions.types import LATEST, Configuration, FunctionVersion
from lambent.runtime.variables import RESERVED

_ENVIRONMENT_BYTES = 4096
_OFFERED = {
    "FunctionName", "Runtime", "Role", "Handler", "Code", "Description", "Timeout", "MemorySize",
    "Publish", "PackageType", "Environment", "TracingConfig", "Tags", "Architectures",
    "EphemeralStorage", "RevisionId", "ZipFile", "DryRun",
}  # fmt: skip
# Members whose given value asks for nothing.
_EMPTY: dict[str, Any] = {
    "Layers": [],
    "FileSystemConfigs": [],
    "SnapStart": {"ApplyOn": "None"},
}


def refuse_unoffered(parameters: dict[str, Any]) -> None:
    """Refuse parameters this version would have to ignore; one by one, never in silence."""
    for name, value in parameters.items():
        if name in _OFFERED or value == _EMPTY.get(name, {}):
            continue
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
    """The fields of a Configuration that a Create or Update request sets."""
    found: dict[str, Any] = {}
    for name, field in (
        ("Runtime", "runtime"),
        ("Handler", "handler"),
        ("Role", "role"),
        ("Description", "description"),
        ("Timeout", "timeout"),
        ("MemorySize", "memory_size"),
    ):
        if name in parameters:
            found[field] = parameters[name]
    if found.get("timeout", 0) > 900:
        raise InvalidParameterValue("Timeout must be at most 900 seconds.")
    if found.get("memory_size", 0) > 10240:
        raise InvalidParameterValue("MemorySize must be at most 10240 MB.")
    if "Environment" in parameters:
        variables = parameters["Environment"].get("Variables", {})
        check_environment(variables)
        found["environment"] = variables
    if "EphemeralStorage" in parameters:
        found["ephemeral_storage"] = parameters["EphemeralStorage"]["Size"]
        if found["ephemeral_storage"] > 10240:
            raise InvalidParameterValue("EphemeralStorage must be at most 10240 MB.")
    if "TracingConfig" in parameters:
        found["tracing_mode"] = parameters["TracingConfig"].get("Mode", "PassThrough")
    if "Architectures" in parameters:
        found["architecture"] = parameters["Architectures"][0]
    return found


def describe(version: FunctionVersion, qualified: bool = False) -> dict[str, Any]:
    """A version as FunctionConfiguration; qualified: with the version in its ARN."""
    configuration: Configuration = version.configuration
    numbered = version.version != LATEST
    shown: dict[str, Any] = {
        "FunctionName": version.name,
        "FunctionArn": version.arn if numbered or qualified else version.function_arn,
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
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {
            "RuntimeVersionArn": f"arn:aws:lambda:{version.region}::runtime:"
            + configuration.runtime.encode().hex().ljust(64, "0")[:64]
        },
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": version.log_group},
    }
    if configuration.environment is not None:
        shown["Environment"] = {"Variables": configuration.environment}
    return shown
