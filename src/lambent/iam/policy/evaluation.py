"""What follows from all the policies that concern a request: allowed or denied, and why.

Order, as AWS documents it: an explicit deny anywhere wins.  Within an account an Allow of the
resource's policy to the user, or to the session, is enough; one to the role still needs the
boundary's and the session policy's consent.  Else the boundary, the session policy and an
identity-based policy must all allow.  Across accounts both sides must.  A role's trust policy must
allow within the account as well; where it names only the account, an identity-based policy too.
Source: AWS IAM User Guide, "Policy evaluation logic", "How a role's trust policy is evaluated".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from lambent.iam.policy.conditions import Values
from lambent.iam.policy.document import Policy, Principals, Statement
from lambent.iam.policy.globs import Lookup


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks.

    arn: of the user, the root or the role's session; role: of that session's role.  service: a
    service that asks by itself, whose account is nobody's.  Who has none of them is anonymous.
    """

    account: str
    arn: str
    role: str = ""
    service: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody knows who it is."""
        return not (self.account or self.arn or self.service)

    @property
    def is_root(self) -> bool:
        """Whether it is the account itself."""
        return self.arn.endswith(":root")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: an action ("lambda:InvokeFunction") on a resource (an ARN, or "*").

    owner: the account of the resource; keys: context, names in lower case.
    """

    requester: Requester
    action: str
    resource: str
    owner: str
    keys: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policies:
    """All that has a say; None is a kind of policy that is not there.

    trust: the resource's policy is a role's trust policy, without whose Allow nothing is allowed.
    """

    identity: Sequence[Policy] = ()
    boundary: Policy | None = None
    session: Policy | None = None
    resource: Policy | None = None
    trust: bool = False


class Outcome(Enum):
    """As SimulatePrincipalPolicy calls it."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome, why (the end of AWS's message), and the statements that led there."""

    outcome: Outcome
    why: str = ""
    statements: tuple[Statement, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""
        return self.outcome is Outcome.ALLOWED


class _Reach(Enum):
    """How directly a resource's policy names the requester."""

    NOT_AT_ALL = 0
    # The account, which may pass it on by its own policies.
    ACCOUNT = 1
    # The role of a session, or everybody: boundary and session policy still have a say.
    ROLE = 2
    DIRECT = 3


class _Evaluation:
    """One request before its policies."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._action = request.action.lower()
        self._arn = request.resource.split(":", 5)
        self._keys: Mapping[str, Sequence[str]] = request.keys

    def _lookup(self, key: str) -> str | None:
        values = self._keys.get(key, ())
        return values[0] if len(values) == 1 else None

    def concerned(self, policy: Policy) -> Iterable[Statement]:
        """The statements that speak of the request."""
        lookup: Lookup = self._lookup
        for statement in policy.statements:
            if statement.concerns(self._action, self._arn, self._keys, lookup):
                yield statement

    def reach(self, statement: Statement) -> _Reach:
        """How directly a statement of a resource's policy names the requester."""
        assert statement.principals is not None
        reach = _reach(statement.principals, self._request.requester)
        if not statement.but_principals:
            return reach
        if reach is _Reach.ACCOUNT and not statement.allows:
            # Who is spared a denial is named; the account's name does not spare its users.
            return _Reach.ROLE
        return _Reach.ROLE if reach is _Reach.NOT_AT_ALL else _Reach.NOT_AT_ALL


def _reach(principals: Principals, requester: Requester) -> _Reach:
    if requester.service:
        named = principals.everybody or requester.service in principals.names.get("Service", ())
        return _Reach.DIRECT if named else _Reach.NOT_AT_ALL
    names = principals.names.get("AWS", ())
    if requester.arn in names:
        return _Reach.DIRECT
    if principals.everybody or (requester.role and requester.role in names):
        return _Reach.ROLE
    account = requester.account
    if account and (account in names or f"arn:aws:iam::{account}:root" in names):
        return _Reach.ACCOUNT
    return _Reach.NOT_AT_ALL


def evaluate(request: Request, policies: Policies) -> Decision:
    """The decision on a request."""
    evaluation = _Evaluation(request)
    requester = request.requester
    identity = [each for policy in policies.identity for each in evaluation.concerned(policy)]
    boundary = _found(evaluation, policies.boundary)
    session = _found(evaluation, policies.session)
    resource = [
        (statement, reach)
        for statement in _found(evaluation, policies.resource) or ()
        if (reach := evaluation.reach(statement)) is not _Reach.NOT_AT_ALL
    ]
    for kind, statements in (
        ("a resource-based policy", [statement for statement, _ in resource]),
        ("an identity-based policy", identity),
        ("a permissions boundary", boundary or []),
        ("a session policy", session or []),
    ):
        denying = tuple(each for each in statements if not each.allows)
        if denying:
            return Decision(Outcome.EXPLICIT_DENY, f"with an explicit deny in {kind}", denying)
    given = [(each, reach) for each, reach in resource if each.allows]
    own = tuple(each for each in identity if each.allows)
    if requester.service or requester.is_anonymous:
        return _granted(request, tuple(each for each, _ in given), "resource-based policy")
    if policies.trust and not given:
        return _granted(request, (), "resource-based policy")
    if requester.account == request.owner:
        direct = tuple(each for each, reach in given if reach is _Reach.DIRECT)
        if direct:
            return Decision(Outcome.ALLOWED, "", direct)
        refused = _limited(request, boundary, session)
        if refused is not None:
            return refused
        own += tuple(each for each, reach in given if reach is _Reach.ROLE)
        if requester.is_root:
            return Decision(Outcome.ALLOWED, "", own)
        return _granted(request, own, "identity-based policy")
    if not given:
        return _granted(request, (), "resource-based policy")
    refused = _limited(request, boundary, session)
    if refused is not None:
        return refused
    both = (*own, *(each for each, _ in given))
    if requester.is_root:
        return Decision(Outcome.ALLOWED, "", both)
    return (
        Decision(Outcome.ALLOWED, "", both) if own else _refused(request, "identity-based policy")
    )


def _found(evaluation: _Evaluation, policy: Policy | None) -> list[Statement] | None:
    return None if policy is None else list(evaluation.concerned(policy))


def _limited(
    request: Request, boundary: list[Statement] | None, session: list[Statement] | None
) -> Decision | None:
    """The refusal of a boundary or a session policy that is there and does not allow."""
    for kind, statements in (("permissions boundary", boundary), ("session policy", session)):
        if statements is not None and not any(each.allows for each in statements):
            return _refused(request, kind)
    return None


def _granted(request: Request, statements: tuple[Statement, ...], kind: str) -> Decision:
    return Decision(Outcome.ALLOWED, "", statements) if statements else _refused(request, kind)


def _refused(request: Request, kind: str) -> Decision:
    return Decision(Outcome.IMPLICIT_DENY, f"because no {kind} allows the {request.action} action")


def message(request: Request, decision: Decision) -> str:
    """AWS's words to who was denied."""
    return (
        f"User: {_name(request.requester)} is not authorized to perform: "
        f"{request.action} on resource: {request.resource} {decision.why}"
    )


def _name(requester: Requester) -> str:
    return requester.arn or requester.service or "anonymous"
