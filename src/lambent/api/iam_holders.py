"""IAM's users, groups and roles.

Their operations differ in the word alone (PutUserPolicy, PutGroupPolicy, PutRolePolicy), so most
are written once and handed out under three names.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import iam_forms as forms
from lambent.api.context import Context, Handler
from lambent.clock import Clock
from lambent.errors import DeleteConflict, NoSuchEntity, QuotaExceeded
from lambent.iam.directory import Directory
from lambent.iam.entities import PREFIXES, Holder, Kind

# Characters of all inline policies together, and of a trust policy.  Source: "IAM and STS quotas".
_INLINE: dict[Kind, int] = {"user": 2048, "group": 5120, "role": 10_240}
_TRUST = 2048
_ATTACHED = 10
_GROUPS = 10

Parameters = dict[str, Any]
_Operation = Callable[[Kind, Context, Parameters], Awaitable[Parameters]]


class Holders:
    """Handlers of the operations on users, groups and roles."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def handlers(self) -> dict[str, Handler]:
        """All of them by operation."""
        found: dict[str, Handler] = {
            "CreateUser": self._create_user,
            "CreateGroup": self._create_group,
            "CreateRole": self._create_role,
            "GetGroup": self._get_group,
            "UpdateRole": self._update_role,
            "UpdateRoleDescription": self._update_role_description,
            "UpdateAssumeRolePolicy": self._update_trust,
            "AddUserToGroup": self._add_to_group,
            "RemoveUserFromGroup": self._remove_from_group,
            "ListGroupsForUser": self._list_groups_of_user,
            "ListInstanceProfiles": self._no_instance_profiles,
            "ListInstanceProfilesForRole": self._no_instance_profiles,
            "ListAccountAliases": self._no_aliases,
            "GetAccountSummary": self._summary,
        }
        everywhere: dict[str, _Operation] = {
            "Delete%s": self._delete,
            "Put%sPolicy": self._put_inline,
            "Get%sPolicy": self._get_inline,
            "Delete%sPolicy": self._delete_inline,
            "List%sPolicies": self._list_inline,
            "Attach%sPolicy": self._attach,
            "Detach%sPolicy": self._detach,
            "ListAttached%sPolicies": self._list_attached,
            "List%ss": self._list,
        }
        with_tags: dict[str, _Operation] = {
            "Get%s": self._get,
            "Tag%s": self._tag,
            "Untag%s": self._untag,
            "List%sTags": self._list_tags,
            "Put%sPermissionsBoundary": self._put_boundary,
            "Delete%sPermissionsBoundary": self._delete_boundary,
        }
        for kind, tables in (
            ("user", (everywhere, with_tags)),
            ("role", (everywhere, with_tags)),
            ("group", (everywhere,)),
        ):
            for table in tables:
                for name, operation in table.items():
                    handler = functools.partial(operation, kind)  # type: ignore[arg-type]
                    found[name % kind.capitalize()] = handler
        return found

    # -- making, showing and removing them ------------------------------------------------

    async def _create(self, kind: Kind, context: Context, name: str, **more: Any) -> Holder:
        return await self._directory.create(
            Holder(
                kind=kind,
                account=context.account,
                name=name,
                identifier=ids.entity_id(PREFIXES[kind]),
                created=self._clock.time(),
                **more,
            )
        )

    async def _create_user(self, context: Context, parameters: Parameters) -> Parameters:
        user = await self._create(
            "user",
            context,
            parameters["UserName"],
            path=parameters.get("Path", "/"),
            tags=forms.tags(parameters),
            boundary=self._boundary(context, parameters),
        )
        return {"User": _described(user)}

    async def _create_group(self, context: Context, parameters: Parameters) -> Parameters:
        path = parameters.get("Path", "/")
        group = await self._create("group", context, parameters["GroupName"], path=path)
        return {"Group": _described(group)}

    async def _create_role(self, context: Context, parameters: Parameters) -> Parameters:
        role = await self._create(
            "role",
            context,
            parameters["RoleName"],
            path=parameters.get("Path", "/"),
            trust=forms.trust_document(parameters["AssumeRolePolicyDocument"], _TRUST),
            description=parameters.get("Description", ""),
            max_session=parameters.get("MaxSessionDuration", 3600),
            tags=forms.tags(parameters),
            boundary=self._boundary(context, parameters),
        )
        return {"Role": _described(role)}

    def _boundary(self, context: Context, parameters: Parameters) -> str:
        arn: str = parameters.get("PermissionsBoundary", "")
        if arn:
            self._directory.policy(context.account, arn)
        return arn

    def _named(self, kind: Kind, context: Context, parameters: Parameters) -> Holder:
        name = parameters.get(f"{kind.capitalize()}Name")
        if name is None:
            name = forms.own_name(context)
        return self._directory.get(context.account, kind, name)

    async def _changed(
        self,
        kind: Kind,
        context: Context,
        parameters: Parameters,
        change: Callable[[Holder], Holder],
    ) -> Parameters:
        name = parameters[f"{kind.capitalize()}Name"]
        await self._directory.change(context.account, kind, name, change)
        return {}

    async def _get(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        return {kind.capitalize(): _described(self._named(kind, context, parameters))}

    async def _get_group(self, context: Context, parameters: Parameters) -> Parameters:
        group = self._named("group", context, parameters)
        members = [
            each
            for each in self._directory.all(context.account, "user")
            if group.name in each.groups
        ]
        found, more = forms.page(members, lambda each: each.name.lower(), parameters)
        users = [_brief(each) for each in found]
        return {"Group": _described(group), "Users": users, **more}

    async def _list(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        prefix = parameters.get("PathPrefix", "/")
        holders = [
            each
            for each in self._directory.all(context.account, kind)
            if each.path.startswith(prefix)
        ]
        found, more = forms.page(holders, lambda each: each.name.lower(), parameters)
        return {f"{kind.capitalize()}s": [_brief(each) for each in found], **more}

    async def _delete(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        name = parameters[f"{kind.capitalize()}Name"]

        def check(holder: Holder) -> None:
            if holder.attached:
                raise DeleteConflict("Cannot delete entity, must detach all policies first.")
            if holder.inline:
                raise DeleteConflict("Cannot delete entity, must delete policies first.")
            if holder.keys:
                raise DeleteConflict("Cannot delete entity, must delete access keys first.")
            if holder.groups:
                raise DeleteConflict("Cannot delete entity, must remove users from group first.")
            members = self._directory.all(context.account, "user")
            if kind == "group" and any(holder.name in each.groups for each in members):
                raise DeleteConflict("Cannot delete entity, must remove users from group first.")

        await self._directory.delete(context.account, kind, name, check)
        return {}

    # -- roles ----------------------------------------------------------------------------

    async def _update_role(self, context: Context, parameters: Parameters) -> Parameters:
        def change(role: Holder) -> Holder:
            return replace(
                role,
                description=parameters.get("Description", role.description),
                max_session=parameters.get("MaxSessionDuration", role.max_session),
            )

        return await self._changed("role", context, parameters, change)

    async def _update_role_description(
        self, context: Context, parameters: Parameters
    ) -> Parameters:
        await self._changed(
            "role",
            context,
            parameters,
            lambda role: replace(role, description=parameters["Description"]),
        )
        return {"Role": _described(self._named("role", context, parameters))}

    async def _update_trust(self, context: Context, parameters: Parameters) -> Parameters:
        document = forms.trust_document(parameters["PolicyDocument"], _TRUST)
        return await self._changed(
            "role", context, parameters, lambda role: replace(role, trust=document)
        )

    # -- inline policies ------------------------------------------------------------------

    async def _put_inline(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        most = _INLINE[kind]
        document = forms.policy_document(parameters["PolicyDocument"], most)
        policy = parameters["PolicyName"]

        def change(holder: Holder) -> Holder:
            inline = {**holder.inline, policy: document}
            if sum(map(forms.size, inline.values())) > most:
                raise QuotaExceeded(
                    f"Maximum policy size of {most} bytes exceeded for {kind} {holder.name}"
                )
            return replace(holder, inline=inline)

        return await self._changed(kind, context, parameters, change)

    async def _get_inline(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        holder, policy = self._named(kind, context, parameters), parameters["PolicyName"]
        if policy not in holder.inline:
            raise _no_inline(kind, policy)
        return {
            f"{kind.capitalize()}Name": holder.name,
            "PolicyName": policy,
            "PolicyDocument": forms.encoded(holder.inline[policy]),
        }

    async def _delete_inline(
        self, kind: Kind, context: Context, parameters: Parameters
    ) -> Parameters:
        policy = parameters["PolicyName"]

        def change(holder: Holder) -> Holder:
            if policy not in holder.inline:
                raise _no_inline(kind, policy)
            kept = {name: text for name, text in holder.inline.items() if name != policy}
            return replace(holder, inline=kept)

        return await self._changed(kind, context, parameters, change)

    async def _list_inline(
        self, kind: Kind, context: Context, parameters: Parameters
    ) -> Parameters:
        holder = self._named(kind, context, parameters)
        found, more = forms.page(holder.inline, lambda name: name, parameters)
        return {"PolicyNames": found, **more}

    # -- managed policies -----------------------------------------------------------------

    async def _attach(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        arn = parameters["PolicyArn"]
        try:
            self._directory.policy(context.account, arn)
        except NoSuchEntity:
            raise NoSuchEntity(f"Policy {arn} does not exist or is not attachable.") from None

        def change(holder: Holder) -> Holder:
            if arn in holder.attached:
                return holder
            if len(holder.attached) >= _ATTACHED:
                raise QuotaExceeded(
                    f"Cannot exceed quota for PoliciesPer{kind.capitalize()}: {_ATTACHED}"
                )
            return replace(holder, attached=(*holder.attached, arn))

        return await self._changed(kind, context, parameters, change)

    async def _detach(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        arn = parameters["PolicyArn"]

        def change(holder: Holder) -> Holder:
            if arn not in holder.attached:
                raise NoSuchEntity(f"Policy {arn} was not found.")
            return replace(holder, attached=tuple(each for each in holder.attached if each != arn))

        return await self._changed(kind, context, parameters, change)

    async def _list_attached(
        self, kind: Kind, context: Context, parameters: Parameters
    ) -> Parameters:
        holder = self._named(kind, context, parameters)
        prefix = parameters.get("PathPrefix", "/")
        policies = [self._directory.policy(context.account, arn) for arn in holder.attached]
        fitting = [each for each in policies if each.path.startswith(prefix)]
        found, more = forms.page(fitting, lambda each: each.arn, parameters)
        attached = [{"PolicyName": each.name, "PolicyArn": each.arn} for each in found]
        return {"AttachedPolicies": attached, **more}

    async def _put_boundary(
        self, kind: Kind, context: Context, parameters: Parameters
    ) -> Parameters:
        arn = self._boundary(context, parameters)
        return await self._changed(
            kind, context, parameters, lambda holder: replace(holder, boundary=arn)
        )

    async def _delete_boundary(
        self, kind: Kind, context: Context, parameters: Parameters
    ) -> Parameters:
        def change(holder: Holder) -> Holder:
            if not holder.boundary:
                raise NoSuchEntity(f"{kind.capitalize()} {holder.name} has no boundary.")
            return replace(holder, boundary="")

        return await self._changed(kind, context, parameters, change)

    # -- tags -----------------------------------------------------------------------------

    async def _tag(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        return await self._changed(
            kind,
            context,
            parameters,
            lambda holder: replace(holder, tags=forms.tagged(holder.tags, parameters)),
        )

    async def _untag(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        return await self._changed(
            kind,
            context,
            parameters,
            lambda holder: replace(holder, tags=forms.untagged(holder.tags, parameters)),
        )

    async def _list_tags(self, kind: Kind, context: Context, parameters: Parameters) -> Parameters:
        return forms.tag_page(self._named(kind, context, parameters).tags, parameters)

    # -- membership -----------------------------------------------------------------------

    async def _add_to_group(self, context: Context, parameters: Parameters) -> Parameters:
        group = self._named("group", context, parameters)

        def change(user: Holder) -> Holder:
            if group.name in user.groups:
                return user
            if len(user.groups) >= _GROUPS:
                raise QuotaExceeded(f"Cannot exceed quota for GroupsPerUser: {_GROUPS}")
            return replace(user, groups=(*user.groups, group.name))

        return await self._changed("user", context, parameters, change)

    async def _remove_from_group(self, context: Context, parameters: Parameters) -> Parameters:
        group = self._named("group", context, parameters)

        def change(user: Holder) -> Holder:
            if group.name not in user.groups:
                raise NoSuchEntity(f"User {user.name} is not in group {group.name}.")
            return replace(user, groups=tuple(each for each in user.groups if each != group.name))

        return await self._changed("user", context, parameters, change)

    async def _list_groups_of_user(self, context: Context, parameters: Parameters) -> Parameters:
        user = self._named("user", context, parameters)
        groups = [self._directory.get(context.account, "group", name) for name in user.groups]
        found, more = forms.page(groups, lambda each: each.name.lower(), parameters)
        return {"Groups": [_brief(each) for each in found], **more}

    # -- what there is none of ------------------------------------------------------------

    async def _no_instance_profiles(self, context: Context, parameters: Parameters) -> Parameters:
        if "RoleName" in parameters:
            self._named("role", context, parameters)
        return {"InstanceProfiles": [], "IsTruncated": False}

    async def _no_aliases(self, context: Context, parameters: Parameters) -> Parameters:
        return {"AccountAliases": [], "IsTruncated": False}

    async def _summary(self, context: Context, parameters: Parameters) -> Parameters:
        counts = {
            f"{kind.capitalize()}s": sum(1 for _ in self._directory.all(context.account, kind))
            for kind in PREFIXES
        }
        own = [
            each
            for each in self._directory.policies(context.account)
            if each.account == context.account
        ]
        return {"SummaryMap": {**counts, "Policies": len(own), "PolicySizeQuota": 6144,
                               "AttachedPoliciesPerRoleQuota": _ATTACHED}}  # fmt: skip


def _no_inline(kind: Kind, policy: str) -> NoSuchEntity:
    return NoSuchEntity(f"The {kind} policy with name {policy} cannot be found.")


def _brief(holder: Holder) -> Parameters:
    """As lists show it."""
    title = holder.kind.capitalize()
    described: Parameters = {
        "Path": holder.path,
        f"{title}Name": holder.name,
        f"{title}Id": holder.identifier,
        "Arn": holder.arn,
        "CreateDate": holder.created,
    }
    if holder.kind == "role":
        described["AssumeRolePolicyDocument"] = forms.encoded(holder.trust)
        described["MaxSessionDuration"] = holder.max_session
        described["Description"] = holder.description or None
    return described


def _described(holder: Holder) -> Parameters:
    """The whole of it."""
    described = _brief(holder)
    if holder.kind != "group":
        described["Tags"] = forms.listed(holder.tags) or None
    if holder.kind == "role":
        described["RoleLastUsed"] = {}
    if holder.boundary:
        described["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": holder.boundary,
        }
    return described
