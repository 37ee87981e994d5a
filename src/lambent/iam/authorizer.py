"""Whether a principal may: its policies, gathered and kept ready, before the evaluation.

Policies are read once and, for each action and resource, reduced to the statements that speak of
it; where none of them has a condition, what follows is kept instead.  All of that is forgotten with
the first change of anything in the directory, so a decision is never older than it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lambent.clock import Clock, utc
from lambent.errors import AccessDenied
from lambent.iam.authenticate import Principal
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder
from lambent.iam.memory import LONGEST_NAME, Memory
from lambent.iam.policy.document import Malformed, Policy, read
from lambent.iam.policy.evaluation import (
    Decision,
    Outcome,
    Policies,
    Request,
    Requester,
    evaluate,
    message,
)

_log = logging.getLogger(__name__)

# Characters of a context key's value that is compared; nothing that has a key is longer.
LONGEST_VALUE = 4096
_NOBODY = '{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}'


Keys = tuple[tuple[str, tuple[str, ...]], ...]
"""Context keys, names in lower case, and their values."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a request wants to do: an action on a resource of an account, and keys of its own."""

    action: str
    resource: str
    owner: str
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ResourcePolicy:
    """A resource's own policy: which revision, whose, and what it says."""

    revision: str
    arn: str
    document: Callable[[], str]


_NOTHING = Policy(())


def _read(document: str) -> Policy:
    try:
        return read(document)
    except Malformed:
        return _NOTHING  # it was found valid once; what cannot be read grants nothing


def _read_of_resource(document: str) -> Policy:
    try:
        return read(document, principals=True)
    except Malformed:
        # It was accepted by looser rules: it denies every principal.
        return read(_NOBODY, principals=True)


def _read_trust(document: str) -> Policy:
    try:
        return read(document, principals=True, resources=False)
    except Malformed:
        return _NOTHING


class Authorizer:
    """Decides by the directory; mode: enforce, log (what would be denied) or off.

    Between accounts it is always enforced.
    """

    def __init__(self, directory: Directory, clock: Clock, mode: str) -> None:
        self._directory = directory
        self._clock = clock
        self._mode = mode
        self._generation = -1
        self._second = -1
        self._moment: dict[str, list[str]] = {}
        self._memory = Memory()

    @property
    def enforcing(self) -> bool:
        """Whether a denial is one."""
        return self._mode == "enforce"

    def check_trust(
        self, principal: Principal, subject: Subject, trust: str, more: Keys = ()
    ) -> None:
        """Raise AccessDenied unless a role's trust policy, and its own, let it assume the role.

        more: context keys that have several values.
        """
        if self._mode == "off" and principal.account == subject.owner:
            return
        requester = principal.requester
        keys = self._keys(principal, subject)
        keys.update((name, list(values)) for name, values in more)
        policies = self._policies(principal, subject)
        if policies is None:
            decision = _of_no_holder(subject)
        else:
            policies = replace(policies, resource=self._trust(trust), trust=True)
            decision = evaluate(_request(requester, subject, keys), policies)
        if not decision.allowed:
            self._refuse(principal, subject, decision)

    def trusts(self, arn: str, service: str) -> bool:
        """Whether there is such a role and a service may assume it."""
        account, name = (arn.split(":", 5) + [""] * 5)[4], arn.rpartition("/")[2]
        role = self._directory.find(account, "role", name)
        if role is None or role.arn != arn:
            return False
        request = Request(Requester("", "", service=service), "sts:AssumeRole", arn, account)
        return evaluate(request, Policies(resource=self._trust(role.trust))).allowed

    def check(
        self,
        principal: Principal,
        subject: Subject,
        resource: ResourcePolicy | None = None,
        request: Keys = (),
    ) -> None:
        """Raise AccessDenied unless it may; request: context keys of the request at hand."""
        within = principal.account == subject.owner or principal.anonymous
        if within and (self._mode == "off" or (principal.is_root and resource is None)):
            return
        requester = principal.requester
        memory = self._memory
        if self._generation != self._directory.generation:
            memory.forget_decisions()
            self._generation = self._directory.generation
        session = principal.session
        who = requester.arn or requester.service
        if session is not None:
            # Sessions of one ARN may be of different roles, and narrowed in different ways.
            whose = f"{who} {session.role} {session.grant.identifier}"
            who = session.access_key_id if session.narrowed else whose
        revision = resource.revision if resource is not None else ""
        key = (who, subject.action, subject.resource, subject.owner, revision)
        found = memory.decisions.get(key)
        if found is None:
            if len(subject.resource) > LONGEST_NAME:
                self._refuse_long(principal, subject)
            found = self._gathered(principal, subject, resource)
            memory.keep(key, found)
        if isinstance(found, Policies):
            keys = self._keys(principal, subject)
            keys.update((name, list(values)) for name, values in request if values)
            _check_length(subject, request)
            found = evaluate(_request(requester, subject, keys), found)
        if found.allowed:
            return
        self._refuse(principal, subject, found)

    def check_ahead(self, principal: Principal, subject: Subject) -> None:
        """Raise AccessDenied where no policy of the resource could allow the request.

        To be asked before anything is looked up about a resource: its own policies deny it whatever
        the context, or the resource is another account's and they allow nothing.
        """
        within = principal.account == subject.owner or principal.anonymous
        if principal.is_root or principal.asking is not None or principal.anonymous:
            return
        if within and not self.enforcing:
            return
        if len(subject.resource) > LONGEST_NAME:
            self._refuse_long(principal, subject)
        policies = self._policies(principal, subject)
        if policies is None:
            self._refuse(principal, subject, _of_no_holder(subject))
            return
        request = _request(principal.requester, subject, {})
        decision = evaluate(request, _unconditional(policies))
        allowing = any(each.allows for policy in policies.identity for each in policy.statements)
        if decision.outcome is Outcome.EXPLICIT_DENY or not (within or allowing):
            self._refuse(principal, subject, decision)

    def _refuse(self, principal: Principal, subject: Subject, decision: Decision) -> None:
        refusal = message(_request(principal.requester, subject, {}), decision)
        within = principal.account == subject.owner or principal.anonymous
        if self.enforcing or not within:
            raise AccessDenied(refusal)
        _log.warning("not enforced: %s", refusal)

    @staticmethod
    def _refuse_long(principal: Principal, subject: Subject) -> None:
        """No resource has such a name, and deciding about it takes time by its length."""
        shown = replace(subject, resource=subject.resource[:100] + "...")
        why = Decision(Outcome.IMPLICIT_DENY, f"because a name has {LONGEST_NAME} characters")
        raise AccessDenied(message(_request(principal.requester, shown, {}), why))

    def _gathered(
        self, principal: Principal, subject: Subject, resource: ResourcePolicy | None
    ) -> Policies | Decision:
        """The policies that have a say, or the decision if no context key has one."""
        policies = self._policies(principal, subject)
        if policies is None:
            return _of_no_holder(subject)
        if resource is not None:
            action, arn = subject.action.lower(), subject.resource.split(":", 5)
            read_policy = self._memory.policy("resource", resource.document(), _read_of_resource)
            said = _about(read_policy, action, arn)
            policies = replace(policies, resource=said)
        if _conditional(policies):
            return policies
        return evaluate(_request(principal.requester, subject, {}), policies)

    def _policies(self, principal: Principal, subject: Subject) -> Policies | None:
        """What of its policies speaks of a subject; None if its user or role no longer exists."""
        action, arn = subject.action.lower(), subject.resource.split(":", 5)
        holder = principal.holder(self._directory)
        if holder is None:
            return None if principal.held else Policies()
        identity = [
            reduced
            for document in documents_of(self._directory, holder)
            if (reduced := _about(self._identity(document), action, arn)).statements
        ]
        boundary = session = None
        if holder.boundary:
            document = self._directory.document(holder.account, holder.boundary)
            boundary = _about(self._identity(document or ""), action, arn)
        if principal.session is not None and principal.session.narrowed:
            grant = principal.session.grant
            documents = [grant.policy] if grant.policy else []
            for each in grant.policies:
                documents.append(self._directory.document(holder.account, each) or "")
            narrowing = [_about(self._identity(each), action, arn) for each in documents]
            session = Policy(tuple(each for policy in narrowing for each in policy.statements))
        return Policies(identity, boundary, session)

    def _identity(self, document: str) -> Policy:
        return self._memory.policy("identity", document, _read)

    def _trust(self, document: str) -> Policy:
        return self._memory.policy("trust", document, _read_trust)

    def _clock_keys(self, second: int) -> dict[str, list[str]]:
        """The time, written once a second."""
        if second != self._second:
            moment = utc(second).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._moment = {"aws:currenttime": [moment], "aws:epochtime": [str(second)]}
            self._second = second
        return self._moment

    def _keys(self, principal: Principal, subject: Subject) -> dict[str, list[str]]:
        now = self._clock.time()
        requester = principal.requester
        if principal.asking is not None:
            return {
                **self._clock_keys(int(now)),
                "aws:sourcearn": [principal.asking.source_arn],
                "aws:sourceaccount": [principal.account],
                "aws:sourceowner": [principal.account],
                "aws:principalisawsservice": ["true"],
                "aws:principalservicename": [principal.asking.service],
                "aws:requestedregion": [principal.region],
                "aws:resourceaccount": [subject.owner],
                **{name: [value] for name, value in subject.keys},
            }
        keys = {
            **self._clock_keys(int(now)),
            "aws:principaltype": [principal.kind],
            "aws:requestedregion": [principal.region],
            "aws:securetransport": ["false"],
            "aws:principalisawsservice": ["false"],
            "aws:resourceaccount": [subject.owner],
        }
        if not principal.anonymous:
            keys["aws:principalaccount"] = [requester.account]
            keys["aws:principalarn"] = [requester.role or requester.arn]
        holder = principal.holder(self._directory)
        if holder is not None:
            keys["aws:userid"] = [principal.user_id(holder)]
            if principal.user is not None:
                keys["aws:username"] = [holder.name]
            for name, value in holder.tags.items():
                keys[f"aws:principaltag/{name.lower()}"] = [value]
        if principal.temporary or principal.session is not None:
            keys["aws:multifactorauthpresent"] = ["false"]
        if principal.session is not None:
            grant = principal.session.grant
            for name, value in grant.tags:
                keys[f"aws:principaltag/{name.lower()}"] = [value]
            if grant.source_identity:
                keys["aws:sourceidentity"] = [grant.source_identity]
        # A key that comes more than once has several values.
        for name, _ in subject.keys:
            keys[name] = []
        for name, value in subject.keys:
            keys[name].append(value)
        return keys


def _check_length(subject: Subject, request: Keys) -> None:
    """Raise AccessDenied for a value that would take long to compare."""
    for name, value in subject.keys:
        if len(value) > LONGEST_VALUE:
            raise AccessDenied(f"The value of {name} is too long to be compared.")
    for name, values in request:
        for value in values:
            if len(value) > LONGEST_VALUE:
                raise AccessDenied(f"The value of {name} is too long to be compared.")


def documents_of(directory: Directory, holder: Holder) -> Iterator[str]:
    """Its policies: its own, and those of its groups."""
    groups = (directory.find(holder.account, "group", name) for name in holder.groups)
    for each in (holder, *(group for group in groups if group is not None)):
        yield from each.inline.values()
        for arn in each.attached:
            document = directory.document(holder.account, arn)
            if document is not None:
                yield document


def _of_no_holder(subject: Subject) -> Decision:
    """The decision on a user or a role that was deleted, whatever policies still name its ARN."""
    why = f"because no identity-based policy allows the {subject.action} action"
    return Decision(Outcome.IMPLICIT_DENY, why)


def _request(requester: Requester, subject: Subject, keys: dict[str, list[str]]) -> Request:
    return Request(requester, subject.action, subject.resource, subject.owner, keys)


def _about(policy: Policy, action: str, arn: list[str]) -> Policy:
    """A policy's statements that speak of an action on a resource, whatever their conditions."""
    return Policy(tuple(each for each in policy.statements if each.may_concern(action, arn)))


def _unconditional(policies: Policies) -> Policies:
    """What its principal's policies say in every context."""

    def plain(policy: Policy) -> Policy:
        return Policy(tuple(each for each in policy.statements if not each.conditional))

    return Policies([plain(each) for each in policies.identity])


def _conditional(policies: Policies) -> bool:
    """Whether anything but action and resource has a say."""
    others = (policies.boundary, policies.session, policies.resource)
    everything = [*policies.identity, *(each for each in others if each is not None)]
    return any(statement.conditional for policy in everything for statement in policy.statements)
