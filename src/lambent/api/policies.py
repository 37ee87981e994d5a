"""Resource-based policies of functions: statement by statement, or as whole documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api.aliases import alias_not_found
from lambent.api.context import Context
from lambent.api.names import reference
from lambent.api.qualifiers import check_qualifier
from lambent.arn import parse_function
from lambent.errors import (
    InvalidParameterValue,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.functions.catalog import Catalog
from lambent.functions.types import LATEST, Function, Policy, Shape

POLICY_BYTES = 20_480
_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?")
_IDENTITY = re.compile(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:.+")
_STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to "
    "retrieve the latest Revision Id"
)


class Policies:
    """Handlers of the policy operations."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    # -- by statement ---------------------------------------------------------------------

    async def add_permission(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier")
        )
        if qualifier == LATEST:
            raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")
        if parameters.get("FunctionUrlAuthType") and parameters["Action"] not in (
            "lambda:InvokeFunctionUrl",
            "lambda:*",
            "*",
        ):
            raise InvalidParameterValue(
                "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
            )
        principal = principal_of(parameters["Principal"])
        added: list[Shape] = []

        def change(function: Function) -> Function:
            _check_qualifier(function, qualifier)
            resource = function.qualified_arn(qualifier) if qualifier else function.arn
            statement = _statement(parameters, principal, resource)
            added[:] = [statement]
            policy = function.policies.get(qualifier or LATEST)
            changed = with_statement(policy, statement, parameters.get("RevisionId"))
            return _with_policy(function, qualifier, changed)

        await self._catalog.change(context.account, context.region, name, change)
        return {"Statement": json.dumps(added[0], separators=(",", ":"))}

    async def get_policy(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier")
        )
        function = await self._catalog.get(context.account, context.region, name)
        _check_qualifier(function, qualifier)
        policy = function.policies.get(qualifier or LATEST)
        if policy is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        return describe(policy)

    async def remove_permission(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier")
        )

        def change(function: Function) -> Function:
            _check_qualifier(function, qualifier)
            policy = function.policies.get(qualifier or LATEST)
            changed = without_statement(
                policy, parameters["StatementId"], parameters.get("RevisionId")
            )
            return _with_policy(function, qualifier, changed)

        await self._catalog.change(context.account, context.region, name, change)
        return {}

    # -- by document ----------------------------------------------------------------------

    async def put_resource_policy(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name, qualifier = _resource(context, parameters["ResourceArn"])
        statements, version, identifier = _document(parameters["Policy"])
        revision = parameters.get("RevisionId")

        def change(function: Function) -> Function:
            _check_qualifier(function, qualifier)
            policy = function.policies.get(qualifier or LATEST)
            _expect(policy, revision)
            changed = Policy(ids.uuid(), statements, version, identifier)
            return _with_policy(function, qualifier, changed)

        changed = await self._catalog.change(context.account, context.region, name, change)
        return describe(changed.policies[qualifier or LATEST])

    async def get_resource_policy(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        return await self.get_policy(context, {"FunctionName": parameters["ResourceArn"]})

    async def delete_resource_policy(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name, qualifier = _resource(context, parameters["ResourceArn"])

        def change(function: Function) -> Function:
            _check_qualifier(function, qualifier)
            policy = function.policies.get(qualifier or LATEST)
            if policy is None:
                raise ResourceNotFound("The resource you requested does not exist.")
            _expect(policy, parameters.get("RevisionId"))
            return _with_policy(function, qualifier, None)

        await self._catalog.change(context.account, context.region, name, change)
        return {}


# -- what layers share ----------------------------------------------------------------------


def describe(policy: Policy) -> dict[str, Any]:
    """A policy as its operations show it."""
    document = {
        "Version": policy.version,
        "Id": policy.id,
        "Statement": list(policy.statements),
    }
    return {
        "Policy": json.dumps(document, separators=(",", ":")),
        "RevisionId": policy.revision_id,
    }


def principal_of(text: str) -> Any:
    """A Principal parameter as a statement's principal; raises InvalidParameterValue."""
    if text == "*":
        return "*"
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _IDENTITY.fullmatch(text):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    raise InvalidParameterValue(
        "The provided principal was invalid. Please check the principal and try again."
    )


def with_statement(policy: Policy | None, statement: Shape, revision: str | None) -> Policy:
    """A policy with one statement more."""
    _expect(policy, revision)
    policy = policy or Policy(ids.uuid())
    if any(each.get("Sid") == statement["Sid"] for each in policy.statements):
        raise ResourceConflict(
            f"The statement id ({statement['Sid']}) provided already exists. Please provide a new "
            "statement id, or remove the existing statement."
        )
    changed = replace(policy, statements=(*policy.statements, statement), revision_id=ids.uuid())
    size = len(describe(changed)["Policy"].encode())
    if size > POLICY_BYTES:
        raise PolicyLengthExceeded(
            f"The final policy size ({size}) is bigger than the limit ({POLICY_BYTES})."
        )
    return changed


def without_statement(
    policy: Policy | None, statement_id: str, revision: str | None
) -> Policy | None:
    """A policy with one statement less; None if it was the last."""
    if policy is None:
        raise ResourceNotFound("No policy is associated with the given resource.")
    _expect(policy, revision)
    left = tuple(each for each in policy.statements if each.get("Sid") != statement_id)
    if len(left) == len(policy.statements):
        raise ResourceNotFound(f"Statement {statement_id} is not found in resource policy.")
    return replace(policy, statements=left, revision_id=ids.uuid()) if left else None


# -- parts ------------------------------------------------------------------------------------


def _expect(policy: Policy | None, revision: str | None) -> None:
    if revision is not None and (policy is None or policy.revision_id != revision):
        raise PreconditionFailed(_STALE)


def _check_qualifier(function: Function, qualifier: str | None) -> None:
    """The version or alias exists; raises ResourceNotFound, in words of its own for an alias."""
    named = qualifier is not None and qualifier != LATEST and not qualifier.isdecimal()
    if qualifier is not None and named and qualifier not in function.aliases:
        raise alias_not_found(function, qualifier)
    check_qualifier(function, qualifier)


def _with_policy(function: Function, qualifier: str | None, policy: Policy | None) -> Function:
    policies = dict(function.policies)
    if policy is None:
        policies.pop(qualifier or LATEST, None)
    else:
        policies[qualifier or LATEST] = policy
    changed = replace(function, policies=policies)
    # A change of a policy is a change of what it belongs to: AWS renews that RevisionId too.
    revision = ids.uuid()
    if qualifier is None:
        return changed.with_latest(revision_id=revision)
    if qualifier in changed.aliases:
        alias = replace(changed.aliases[qualifier], revision_id=revision)
        return replace(changed, aliases={**changed.aliases, qualifier: alias})
    version = replace(changed.versions[qualifier], revision_id=revision)
    return replace(changed, versions={**changed.versions, qualifier: version})


def _statement(parameters: dict[str, Any], principal: Any, resource: str) -> Shape:
    conditions: dict[str, dict[str, str]] = {}

    def add(operator: str, key: str, parameter: str, read: Callable[[Any], str] = str) -> None:
        if parameters.get(parameter) is not None:
            conditions.setdefault(operator, {})[key] = read(parameters[parameter])

    add("StringEquals", "lambda:FunctionUrlAuthType", "FunctionUrlAuthType")
    add("StringEquals", "AWS:SourceAccount", "SourceAccount")
    add("StringEquals", "aws:PrincipalOrgID", "PrincipalOrgID")
    add("StringEquals", "lambda:EventSourceToken", "EventSourceToken")
    add("ArnLike", "AWS:SourceArn", "SourceArn")
    add("Bool", "lambda:InvokedViaFunctionUrl", "InvokedViaFunctionUrl", lambda on: str(on).lower())
    statement: Shape = {
        "Sid": parameters["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": parameters["Action"],
        "Resource": resource,
    }
    return statement | ({"Condition": conditions} if conditions else {})


def _resource(context: Context, arn: str) -> tuple[str, str | None]:
    if parse_function(arn) is None:
        raise InvalidParameterValue(f"{arn[:200]} is not a function this version of Lambent has.")
    name, qualifier = reference(context, arn, None)
    if qualifier == LATEST:
        raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")
    return name, qualifier


def _document(text: str) -> tuple[tuple[Shape, ...], str, str]:
    """A policy document's statements, version and id; raises InvalidParameterValue."""
    if len(text.encode()) > POLICY_BYTES:
        raise PolicyLengthExceeded(
            f"The final policy size ({len(text.encode())}) is bigger than the limit "
            f"({POLICY_BYTES})."
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidParameterValue("The policy is not valid JSON.") from None
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise InvalidParameterValue("The policy must contain at least one statement.")
    names: set[str] = set()
    for statement in statements:
        _check_statement(statement, names)
    version = document.get("Version", "2008-10-17")
    if version not in ("2012-10-17", "2008-10-17"):
        raise InvalidParameterValue("The policy's Version must be 2012-10-17 or 2008-10-17.")
    return tuple(statements), version, str(document.get("Id", "default"))


def _check_statement(statement: Any, names: set[str]) -> None:
    if not isinstance(statement, dict):
        raise InvalidParameterValue("A statement of the policy is not an object.")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise InvalidParameterValue("The Effect of a statement must be Allow or Deny.")
    for one, other in (("Principal", "NotPrincipal"), ("Action", "NotAction")):
        if (one in statement) == (other in statement):
            raise InvalidParameterValue(f"A statement must have either {one} or {other}.")
    if not isinstance(statement.get("Condition", {}), dict):
        raise InvalidParameterValue("The Condition of a statement must be an object.")
    sid = statement.get("Sid")
    if sid is not None and (not isinstance(sid, str) or sid in names):
        raise InvalidParameterValue("The Sids of a policy's statements must be unique strings.")
    names.add(sid or "")
