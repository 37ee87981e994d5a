"""What each operation wants to do with which resource, as policies name it.

Source: Service Authorization Reference, "Actions, resources, and condition keys" of each service.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lambent.api.context import Context
from lambent.api.names import log_group
from lambent.arn import parse_function
from lambent.errors import AccessDenied, ResourceNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.event_sources import EventSourceCatalog
from lambent.functions.types import LATEST
from lambent.iam.authorizer import Authorizer, Keys, ResourcePolicy, Subject
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder, Kind

Parameters = dict[str, Any]
Subjects = Callable[[str, Context, Parameters], Iterator[Subject]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a resource that a request names: its own policy, if it has one, and context
    keys, which go before what the request says of the same."""

    arn: str
    policy: ResourcePolicy | None
    keys: Keys

    def says_otherwise(self, subject: Subject) -> bool:
        """Whether a request says another value of a key: both must be allowed then."""
        names = {name for name, _ in self.keys}
        return any(name in names for name, _ in subject.keys)


ResourcePolicies = Callable[[Context, Parameters], Awaitable[Facts | None]]
"""What is known of the resource that an operation is about."""

# Operations whose action has another name.
_LAMBDA_ACTIONS = {
    "Invoke": "InvokeFunction",
    "InvokeAsync": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
}
# These name no resource, whatever narrows them.
_OF_NO_RESOURCE = {"CreateEventSourceMapping", "ListEventSourceMappings", "ListFunctions"}
_LAMBDA_KEYS = (
    ("AuthType", "lambda:functionurlauthtype"),
    ("FunctionUrlAuthType", "lambda:functionurlauthtype"),
    ("CodeSigningConfigArn", "lambda:codesigningconfigarn"),
    ("Principal", "lambda:principal"),
)
# Nobody is ever refused these; whether a role may be assumed its trust policy has a say in, so
# that is asked where the role is at hand.
_FREE = {"AssumeRole", "GetCallerIdentity", "GetAccessKeyInfo", "GetSessionToken"}
_KINDS: tuple[Kind, ...] = ("user", "role", "group")


class Authorization:
    """Asks the authorizer before an operation is handled."""

    def __init__(
        self,
        authorizer: Authorizer,
        subjects: Subjects,
        resource_policies: ResourcePolicies | None = None,
    ) -> None:
        self._authorizer = authorizer
        self._subjects = subjects
        self._resource_policies = resource_policies

    @staticmethod
    def crosses_accounts(context: Context, parameters: Parameters) -> bool:
        """Whether a request is about a function of another account."""
        name = parameters.get("FunctionName")
        if not isinstance(name, str) or ":" not in name:
            return False
        named = parse_function(name)
        return named is not None and named.account not in (None, context.account)

    async def check(self, operation: str, context: Context, parameters: Parameters) -> None:
        """Raise AccessDenied if the caller may not; parameters were found valid."""
        facts = None
        if self._resource_policies is not None:
            facts = await self._resource_policies(context, parameters)
        request = request_keys(context.source, context.headers, context.secure)
        subjects = list(self._subjects(operation, context, parameters))
        if not subjects and operation not in _FREE:
            raise AccessDenied(f"{operation} names nothing that could be allowed.")
        for subject in subjects:
            # A resource has no say in what else an operation needs, as iam:PassRole.
            concerned = facts if facts is not None and subject.resource == facts.arn else None
            policy = concerned.policy if concerned is not None else None
            if concerned is None or concerned.says_otherwise(subject):
                self._authorizer.check(context.principal, subject, policy, request)
            if concerned is not None:
                keys = (*request, *concerned.keys)
                self._authorizer.check(context.principal, subject, policy, keys)


def request_keys(source: str, headers: dict[str, str], secure: bool) -> Keys:
    """What every request brings to conditions; secure: it came over TLS."""
    pairs = (
        ("aws:sourceip", source),
        ("aws:useragent", headers.get("user-agent", "")),
        ("aws:securetransport", "true" if secure else ""),
    )
    return tuple((name, (value,)) for name, value in pairs if value)


def of_functions(catalog: Catalog, mappings: EventSourceCatalog) -> ResourcePolicies:
    """What is known of functions, versions, aliases and event source mappings."""

    async def found(context: Context, parameters: Parameters) -> Facts | None:
        try:
            if "UUID" in parameters:
                return await of_mapping(context, str(parameters["UUID"]))
            return await of_function(context, parameters)
        except ResourceNotFound:
            return None

    async def of_mapping(context: Context, uuid: str) -> Facts:
        mapping = await mappings.get(context.account, context.region, uuid)
        fed: Keys = (("lambda:functionarn", (mapping.function_arn,)),)
        return Facts(mapping.arn, None, fed + tag_keys(mapping.tags))

    async def of_function(context: Context, parameters: Parameters) -> Facts | None:
        text = parameters.get("FunctionName") or parameters.get("Resource")
        named = parse_function(str(text)) if text else None
        if named is None:
            return None
        account = named.account or context.account
        function = await catalog.get(account, context.region, named.name)
        qualifier = parameters.get("Qualifier") or named.qualifier
        # What is named by its ARN alone, its tags, has no policy.
        stated = (
            function.policies.get(qualifier or LATEST) if "FunctionName" in parameters else None
        )
        if stated is None and not function.tags:
            return None
        name = f"{named.name}:{qualifier}" if qualifier else named.name
        arn = f"arn:aws:lambda:{context.region}:{account}:function:{name}"
        policy = None
        if stated is not None:
            document = {"Version": stated.version, "Statement": list(stated.statements)}
            policy = ResourcePolicy(stated.revision_id, arn, lambda: json.dumps(document))
        return Facts(arn, policy, tag_keys(function.tags))

    return found


def tag_keys(tags: dict[str, str]) -> Keys:
    """The context keys of a resource's tags."""
    return tuple((f"aws:resourcetag/{name.lower()}", (value,)) for name, value in tags.items())


def of_lambda(operation: str, context: Context, parameters: Parameters) -> Iterator[Subject]:
    """The Lambda API's."""
    account = _owner(context, parameters)
    action = "lambda:" + _LAMBDA_ACTIONS.get(operation, operation)
    if operation in _LAMBDA_ACTIONS and "FunctionName" in parameters:
        place = f"arn:aws:lambda:{context.region}:{account}"
        yield Subject(action, f"{place}:function:{_function(parameters)}", account)
        return
    keys = tuple(_lambda_keys(operation, context, account, parameters))
    for resource in _of_lambda(operation, context, account, parameters):
        yield Subject(action, resource, account, keys)
    for layer in parameters.get("Layers", ()):
        yield Subject("lambda:GetLayerVersion", str(layer), account)
    if "Role" in parameters:
        passed = (("iam:passedtoservice", "lambda.amazonaws.com"),)
        yield Subject("iam:PassRole", parameters["Role"], account, passed)


def _lambda_keys(
    operation: str, context: Context, account: str, parameters: Parameters
) -> Iterator[tuple[str, str]]:
    """Lambda's own context keys; a name that comes more than once has several values.

    Source: Service Authorization Reference, "Condition keys for AWS Lambda".
    """
    for name, key in _LAMBDA_KEYS:
        if name in parameters:
            yield key, str(parameters[name])
    if operation.endswith("EventSourceMapping") and "FunctionName" in parameters:
        place = f"arn:aws:lambda:{context.region}:{account}"
        yield "lambda:functionarn", f"{place}:function:{_function(parameters)}"
    for layer in parameters.get("Layers", ()):
        yield "lambda:layer", str(layer)
    tags = parameters.get("Tags")
    for name, value in tags.items() if isinstance(tags, dict) else ():
        yield f"aws:requesttag/{str(name).lower()}", str(value)
        yield "aws:tagkeys", str(name)
    for name in parameters.get("TagKeys", ()):
        yield "aws:tagkeys", str(name)


def _of_lambda(
    operation: str, context: Context, account: str, parameters: Parameters
) -> tuple[str, ...]:
    """The resources that an operation of Lambda names: each must be allowed."""
    place = f"arn:aws:lambda:{context.region}:{account}"
    if operation in _OF_NO_RESOURCE:
        return ("*",)
    named = [
        str(parameters[name])
        for name in ("Resource", "ResourceArn", "CodeSigningConfigArn", "Arn")
        # Which code signing a new function has is a condition on AWS, not a resource.
        if name in parameters and operation != "CreateFunction"
    ]
    if "UUID" in parameters:
        named.append(f"{place}:event-source-mapping:{parameters['UUID']}")
    if "FunctionName" in parameters:
        named.append(f"{place}:function:{_function(parameters)}")
    elif "LayerName" in parameters:
        version = parameters.get("VersionNumber")
        layer = str(parameters["LayerName"])
        if not layer.startswith("arn:"):
            layer = f"{place}:layer:{layer}"
        named.append(layer + (f":{version}" if version is not None else ""))
    return tuple(named) or ("*",)


def _owner(context: Context, parameters: Parameters) -> str:
    """The account of the function a request is about; the caller's if it says nothing else."""
    named = parse_function(str(parameters.get("FunctionName", "")))
    return named.account if named is not None and named.account else context.account


def _function(parameters: Parameters) -> str:
    """A function's name and qualifier as an ARN ends."""
    text = str(parameters["FunctionName"])
    found = parse_function(text)
    if found is None:
        return text
    qualifier = parameters.get("Qualifier") or found.qualifier
    return f"{found.name}:{qualifier}" if qualifier else found.name


def of_logs(operation: str, context: Context, parameters: Parameters) -> Iterator[Subject]:
    """CloudWatch Logs'."""
    place = f"arn:aws:logs:{context.region}:{context.account}:log-group:"
    action = f"logs:{operation}"
    if parameters.get("logGroupIdentifiers"):
        for each in parameters["logGroupIdentifiers"]:
            yield Subject(action, f"{place}{log_group(context, each)}:*", context.account)
        return
    group = parameters.get("logGroupName") or parameters.get("logGroupIdentifier")
    if group is None:
        yield Subject(action, f"{place}*", context.account)
        return
    name = log_group(context, str(group))
    stream = parameters.get("logStreamName")
    rest = f":log-stream:{stream}" if stream is not None else ":*"
    yield Subject(action, f"{place}{name}{rest}", context.account)


def of_cloudwatch(operation: str, context: Context, parameters: Parameters) -> Iterator[Subject]:
    """CloudWatch's, which name no resource."""
    yield Subject(f"cloudwatch:{operation}", "*", context.account)


def of_sts(operation: str, context: Context, parameters: Parameters) -> Iterator[Subject]:
    """STS's."""
    if operation not in _FREE:
        yield Subject(f"sts:{operation}", str(parameters.get("RoleArn", "*")), context.account)


def of_iam(directory: Directory) -> Subjects:
    """IAM's; a name becomes the ARN of what it names, with its path."""

    def subjects(operation: str, context: Context, parameters: Parameters) -> Iterator[Subject]:
        account = context.account
        resource = str(parameters.get("PolicyArn", "*"))
        holder: Holder | None = None
        named = [kind for kind in _KINDS if f"{kind.capitalize()}Name" in parameters]
        if "PolicyName" in parameters and not named:
            path = parameters.get("Path", "/")
            resource = f"arn:aws:iam::{account}:policy{path}{parameters['PolicyName']}"
        elif named:
            # AddUserToGroup is about the group.
            kind = named[-1]
            name = str(parameters[f"{kind.capitalize()}Name"])
            holder = directory.find(account, kind, name)
            if holder is not None:
                # By its own spelling: names differ in more than their case.
                resource = holder.arn
            else:
                resource = f"arn:aws:iam::{account}:{kind}{parameters.get('Path', '/')}{name}"
        elif "AccessKeyId" in parameters:
            owner = directory.key_owner(parameters["AccessKeyId"])
            resource = owner.arn if owner is not None and owner.account == account else "*"
        elif operation.endswith("AccessKeys") or operation in ("GetUser", "CreateAccessKey"):
            resource = context.principal.requester.arn
        keys: tuple[tuple[str, str], ...] = ()
        if "PolicyArn" in parameters and named:
            keys = (("iam:policyarn", str(parameters["PolicyArn"])),)
        boundary = parameters.get("PermissionsBoundary", holder.boundary if holder else "")
        if boundary:
            keys += (("iam:permissionsboundary", str(boundary)),)
        yield Subject(f"iam:{operation}", resource, account, keys)

    return subjects
