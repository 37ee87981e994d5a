"""Whether a caller may have what his request to a neighbour wants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from lambent.errors import AccessDenied
from lambent.iam.authenticate import Principal
from lambent.iam.authorizer import Authorizer, Keys, ResourcePolicy, Subject
from lambent.neighbours.base import Neighbour
from lambent.neighbours.subjects.base import Facts, Wanted, owner_of
from lambent.neighbours.subjects.json_services import leading_keys

_S3 = "s3.amazonaws.com"


class Guard:
    """Asks the neighbour whose a resource is and what its policy says, and the authorizer then."""

    def __init__(self, authorizer: Authorizer, neighbours: Mapping[str, Neighbour]) -> None:
        self._authorizer = authorizer
        self._neighbours = neighbours

    async def admit(
        self, principal: Principal, service: str, wanted: Iterable[Wanted], request: Keys
    ) -> str:
        """The account that all that is wanted belongs to; raises AccessDenied for any.

        request: context keys of the request at hand.  What S3 copies may come from elsewhere.
        """
        owners: dict[str, None] = {}
        for each in wanted:
            owner = await self.check(principal, service, each, request)
            if not each.action.startswith("iam:"):
                owners[owner] = None
        if len(owners) > 1 and service != "s3":
            raise AccessDenied("One request cannot be about resources of several accounts.")
        return next(iter(owners), principal.account)

    async def check(self, principal: Principal, service: str, wanted: Wanted, request: Keys) -> str:
        """The owner of what is wanted; raises AccessDenied."""
        service = wanted.service or service
        resource, owner = wanted.resource, owner_of(wanted.resource, principal.account)
        facts = Facts()
        own = principal.is_root and owner == principal.account
        if not _is_alias(resource):
            self._authorizer.check_ahead(principal, Subject(wanted.action, resource, owner))
        if wanted.about and (not own or service in ("s3", "sqs", "sns")):
            neighbour = self._neighbours[service.removesuffix("streams")]
            facts = await neighbour.facts(service, owner, principal.region, wanted.about)
            if facts.arn and not resource.startswith(facts.arn):
                resource = facts.arn  # an alias, a name without its suffix
            owner = facts.owner or owner_of(resource, owner)
        if wanted.action == "iam:PassRole" and ("iam:passedtoservice", _S3) in wanted.keys:
            # S3 does not look at the role again when it uses it.
            self._check_trust(resource)
        if wanted.action == "s3:CreateBucket":
            owner = principal.account
        keys: Keys = tuple((name, (value,)) for name, value in wanted.keys if name[0] != "\0")
        if facts.partition_key:
            leading = leading_keys(wanted.keys, facts.partition_key)
            keys += (("dynamodb:leadingkeys", tuple(leading)),) if leading else ()
        policy = None
        if facts.policy and not _owners_own(principal, owner, wanted.action):
            revision = hashlib.sha256(facts.policy.encode()).hexdigest()
            policy = ResourcePolicy(revision, resource, lambda: facts.policy)
        subject = Subject(wanted.action, resource, owner)
        self._authorizer.check(principal, subject, policy, (*request, *keys))
        return owner

    def _check_trust(self, role: str) -> None:
        if not self._authorizer.trusts(role, _S3):
            raise AccessDenied(f"{_S3} is not authorized to assume the role {role}")


def _is_alias(resource: str) -> bool:
    """Whether policies may name what a resource stands for: a key's alias, a stack's change set."""
    return ":alias/" in resource or ":changeSet/" in resource


def _owners_own(principal: Principal, owner: str, action: str) -> bool:
    """Whether it is the owner who mends a bucket's policy, which must not shut him out."""
    return principal.is_root and principal.account == owner and action.endswith("BucketPolicy")
