"""Which handler answers which operation: by name, so that none needs a line of its own.

An operation ``PutFunctionConcurrency`` is answered by the method ``put_function_concurrency`` of
one of the handler classes; one that no class has is answered as not offered.
"""

from __future__ import annotations

import re

from lambent.api.context import Handler
from lambent.aws import model

# What of an operation that has a handler is not there yet.
PARTLY = {
    "CreateEventSourceMapping": "Amazon SQS is polled; of other sources the configuration is kept "
    "only, as are ProvisionedPollerConfig, KMSKeyArn and LoggingConfig",
    "CreateFunction": "no container images, capacity providers, durable or GPU configuration; "
    "VpcConfig, FileSystemConfigs, KMSKeyArn and SnapStart are kept and shown only",
    "Invoke": "no durable executions",
    "PublishLayerVersion": "signatures of code are not checked",
    "PublishVersion": "not to $LATEST.PUBLISHED",
    "PutFunctionCodeSigningConfig": "configuration only: signatures of code are not checked",
    "PutRuntimeManagementConfig": "configuration only: runtimes change with the host's",
    "UpdateEventSourceMapping": "as CreateEventSourceMapping",
    "UpdateFunctionCode": "no container images",
    "UpdateFunctionConfiguration": "as CreateFunction",
}
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def method_name(operation: str) -> str:
    """The name of the method that handles an operation."""
    return _WORD.sub("_", operation).lower()


def handlers(*resources: object) -> dict[str, Handler]:
    """The handlers of the Lambda API among these resources' methods."""
    return handlers_of(model.load("lambda"), *resources)


def handlers_of(service: model.ServiceModel, *resources: object) -> dict[str, Handler]:
    """The handlers of a service among these resources' methods."""
    found: dict[str, Handler] = {}
    for operation in service.operations:
        name = method_name(operation)
        owners = [each for each in resources if callable(getattr(each, name, None))]
        if len(owners) > 1:
            raise TypeError(f"{operation} has more than one handler")
        if owners:
            found[operation] = getattr(owners[0], name)
    return found


def table(answered: set[str]) -> str:
    """The reference page: every operation of the model, and what there is of it."""
    lines = [
        "# Operations of the Lambda API",
        "",
        "Written by `python -m tools.operations_table` from the handlers; a test holds it to them.",
        "",
        "| operation | offered | what is missing |",
        "|---|---|---|",
    ]
    for name in sorted(model.load("lambda").operations):
        offered = "no" if name not in answered else "partly" if name in PARTLY else "yes"
        lines.append(f"| {name} | {offered} | {PARTLY.get(name, '')} |")
    return "\n".join(lines) + "\n"
