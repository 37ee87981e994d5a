"""IAM's resource types, made through its API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lambent.neighbours.ministack.signing import Client, Failed
from lambent.neighbours.ministack.stack_functions import (
    Clients,
    Kind,
    Made,
    Names,
    Properties,
    own_tags,
    removing,
)

_HOLDERS = ("Role", "User", "Group")


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


class _Holder(Kind):
    """A role, a user or a group with its policies."""

    kind = ""
    most = 64

    @property
    def iam(self) -> Client:
        """IAM, as who the stack acts for."""
        return self._clients("iam")

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        named = f"{self.kind}Name"
        name = properties.get(named) or self._names(stack, logical_id, max_len=self.most)
        given = self.iam.fitting(f"Create{self.kind}", {**properties, named: name})
        if "Tags" in given:
            given["Tags"] = own_tags(given["Tags"])
        if "AssumeRolePolicyDocument" in given:
            given["AssumeRolePolicyDocument"] = _text(given["AssumeRolePolicyDocument"])
        made = self.iam.call(f"Create{self.kind}", **given)[self.kind]
        # With what it holds, or, where that may not be taken from it, as it is.
        with self.undone(name, {}), self.undone(name, properties):
            self._hold(name, {}, properties)
        return name, {"Arn": made["Arn"], f"{self.kind}Id": made[f"{self.kind}Id"]}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        own = f"{self.kind}Name"
        if old.get(own) != new.get(own):
            return super().update(physical_id, old, new, stack, logical_id)
        if self.kind == "Role":
            trust = _text(new["AssumeRolePolicyDocument"])
            if trust != _text(old["AssumeRolePolicyDocument"]):
                self.iam.call("UpdateAssumeRolePolicy", RoleName=physical_id, PolicyDocument=trust)
            if any(old.get(n) != new.get(n) for n in ("Description", "MaxSessionDuration")):
                given = self.iam.fitting("UpdateRole", {**new, "RoleName": physical_id})
                self.iam.call("UpdateRole", **given)
        named = {f"{self.kind}Name": physical_id}
        self._bound(named, old, new)
        self._tag(named, old, new)
        self._hold(physical_id, old, new)
        made = self.iam.call(f"Get{self.kind}", **named)[self.kind]
        return physical_id, {"Arn": made["Arn"], f"{self.kind}Id": made[f"{self.kind}Id"]}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._hold(physical_id, properties, {}))
        named = {f"{self.kind}Name": physical_id}
        removing(lambda: self.iam.call(f"Delete{self.kind}", **named))

    def _bound(self, named: dict[str, str], old: Properties, new: Properties) -> None:
        """Bring its permissions boundary from what it was to what it shall be."""
        was, shall = (each.get("PermissionsBoundary") for each in (old, new))
        operation = f"{self.kind}PermissionsBoundary"
        if shall and shall != was:
            self.iam.call(f"Put{operation}", **named, PermissionsBoundary=shall)
        elif was and not shall:
            self.iam.call(f"Delete{operation}", **named)

    def _tag(self, named: dict[str, str], old: Properties, new: Properties) -> None:
        before, after = own_tags(old.get("Tags")), own_tags(new.get("Tags"))
        kept = {each["Key"] for each in after}
        if gone := [each["Key"] for each in before if each["Key"] not in kept]:
            self.iam.call(f"Untag{self.kind}", **named, TagKeys=gone)
        if after and after != before:
            self.iam.call(f"Tag{self.kind}", **named, Tags=after)

    def _hold(self, name: str, old: Properties, new: Properties) -> None:
        """Bring its policies, and a user's groups, from what they were to what they shall be."""
        named = {f"{self.kind}Name": name}
        before = {each["PolicyName"]: each for each in old.get("Policies") or ()}
        after = {each["PolicyName"]: each for each in new.get("Policies") or ()}
        for gone in before.keys() - after.keys():
            self.iam.call(f"Delete{self.kind}Policy", **named, PolicyName=gone)
        for policy, said in after.items():
            document = _text(said["PolicyDocument"])
            self.iam.call(
                f"Put{self.kind}Policy", **named, PolicyName=policy, PolicyDocument=document
            )
        attached, wanted = (set(each.get("ManagedPolicyArns") or ()) for each in (old, new))
        for arn in attached - wanted:
            self.iam.call(f"Detach{self.kind}Policy", **named, PolicyArn=arn)
        for arn in wanted - attached:
            self.iam.call(f"Attach{self.kind}Policy", **named, PolicyArn=arn)
        if self.kind == "User":
            was, shall = (set(each.get("Groups") or ()) for each in (old, new))
            for group in was - shall:
                self.iam.call("RemoveUserFromGroup", **named, GroupName=group)
            for group in shall - was:
                self.iam.call("AddUserToGroup", **named, GroupName=group)


class Role(_Holder):
    """AWS::IAM::Role"""

    kind = "Role"


class User(_Holder):
    """AWS::IAM::User"""

    kind = "User"


class Group(_Holder):
    """AWS::IAM::Group"""

    kind = "Group"
    most = 128


def _holders(properties: Properties) -> set[tuple[str, str]]:
    return {(kind, name) for kind in _HOLDERS for name in properties.get(f"{kind}s") or ()}


class Policy(Kind):
    """AWS::IAM::Policy"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        document = _text(properties["PolicyDocument"])
        for kind, name in sorted(_holders(properties)):
            self._clients("iam").call(
                f"Put{kind}Policy",
                **{f"{kind}Name": name},
                PolicyName=properties["PolicyName"],
                PolicyDocument=document,
            )
        return properties["PolicyName"], {"Id": properties["PolicyName"]}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        renamed = old["PolicyName"] != new["PolicyName"]
        self._take(old, _holders(old) if renamed else _holders(old) - _holders(new))
        return self.create(logical_id, new, stack)

    def delete(self, physical_id: str, properties: Properties) -> None:
        self._take(properties, _holders(properties))

    def _take(self, properties: Properties, holders: Iterable[tuple[str, str]]) -> None:
        for kind, name in holders:
            given = {f"{kind}Name": name, "PolicyName": properties["PolicyName"]}
            operation = f"Delete{kind}Policy"
            try:
                self._clients("iam").call(operation, **given)
            except Failed as error:
                if error.code != "NoSuchEntity":
                    raise


class ManagedPolicy(Kind):
    """AWS::IAM::ManagedPolicy"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        iam = self._clients("iam")
        name = properties.get("ManagedPolicyName") or self._names(stack, logical_id, max_len=128)
        given = {
            "PolicyName": name,
            "PolicyDocument": _text(properties["PolicyDocument"]),
            "Path": properties.get("Path"),
            "Description": properties.get("Description"),
        }
        arn = iam.call("CreatePolicy", **given)["Policy"]["Arn"]
        with self.undone(arn, properties):
            self._attach(arn, set(), _holders(properties))
        return arn, {"PolicyArn": arn}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        iam = self._clients("iam")
        document = _text(new["PolicyDocument"])
        if document != _text(old["PolicyDocument"]):
            self._drop_versions(physical_id)
            iam.call(
                "CreatePolicyVersion",
                PolicyArn=physical_id,
                PolicyDocument=document,
                SetAsDefault=True,
            )
        self._attach(physical_id, _holders(old), _holders(new))
        return physical_id, {"PolicyArn": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        def remove() -> None:
            self._attach(physical_id, _holders(properties), set())
            self._drop_versions(physical_id)
            self._clients("iam").call("DeletePolicy", PolicyArn=physical_id)

        removing(remove)

    def _drop_versions(self, arn: str) -> None:
        iam = self._clients("iam")
        for each in iam.call("ListPolicyVersions", PolicyArn=arn)["Versions"]:
            if not each["IsDefaultVersion"]:
                iam.call("DeletePolicyVersion", PolicyArn=arn, VersionId=each["VersionId"])

    def _attach(self, arn: str, was: set[tuple[str, str]], shall: set[tuple[str, str]]) -> None:
        iam = self._clients("iam")
        for kind, name in was - shall:
            given = {f"{kind}Name": name, "PolicyArn": arn}
            try:
                iam.call(f"Detach{kind}Policy", **given)
            except Failed as error:
                if error.code != "NoSuchEntity":
                    raise
        for kind, name in shall - was:
            iam.call(f"Attach{kind}Policy", **{f"{kind}Name": name}, PolicyArn=arn)


class AccessKey(Kind):
    """AWS::IAM::AccessKey"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        user = properties["UserName"]
        made = self._clients("iam").call("CreateAccessKey", UserName=user)["AccessKey"]
        return made["AccessKeyId"], {"SecretAccessKey": made["SecretAccessKey"]}

    def delete(self, physical_id: str, properties: Properties) -> None:
        given = {"UserName": properties["UserName"], "AccessKeyId": physical_id}
        removing(lambda: self._clients("iam").call("DeleteAccessKey", **given))


def kinds(clients: Clients, names: Names) -> dict[str, Kind]:
    """The resource types of this file by their names."""
    found = (Role, User, Group, Policy, ManagedPolicy, AccessKey)
    return {str(each.__doc__): each(clients, names) for each in found}
