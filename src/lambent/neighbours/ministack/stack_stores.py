"""The resource types of S3, DynamoDB and Kinesis, made through their APIs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.stack_functions import (
    Kind,
    Made,
    Properties,
    own_tags,
    removing,
    tag_map,
)
from lambent.neighbours.ministack.stack_messages import Permitted, retag, text, truth
from lambent.neighbours.ministack.stack_permits import Permits, acting

_OF_DESTINATIONS = (
    ("LambdaConfigurations", "LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
    ("QueueConfigurations", "QueueConfigurations", "Queue", "QueueArn"),
    ("TopicConfigurations", "TopicConfigurations", "Topic", "TopicArn"),
)


# -- S3 ---------------------------------------------------------------------------------------


def _notified(given: Properties) -> Properties:
    """NotificationConfiguration as PutBucketNotificationConfiguration has it."""
    parameters: Properties = {}
    for property_name, name, target, member in _OF_DESTINATIONS:
        for each in given.get(property_name) or ():
            events = each["Event"] if isinstance(each["Event"], list) else [each["Event"]]
            entry: Properties = {member: each[target], "Events": events}
            rules = (each.get("Filter") or {}).get("S3Key", {}).get("Rules") or []
            if rules:
                names = [{"Name": rule["Name"], "Value": str(rule["Value"])} for rule in rules]
                entry["Filter"] = {"Key": {"FilterRules": names}}
            if each.get("Id"):
                entry["Id"] = str(each["Id"])
            parameters.setdefault(name, []).append(entry)
    bridge = given.get("EventBridgeConfiguration")
    if bridge is not None and truth(bridge.get("EventBridgeEnabled", True)):
        parameters["EventBridgeConfiguration"] = {}
    return parameters


def _shared(given: Properties) -> Properties:
    """CorsConfiguration as PutBucketCors has it."""
    names = {
        "AllowedHeaders": "AllowedHeaders",
        "AllowedMethods": "AllowedMethods",
        "AllowedOrigins": "AllowedOrigins",
        "ExposedHeaders": "ExposeHeaders",
    }
    rules = []
    for rule in given.get("CorsRules") or ():
        entry: Properties = {to: rule[of] for of, to in names.items() if rule.get(of)}
        if rule.get("Id"):
            entry["ID"] = str(rule["Id"])
        entry["MaxAgeSeconds"] = int(rule.get("MaxAge") or 0)
        rules.append(entry)
    return {"CORSRules": rules}


def _blocked(given: Properties) -> Properties:
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    return {name: truth(given.get(name)) for name in names}


def _website(given: Properties) -> Properties:
    """WebsiteConfiguration as PutBucketWebsite has it."""
    parameters: Properties = {}
    if given.get("RedirectAllRequestsTo"):
        parameters["RedirectAllRequestsTo"] = given["RedirectAllRequestsTo"]
    if given.get("IndexDocument"):
        parameters["IndexDocument"] = {"Suffix": given["IndexDocument"]}
    if given.get("ErrorDocument"):
        parameters["ErrorDocument"] = {"Key": given["ErrorDocument"]}
    rules = []
    for rule in given.get("RoutingRules") or ():
        entry = {"Redirect": {k: str(v) for k, v in (rule.get("RedirectRule") or {}).items()}}
        if rule.get("RoutingRuleCondition"):
            condition = rule["RoutingRuleCondition"]
            entry["Condition"] = {name: str(value) for name, value in condition.items()}
        rules.append(entry)
    return {**parameters, "RoutingRules": rules} if rules else parameters


Translate = Callable[[Properties], Properties]
# Property → what sets it, the parameter, its translation, and what sets it back.
_CONFIGURED: dict[str, tuple[str, str, Translate, tuple[str, Properties]]] = {
    "VersioningConfiguration": (
        "PutBucketVersioning",
        "VersioningConfiguration",
        lambda given: {"Status": given["Status"]},
        ("PutBucketVersioning", {"VersioningConfiguration": {"Status": "Suspended"}}),
    ),
    "NotificationConfiguration": (
        "PutBucketNotificationConfiguration",
        "NotificationConfiguration",
        _notified,
        ("PutBucketNotificationConfiguration", {"NotificationConfiguration": {}}),
    ),
    "CorsConfiguration": (
        "PutBucketCors",
        "CORSConfiguration",
        _shared,
        ("DeleteBucketCors", {}),
    ),
    "PublicAccessBlockConfiguration": (
        "PutPublicAccessBlock",
        "PublicAccessBlockConfiguration",
        _blocked,
        ("DeletePublicAccessBlock", {}),
    ),
    "WebsiteConfiguration": (
        "PutBucketWebsite",
        "WebsiteConfiguration",
        _website,
        ("DeleteBucketWebsite", {}),
    ),
}


class Bucket(Permitted):
    """AWS::S3::Bucket"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("BucketName")
        if not name:
            name = self._names(stack, logical_id, lowercase=True, max_len=63, drawn=True)
        self._permits.ask("s3:CreateBucket", f"arn:aws:s3:::{name}")
        if need(MiniStack.part("s3"), "_bucket_owner_account")(name) is not None:
            raise ValueError(f"{name} already exists")
        given: Properties = {"Bucket": name}
        if acting().region != "us-east-1":
            given["CreateBucketConfiguration"] = {"LocationConstraint": acting().region}
        if truth(properties.get("ObjectLockEnabled")):
            given["ObjectLockEnabledForBucket"] = True
        self._clients("s3").call("CreateBucket", **given)
        with self.undone(name, properties):
            self._configure(name, {}, properties)
        return name, _of_bucket(name)

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if new.get("BucketName") not in (None, physical_id):
            made = self.create(logical_id, new, stack)
            self.replaced(physical_id, old, made)
            return made
        self._configure(physical_id, old, new)
        return physical_id, _of_bucket(physical_id)

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("s3").call("DeleteBucket", Bucket=physical_id))

    def _configure(self, name: str, old: Properties, new: Properties) -> None:
        s3 = self._clients("s3")
        for each, (operation, parameter, translate, (undo, given)) in _CONFIGURED.items():
            if each in new and new[each] != old.get(each):
                s3.call(operation, Bucket=name, **{parameter: translate(new[each])})
            elif each in old and each not in new:
                s3.call(undo, Bucket=name, **given)


def _of_bucket(name: str) -> dict[str, str]:
    region = acting().region
    return {
        "Arn": f"arn:aws:s3:::{name}",
        "DomainName": f"{name}.s3.amazonaws.com",
        "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
        "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
        "WebsiteURL": f"http://{name}.s3-website-{region}.amazonaws.com",
    }


class BucketPolicy(Kind):
    """AWS::S3::BucketPolicy"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        bucket, policy = properties["Bucket"], text(properties["PolicyDocument"])
        self._clients("s3").call("PutBucketPolicy", Bucket=bucket, Policy=policy)
        return f"{bucket}-policy", {}

    def delete(self, physical_id: str, properties: Properties) -> None:
        bucket = properties["Bucket"]
        removing(lambda: self._clients("s3").call("DeleteBucketPolicy", Bucket=bucket))


# -- DynamoDB ---------------------------------------------------------------------------------

_UPDATED = ("BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled", "TableClass")
_INDEXES = "GlobalSecondaryIndexes"


class Table(Permitted):
    """AWS::DynamoDB::Table"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("TableName") or self._names(stack, logical_id, max_len=255)
        tables = self._clients("dynamodb")
        given = tables.fitting("CreateTable", {**_as_api(properties), "TableName": name})
        given["Tags"] = own_tags(properties.get("Tags"))
        made = tables.call("CreateTable", **given)["TableDescription"]
        with self.undone(name, properties):
            self._beside(name, {}, properties)
        return name, _of_table(made)

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        tables = self._clients("dynamodb")
        before, after = _as_api(old), _as_api(new)
        if any(
            before.get(each) != after.get(each) for each in ("KeySchema", "LocalSecondaryIndexes")
        ):
            if old.get("TableName"):
                raise ValueError(
                    "CloudFormation cannot update a stack when a custom-named resource requires "
                    f"replacing. Rename {physical_id} and update the stack again."
                )
            fresh = self._names(stack, logical_id, max_len=255, drawn=True)
            made = self.create(logical_id, {**new, "TableName": fresh}, stack)
            self.replaced(physical_id, old, made)
            return made
        changed = {each: after[each] for each in _UPDATED if each in after}
        changed = {each: value for each, value in changed.items() if before.get(each) != value}
        if old.get("DeletionProtectionEnabled") and "DeletionProtectionEnabled" not in new:
            changed["DeletionProtectionEnabled"] = False
        for each, off in (
            ("StreamSpecification", {"StreamEnabled": False}),
            ("SSESpecification", {"Enabled": False}),
        ):
            if before.get(each) != after.get(each):
                changed[each] = after.get(each) or off
        if changed:
            tables.call(
                "UpdateTable", **tables.fitting("UpdateTable", self._of(physical_id, changed))
            )
        self._reindex(physical_id, before, after)
        self._beside(physical_id, old, new)
        table = tables.call("DescribeTable", TableName=physical_id)["Table"]
        retag(tables, "ResourceArn", table["TableArn"], old, new)
        return physical_id, _of_table(table)

    @staticmethod
    def _of(name: str, changed: Properties) -> Properties:
        return {**changed, "TableName": name}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("dynamodb").call("DeleteTable", TableName=physical_id))

    def _reindex(self, name: str, old: Properties, new: Properties) -> None:
        """Bring the table's global indexes from what they were to what they shall be."""
        before = {each["IndexName"]: each for each in old.get(_INDEXES) or ()}
        after = {each["IndexName"]: each for each in new.get(_INDEXES) or ()}
        steps: list[Properties] = [
            {"Delete": {"IndexName": each}} for each in before if after.get(each) != before[each]
        ]
        steps += [{"Create": after[each]} for each in after if before.get(each) != after[each]]
        tables = self._clients("dynamodb")
        for step in steps:
            given = {
                "TableName": name,
                "AttributeDefinitions": new.get("AttributeDefinitions"),
                "GlobalSecondaryIndexUpdates": [step],
            }
            tables.call("UpdateTable", **tables.fitting("UpdateTable", given))

    def _beside(self, name: str, old: Properties, new: Properties) -> None:
        """What has operations of its own."""
        tables = self._clients("dynamodb")
        before, after = (each.get("TimeToLiveSpecification") for each in (old, new))
        if before != after:
            shall = after or {**(before or {}), "Enabled": False}
            if truth(shall.get("Enabled")) or before:
                given = {"TableName": name, "TimeToLiveSpecification": shall}
                tables.call("UpdateTimeToLive", **tables.fitting("UpdateTimeToLive", given))
        policy = (new.get("ResourcePolicy") or {}).get("PolicyDocument")
        if policy and new.get("ResourcePolicy") != old.get("ResourcePolicy"):
            arn = self.arn("dynamodb", f"table/{name}")
            tables.call("PutResourcePolicy", ResourceArn=arn, Policy=text(policy))


def _as_api(properties: Properties) -> Properties:
    """A table's properties as CreateTable has them."""
    parameters = {key: value for key, value in properties.items() if key != "ResourcePolicy"}
    stream = properties.get("StreamSpecification")
    if stream:
        known = {
            each: stream[each] for each in ("StreamEnabled", "StreamViewType") if each in stream
        }
        parameters["StreamSpecification"] = {"StreamEnabled": True, **known}
    encryption = properties.get("SSESpecification")
    if encryption:
        parameters["SSESpecification"] = {
            "Enabled": encryption.get("SSEEnabled"),
            **{
                each: encryption[each]
                for each in ("SSEType", "KMSMasterKeyId")
                if each in encryption
            },
        }
    return parameters


def _of_table(table: Properties) -> dict[str, str]:
    attributes = {"Arn": table["TableArn"]}
    if (table.get("StreamSpecification") or {}).get("StreamEnabled"):
        attributes["StreamArn"] = table["LatestStreamArn"]
    return attributes


# -- Kinesis ----------------------------------------------------------------------------------


class Stream(Permitted):
    """AWS::Kinesis::Stream"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("Name") or self._names(stack, logical_id, lowercase=True, max_len=128)
        streams = self._clients("kinesis")
        mode = (properties.get("StreamModeDetails") or {}).get("StreamMode")
        given: Properties = {"StreamName": name}
        if mode:
            given["StreamModeDetails"] = {"StreamMode": mode}
        given["ShardCount"] = 4 if mode == "ON_DEMAND" else int(properties.get("ShardCount") or 1)
        streams.call("CreateStream", **given)
        with self.undone(name, properties):
            self._settle(name, {}, properties)
        return name, {"Arn": self.arn("kinesis", f"stream/{name}")}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if old.get("Name") != new.get("Name"):
            return super().update(physical_id, old, new, stack, logical_id)
        # The number of shards stays: the service here would lose what is in them.
        arn = self.arn("kinesis", f"stream/{physical_id}")
        mode = new.get("StreamModeDetails")
        if mode and mode != old.get("StreamModeDetails"):
            streams = self._clients("kinesis")
            streams.call("UpdateStreamMode", StreamARN=arn, StreamModeDetails=mode)
        self._settle(physical_id, old, new)
        return physical_id, {"Arn": arn}

    def delete(self, physical_id: str, properties: Properties) -> None:
        given = {"StreamName": physical_id, "EnforceConsumerDeletion": True}
        removing(lambda: self._clients("kinesis").call("DeleteStream", **given))

    def _settle(self, name: str, old: Properties, new: Properties) -> None:
        """What has operations of its own: how long records are kept, encryption, tags."""
        streams = self._clients("kinesis")
        was, shall = (int(each.get("RetentionPeriodHours") or 24) for each in (old, new))
        if was != shall:
            verb = "Increase" if shall > was else "Decrease"
            given = {"StreamName": name, "RetentionPeriodHours": shall}
            streams.call(f"{verb}StreamRetentionPeriod", **given)
        before, after = old.get("StreamEncryption"), new.get("StreamEncryption")
        if before != after:
            verb = "Start" if after else "Stop"
            streams.call(f"{verb}StreamEncryption", StreamName=name, **(after or before or {}))
        gone, tags = tag_map(old.get("Tags")) or {}, tag_map(new.get("Tags")) or {}
        if lost := [key for key in gone if key not in tags]:
            streams.call("RemoveTagsFromStream", StreamName=name, TagKeys=lost)
        if tags and tags != gone:
            streams.call("AddTagsToStream", StreamName=name, Tags=tags)


def kinds(clients: Any, names: Any, permits: Permits) -> dict[str, Kind]:
    """The resource types of this file by their names."""
    types: tuple[Kind, ...] = (
        Bucket(clients, names, permits),
        BucketPolicy(clients, names),
        Table(clients, names, permits),
        Stream(clients, names, permits),
    )
    return {str(each.__doc__): each for each in types}
