"""A queue of Amazon SQS, as who polls it sees it, and its messages as functions get them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from lambent.functions.types import Shape
from lambent.iam.authenticate import Principal
from lambent.neighbours.requests import RequestFailed, Requests

# SQS's own limits: messages of one request, and the seconds that it waits for one.
AT_ONCE, LONGEST_WAIT = 10, 20
# Ten messages of a mebibyte, written with escapes.
_RECEIVED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """A message: as the record of an event, and that as JSON; what deletes it; the tracing header
    it came with."""

    record: Shape
    text: str
    receipt: str
    trace_id: str

    @property
    def identifier(self) -> str:
        """Its MessageId."""
        return str(self.record["messageId"])


class Queue:
    """One queue; every request is made in its region as a principal, and raises RequestFailed."""

    def __init__(self, requests: Requests, arn: str) -> None:
        self._requests = requests
        self.arn = arn
        _, _, _, self.region, account, name = arn.split(":", 5)
        self._url = f"https://sqs.{self.region}.amazonaws.com/{account}/{quote(name)}"

    async def receive(self, principal: Principal, most: int, wait: int) -> list[Received]:
        """At most ten messages, waited for a number of seconds."""
        asked = {
            "MaxNumberOfMessages": min(most, AT_ONCE),
            "WaitTimeSeconds": min(wait, LONGEST_WAIT),
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        answer = await self._ask(principal, "ReceiveMessage", asked, _RECEIVED_BYTES)
        return [self._received(each) for each in answer.get("Messages", [])]

    async def delete(self, principal: Principal, receipts: Collection[str]) -> None:
        """Remove messages."""
        left = list(receipts)
        while left:
            some, left = left[:AT_ONCE], left[AT_ONCE:]
            entries = [
                {"Id": str(number), "ReceiptHandle": each} for number, each in enumerate(some)
            ]
            answer = await self._ask(principal, "DeleteMessageBatch", {"Entries": entries})
            for each in answer.get("Failed", []):
                raise RequestFailed(f"{each.get('Code')}: {each.get('Message', '')}")

    async def visibility(self, principal: Principal) -> int:
        """For how many seconds a message that was received is not received again."""
        asked = {"AttributeNames": ["VisibilityTimeout"]}
        answer = await self._ask(principal, "GetQueueAttributes", asked)
        return int(answer.get("Attributes", {}).get("VisibilityTimeout", 30))

    async def permitted(self, principal: Principal, operations: Iterable[str]) -> str:
        """The first of the operations that the principal may not do; "" if he may do them all."""
        asking = self._here(principal)
        for operation in operations:
            asked = {"QueueUrl": self._url}
            if not await self._requests.permitted(asking, f"AmazonSQS.{operation}", asked):
                return operation
        return ""

    async def _ask(
        self, principal: Principal, operation: str, asked: Shape, limit: int = 1024 * 1024
    ) -> Any:
        parameters = {"QueueUrl": self._url, **asked}
        asking = self._here(principal)
        return await self._requests.json(asking, f"AmazonSQS.{operation}", parameters, limit=limit)

    def _here(self, principal: Principal) -> Principal:
        return replace(principal, service="sqs", region=self.region)

    def _received(self, message: Shape) -> Received:
        attributes = message.get("Attributes", {})
        record: Shape = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": attributes,
            "messageAttributes": {
                name: _attribute(value)
                for name, value in message.get("MessageAttributes", {}).items()
            },
        }
        if message.get("MD5OfMessageAttributes"):
            record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
        record["md5OfBody"] = message.get("MD5OfBody", "")
        record["eventSource"] = "aws:sqs"
        record["eventSourceARN"] = self.arn
        record["awsRegion"] = self.region
        trace_id = attributes.get("AWSTraceHeader", "")
        return Received(record, json.dumps(record), message["ReceiptHandle"], trace_id)


def _attribute(value: Shape) -> Shape:
    """A message's attribute as functions see it; binary ones stay in base64."""
    found: Shape = {}
    if value.get("StringValue") is not None:
        found["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        found["binaryValue"] = value["BinaryValue"]
    lists: Shape = {"stringListValues": [], "binaryListValues": []}
    return {**found, **lists, "dataType": value.get("DataType", "String")}
