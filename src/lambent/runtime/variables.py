"""The environment variables of a function, as AWS sets them."""

from __future__ import annotations

from lambent.functions.types import FunctionVersion

API_ADDRESS = "127.0.0.1:9001"
# A customer may not set these.  Source: AWS Lambda Developer Guide, "Defined runtime environment
# variables".
RESERVED = frozenset(
    (
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    )
)
# Any of these in a customer's environment changes how an interpreter starts: no fork of a booted
# one would honour it, so the runtime is executed afresh.
_CHANGE_THE_START = ("PYTHON", "LD_", "AWS_LAMBDA_EXEC_WRAPPER", "MALLOC_", "GLIBC_")


def needs_fresh_start(environment: dict[str, str] | None) -> bool:
    """Whether a customer's environment rules out the zygote."""
    return any(name.startswith(_CHANGE_THE_START) for name in environment or ())


def build(version: FunctionVersion, log_stream: str) -> dict[str, str]:
    """The whole environment of one execution environment."""
    configuration = version.configuration
    variables = {
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LANG": "en_US.UTF-8",
        "LC_CTYPE": "C.UTF-8",
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:"
        "/var/task:/var/task/lib:/opt/lib",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PWD": "/var/task",
        "SHLVL": "0",
        "TZ": ":UTC",
    }
    variables.update(configuration.environment or {})
    variables.update(
        {
            "_HANDLER": configuration.handler,
            "AWS_DEFAULT_REGION": version.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{configuration.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory_size),
            "AWS_LAMBDA_FUNCTION_NAME": version.name,
            "AWS_LAMBDA_FUNCTION_VERSION": version.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_LAMBDA_RUNTIME_API": API_ADDRESS,
            "AWS_REGION": version.region,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LAMBDA_TASK_ROOT": "/var/task",
        }
    )
    return variables
