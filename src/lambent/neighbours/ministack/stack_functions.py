"""Lambda's and CloudWatch Logs' resource types, made through their APIs."""

from __future__ import annotations

import abc
import base64
import contextlib
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.signing import Client, Failed

Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]
Clients = Callable[[str], Client]
Names = Callable[..., str]

_READY_SECONDS = 120
_GONE = (
    "ResourceNotFoundException",
    "NoSuchEntity",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "NotFound",
    "NotFoundException",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "ParameterNotFound",
)


def removing(call: Callable[[], Any]) -> None:
    """Remove something; what is gone already is as good."""
    try:
        call()
    except Failed as error:
        if error.code not in _GONE:
            raise


def own_tags(tags: Any) -> list[dict[str, str]]:
    """A template's tags but those that only AWS itself may set."""
    return [each for each in tags or () if not each["Key"].startswith("aws:")]


def tag_map(tags: Any) -> dict[str, str] | None:
    """A template's list of tags as a map."""
    return {each["Key"]: str(each["Value"]) for each in own_tags(tags)} or None


class Kind(abc.ABC):
    """A resource type: made, changed and removed; ``change`` of most is to make it anew."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._names = names

    @property
    def functions(self) -> Client:
        """Lambda, as who the stack acts for."""
        return self._clients("lambda")

    @abc.abstractmethod
    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        """The physical id and the attributes of a new one."""

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        """The same of one that was changed."""
        made = self.create(logical_id, new, stack)
        if made[0] != physical_id:
            self.replaced(physical_id, old, made)
        return made

    @contextlib.contextmanager
    def undone(self, physical_id: str, properties: Properties) -> Iterator[None]:
        """Remove what was made when what follows fails: the stack does not know of it yet."""
        try:
            yield
        except Exception:
            with contextlib.suppress(Failed):
                self.delete(physical_id, properties)
            raise

    def replaced(self, physical_id: str, old: Properties, made: Made) -> None:
        """Remove what was replaced, unless the stack does it when all else is done, or keeps it."""
        provisioners = MiniStack.part("cloudformation.provisioners")
        later = need(provisioners, "_DEFERRED_PREDECESSOR_DELETES").get() is not None
        kept = need(provisioners, "_RETAIN_REPLACED").get()
        if not kept and not (later and made[0] != physical_id):
            self.delete(physical_id, old)

    @abc.abstractmethod
    def delete(self, physical_id: str, properties: Properties) -> None:
        """Remove one."""


class Function(Kind):
    """AWS::Lambda::Function"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("FunctionName") or self._names(stack, logical_id, max_len=64)
        given = self.functions.fitting("CreateFunction", {**properties, "FunctionName": name})
        given["Code"] = _code(properties)
        given["Tags"] = tag_map(properties.get("Tags"))
        arn = self.functions.call("CreateFunction", **given)["FunctionArn"]
        with self.undone(name, properties):
            self._settled(name)
            self._reserve(name, properties)
        return name, {"Arn": arn}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        code = ("Code", "Architectures")
        if any(old.get(each) != new.get(each) for each in code):
            given = self.functions.fitting("UpdateFunctionCode", new)
            given |= {**_code(new), "FunctionName": physical_id}
            self.functions.call("UpdateFunctionCode", **given)
            self._settled(physical_id)
        given = self.functions.fitting("UpdateFunctionConfiguration", new)
        for name, empty in (("Environment", {"Variables": {}}), ("Layers", [])):
            if name in old:
                given.setdefault(name, empty)
        given["FunctionName"] = physical_id
        arn = self.functions.call("UpdateFunctionConfiguration", **given)["FunctionArn"]
        self._settled(physical_id)
        before, after = tag_map(old.get("Tags")) or {}, tag_map(new.get("Tags")) or {}
        gone = [key for key in before if key not in after]
        if gone:
            self.functions.call("UntagResource", Resource=arn, TagKeys=gone)
        if after != before and after:
            self.functions.call("TagResource", Resource=arn, Tags=after)
        if old.get("ReservedConcurrentExecutions") != new.get("ReservedConcurrentExecutions"):
            self._reserve(physical_id, new)
        return physical_id, {"Arn": arn}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self.functions.call("DeleteFunction", FunctionName=physical_id))

    def _reserve(self, name: str, properties: Properties) -> None:
        reserved = properties.get("ReservedConcurrentExecutions")
        if reserved is not None:
            self.functions.call(
                "PutFunctionConcurrency",
                FunctionName=name,
                ReservedConcurrentExecutions=int(reserved),
            )
        else:
            removing(lambda: self.functions.call("DeleteFunctionConcurrency", FunctionName=name))

    def _settled(self, name: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            now = self.functions.call("GetFunctionConfiguration", FunctionName=name)
            states = (now["State"], now.get("LastUpdateStatus"))
            if "Failed" in states:
                raise Failed(
                    "Failed", now.get("StateReason") or now.get("LastUpdateStatusReason", "")
                )
            if states[0] in ("Active", "Inactive") and states[1] == "Successful":
                return
            if time.monotonic() > deadline:
                raise Failed("Failed", f"{name} did not become active")
            time.sleep(0.02)


def _code(properties: Properties) -> dict[str, Any]:
    """A template's code as the API wants it: inline text becomes an archive."""
    code = dict(properties.get("Code") or {})
    text = code.pop("ZipFile", None)
    if text is not None:
        suffix = "js" if str(properties.get("Runtime")).startswith("nodejs") else "py"
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            entry = zipfile.ZipInfo(f"index.{suffix}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
        code["ZipFile"] = buffer.getvalue()
    return code


class Version(Kind):
    """AWS::Lambda::Version"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        given = self.functions.fitting("PublishVersion", properties)
        made = self.functions.call("PublishVersion", **given)
        return made["FunctionArn"], {"Version": made["Version"], "FunctionArn": made["FunctionArn"]}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        version = physical_id.rpartition(":")[2]
        return physical_id, {"Version": version, "FunctionArn": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self.functions.call("DeleteFunction", FunctionName=physical_id))


class Alias(Kind):
    """AWS::Lambda::Alias"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        given = self.functions.fitting("CreateAlias", properties)
        arn = self.functions.call("CreateAlias", **given)["AliasArn"]
        return arn, {"AliasArn": arn}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        given = self.functions.fitting("UpdateAlias", new)
        self.functions.call("UpdateAlias", **given)
        return physical_id, {"AliasArn": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(
            lambda: self.functions.call(
                "DeleteAlias",
                FunctionName=properties["FunctionName"],
                Name=properties["Name"],
            )
        )


class Permission(Kind):
    """AWS::Lambda::Permission"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        said = hashlib.sha256(json.dumps(properties, sort_keys=True, default=str).encode())
        identifier = f"{stack}-{logical_id}"[:80] + f"-{said.hexdigest()[:12]}"
        given = self.functions.fitting("AddPermission", properties)
        self.functions.call("AddPermission", **{**given, "StatementId": identifier})
        return identifier, {"Id": identifier}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(
            lambda: self.functions.call(
                "RemovePermission",
                FunctionName=properties["FunctionName"],
                StatementId=physical_id,
            )
        )


class Url(Kind):
    """AWS::Lambda::Url"""

    def _given(self, operation: str, properties: Properties) -> dict[str, Any]:
        given = self.functions.fitting(operation, properties)
        return {**given, "FunctionName": properties["TargetFunctionArn"]}

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        given = self._given("CreateFunctionUrlConfig", properties)
        made = self.functions.call("CreateFunctionUrlConfig", **given)
        return made["FunctionArn"], _told(made, "FunctionArn", "FunctionUrl")

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        given = self._given("UpdateFunctionUrlConfig", new)
        made = self.functions.call("UpdateFunctionUrlConfig", **given)
        return physical_id, _told(made, "FunctionArn", "FunctionUrl")

    def delete(self, physical_id: str, properties: Properties) -> None:
        given = {
            "FunctionName": properties["TargetFunctionArn"],
            "Qualifier": properties.get("Qualifier"),
        }
        removing(lambda: self.functions.call("DeleteFunctionUrlConfig", **given))


def _told(made: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: made[name] for name in names}


class EventSourceMapping(Kind):
    """AWS::Lambda::EventSourceMapping"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        given = self.functions.fitting("CreateEventSourceMapping", properties)
        given["Tags"] = tag_map(properties.get("Tags"))
        made = self.functions.call("CreateEventSourceMapping", **given)
        arn = made.get("EventSourceMappingArn", "")
        return made["UUID"], {"Id": made["UUID"], "EventSourceMappingArn": arn}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        given = self.functions.fitting("UpdateEventSourceMapping", new)
        made = self.functions.call("UpdateEventSourceMapping", **{**given, "UUID": physical_id})
        arn = made.get("EventSourceMappingArn", "")
        return physical_id, {"Id": physical_id, "EventSourceMappingArn": arn}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self.functions.call("DeleteEventSourceMapping", UUID=physical_id))


class LayerVersion(Kind):
    """AWS::Lambda::LayerVersion"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("LayerName") or self._names(stack, logical_id, max_len=140)
        given = self.functions.fitting("PublishLayerVersion", {**properties, "LayerName": name})
        arn = self.functions.call("PublishLayerVersion", **given)["LayerVersionArn"]
        return arn, {"LayerVersionArn": arn}

    def delete(self, physical_id: str, properties: Properties) -> None:
        layer, _, version = physical_id.rpartition(":")
        given = {"LayerName": layer, "VersionNumber": int(version)}
        removing(lambda: self.functions.call("DeleteLayerVersion", **given))


class LayerVersionPermission(Kind):
    """AWS::Lambda::LayerVersionPermission"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        layer, _, version = properties["LayerVersionArn"].rpartition(":")
        given = self.functions.fitting("AddLayerVersionPermission", properties)
        given |= {"LayerName": layer, "VersionNumber": int(version)}
        identifier = self._names(stack, logical_id, max_len=100)
        self.functions.call("AddLayerVersionPermission", **{**given, "StatementId": identifier})
        return f"{properties['LayerVersionArn']}#{identifier}", {"Id": identifier}

    def delete(self, physical_id: str, properties: Properties) -> None:
        arn, _, identifier = physical_id.partition("#")
        layer, _, version = arn.rpartition(":")
        given = {"LayerName": layer, "VersionNumber": int(version), "StatementId": identifier}
        removing(lambda: self.functions.call("RemoveLayerVersionPermission", **given))


class EventInvokeConfig(Kind):
    """AWS::Lambda::EventInvokeConfig"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        given = self.functions.fitting("PutFunctionEventInvokeConfig", properties)
        self.functions.call("PutFunctionEventInvokeConfig", **given)
        said = f"{properties['FunctionName']}|{properties.get('Qualifier', '$LATEST')}"
        return base64.urlsafe_b64encode(said.encode()).decode(), {}

    def delete(self, physical_id: str, properties: Properties) -> None:
        given = {each: properties.get(each) for each in ("FunctionName", "Qualifier")}
        removing(lambda: self.functions.call("DeleteFunctionEventInvokeConfig", **given))


class LogGroup(Kind):
    """AWS::Logs::LogGroup"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        logs = self._clients("logs")
        name = properties.get("LogGroupName") or self._names(stack, logical_id, max_len=512)
        logs.call("CreateLogGroup", logGroupName=name, tags=tag_map(properties.get("Tags")))
        return name, self._kept(name, properties)

    def _kept(self, name: str, properties: Properties) -> dict[str, Any]:
        logs, days = self._clients("logs"), properties.get("RetentionInDays")
        if days is not None:
            logs.call("PutRetentionPolicy", logGroupName=name, retentionInDays=int(days))
        groups = logs.call("DescribeLogGroups", logGroupNamePrefix=name)["logGroups"]
        return {"Arn": next(each["arn"] for each in groups if each["logGroupName"] == name)}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if "RetentionInDays" in old and "RetentionInDays" not in new:
            self._clients("logs").call("DeleteRetentionPolicy", logGroupName=physical_id)
        return physical_id, self._kept(physical_id, new)

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("logs").call("DeleteLogGroup", logGroupName=physical_id))


def kinds(clients: Clients, names: Names) -> dict[str, Kind]:
    """The resource types of this file by their names."""
    found = (
        Function,
        Version,
        Alias,
        Permission,
        Url,
        EventSourceMapping,
        LayerVersion,
        LayerVersionPermission,
        EventInvokeConfig,
        LogGroup,
    )
    return {str(each.__doc__): each(clients, names) for each in found}
