"""Drift detection: only those who may read a resource learn what it is now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.stack_permits import Permits, acting

Reader = Callable[[str, dict[str, Any]], Any]

# The action that reads a resource, and its ARN before the physical id ("" where that is one).
_READS = {
    "AWS::SQS::Queue": ("sqs:GetQueueAttributes", "sqs:{region}:{account}:"),
    "AWS::SSM::Parameter": ("ssm:GetParameters", "ssm:{region}:{account}:parameter/"),
    "AWS::SNS::Topic": ("sns:GetTopicAttributes", ""),
    "AWS::SNS::Subscription": ("sns:GetSubscriptionAttributes", ""),
    "AWS::DynamoDB::Table": ("dynamodb:DescribeTable", "dynamodb:{region}:{account}:table/"),
    "AWS::S3::Bucket": ("s3:GetBucketVersioning", "s3:::"),
    "AWS::SecretsManager::Secret": ("secretsmanager:DescribeSecret", ""),
    "AWS::Kinesis::Stream": ("kinesis:DescribeStream", "kinesis:{region}:{account}:stream/"),
    "AWS::Events::Rule": ("events:DescribeRule", "events:{region}:{account}:rule/"),
}
_ABOUT = ("sqs", "sns", "dynamodb", "kinesis", "secretsmanager")


def install(permits: Permits) -> None:
    """Put the readers that ask where MiniStack's are; types without one are not checked."""
    readers: dict[str, tuple[Reader, frozenset[str]]] = need(
        MiniStack.part("cloudformation.drift"), "_DRIFT_READERS"
    )
    asking = {kind: (_asking(kind, readers[kind][0], permits), readers[kind][1]) for kind in _READS}
    readers.clear()
    readers.update(asking)


def _asking(kind: str, reader: Reader, permits: Permits) -> Reader:
    action, prefix = _READS[kind]
    service = action.partition(":")[0]

    def read(identity: str, properties: dict[str, Any]) -> Any:
        who = acting()
        plain = identity.rpartition("/")[2] if service == "sqs" else identity.removeprefix("/")
        if service == "events" and properties.get("EventBusName", "default") != "default":
            plain = f"{str(properties['EventBusName']).rpartition('/')[2]}/{plain}"
        place = prefix.format(region=who.region, account=who.account)
        arn = f"arn:aws:{place}{plain}" if place else identity
        if kind == "AWS::SNS::Subscription":
            arn = identity.rpartition(":")[0]  # a subscription is its topic's
        about = arn if service in _ABOUT else identity if service == "s3" else ""
        permits.ask(action, arn, about=about)
        if service == "sqs":
            own = need(MiniStack.part("sqs"), "_queue_url_for_account")
            return reader(own(who.account, plain), properties)
        if service == "secretsmanager":
            name, _ = need(MiniStack.part("secretsmanager"), "_resolve")(identity)
            return reader(name or identity, properties)
        return reader(identity, properties)

    return read
