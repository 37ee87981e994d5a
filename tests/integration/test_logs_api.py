"""CloudWatch Logs as boto3 knows it: groups, streams, retention, filters."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Functions, Server

DAY = 86_400


@pytest.fixture
def logs(server: Server) -> Iterator[Any]:
    """A client, and no groups of a test left afterwards."""
    client = server.client("logs")
    yield client
    for group in client.describe_log_groups(logGroupNamePrefix="/test/")["logGroups"]:
        client.delete_log_group(logGroupName=group["logGroupName"])


def put(logs: Any, group: str, stream: str, *messages: str, at: float | None = None) -> Any:
    when = int((at or time.time()) * 1000)
    events = [{"timestamp": when + n, "message": each} for n, each in enumerate(messages)]
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def messages(logs: Any, group: str, **options: Any) -> list[str]:
    found = logs.filter_log_events(logGroupName=group, **options)["events"]
    return [each["message"] for each in found]


def test_groups_and_streams_are_made_written_read_and_deleted(logs: Any) -> None:
    logs.create_log_group(logGroupName="/test/g")
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="/test/g")
    logs.create_log_stream(logGroupName="/test/g", logStreamName="one")
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName="/test/g", logStreamName="one")
    logs.create_log_stream(logGroupName="/test/g", logStreamName="two")
    put(logs, "/test/g", "one", "a", "b")
    put(logs, "/test/g", "two", "c")
    assert sorted(messages(logs, "/test/g")) == ["a", "b", "c"]
    assert messages(logs, "/test/g", logStreamNames=["one"]) == ["a", "b"]
    streams = logs.describe_log_streams(logGroupName="/test/g")["logStreams"]
    assert [each["logStreamName"] for each in streams] == ["one", "two"]
    logs.delete_log_stream(logGroupName="/test/g", logStreamName="one")
    assert messages(logs, "/test/g") == ["c"]
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_stream(logGroupName="/test/g", logStreamName="one")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        put(logs, "/test/g", "one", "late")
    logs.delete_log_group(logGroupName="/test/g")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        messages(logs, "/test/g")


def test_what_is_too_old_or_out_of_order_is_refused(logs: Any) -> None:
    logs.create_log_group(logGroupName="/test/g")
    logs.create_log_stream(logGroupName="/test/g", logStreamName="s")
    told = put(logs, "/test/g", "s", "old", at=time.time() - 15 * DAY)
    assert told["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    now = int(time.time() * 1000)
    events = [{"timestamp": now - n, "message": "x"} for n in range(2)]
    with pytest.raises(logs.exceptions.InvalidParameterException, match="chronological"):
        logs.put_log_events(logGroupName="/test/g", logStreamName="s", logEvents=events)
    assert messages(logs, "/test/g") == []


def test_filter_patterns_choose_events(functions: Functions, logs: Any) -> None:
    name = functions.create(
        "import json\ndef handler(e, c):\n"
        "    print('ERROR something')\n"
        "    print(json.dumps({'level': 'ERROR', 'n': 7}))\n    print('fine')\n"
    )
    functions.invoke(name)
    group = f"/aws/lambda/{name}"
    assert messages(logs, group, filterPattern="something") == ["ERROR something"]
    assert messages(logs, group, filterPattern='{ $.level = "ERROR" && $.n > 6 }') == [
        json.dumps({"level": "ERROR", "n": 7})
    ]
    assert len(messages(logs, group, filterPattern="?fine ?REPORT")) == 2
    with pytest.raises(logs.exceptions.InvalidParameterException, match="Invalid filter pattern"):
        messages(logs, group, filterPattern="{ $.x }")


def test_retention_hides_and_then_removes_what_is_kept_no_longer(
    servers: Callable[..., Server],
) -> None:
    server = servers()
    logs = server.client("logs")
    logs.create_log_group(logGroupName="/test/g")
    logs.create_log_stream(logGroupName="/test/g", logStreamName="s")
    put(logs, "/test/g", "s", "old", at=time.time() - 3 * DAY)
    put(logs, "/test/g", "s", "new")
    assert messages(logs, "/test/g") == ["old", "new"]
    with pytest.raises(logs.exceptions.InvalidParameterException, match="retentionInDays"):
        logs.put_retention_policy(logGroupName="/test/g", retentionInDays=2)
    logs.put_retention_policy(logGroupName="/test/g", retentionInDays=1)
    described = logs.describe_log_groups(logGroupNamePrefix="/test/g")["logGroups"][0]
    assert described["retentionInDays"] == 1 and described["creationTime"] > 0
    assert messages(logs, "/test/g") == ["new"]
    logs.delete_retention_policy(logGroupName="/test/g")
    assert messages(logs, "/test/g") == ["old", "new"]


def test_a_segment_past_its_time_is_removed_from_the_disk(tmp_path: Any) -> None:
    import asyncio

    from lambent.observe.logs import LogStore

    async def scenario() -> None:
        store = LogStore(tmp_path, 1 << 20)
        for group, days in (("kept", 7), ("gone", 1), ("forever", None)):
            await store.create("0" * 12, "r", group, 0)
            await store.update("0" * 12, "r", group, retention_days=days)
            store.writer("0" * 12, "r", group, "s")(0, ["line"])
            await store.flush()
            segment = store.folder("0" * 12, "r", group) / "0000000001.log"
            os.utime(segment, (0, 2 * DAY))
        await store.expire(2 * DAY + 1.5 * DAY)
        left = {path.parent.name for path in tmp_path.glob("*/*/*/*.log")}
        assert left == {"kept", "forever"}

    asyncio.run(scenario())


def test_a_live_tail_shows_what_comes(functions: Functions, server: Server) -> None:
    name = functions.create("def handler(e, c): print('seen', e['n']); print('other')")
    functions.invoke(name, {"n": 1})
    logs = server.client("logs", inject_host_prefix=False)
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/{name}"
    answer = logs.start_live_tail(logGroupIdentifiers=[arn], logEventFilterPattern="seen")
    stream = iter(answer["responseStream"])
    assert next(stream)["sessionStart"]["logGroupIdentifiers"] == [arn]
    functions.invoke(name, {"n": 2})
    messages: list[str] = []
    while not messages:
        update = next(stream)["sessionUpdate"]
        messages += [each["message"] for each in update["sessionResults"]]
    assert messages == ["seen 2"]
    answer["responseStream"].close()
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.start_live_tail(logGroupIdentifiers=[arn + "none"])
