"""How large a request's body may be, by operation: known before any of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lambent.errors import RequestEntityTooLarge, RequestTooLarge, ServiceError

# What AWS takes for CreateFunction: an archive of 50 MB in base64, and the rest.
CODE_BYTES = 70_167_211
# Of every operation that is not named below; of forms see ``aws.query``.
PLAIN_BYTES = 256 * 1024
# A batch of 1 MiB of messages, as JSON: a message's control characters take up to six bytes each.
LOG_EVENTS_BYTES = 6 * 1024 * 1024
# Bodies over this size are read and checked beside the event loop.
ASIDE_BYTES = 64 * 1024

LOGS = {"PutLogEvents": LOG_EVENTS_BYTES}


def of_lambda(payload_bytes: int) -> Mapping[str, int]:
    """Lambda's; payload_bytes: the largest payload of an invocation."""
    code = ("CreateFunction", "UpdateFunctionCode", "PublishLayerVersion")
    invoke = ("Invoke", "InvokeWithResponseStream", "InvokeAsync")
    return dict.fromkeys(code, CODE_BYTES) | dict.fromkeys(invoke, payload_bytes)


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The largest body of an operation, in bytes; operation: "" where it is not known."""

    operation: str
    size: int

    def refusal(self) -> ServiceError:
        """The error of a larger one."""
        invoke = self.operation.startswith("Invoke")
        name = "InvokeFunction" if invoke else self.operation or "requested"
        message = f"Request must be smaller than {self.size} bytes for the {name} operation"
        return RequestTooLarge(message) if invoke else RequestEntityTooLarge(message)
