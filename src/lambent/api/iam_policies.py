"""IAM's managed policies and their versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import iam_forms as forms
from lambent.api.context import Context
from lambent.clock import Clock
from lambent.errors import DeleteConflict, NoSuchEntity, QuotaExceeded, ServiceError
from lambent.iam import managed
from lambent.iam.directory import Directory
from lambent.iam.entities import POLICY_PREFIX, ManagedPolicy, PolicyVersion

# Source: "IAM and STS quotas".
_VERSIONS = 5
_POLICY_CHARACTERS = 6144

Parameters = dict[str, Any]


class AccessDeniedToManaged(ServiceError):
    """AWS's policies are not anybody else's to change."""

    code = "AccessDenied"
    status = 403
    default = "You cannot change a policy that AWS manages."


class ManagedPolicies:
    """Handlers of the operations on managed policies."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    async def create_policy(self, context: Context, parameters: Parameters) -> Parameters:
        document = forms.policy_document(parameters["PolicyDocument"], _POLICY_CHARACTERS)
        now = self._clock.time()
        policy = await self._directory.create_policy(
            ManagedPolicy(
                account=context.account,
                name=parameters["PolicyName"],
                path=parameters.get("Path", "/"),
                identifier=ids.entity_id(POLICY_PREFIX),
                created=now,
                updated=now,
                description=parameters.get("Description", ""),
                versions=(PolicyVersion("v1", document, now),),
                default="v1",
                tags=forms.tags(parameters),
            )
        )
        return {"Policy": self._described(context, policy)}

    async def get_policy(self, context: Context, parameters: Parameters) -> Parameters:
        policy = self._directory.policy(context.account, parameters["PolicyArn"])
        return {"Policy": {**self._described(context, policy), "Description": policy.description,
                           "Tags": forms.listed(policy.tags)}}  # fmt: skip

    async def list_policies(self, context: Context, parameters: Parameters) -> Parameters:
        scope = parameters.get("Scope", "All")
        prefix = parameters.get("PathPrefix", "/")
        attached = parameters.get("OnlyAttached", False)
        boundary = parameters.get("PolicyUsageFilter") == "PermissionsBoundary"
        found = []
        for policy in self._directory.policies(context.account):
            is_managed = policy.account == managed.OWNER
            if (scope == "AWS" and not is_managed) or (scope == "Local" and is_managed):
                continue
            using = self._directory.bounded_by if boundary else self._directory.attached_to
            if attached and not any(using(context.account, policy.arn)):
                continue
            if policy.path.startswith(prefix):
                found.append(policy)
        page, more = forms.page(found, lambda each: each.arn, parameters)
        return {"Policies": [self._described(context, each) for each in page], **more}

    async def delete_policy(self, context: Context, parameters: Parameters) -> Parameters:
        arn = parameters["PolicyArn"]
        self._own(context, arn)

        def check(policy: ManagedPolicy) -> None:
            if any(self._directory.attached_to(context.account, arn)):
                raise DeleteConflict("Cannot delete a policy attached to entities.")
            if any(self._directory.bounded_by(context.account, arn)):
                raise DeleteConflict("Cannot delete a policy that is a permissions boundary.")
            if len(policy.versions) > 1:
                raise DeleteConflict(
                    "This policy has more than one version. Before you delete a policy, you must "
                    "delete the policy's versions. The default version is deleted with the policy."
                )

        await self._directory.delete_policy(context.account, arn, check)
        return {}

    # -- versions -------------------------------------------------------------------------

    async def create_policy_version(self, context: Context, parameters: Parameters) -> Parameters:
        arn = parameters["PolicyArn"]
        self._own(context, arn)
        document = forms.policy_document(parameters["PolicyDocument"], _POLICY_CHARACTERS)
        now = self._clock.time()

        def change(policy: ManagedPolicy) -> ManagedPolicy:
            if len(policy.versions) >= _VERSIONS:
                raise QuotaExceeded(
                    f"A managed policy can have up to {_VERSIONS} versions. Before you create a "
                    "new version, you must delete an existing version."
                )
            made = PolicyVersion(f"v{policy.newest + 1}", document, now)
            default = made.identifier if parameters.get("SetAsDefault") else policy.default
            return replace(
                policy,
                versions=(*policy.versions, made),
                newest=policy.newest + 1,
                default=default,
                updated=now,
            )

        policy = await self._directory.change_policy(context.account, arn, change)
        version = _version(policy, f"v{policy.newest}")
        described = _described_version(policy, version)
        del described["Document"]
        return {"PolicyVersion": described}

    async def get_policy_version(self, context: Context, parameters: Parameters) -> Parameters:
        policy = self._directory.policy(context.account, parameters["PolicyArn"])
        version = _version(policy, parameters["VersionId"])
        return {"PolicyVersion": _described_version(policy, version)}

    async def list_policy_versions(self, context: Context, parameters: Parameters) -> Parameters:
        policy = self._directory.policy(context.account, parameters["PolicyArn"])
        newest_first = sorted(policy.versions, key=lambda each: -int(each.identifier[1:]))
        found, more = forms.page(
            newest_first, lambda each: f"{10**9 - int(each.identifier[1:]):010d}", parameters
        )
        versions = [_described_version(policy, each) for each in found]
        for each in versions:
            del each["Document"]
        return {"Versions": versions, **more}

    async def set_default_policy_version(
        self, context: Context, parameters: Parameters
    ) -> Parameters:
        arn, identifier = parameters["PolicyArn"], parameters["VersionId"]
        self._own(context, arn)

        def change(policy: ManagedPolicy) -> ManagedPolicy:
            _version(policy, identifier)
            return replace(policy, default=identifier, updated=self._clock.time())

        await self._directory.change_policy(context.account, arn, change)
        return {}

    async def delete_policy_version(self, context: Context, parameters: Parameters) -> Parameters:
        arn, identifier = parameters["PolicyArn"], parameters["VersionId"]
        self._own(context, arn)

        def change(policy: ManagedPolicy) -> ManagedPolicy:
            version = _version(policy, identifier)
            if identifier == policy.default:
                raise DeleteConflict("Cannot delete the default version of a policy.")
            kept = tuple(each for each in policy.versions if each is not version)
            return replace(policy, versions=kept, updated=self._clock.time())

        await self._directory.change_policy(context.account, arn, change)
        return {}

    # -- who uses it, and its tags --------------------------------------------------------

    async def list_entities_for_policy(
        self, context: Context, parameters: Parameters
    ) -> Parameters:
        arn = parameters["PolicyArn"]
        self._directory.policy(context.account, arn)
        boundary = parameters.get("PolicyUsageFilter") == "PermissionsBoundary"
        using = self._directory.bounded_by if boundary else self._directory.attached_to
        prefix = parameters.get("PathPrefix", "/")
        wanted = {"User": "user", "Role": "role", "Group": "group"}
        kind = wanted.get(parameters.get("EntityFilter", ""))
        holders = [
            each
            for each in using(context.account, arn)
            if each.path.startswith(prefix) and kind in (None, each.kind)
        ]
        found, more = forms.page(holders, lambda each: f"{each.kind}/{each.name}", parameters)
        answer: Parameters = {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": [], **more}
        for each in found:
            title = each.kind.capitalize()
            described = {f"{title}Name": each.name, f"{title}Id": each.identifier}
            answer[f"Policy{title}s"].append(described)
        return answer

    async def tag_policy(self, context: Context, parameters: Parameters) -> Parameters:
        arn = parameters["PolicyArn"]
        self._own(context, arn)
        await self._directory.change_policy(
            context.account,
            arn,
            lambda policy: replace(policy, tags=forms.tagged(policy.tags, parameters)),
        )
        return {}

    async def untag_policy(self, context: Context, parameters: Parameters) -> Parameters:
        arn = parameters["PolicyArn"]
        self._own(context, arn)
        await self._directory.change_policy(
            context.account,
            arn,
            lambda policy: replace(policy, tags=forms.untagged(policy.tags, parameters)),
        )
        return {}

    async def list_policy_tags(self, context: Context, parameters: Parameters) -> Parameters:
        policy = self._directory.policy(context.account, parameters["PolicyArn"])
        return forms.tag_page(policy.tags, parameters)

    # -- parts ----------------------------------------------------------------------------

    def _own(self, context: Context, arn: str) -> None:
        if self._directory.policy(context.account, arn).account == managed.OWNER:
            raise AccessDeniedToManaged

    def _described(self, context: Context, policy: ManagedPolicy) -> Parameters:
        account = context.account
        return {
            "PolicyName": policy.name,
            "PolicyId": policy.identifier,
            "Arn": policy.arn,
            "Path": policy.path,
            "DefaultVersionId": policy.default,
            "AttachmentCount": sum(1 for _ in self._directory.attached_to(account, policy.arn)),
            "PermissionsBoundaryUsageCount": sum(
                1 for _ in self._directory.bounded_by(account, policy.arn)
            ),
            "IsAttachable": True,
            "CreateDate": policy.created,
            "UpdateDate": policy.updated,
        }


def _version(policy: ManagedPolicy, identifier: str) -> PolicyVersion:
    version = policy.version(identifier)
    if version is None:
        raise NoSuchEntity(
            f"Policy {policy.arn} version {identifier} does not exist or is not attachable."
        )
    return version


def _described_version(policy: ManagedPolicy, version: PolicyVersion) -> Parameters:
    return {
        "Document": forms.encoded(version.document),
        "VersionId": version.identifier,
        "IsDefaultVersion": version.identifier == policy.default,
        "CreateDate": version.created,
    }
