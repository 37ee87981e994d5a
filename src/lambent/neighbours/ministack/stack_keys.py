"""The resource types of KMS, the Parameter Store and Secrets Manager, made through their APIs."""

from __future__ import annotations

import json
from typing import Any

from lambent.neighbours.ministack.signing import Client
from lambent.neighbours.ministack.stack_functions import (
    Kind,
    Made,
    Properties,
    own_tags,
    removing,
)
from lambent.neighbours.ministack.stack_messages import Permitted, retag, text, truth
from lambent.neighbours.ministack.stack_permits import Permits

_FIXED = {
    "KeySpec": "SYMMETRIC_DEFAULT",
    "KeyUsage": "ENCRYPT_DECRYPT",
    "Origin": "AWS_KMS",
    "MultiRegion": False,
}


class Key(Kind):
    """AWS::KMS::Key"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        keys = self._clients("kms")
        given = keys.fitting("CreateKey", properties)
        given["Tags"] = _tags(properties)
        if properties.get("KeyPolicy") is not None:
            given["Policy"] = text(properties["KeyPolicy"])
        made = keys.call("CreateKey", **given)["KeyMetadata"]
        with self.undone(made["KeyId"], properties):
            self._settle(made["KeyId"], {}, properties)
        return made["KeyId"], {"Arn": made["Arn"], "KeyId": made["KeyId"]}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        for name, otherwise in _FIXED.items():
            if old.get(name, otherwise) != new.get(name, otherwise):
                raise ValueError(f"{name} cannot be changed after the KMS key is created")
        keys = self._clients("kms")
        if old.get("Description") != new.get("Description"):
            description = new.get("Description") or ""
            keys.call("UpdateKeyDescription", KeyId=physical_id, Description=description)
        policy = new.get("KeyPolicy")
        if policy is not None and policy != old.get("KeyPolicy"):
            keys.call("PutKeyPolicy", KeyId=physical_id, PolicyName="default", Policy=text(policy))
        self._settle(physical_id, old, new)
        before, after = _tags(old), _tags(new)
        kept = {each["TagKey"] for each in after}
        if gone := [each["TagKey"] for each in before if each["TagKey"] not in kept]:
            keys.call("UntagResource", KeyId=physical_id, TagKeys=gone)
        if after and after != before:
            keys.call("TagResource", KeyId=physical_id, Tags=after)
        arn = keys.call("DescribeKey", KeyId=physical_id)["KeyMetadata"]["Arn"]
        return physical_id, {"Arn": arn, "KeyId": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        days = int(properties.get("PendingWindowInDays") or 30)
        given = {"KeyId": physical_id, "PendingWindowInDays": days}
        removing(lambda: self._clients("kms").call("ScheduleKeyDeletion", **given))

    def _settle(self, key: str, old: Properties, new: Properties) -> None:
        keys = self._clients("kms")
        was, shall = (truth(each.get("Enabled", True)) for each in (old, new))
        if was != shall:
            keys.call("EnableKey" if shall else "DisableKey", KeyId=key)
        rotation = ("EnableKeyRotation", "RotationPeriodInDays")
        if [old.get(each) for each in rotation] == [new.get(each) for each in rotation]:
            return
        if truth(new.get("EnableKeyRotation")):
            days = new.get("RotationPeriodInDays")
            period = {} if days is None else {"RotationPeriodInDays": int(days)}
            keys.call("EnableKeyRotation", KeyId=key, **period)
        elif truth(old.get("EnableKeyRotation")):
            keys.call("DisableKeyRotation", KeyId=key)


def _tags(properties: Properties) -> list[dict[str, str]]:
    own = own_tags(properties.get("Tags"))
    return [{"TagKey": each["Key"], "TagValue": str(each["Value"])} for each in own]


class Alias(Kind):
    """AWS::KMS::Alias"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name, target = properties["AliasName"], properties["TargetKeyId"]
        self._clients("kms").call("CreateAlias", AliasName=name, TargetKeyId=target)
        return name, {}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if old["AliasName"] != new["AliasName"]:
            return super().update(physical_id, old, new, stack, logical_id)
        target = new["TargetKeyId"]
        self._clients("kms").call("UpdateAlias", AliasName=physical_id, TargetKeyId=target)
        return physical_id, {}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("kms").call("DeleteAlias", AliasName=physical_id))


class Parameter(Permitted):
    """AWS::SSM::Parameter"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("Name") or f"/{stack}/{logical_id}"
        given = self._given(name, properties)
        given["Tags"] = _listed(properties.get("Tags"))
        return name, self._put(name, given)

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        made = self._put(physical_id, {**self._given(physical_id, new), "Overwrite": True})
        before, after = _listed(old.get("Tags")), _listed(new.get("Tags"))
        of = {"ResourceType": "Parameter", "ResourceId": physical_id}
        kept = {each["Key"] for each in after}
        parameters = self._clients("ssm")
        if gone := [each["Key"] for each in before if each["Key"] not in kept]:
            parameters.call("RemoveTagsFromResource", **of, TagKeys=gone)
        if after and after != before:
            parameters.call("AddTagsToResource", **of, Tags=after)
        return physical_id, made

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("ssm").call("DeleteParameter", Name=physical_id))

    def _given(self, name: str, properties: Properties) -> Properties:
        if properties.get("Type") not in ("String", "StringList"):
            raise ValueError("Type must be String or StringList")
        if not isinstance(properties.get("Value"), str | int | float):
            raise ValueError("[#/Value: expected type: String]")
        named = {key: each for key, each in properties.items() if key != "Tags"}
        return self._clients("ssm").fitting("PutParameter", {**named, "Name": name})

    def _put(self, name: str, given: Properties) -> dict[str, Any]:
        self._clients("ssm").call("PutParameter", **given)
        arn = self.arn("ssm", f"parameter/{name.removeprefix('/')}")
        return {"Arn": arn, "Type": given["Type"], "Value": given["Value"]}


def _listed(tags: Any) -> list[dict[str, str]]:
    """A parameter's tags, which are a map in templates."""
    if isinstance(tags, dict):
        tags = [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]
    return own_tags(tags)


class Secret(Kind):
    """AWS::SecretsManager::Secret"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        secrets = self._clients("secretsmanager")
        name = properties.get("Name") or self._names(stack, logical_id)
        given = secrets.fitting("CreateSecret", {**properties, "Name": name})
        given["SecretString"] = _value(secrets, properties)
        given["Tags"] = own_tags(properties.get("Tags"))
        given["AddReplicaRegions"] = properties.get("ReplicaRegions")
        arn = secrets.call("CreateSecret", **given)["ARN"]
        return arn, {"Id": arn, "Arn": arn}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if old.get("Name") != new.get("Name"):
            return super().update(physical_id, old, new, stack, logical_id)
        secrets = self._clients("secretsmanager")
        given = secrets.fitting("UpdateSecret", {**new, "SecretId": physical_id})
        given.pop("SecretString", None)
        if "Description" in old:
            given.setdefault("Description", "")
        sources = ("SecretString", "GenerateSecretString")
        if any(old.get(each) != new.get(each) for each in sources):
            given["SecretString"] = _value(secrets, new)
        arn = secrets.call("UpdateSecret", **given)["ARN"]
        retag(secrets, "SecretId", physical_id, old, new)
        regions = new.get("ReplicaRegions")
        if regions and regions != old.get("ReplicaRegions"):
            given = {"SecretId": physical_id, "AddReplicaRegions": regions}
            secrets.call("ReplicateSecretToRegions", **given)
        return physical_id, {"Id": arn, "Arn": arn}

    def delete(self, physical_id: str, properties: Properties) -> None:
        given = {"SecretId": physical_id, "ForceDeleteWithoutRecovery": True}
        removing(lambda: self._clients("secretsmanager").call("DeleteSecret", **given))


def _value(secrets: Client, properties: Properties) -> str:
    """The secret: as given, or a password generated, alone or in a JSON document."""
    rules = properties.get("GenerateSecretString")
    if rules is None or properties.get("SecretString"):
        return str(properties.get("SecretString", ""))
    given = secrets.fitting("GetRandomPassword", rules)
    password = str(secrets.call("GetRandomPassword", **given)["RandomPassword"])
    template, key = rules.get("SecretStringTemplate"), rules.get("GenerateStringKey")
    if not template or not key:
        return password
    document = json.loads(template)
    if not isinstance(document, dict):
        raise ValueError("SecretStringTemplate must be a JSON object")
    return json.dumps({**document, key: password})


def kinds(clients: Any, names: Any, permits: Permits) -> dict[str, Kind]:
    """The resource types of this file by their names."""
    types: tuple[Kind, ...] = (
        Key(clients, names),
        Alias(clients, names),
        Parameter(clients, names, permits),
        Secret(clients, names),
    )
    return {str(each.__doc__): each for each in types}
