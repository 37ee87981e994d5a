"""Telling those who are to know how an event ended: destinations and dead-letter queues.

Everything is sent as the function's execution role, which must be allowed to.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from lambent import ids
from lambent.arn import function_arn
from lambent.clock import Clock, utc
from lambent.errors import ServiceError
from lambent.events import records
from lambent.functions.types import FunctionVersion
from lambent.iam.authenticate import Principal
from lambent.neighbours.requests import RequestFailed, Requests
from lambent.queue.base import Ending, Event

Invoke = Callable[[Principal, str, bytes, str], Awaitable[None]]
"""Queues an event: who asks, a function's ARN, the payload, the trace; raises ServiceError."""


class DeliveryFailed(Exception):
    """It was not told; the message says why."""


class Destinations:
    """Sends records and dead letters; identity: a version's execution role, as a principal."""

    def __init__(
        self,
        requests: Requests,
        invoke: Invoke,
        identity: Callable[[FunctionVersion], Principal],
        clock: Clock,
    ) -> None:
        self._requests = requests
        self._invoke = invoke
        self._identity = identity
        self._clock = clock

    async def tell(self, version: FunctionVersion, event: Event, ending: Ending, arn: str) -> None:
        """Send an event's record to a destination; raises DeliveryFailed."""
        service, principal = self._addressee(version, arn)
        record = records.record(event, ending)
        text, trace = record.decode(), event.trace_id
        try:
            if service == "sqs":
                message = {"QueueUrl": _queue_url(arn), "MessageBody": text}
                await self._requests.json(principal, "AmazonSQS.SendMessage", message, trace)
            elif service == "sns":
                form = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": arn}
                await self._requests.form(principal, "sns", {**form, "Message": text}, trace)
            elif service == "events":
                await self._put_event(principal, event, ending, arn, text)
            elif service == "s3":
                key = self._object_key(event)
                bucket = arn.rpartition(":")[2]
                await self._requests.put_object(principal, bucket, key, record, trace)
            else:
                await self._invoke(principal, arn, record, trace)
        except (RequestFailed, ServiceError) as error:
            raise DeliveryFailed(str(error)) from None

    async def bury(self, version: FunctionVersion, event: Event, arn: str) -> None:
        """Send an event itself to a dead-letter queue or topic; raises DeliveryFailed."""
        service, principal = self._addressee(version, arn)
        attributes, text = records.dead_letter(event), event.payload.decode()
        try:
            if service == "sqs":
                message = {
                    "QueueUrl": _queue_url(arn),
                    "MessageBody": text,
                    "MessageAttributes": {
                        name: {"DataType": kind, "StringValue": value}
                        for name, (kind, value) in attributes.items()
                    },
                }
                target = "AmazonSQS.SendMessage"
                await self._requests.json(principal, target, message, event.trace_id)
                return
            form = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": arn, "Message": text}
            for number, (name, (kind, value)) in enumerate(attributes.items(), 1):
                entry = f"MessageAttributes.entry.{number}."
                form[entry + "Name"] = name
                form[entry + "Value.DataType"] = kind
                form[entry + "Value.StringValue"] = value
            await self._requests.form(principal, "sns", form, event.trace_id)
        except RequestFailed as error:
            raise DeliveryFailed(str(error)) from None

    async def _put_event(
        self, principal: Principal, event: Event, ending: Ending, arn: str, text: str
    ) -> None:
        how = "Success" if ending.condition == "Success" else "Failure"
        name = event.qualifier or "$LATEST"
        function = function_arn(event.region, event.account, event.function, name)
        entry = {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {how}",
            "Resources": [arn, function],
            "Detail": text,
            "EventBusName": arn,
            "Time": int(ending.at),
        }
        answer = await self._requests.json(
            principal, "AWSEvents.PutEvents", {"Entries": [entry]}, event.trace_id
        )
        if answer.get("FailedEntryCount"):
            raise RequestFailed(json.dumps(answer.get("Entries"))[:500])

    def _addressee(self, version: FunctionVersion, arn: str) -> tuple[str, Principal]:
        """Which service an ARN is of, and who asks it, in the region that the ARN names."""
        parts = arn.split(":", 5)
        if len(parts) < 6:
            raise DeliveryFailed(f"{arn} is no ARN")
        principal = self._identity(version)
        return parts[2], replace(principal, service=parts[2], region=parts[3] or version.region)

    def _object_key(self, event: Event) -> str:
        now = utc(self._clock.time())
        moment = now.strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S")
        return f"aws/lambda/async/{event.function}/{moment}-{ids.uuid()}"


def _queue_url(arn: str) -> str:
    _, _, _, region, account, name = arn.split(":", 5)
    return f"https://sqs.{region}.amazonaws.com/{account}/{quote(name)}"
