"""The query protocol's: SNS, CloudFormation, and SQS as older clients ask it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

from lambent.neighbours.subjects import canonical, json_services
from lambent.neighbours.subjects.base import Asked, Outgoing, Unreadable, Wanted
from lambent.neighbours.templates import object_of

_MOST_FIELDS = 10_000
# What SQS takes in forms; the model of today knows JSON only.  Source: Amazon SQS API Reference,
# version 2012-11-05, as it was before AWS JSON.
_OF_SQS = {
    "Action", "Version", "Attribute", "AttributeName", "AWSAccountId", "ActionName",
    "ChangeMessageVisibilityBatchRequestEntry", "DelaySeconds", "DeleteMessageBatchRequestEntry",
    "DestinationArn", "Label", "MaxNumberOfMessages", "MaxNumberOfMessagesPerSecond", "MaxResults",
    "MessageAttribute", "MessageAttributeName", "MessageBody", "MessageDeduplicationId",
    "MessageGroupId", "MessageSystemAttribute", "MessageSystemAttributeName", "NextToken",
    "QueueName", "QueueNamePrefix", "QueueOwnerAWSAccountId", "QueueUrl", "ReceiptHandle",
    "ReceiveRequestAttemptId", "SendMessageBatchRequestEntry", "SourceArn", "Tag", "TagKey",
    "TaskHandle", "VisibilityTimeout", "WaitTimeSeconds",
}  # fmt: skip
_FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def read(
    service: str, path: str, query: dict[str, list[str]], body: bytes, account: str, region: str
) -> Asked:
    """A request of the query protocol; raises Unreadable.

    What is in the URL and in the body counts as one form; what is there twice is refused.
    """
    form: dict[str, str] = {}
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, strict_parsing=False
        )
    except ValueError:
        raise Unreadable("MalformedInput", "The form cannot be read.") from None
    named = [(name, value) for name, values in query.items() for value in values]
    for name, value in [*named, *pairs]:
        if form.setdefault(name, value) != value:
            raise Unreadable("MalformedInput", f"{name[:64]} is there twice.")
    operation = canonical.operation_of(service, form.get("Action", ""), "InvalidAction")
    if service == "sqs":
        unknown = next((name for name in form if name.partition(".")[0] not in _OF_SQS), None)
        if unknown is not None:
            raise Unreadable("InvalidParameterValue", f"{unknown[:64]} is not a parameter.")
        if path.strip("/"):
            url = form.setdefault("QueueUrl", path)
            if json_services.queue_of(url) != json_services.queue_of(path):
                raise Unreadable("MalformedInput", "Two queues are named.")
    else:
        canonical.check_form(operation, form)
    request, content = Outgoing(headers=_FORM), canonical.write_form(form)
    return Asked(service, operation.name, account, region, form, request, content)


def wanted(asked: Asked) -> Iterator[Wanted]:
    """What it wants, one thing at least; raises Unreadable."""
    found = {"sns": _sns, "cloudformation": _cloudformation, "sqs": _sqs}[asked.service](asked)
    return json_services.checked(asked, found)


def _sns(asked: Asked) -> Iterator[Wanted]:
    form = asked.parameters
    action = f"sns:{asked.operation.removesuffix('Batch')}"
    arns = {form[name] for name in ("TopicArn", "TargetArn", "ResourceArn") if form.get(name)}
    if form.get("SubscriptionArn"):
        arns.add(form["SubscriptionArn"].rpartition(":")[0])  # a subscription is its topic's
    if asked.operation == "CreateTopic":
        arns.add(asked.arn(form.get("Name", "")))
    keys = tuple(_sns_keys(form))
    for arn in sorted(arns):
        # Some clients leave the account out.
        parts = arn.split(":")
        whole = ":".join([*parts[:4], parts[4] or asked.account, *parts[5:]]) if parts[4:] else arn
        yield Wanted(action, whole, about=whole, keys=keys)
    if not arns:
        yield Wanted(action, "*", keys=keys)


def _sns_keys(form: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, key in (("Protocol", "sns:protocol"), ("Endpoint", "sns:endpoint")):
        if name in form:
            yield key, form[name]


def _cloudformation(asked: Asked) -> Iterator[Wanted]:
    form = asked.parameters
    action = f"cloudformation:{asked.operation}"
    names = {form[each] for each in ("StackName", "StackId") if form.get(each)}
    change = form.get("ChangeSetName", "")
    if change.startswith("arn:"):
        # Its ARN does not say of which stack it is, which is what policies name.
        yield Wanted(action, change, about=change)
    elif change and not names:
        # Of that name there may be one of each stack.
        raise Unreadable(
            "ValidationError",
            "StackName must be specified if ChangeSetName is not specified as an ARN.",
        )
    for name in sorted(names):
        yield Wanted(action, name if name.startswith("arn:") else asked.arn(f"stack/{name}/*"))
    if not names and not change:
        yield Wanted(action, "*")
    for url in ("TemplateURL", "StackPolicyURL", "StackPolicyDuringUpdateURL"):
        if form.get(url):
            bucket, key = object_of(form[url])
            resource = f"arn:aws:s3:::{bucket}/{key}"
            yield Wanted("s3:GetObject", resource, about=bucket, service="s3")
    role = form.get("RoleARN")
    if role:
        keys = (("iam:passedtoservice", "cloudformation.amazonaws.com"),)
        yield Wanted("iam:PassRole", role, keys=keys)


def _sqs(asked: Asked) -> Iterator[Wanted]:
    form = asked.parameters
    action = f"sqs:{asked.operation.removesuffix('Batch')}"
    if "QueueUrl" in form:
        yield json_services.queue_wanted(asked, action, form["QueueUrl"])
    if "QueueName" in form:
        owner = form.get("QueueOwnerAWSAccountId") or asked.account
        arn = f"arn:aws:sqs:{asked.region}:{owner}:{form['QueueName']}"
        yield Wanted(action, arn, about=arn)
    for name, does in (("SourceArn", action), ("DestinationArn", "sqs:SendMessage")):
        if name in form:
            yield Wanted(does, form[name], about=form[name])
    if not form.keys() & {"QueueUrl", "QueueName", "SourceArn"}:
        yield Wanted(action, "*")
    for name, value in form.items():
        if value == "RedrivePolicy" and name.startswith("Attribute.") and name.endswith(".Name"):
            json_services.check_redrive(asked, form.get(f"{name[:-5]}.Value", ""))
