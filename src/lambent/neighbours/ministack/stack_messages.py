"""The resource types of SQS and SNS, made through their APIs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from lambent.neighbours.ministack.stack_functions import (
    Kind,
    Made,
    Properties,
    own_tags,
    removing,
    tag_map,
)
from lambent.neighbours.ministack.stack_permits import Permits, acting

_DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
}
_QUEUE_ATTRIBUTES = (
    *_DEFAULTS,
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
)
_TOPIC_ATTRIBUTES = (
    "DisplayName",
    "KmsMasterKeyId",
    "ContentBasedDeduplication",
    "FifoThroughputScope",
    "SignatureVersion",
    "TracingConfig",
    "ArchivePolicy",
)
_SUBSCRIPTION_ATTRIBUTES = (
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "SubscriptionRoleArn",
)


def text(value: Any) -> str:
    """A property as an attribute: a truth in lower case, a document as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def truth(value: Any) -> bool:
    """A truth of a template, which may be a string."""
    return str(value).lower() == "true"


def _attributes(properties: Properties, names: tuple[str, ...]) -> dict[str, str]:
    return {each: text(properties[each]) for each in names if each in properties}


def _changed(
    old: Properties, new: Properties, names: tuple[str, ...], defaults: dict[str, str]
) -> dict[str, str]:
    """The attributes that differ; one that is gone is set to its default, or emptied."""
    before, after = _attributes(old, names), _attributes(new, names)
    gone = {each: defaults.get(each, "") for each in before if each not in after}
    return {each: value for each, value in after.items() if before.get(each) != value} | gone


class Permitted(Kind):
    """A type that also asks by itself, beside the API's own check."""

    def __init__(self, clients: Any, names: Any, permits: Permits) -> None:
        super().__init__(clients, names)
        self._permits = permits

    def arn(self, service: str, rest: str) -> str:
        """A resource's of who acts."""
        who = acting()
        return f"arn:aws:{service}:{who.region}:{who.account}:{rest}"


class Queue(Permitted):
    """AWS::SQS::Queue"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        fifo = truth(properties.get("FifoQueue"))
        name = properties.get("QueueName")
        if not name:
            generated = self._names(stack, logical_id, max_len=75 if fifo else 80)
            name = f"{generated}.fifo" if fifo else generated
        arn = self.arn("sqs", name)
        # The API's answer for a queue that is there already is the queue.
        self._permits.ask_new("sqs:CreateQueue", arn, "Queue", name)
        attributes = _attributes(properties, _QUEUE_ATTRIBUTES)
        if fifo:
            attributes["FifoQueue"] = "true"
        tags = tag_map(properties.get("Tags"))
        made = self._clients("sqs").call(
            "CreateQueue", QueueName=name, Attributes=attributes, tags=tags
        )
        url = _reachable(made["QueueUrl"])
        return url, {"Arn": arn, "QueueName": name, "QueueUrl": url}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        sqs = self._clients("sqs")
        changed = _changed(old, new, _QUEUE_ATTRIBUTES, _DEFAULTS)
        if changed:
            sqs.call("SetQueueAttributes", QueueUrl=physical_id, Attributes=changed)
        before, after = tag_map(old.get("Tags")) or {}, tag_map(new.get("Tags")) or {}
        if gone := [key for key in before if key not in after]:
            sqs.call("UntagQueue", QueueUrl=physical_id, TagKeys=gone)
        if after and after != before:
            sqs.call("TagQueue", QueueUrl=physical_id, Tags=after)
        name = physical_id.rpartition("/")[2]
        arn = self.arn("sqs", name)
        return physical_id, {"Arn": arn, "QueueName": name, "QueueUrl": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("sqs").call("DeleteQueue", QueueUrl=physical_id))


def _reachable(url: str) -> str:
    """A queue's URL as functions reach it, where the API named its socket."""
    parts = urlsplit(url)
    return url if parts.hostname != "lambent" else os.environ["LAMBENT_ENDPOINT"] + parts.path


class QueuePolicy(Kind):
    """AWS::SQS::QueuePolicy"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        self._set(properties["Queues"], text(properties["PolicyDocument"]))
        name = self._names(stack, logical_id)
        return name, {"Id": name}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        self._set([each for each in old["Queues"] if each not in new["Queues"]], "")
        self._set(new["Queues"], text(new["PolicyDocument"]))
        return physical_id, {"Id": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        for each in properties["Queues"]:
            removing(lambda queue=each: self._set([queue], ""))  # type: ignore[misc]

    def _set(self, queues: list[str], policy: str) -> None:
        for url in queues:
            given = {"Policy": policy}
            self._clients("sqs").call("SetQueueAttributes", QueueUrl=url, Attributes=given)


class Topic(Permitted):
    """AWS::SNS::Topic"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        fifo = truth(properties.get("FifoTopic"))
        name = properties.get("TopicName")
        if not name:
            generated = self._names(stack, logical_id, max_len=251 if fifo else 256)
            name = f"{generated}.fifo" if fifo else generated
        arn = self.arn("sns", name)
        self._permits.ask_new("sns:CreateTopic", arn, "Topic", name)
        attributes = _attributes(properties, _TOPIC_ATTRIBUTES)
        if fifo:
            attributes["FifoTopic"] = "true"
        sns = self._clients("sns")
        tags = own_tags(properties.get("Tags"))
        sns.call("CreateTopic", Name=name, Attributes=attributes, Tags=tags)
        with self.undone(arn, properties):
            for protocol, endpoint in _subscribed(properties):
                sns.call("Subscribe", TopicArn=arn, Protocol=protocol, Endpoint=endpoint)
        return arn, {"TopicArn": arn, "TopicName": name}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        sns = self._clients("sns")
        for name, value in _changed(old, new, _TOPIC_ATTRIBUTES, {}).items():
            given = {"TopicArn": physical_id, "AttributeName": name, "AttributeValue": value}
            sns.call("SetTopicAttributes", **given)
        before, after = set(_subscribed(old)), set(_subscribed(new))
        if gone := before - after:
            listed = sns.call("ListSubscriptionsByTopic", TopicArn=physical_id)["Subscriptions"]
            for each in listed:
                if (each["Protocol"], each["Endpoint"]) in gone:
                    sns.call("Unsubscribe", SubscriptionArn=each["SubscriptionArn"])
        for protocol, endpoint in sorted(after - before):
            sns.call("Subscribe", TopicArn=physical_id, Protocol=protocol, Endpoint=endpoint)
        retag(sns, "ResourceArn", physical_id, old, new)
        return physical_id, {
            "TopicArn": physical_id,
            "TopicName": physical_id.rpartition(":")[2],
        }

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("sns").call("DeleteTopic", TopicArn=physical_id))


def _subscribed(properties: Properties) -> Iterator[tuple[str, str]]:
    for each in properties.get("Subscription") or ():
        yield each["Protocol"], each["Endpoint"]


def retag(client: Any, named: str, arn: str, old: Properties, new: Properties) -> None:
    """Bring a resource's list of tags from what it was to what it shall be."""
    before, after = own_tags(old.get("Tags")), own_tags(new.get("Tags"))
    keys = {each["Key"] for each in after}
    if gone := [each["Key"] for each in before if each["Key"] not in keys]:
        client.call("UntagResource", **{named: arn}, TagKeys=gone)
    if after and after != before:
        client.call("TagResource", **{named: arn}, Tags=after)


class TopicPolicy(Kind):
    """AWS::SNS::TopicPolicy"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        self._set(properties["Topics"], text(properties["PolicyDocument"]))
        name = self._names(stack, logical_id)
        return name, {"Id": name}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        self._unset([each for each in old["Topics"] if each not in new["Topics"]])
        self._set(new["Topics"], text(new["PolicyDocument"]))
        return physical_id, {"Id": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        self._unset(properties["Topics"])

    def _set(self, topics: list[str], policy: str) -> None:
        for arn in topics:
            given = {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": policy}
            self._clients("sns").call("SetTopicAttributes", **given)

    def _unset(self, topics: list[str]) -> None:
        """Give topics the policy that a new one has: its account's alone."""
        for arn in topics:
            statement = {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["SNS:Publish", "SNS:Subscribe", "SNS:Receive"],
                "Resource": arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": acting().account}},
            }
            policy = {"Version": "2008-10-17", "Statement": [statement]}
            removing(lambda arn=arn, policy=policy: self._set([arn], text(policy)))  # type: ignore[misc]


class Subscription(Kind):
    """AWS::SNS::Subscription"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        made = self._clients("sns").call(
            "Subscribe",
            TopicArn=properties["TopicArn"],
            Protocol=properties["Protocol"],
            Endpoint=properties.get("Endpoint"),
            Attributes=_attributes(properties, _SUBSCRIPTION_ATTRIBUTES),
            ReturnSubscriptionArn=True,
        )
        return made["SubscriptionArn"], {"Arn": made["SubscriptionArn"]}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if any(old.get(each) != new.get(each) for each in ("TopicArn", "Protocol", "Endpoint")):
            return super().update(physical_id, old, new, stack, logical_id)
        defaults = {"FilterPolicyScope": "MessageAttributes", "RawMessageDelivery": "false"}
        for name, value in _changed(old, new, _SUBSCRIPTION_ATTRIBUTES, defaults).items():
            self._clients("sns").call(
                "SetSubscriptionAttributes",
                SubscriptionArn=physical_id,
                AttributeName=name,
                AttributeValue=value,
            )
        return physical_id, {"Arn": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("sns").call("Unsubscribe", SubscriptionArn=physical_id))


def kinds(clients: Any, names: Any, permits: Permits) -> dict[str, Kind]:
    """The resource types of this file by their names."""
    types: tuple[Kind, ...] = (
        Queue(clients, names, permits),
        QueuePolicy(clients, names),
        Topic(clients, names, permits),
        TopicPolicy(clients, names),
        Subscription(clients, names),
    )
    return {str(each.__doc__): each for each in types}
