"""IAM's policy simulator: what would be decided, without doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from lambent.api import iam_forms as forms
from lambent.api.context import Context
from lambent.errors import (
    InvalidInput,
    MalformedPolicyDocument,
    NoSuchEntity,
    OperationNotOffered,
)
from lambent.iam.authorizer import documents_of
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder, Kind
from lambent.iam.policy.document import Malformed, Policy, read
from lambent.iam.policy.evaluation import Policies, Request, Requester, evaluate

_KINDS: tuple[Kind, ...] = ("user", "role", "group")
_MOST = 1000
# Characters of all policies together; IAM takes no longer document.
_MOST_TEXT = 131_072

Parameters = dict[str, Any]


class Simulation:
    """Handlers of SimulatePrincipalPolicy and SimulateCustomPolicy."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def simulate_principal_policy(
        self, context: Context, parameters: Parameters
    ) -> Parameters:
        holder = self._source(context, parameters["PolicySourceArn"])
        documents = list(documents_of(self._directory, holder))
        boundary = []
        if holder.boundary:
            boundary = [self._directory.policy(context.account, holder.boundary).document]
        return await self._simulated(context, parameters, holder, documents, boundary)

    async def simulate_custom_policy(self, context: Context, parameters: Parameters) -> Parameters:
        return await self._simulated(context, parameters, None, [], [])

    def _source(self, context: Context, arn: str) -> Holder:
        for kind in _KINDS:
            if f":{kind}/" in arn:
                holder = self._directory.find(context.account, kind, arn.rpartition("/")[2])
                if holder is not None and holder.arn == arn:
                    return holder
        raise NoSuchEntity(f"Policy source {arn} cannot be found.")

    async def _simulated(
        self,
        context: Context,
        parameters: Parameters,
        holder: Holder | None,
        documents: Sequence[str],
        boundary: Sequence[str],
    ) -> Parameters:
        for name in ("PolicyExclusionList", "OrderedOrganizationPolicyInputList"):
            if name in parameters:
                raise OperationNotOffered(f"{name} is not offered by this version of Lambent.")
        given = [*documents, *parameters.get("PolicyInputList", [])]
        limits = parameters.get("PermissionsBoundaryPolicyInputList") or boundary
        if sum(len(each) for each in (*given, *limits)) > _MOST_TEXT:
            raise InvalidInput(f"The policies have more than {_MOST_TEXT} characters together.")
        identity = await _read_all(given)
        merged = [each for policy in await _read_all(limits) for each in policy.statements]
        resource = parameters.get("ResourcePolicy")
        policies = Policies(
            identity,
            Policy(tuple(merged)) if limits else None,
            None,
            _read(resource, principals=True) if resource else None,
        )
        requester = _requester(context, parameters, holder)
        owner = parameters.get("ResourceOwner", requester.arn).split(":")
        keys = {
            each["ContextKeyName"].lower(): list(each.get("ContextKeyValues", []))
            for each in parameters.get("ContextEntries", [])
            if "ContextKeyName" in each
        }
        keys.setdefault("aws:principalarn", [requester.arn])
        if holder is not None and holder.kind == "user":
            keys.setdefault("aws:username", [holder.name])
        pairs = [
            (action, arn)
            for action in parameters["ActionNames"]
            for arn in parameters.get("ResourceArns", ["*"])
        ]
        if len(pairs) > _MOST:
            raise InvalidInput(f"There can be no more than {_MOST} actions on resources at a time.")
        results = []
        for action, arn in pairs:
            await asyncio.sleep(0)  # each takes a while where policies are long
            account = owner[4] if len(owner) > 4 else owner[0]
            decision = evaluate(Request(requester, action, arn, account, keys), policies)
            result: Parameters = {
                "EvalActionName": action,
                "EvalResourceName": arn,
                "EvalDecision": decision.outcome.value,
                "MatchedStatements": [
                    {"SourcePolicyId": each.sid or "PolicyInputList", "SourcePolicyType": None}
                    for each in decision.statements
                ],
                "MissingContextValues": [],
            }
            if limits:
                allowed = "permissions boundary" not in decision.why
                result["PermissionsBoundaryDecisionDetail"] = {
                    "AllowedByPermissionsBoundary": allowed
                }
            results.append(result)
        found, more = forms.page(enumerate(results), lambda each: f"{each[0]:06d}", parameters)
        return {"EvaluationResults": [each for _, each in found], **more}


def _requester(context: Context, parameters: Parameters, holder: Holder | None) -> Requester:
    if "CallerArn" in parameters:
        arn = parameters["CallerArn"]
        return Requester((arn.split(":", 5) + [""] * 5)[4] or context.account, arn)
    if holder is None:
        # Nobody in particular, but not the root, who may do everything.
        return Requester(context.account, f"arn:aws:iam::{context.account}:user/simulated")
    if holder.kind == "role":
        session = f"arn:aws:sts::{holder.account}:assumed-role/{holder.name}/simulated"
        return Requester(holder.account, session, holder.arn)
    return Requester(holder.account, holder.arn)


async def _read_all(documents: Sequence[str]) -> list[Policy]:
    found = []
    for each in documents:
        await asyncio.sleep(0)
        found.append(_read(each))
    return found


def _read(document: str, principals: bool = False) -> Policy:
    try:
        return read(document, principals=principals)
    except Malformed as error:
        raise MalformedPolicyDocument(str(error)) from None
