"""The environment variables of a function, as AWS sets them."""

from __future__ import annotations

from collections.abc import Mapping

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
# A customer's variable that begins so changes how a runtime starts: none that has been booted
# before it was known would honour it, so the runtime is executed afresh.
_CHANGE_THE_START = {
    "": ("LD_", "AWS_LAMBDA_EXEC_WRAPPER", "MALLOC_", "GLIBC_"),
    "python": ("PYTHON",),
    "node": ("NODE_", "UV_", "SSL_CERT_", "OPENSSL_", "LANG", "LC_", "ICU_"),
    "java": ("JAVA_", "JDK_", "_JAVA_", "LANG", "LC_"),
}
# Source: AWS Lambda Developer Guide, "Defined runtime environment variables"; values recorded.
_EVERYWHERE = {
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
    "LANG": "en_US.UTF-8",
    "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:"
    "/var/task:/var/task/lib:/opt/lib",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "PWD": "/var/task",
    "SHLVL": "0",
    "TZ": ":UTC",
}
# What an extension is not told.  Source: the Runtime Interface Emulator.
_NOT_FOR_EXTENSIONS = (
    "_",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
)


def needs_fresh_start(family: str, environment: Mapping[str, str]) -> bool:
    """Whether a customer's environment rules out a runtime that has been booted already."""
    prefixes = _CHANGE_THE_START[""] + _CHANGE_THE_START[family]
    return any(name.startswith(prefixes) for name in environment)


def defaults(family: str, runtime: str) -> dict[str, str]:
    """What a runtime sees whatever its function; a customer may set these otherwise."""
    variables = dict(_EVERYWHERE)
    if family == "python":
        variables["LC_CTYPE"] = "C.UTF-8"
    elif family == "node":
        major = runtime.removeprefix("nodejs").removesuffix(".x")
        variables["NODE_PATH"] = (
            f"/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:"
            "/var/runtime/node_modules:/var/runtime:/var/task"
        )
    elif family == "ruby":
        release = f"{runtime.removeprefix('ruby')}.0"
        variables["GEM_PATH"] = f"/var/task/vendor/bundle/ruby/{release}:/opt/ruby/gems/{release}"
        variables["RUBYLIB"] = "/var/task:/var/runtime/lib:/opt/ruby/lib"
    return variables


def family(runtime: str) -> str:
    """The kind of language: "python", "node", "ruby", "java" or "provided"."""
    for prefix in ("python", "node", "ruby", "java"):
        if runtime.startswith(prefix):
            return prefix
    return "provided"


def build(
    version: FunctionVersion, log_stream: str, initialization_type: str, endpoint: str
) -> dict[str, str]:
    """The whole environment of one execution environment."""
    configuration = version.configuration
    runtime = configuration.runtime
    variables = defaults(family(runtime), runtime)
    if endpoint:
        variables["AWS_ENDPOINT_URL"] = endpoint
    variables.update(configuration.environment or {})
    variables.update(
        {
            "_HANDLER": configuration.handler,
            "AWS_DEFAULT_REGION": version.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory_size),
            "AWS_LAMBDA_FUNCTION_NAME": version.name,
            "AWS_LAMBDA_FUNCTION_VERSION": version.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
            "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_LAMBDA_RUNTIME_API": API_ADDRESS,
            "AWS_REGION": version.region,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LAMBDA_TASK_ROOT": "/var/task",
        }
    )
    if family(runtime) == "provided":
        del variables["AWS_EXECUTION_ENV"]
    if configuration.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = configuration.application_log_level or "INFO"
    return variables


def for_extensions(variables: Mapping[str, str]) -> dict[str, str]:
    """The part of a function's environment its external extensions see."""
    return {
        name: value for name, value in variables.items() if not name.startswith(_NOT_FOR_EXTENSIONS)
    }
