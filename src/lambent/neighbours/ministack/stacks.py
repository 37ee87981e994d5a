"""CloudFormation's resources: Lambda's, IAM's and log groups made by Lambent, the rest by leave.

A stack acts with the rights of who asked for it, or of the role it was given: for what Lambent
makes through its API, signed with a session of that principal; for what the services here make,
after asking whether that principal may.  Types of services that are not offered are unknown.
"""

from __future__ import annotations

import contextvars
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lambent.neighbours.ministack import stack_functions, stack_identities
from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.ours import Lambent, Refused
from lambent.neighbours.ministack.signing import Client, Credentials

# What making and removing a resource of a service takes, and what its ARN ends in before the name.
_TAKES = {
    "AWS::S3::Bucket": ("s3:CreateBucket", "s3:DeleteBucket", "arn:aws:s3:::"),
    "AWS::S3::BucketPolicy": ("s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "arn:aws:s3:::"),
    "AWS::SQS::Queue": ("sqs:CreateQueue", "sqs:DeleteQueue", ""),
    "AWS::SQS::QueuePolicy": ("sqs:SetQueueAttributes", "sqs:SetQueueAttributes", ""),
    "AWS::SNS::Topic": ("sns:CreateTopic", "sns:DeleteTopic", ""),
    "AWS::SNS::TopicPolicy": ("sns:SetTopicAttributes", "sns:SetTopicAttributes", ""),
    "AWS::SNS::Subscription": ("sns:Subscribe", "sns:Unsubscribe", ""),
    "AWS::DynamoDB::Table": ("dynamodb:CreateTable", "dynamodb:DeleteTable", "table/"),
    "AWS::Events::Rule": ("events:PutRule", "events:DeleteRule", "rule/"),
    "AWS::Events::EventBus": ("events:CreateEventBus", "events:DeleteEventBus", "event-bus/"),
    "AWS::Scheduler::Schedule": (
        "scheduler:CreateSchedule",
        "scheduler:DeleteSchedule",
        "schedule/default/",
    ),
    "AWS::Scheduler::ScheduleGroup": (
        "scheduler:CreateScheduleGroup",
        "scheduler:DeleteScheduleGroup",
        "schedule-group/",
    ),
    "AWS::Kinesis::Stream": ("kinesis:CreateStream", "kinesis:DeleteStream", "stream/"),
    "AWS::Kinesis::StreamConsumer": (
        "kinesis:RegisterStreamConsumer",
        "kinesis:DeregisterStreamConsumer",
        "stream/",
    ),
    "AWS::KMS::Key": ("kms:CreateKey", "kms:ScheduleKeyDeletion", "key/"),
    "AWS::KMS::Alias": ("kms:CreateAlias", "kms:DeleteAlias", ""),
    "AWS::SSM::Parameter": ("ssm:PutParameter", "ssm:DeleteParameter", "parameter/"),
    "AWS::SecretsManager::Secret": (
        "secretsmanager:CreateSecret",
        "secretsmanager:DeleteSecret",
        "secret:",
    ),
}
_NAMES = (
    "BucketName",
    "Bucket",
    "QueueName",
    "TopicName",
    "TableName",
    "Name",
    "AliasName",
)
# Of CloudFormation itself, which make nothing elsewhere.
_PLAIN = (
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudFormation::WaitConditionHandle",
    "AWS::CloudFormation::Stack",
    "AWS::CloudFormation::CustomResource",
    "AWS::CDK::Metadata",
)


@dataclass(frozen=True, slots=True)
class _Acting:
    """With whose rights a stack acts."""

    credentials: Credentials
    account: str
    region: str


_acting: contextvars.ContextVar[_Acting] = contextvars.ContextVar("acting")


def act_for(credentials: str, account: str, region: str) -> None:
    """What this request sets going acts with these credentials (JSON of the gateway)."""
    _acting.set(_Acting(Credentials(**json.loads(credentials)), account, region))


def install(stack: MiniStack, lambent: Lambent) -> None:
    """Replace and guard the resource types when CloudFormation is loaded."""
    stack.at_first_use("cloudformation", _Types(lambent).put_in)


class _Types:
    def __init__(self, lambent: Lambent) -> None:
        self._lambent = lambent

    def put_in(self) -> None:
        """Change MiniStack's table of resource types, and how it reaches custom ones."""
        custom = MiniStack.part("cloudformation.custom_resource")
        need(custom, "_response_url")
        custom._response_url = _answer_here
        functions = MiniStack.part("lambda_svc")
        functions._get_func_record_for_ref = lambda arn: (arn, arn, arn)
        functions._execution_record_for_config = lambda arn, _: arn
        functions._execute_function_with_config_scope = _run
        provisioners = MiniStack.part("cloudformation.provisioners")
        table: dict[str, Any] = need(provisioners, "_RESOURCE_HANDLERS")
        name = need(provisioners, "_physical_name")
        kept = {kind: table[kind] for kind in _PLAIN if kind in table}
        guarded = {kind: self._guarded(kind, table[kind]) for kind in _TAKES if kind in table}
        ours = {
            kind: _handlers(made)
            for kind, made in (
                *stack_functions.kinds(_client, name).items(),
                *stack_identities.kinds(_client, name).items(),
            )
        }
        table.clear()
        table.update({**kept, **guarded, **ours})
        # Lambent may ask the services here before it answers, so nothing here may wait for it.
        deployment = MiniStack.part("cloudformation.stacks")
        waits = need(deployment, "_runs_on_worker_thread")
        deployment._runs_on_worker_thread = lambda kind: kind in ours or waits(kind)

    def _guarded(self, kind: str, handlers: dict[str, Any]) -> dict[str, Any]:
        """MiniStack's handlers of a type, once it is known that they may."""
        making, removing, prefix = _TAKES[kind]
        found = dict(handlers)
        for verb in ("create", "update", "delete", "import"):
            handler = found.get(verb)
            if handler is not None:
                action = removing if verb == "delete" else making
                found[verb] = self._asking(action, prefix, handler)
        return found

    def _asking(self, action: str, prefix: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def asked(first: Any, *rest: Any) -> Any:
            acting = _acting.get()
            named = [each for each in rest if isinstance(each, dict)]
            found = (named[-1].get(name) for name in _NAMES) if named else ()
            name = next((each for each in found if isinstance(each, str)), "*")
            resource = name
            if not name.startswith("arn:"):
                service = action.partition(":")[0]
                place = f"arn:aws:{service}:{acting.region}:{acting.account}:"
                resource = (prefix if prefix.startswith("arn:") else place + prefix) + name
            try:
                self._lambent.ask(
                    "/permit",
                    service="cloudformation.amazonaws.com",
                    access_key_id=acting.credentials.access_key_id,
                    token=acting.credentials.token,
                    action=action,
                    resource=resource,
                    account=acting.account,
                    region=acting.region,
                )
            except Refused as refused:
                raise ValueError(str(refused)) from None
            return handler(first, *rest)

        return asked


def _handlers(kind: Any) -> dict[str, Any]:
    """A type of ours as MiniStack wants it."""
    return {
        "create": kind.create,
        "update": kind.update,
        "update_with_logical_id": True,
        "delete": kind.delete,
    }


def _run(arn: str, event: dict[str, Any]) -> None:
    """Run the function behind a custom resource; it answers at the event's ResponseURL."""
    _client("lambda").call("Invoke", FunctionName=arn, Payload=json.dumps(event).encode())


def _answer_here(token: str) -> str:
    """Where a custom resource's function says what became of it: whoever has the token may."""
    return f"{os.environ['LAMBENT_ENDPOINT']}/_lambent/stacks/{token}"


def answered(token: str, body: bytes) -> bool:
    """A custom resource's function has answered; False if nobody waits for it."""
    try:
        document = json.loads(body)
    except ValueError:
        return False
    custom = MiniStack.part("cloudformation.custom_resource")
    return isinstance(document, dict) and bool(custom.deliver_response(token, document))


def _client(service: str) -> Client:
    acting = _acting.get()
    return Client(service, acting.region, acting.credentials)
