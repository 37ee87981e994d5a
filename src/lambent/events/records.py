"""What those are told who are to know how an event ended.

Source: AWS Lambda Developer Guide, "Retaining records of asynchronous invocations" (destinations,
dead-letter queues), and records of AWS.
"""

from __future__ import annotations

import json
import re

from lambent.arn import function_arn
from lambent.aws import jsontext
from lambent.clock import utc
from lambent.functions.types import LATEST
from lambent.queue.base import Ending, Event

# A dead letter tells of its error so much, in characters that SQS takes.
_MESSAGE_BYTES = 1024
_NOT_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def record(event: Event, ending: Ending) -> bytes:
    """The record of a destination, as JSON."""
    arn = function_arn(event.region, event.account, event.function, event.qualifier or LATEST)
    document = {
        "version": "1.0",
        "timestamp": utc(ending.at).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "requestContext": {
            "requestId": event.id,
            "functionArn": arn,
            "condition": ending.condition,
            "approximateInvokeCount": event.failures + (ending.condition == "Success"),
        },
    }
    # Payloads go in as they are: reading and writing them again could change a number.
    members = [json.dumps(document).encode()[:-1], b'"requestPayload": ' + event.payload]
    answer = event.answer
    if answer is not None:
        context: dict[str, object] = {"statusCode": 200, "executedVersion": answer.executed_version}
        if answer.function_error is not None:
            context["functionError"] = answer.function_error
        members.append(b'"responseContext": ' + json.dumps(context).encode())
        members.append(b'"responsePayload": ' + _json(answer.payload))
    return b", ".join(members) + b"}"


def dead_letter(event: Event) -> dict[str, tuple[str, str]]:
    """The attributes of a dead letter beside the event itself: name → type, value."""
    attributes = {"RequestID": ("String", event.id), "ErrorCode": ("Number", "200")}
    message = ""
    if event.answer is not None:
        try:
            document = jsontext.decode(event.answer.payload)
            message = str(document.get("errorMessage", "")) if isinstance(document, dict) else ""
        except ValueError:
            message = event.answer.payload.decode("utf-8", "replace")
    text = _NOT_TEXT.sub("\ufffd", message)
    cut = text.encode()[:_MESSAGE_BYTES].decode("utf-8", "ignore")
    if cut:
        attributes["ErrorMessage"] = ("String", cut)
    return attributes


def _json(payload: bytes) -> bytes:
    """What a function answered, as a member of a JSON document."""
    if not payload:
        return b"null"
    try:
        jsontext.check(payload)
    except ValueError:
        return json.dumps(payload.decode("utf-8", "replace")).encode()
    return payload
