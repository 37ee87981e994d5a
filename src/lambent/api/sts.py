"""STS: who is asking, whose a key is, and credentials of roles for a while."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import Any

from lambent.api import iam_forms as forms
from lambent.api.context import Context
from lambent.clock import Clock
from lambent.errors import (
    AccessDenied,
    EntityAlreadyExists,
    InvalidParameterValue,
    OperationNotOffered,
    ValidationError,
)
from lambent.iam import first_role
from lambent.iam.authenticate import Principal
from lambent.iam.authorizer import Authorizer, Keys, Subject
from lambent.iam.credentials import DEFAULT_ACCOUNT, CredentialStore
from lambent.iam.directory import Directory
from lambent.iam.sessions import Grant, Session, Sessions

Parameters = dict[str, Any]

# Characters of all session policies.  Source: "IAM and STS quotas".
_SESSION_POLICY = 2048
_SESSION_POLICIES = 10
_ACCOUNT = re.compile(r"[0-9]{12}")
_CHAINED_SECONDS = 3600
_NOT_OFFERED = ("ProvidedContexts", "SerialNumber", "TokenCode")
# Seconds of GetSessionToken: what it gives a user, and an owner at most.  Source: its reference.
_USERS_SECONDS, _OWNERS_SECONDS = 43_200, 3600
_SESSION_TAGS = 50


class SecurityTokens:
    """Handlers of STS."""

    def __init__(
        self,
        directory: Directory,
        keys: CredentialStore,
        sessions: Sessions,
        authorizer: Authorizer,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._keys = keys
        self._sessions = sessions
        self._authorizer = authorizer

    async def get_caller_identity(self, context: Context, parameters: Parameters) -> Parameters:
        principal = context.principal
        holder = principal.holder(self._directory)
        return {
            "UserId": principal.user_id(holder) if holder is not None else context.account,
            "Account": context.account,
            "Arn": principal.requester.arn,
        }

    async def get_access_key_info(self, context: Context, parameters: Parameters) -> Parameters:
        account = self._keys.account_of(parameters["AccessKeyId"])
        if account is None:
            raise ValidationError("Request is missing or has invalid AccessKeyId")
        return {"Account": account}

    async def get_session_token(self, context: Context, parameters: Parameters) -> Parameters:
        _refuse_unoffered(parameters)
        principal = context.principal
        if principal.session is not None or principal.temporary:
            raise AccessDenied("Cannot call GetSessionToken with session credentials")
        seconds = parameters.get("DurationSeconds", _USERS_SECONDS)
        if principal.is_root:
            seconds = min(seconds, _OWNERS_SECONDS)
        identifier = principal.user.identifier if principal.user is not None else ""
        grant = Grant(context.account, principal.requester.arn, identifier=identifier)
        return {"Credentials": _told(self._sessions.issue(grant, seconds))}

    async def assume_role(self, context: Context, parameters: Parameters) -> Parameters:
        _refuse_unoffered(parameters)
        principal = context.principal
        arn, name = parameters["RoleArn"], parameters["RoleSessionName"]
        parts = arn.split(":", 5)
        account = parts[4] if len(parts) == 6 else ""
        role = self._directory.find(account, "role", arn.rpartition("/")[2])
        founding = role is None and self._founds(context, account, arn)
        if founding:
            role = first_role.of_organization(account, DEFAULT_ACCOUNT, self._clock)
        if role is None or role.arn != arn:
            raise AccessDenied(
                f"User: {principal.requester.arn} is not authorized to perform: sts:AssumeRole on "
                f"resource: {arn}"
            )
        if principal.is_root and self._authorizer.enforcing:
            raise AccessDenied("Roles may not be assumed by root accounts.")
        keys = [("sts:rolesessionname", name)]
        if "ExternalId" in parameters:
            keys.append(("sts:externalid", parameters["ExternalId"]))
        subject = Subject("sts:AssumeRole", arn, account, tuple(keys))
        tags, transitive = _session_tags(principal, parameters)
        identity = _source_identity(principal, parameters)
        # What is asked of the trust policy knows the tags and the identity, too.
        more: Keys = tuple((f"aws:requesttag/{name.lower()}", (tags[name],)) for name in tags)
        if tags:
            more += (("aws:tagkeys", tuple(tags)),)
        if transitive:
            more += (("sts:transitivetagkeys", transitive),)
        if identity:
            more += (("sts:sourceidentity", (identity,)),)
        wanted = ["sts:AssumeRole"]
        wanted += ["sts:TagSession"] if "Tags" in parameters else []
        wanted += ["sts:SetSourceIdentity"] if identity else []
        for action in wanted:
            asked = replace(subject, action=action)
            self._authorizer.check_trust(principal, asked, role.trust, more)
        seconds = parameters.get("DurationSeconds", 3600)
        if principal.session is not None and seconds > _CHAINED_SECONDS:
            raise ValidationError(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
                "by role chaining"
            )
        if seconds > role.max_session:
            raise ValidationError(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        policy, policies = self._narrowing(account, parameters)
        if founding:
            with contextlib.suppress(EntityAlreadyExists):
                await self._directory.create(role)
        grant = Grant(
            account,
            arn,
            name,
            role.identifier,
            policy,
            policies,
            tuple(tags.items()),
            transitive,
            identity,
        )
        session = self._sessions.issue(grant, seconds)
        return {
            "Credentials": _told(session),
            "SourceIdentity": identity or None,
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role.identifier}:{name}",
                "Arn": session.arn,
            },
            "PackedPolicySize": 100 * len(policy) // _SESSION_POLICY if policy else None,
        }

    @staticmethod
    def _founds(context: Context, account: str, arn: str) -> bool:
        """Whether this begins another account, as members of an organization begin on AWS."""
        wanted = f"arn:aws:iam::{account}:role/{first_role.ORGANIZATION}"
        fits = _ACCOUNT.fullmatch(account) is not None and arn == wanted
        return fits and context.account == DEFAULT_ACCOUNT != account

    def _narrowing(self, account: str, parameters: Parameters) -> tuple[str, tuple[str, ...]]:
        """The session policies of a request, found valid."""
        policy = parameters.get("Policy", "")
        if policy:
            policy = forms.policy_document(policy, _SESSION_POLICY, "SessionPolicySize")
        arns = tuple(each["arn"] for each in parameters.get("PolicyArns", ()) if "arn" in each)
        if len(arns) > _SESSION_POLICIES:
            raise ValidationError("There can be no more than 10 managed session policies.")
        for each in arns:
            self._directory.policy(account, each)
        return policy, arns


def _refuse_unoffered(parameters: Parameters) -> None:
    for name in _NOT_OFFERED:
        if name in parameters:
            raise OperationNotOffered(f"{name} is not offered by this version of Lambent.")


def _told(session: Session) -> Parameters:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret,
        "SessionToken": session.token,
        "Expiration": float(session.until),
    }


def _session_tags(
    principal: Principal, parameters: Parameters
) -> tuple[dict[str, str], tuple[str, ...]]:
    """A session's tags, with those that came along, and the names of those that go on.

    Source: IAM User Guide, "Pass session tags in AWS STS".
    """
    given = {each["Key"]: each["Value"] for each in parameters.get("Tags", ())}
    names = [name.lower() for name in given]
    if len(set(names)) != len(parameters.get("Tags", ())):
        raise InvalidParameterValue("Duplicate tag keys found. Tag keys are case insensitive.")
    going_on = tuple(parameters.get("TransitiveTagKeys", ()))
    if not {name.lower() for name in going_on} <= set(names):
        raise InvalidParameterValue(
            "The specified transitive tag key must be included in the tags."
        )
    inherited: dict[str, str] = {}
    if principal.session is not None:
        grant = principal.session.grant
        inherited = {name: value for name, value in grant.tags if name in grant.transitive}
        if {name.lower() for name in inherited} & set(names):
            raise InvalidParameterValue("One of the specified transitive tag keys can't be set.")
    tags = {**inherited, **given}
    if len(tags) > _SESSION_TAGS:
        raise InvalidParameterValue(f"A session has {_SESSION_TAGS} tags at most.")
    return tags, (*inherited, *going_on)


def _source_identity(principal: Principal, parameters: Parameters) -> str:
    """Who is behind a session; it stays the same from role to role."""
    wanted = str(parameters.get("SourceIdentity", ""))
    before = principal.session.grant.source_identity if principal.session is not None else ""
    if before and wanted and before != wanted:
        raise AccessDenied("The source identity of a session cannot be changed.")
    return before or wanted
