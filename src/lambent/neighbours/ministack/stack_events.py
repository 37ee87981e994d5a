"""The resource types of EventBridge and its Scheduler, made through their APIs."""

from __future__ import annotations

from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.signing import Failed
from lambent.neighbours.ministack.stack_functions import (
    Kind,
    Made,
    Properties,
    own_tags,
    removing,
)
from lambent.neighbours.ministack.stack_messages import Permitted, retag, text
from lambent.neighbours.ministack.stack_permits import Permits


class Rule(Permitted):
    """AWS::Events::Rule"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("Name") or self._names(stack, logical_id, max_len=64)
        bus = _bus(properties)
        arn = self.arn("events", f"rule/{name}" if bus == "default" else f"rule/{bus}/{name}")
        # PutRule would change a rule that is there already.
        self._permits.ask("events:PutRule", arn)
        module = MiniStack.part("eventbridge")
        if need(module, "_rule_key")(name, bus) in need(module, "_rules"):
            raise ValueError(f"Rule {name} already exists")
        with self.undone(name, {**properties, "Targets": []}):
            self._put(name, {}, properties)
        return name, {"Arn": arn, "RuleName": name}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if old.get("Name") != new.get("Name") or _bus(old) != _bus(new):
            moved = new if new.get("Name") or old.get("Name") else {**new, "Name": physical_id}
            made = self.create(logical_id, moved, stack)
            self.replaced(physical_id, old, made)
            return made
        self._put(physical_id, old, new)
        bus = _bus(new)
        place = f"rule/{physical_id}" if bus == "default" else f"rule/{bus}/{physical_id}"
        arn = self.arn("events", place)
        retag(self._clients("events"), "ResourceARN", arn, old, new)
        return physical_id, {"Arn": arn, "RuleName": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        events = self._clients("events")
        given = {"Rule": physical_id, "EventBusName": _bus(properties)}
        identifiers = [each["Id"] for each in properties.get("Targets") or ()]
        if identifiers:
            removing(lambda: events.call("RemoveTargets", **given, Ids=identifiers))
        removing(lambda: events.call("DeleteRule", Name=physical_id, EventBusName=_bus(properties)))

    def _put(self, name: str, old: Properties, new: Properties) -> None:
        events, bus = self._clients("events"), _bus(new)
        given = events.fitting("PutRule", {**new, "Name": name, "EventBusName": bus})
        if "EventPattern" in new:
            given["EventPattern"] = text(new["EventPattern"])
        given["Tags"] = own_tags(new.get("Tags")) if not old else None
        events.call("PutRule", **given)
        place = {"Rule": name, "EventBusName": bus}
        targets = events.fitting("PutTargets", new).get("Targets") or []
        kept = {each["Id"] for each in targets}
        gone = [each["Id"] for each in old.get("Targets") or () if each["Id"] not in kept]
        if gone:
            events.call("RemoveTargets", **place, Ids=gone)
        if targets:
            failed = events.call("PutTargets", **place, Targets=targets).get("FailedEntries")
            if failed:
                raise Failed(failed[0]["ErrorCode"], failed[0]["ErrorMessage"])


def _bus(properties: Properties) -> str:
    """The name of a rule's bus, which may be given as an ARN."""
    return str(properties.get("EventBusName") or "default").rpartition("/")[2]


class EventBus(Permitted):
    """AWS::Events::EventBus"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("Name") or self._names(stack, logical_id, max_len=256)
        events = self._clients("events")
        given = events.fitting("CreateEventBus", {**properties, "Name": name})
        given["Tags"] = own_tags(properties.get("Tags"))
        events.call("CreateEventBus", **given)
        with self.undone(name, properties):
            self._allow(name, {}, properties)
        return name, {"Arn": self.arn("events", f"event-bus/{name}"), "Name": name}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if old.get("Name") != new.get("Name"):
            return super().update(physical_id, old, new, stack, logical_id)
        events = self._clients("events")
        parts = ("Description", "KmsKeyIdentifier", "DeadLetterConfig", "LogConfig")
        if any(old.get(each) != new.get(each) for each in parts):
            given = events.fitting("UpdateEventBus", {**new, "Name": physical_id})
            events.call("UpdateEventBus", **given)
        self._allow(physical_id, old, new)
        arn = self.arn("events", f"event-bus/{physical_id}")
        retag(events, "ResourceARN", arn, old, new)
        return physical_id, {"Arn": arn, "Name": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("events").call("DeleteEventBus", Name=physical_id))

    def _allow(self, name: str, old: Properties, new: Properties) -> None:
        events = self._clients("events")
        if new.get("Policy") and new["Policy"] != old.get("Policy"):
            events.call("PutPermission", EventBusName=name, Policy=text(new["Policy"]))
        elif old.get("Policy") and not new.get("Policy"):
            events.call("RemovePermission", EventBusName=name, RemoveAllPermissions=True)


class Schedule(Kind):
    """AWS::Scheduler::Schedule"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("Name") or self._names(stack, logical_id, max_len=64)
        return name, {"Arn": self._send("CreateSchedule", {**properties, "Name": name})}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        if old.get("Name") != new.get("Name") or _group(old) != _group(new):
            moved = new if new.get("Name") or old.get("Name") else {**new, "Name": physical_id}
            made = self.create(logical_id, moved, stack)
            self.replaced(physical_id, old, made)
            return made
        given = {**new, "Name": physical_id}
        return physical_id, {"Arn": self._send("UpdateSchedule", given)}

    def delete(self, physical_id: str, properties: Properties) -> None:
        given = {"Name": physical_id, "GroupName": _group(properties)}
        removing(lambda: self._clients("scheduler").call("DeleteSchedule", **given))

    def _send(self, operation: str, properties: Properties) -> str:
        scheduler = self._clients("scheduler")
        given = scheduler.fitting(operation, properties)
        return str(scheduler.call(operation, **given)["ScheduleArn"])


def _group(properties: Properties) -> str:
    return str(properties.get("GroupName") or "default")


class ScheduleGroup(Kind):
    """AWS::Scheduler::ScheduleGroup"""

    def create(self, logical_id: str, properties: Properties, stack: str) -> Made:
        name = properties.get("Name") or self._names(stack, logical_id, max_len=64)
        tags = own_tags(properties.get("Tags"))
        made = self._clients("scheduler").call("CreateScheduleGroup", Name=name, Tags=tags)
        return name, {"Arn": made["ScheduleGroupArn"]}

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Made:
        scheduler = self._clients("scheduler")
        arn = scheduler.call("GetScheduleGroup", Name=physical_id)["Arn"]
        retag(scheduler, "ResourceArn", arn, old, new)
        return physical_id, {"Arn": arn}

    def delete(self, physical_id: str, properties: Properties) -> None:
        removing(lambda: self._clients("scheduler").call("DeleteScheduleGroup", Name=physical_id))


def kinds(clients: Any, names: Any, permits: Permits) -> dict[str, Kind]:
    """The resource types of this file by their names."""
    types: tuple[Kind, ...] = (
        Rule(clients, names, permits),
        EventBus(clients, names, permits),
        Schedule(clients, names),
        ScheduleGroup(clients, names),
    )
    return {str(each.__doc__): each for each in types}
