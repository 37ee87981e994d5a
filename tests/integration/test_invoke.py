"""Functions run as they do on AWS: answers, context, reuse, logs."""

from __future__ import annotations

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import RUNTIME, Functions, Server


def test_a_function_answers_with_what_its_handler_returns(functions: Functions) -> None:
    name = functions.create("def handler(event, context): return {'sum': event['a'] + event['b']}")
    answer = functions.invoke(name, {"a": 2, "b": 40})
    assert answer.payload == {"sum": 42}
    assert answer.error is None
    assert answer.raw["StatusCode"] == 200
    assert answer.raw["ExecutedVersion"] == "$LATEST"


def test_the_context_is_complete(functions: Functions) -> None:
    name = functions.create(
        """
def handler(event, c):
    return dict(id=c.aws_request_id, arn=c.invoked_function_arn,
                left=c.get_remaining_time_in_millis(),
                memory=c.memory_limit_in_mb, name=c.function_name, version=c.function_version,
                group=c.log_group_name, stream=c.log_stream_name, custom=c.client_context.custom,
                app=c.client_context.client.app_title, identity=c.identity.cognito_identity_id)
""",
        Timeout=7,
        MemorySize=256,
    )
    context = {"client": {"app_title": "tests"}, "custom": {"key": "välue"}}
    encoded = base64.b64encode(json.dumps(context).encode()).decode()
    answer = functions.invoke(name, ClientContext=encoded)
    shown = answer.payload
    assert shown["id"] == answer.raw["ResponseMetadata"]["RequestId"]
    assert shown["arn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert 0 < shown["left"] <= 7000
    assert (shown["memory"], shown["name"], shown["version"]) == ("256", name, "$LATEST")
    assert shown["group"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", shown["stream"])
    assert (shown["custom"], shown["app"]) == ({"key": "välue"}, "tests")
    assert shown["identity"] is None


def test_a_second_call_reuses_the_environment_with_its_globals_and_tmp(
    functions: Functions,
) -> None:
    name = functions.create(
        """
import os
calls = 0
def handler(event, context):
    global calls
    calls += 1
    open('/tmp/seen', 'a').write('x')
    return [calls, len(open('/tmp/seen').read()), os.getpid()]
"""
    )
    first = functions.invoke(name).payload
    second = functions.invoke(name).payload
    assert (first[:2], second[:2]) == ([1, 1], [2, 2])
    assert first[2] == second[2]


def test_the_log_has_the_platforms_lines(functions: Functions) -> None:
    name = functions.create("def handler(e, c):\n    print('printed')\n")
    cold = functions.invoke(name)
    request_id = cold.raw["ResponseMetadata"]["RequestId"]
    assert f"START RequestId: {request_id} Version: $LATEST\nprinted\n" in cold.log
    report = re.search(
        r"END RequestId: (\S+)\nREPORT RequestId: \1\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms"
        r"\tMemory Size: 128 MB\tMax Memory Used: (\d+) MB\tInit Duration: [\d.]+ ms\t\n",
        cold.log,
    )
    assert report is not None and 0 < int(report[2]) <= 128
    assert "Init Duration" not in functions.invoke(name).log
    assert cold.payload is None


def test_the_log_can_be_read_through_the_logs_api(functions: Functions, server: Server) -> None:
    name = functions.create("def handler(e, c):\n    print('one')\n    print('two')\n")
    functions.invoke(name)
    logs = server.client("logs")
    group = f"/aws/lambda/{name}"
    events = logs.filter_log_events(logGroupName=group)["events"]
    messages = [event["message"] for event in events]
    assert messages[0].startswith("INIT_START Runtime Version: python:")
    assert messages[2:4] == ["one", "two"]
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert len(streams) == 1
    stream = streams[0]["logStreamName"]
    same = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    assert [event["message"] for event in same] == messages
    assert group in [
        g["logGroupName"] for g in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    ]


def test_the_log_tail_is_the_last_four_kilobytes(functions: Functions) -> None:
    name = functions.create("def handler(e, c):\n    for i in range(1000): print('line', i)\n")
    answer = functions.invoke(name)
    assert len(answer.log) == 4096
    assert "line 999\n" in answer.log


def test_logging_carries_level_time_and_request_id(functions: Functions) -> None:
    name = functions.create(
        "import logging\nlogging.getLogger().setLevel('INFO')\n"
        "def handler(e, c): logging.info('hello %s', 'there')\n"
    )
    answer = functions.invoke(name)
    request_id = answer.raw["ResponseMetadata"]["RequestId"]
    assert re.search(rf"\[INFO\]\t[\d-]+T[\d:.]+Z\t{request_id}\thello there\n", answer.log)


def test_environment_variables_reach_the_function(functions: Functions) -> None:
    name = functions.create(
        "import os\ndef handler(e, c): return dict(os.environ)",
        Environment={"Variables": {"TABLE": "things", "TZ": "Europe/Vienna"}},
    )
    shown = functions.invoke(name).payload
    assert (shown["TABLE"], shown["TZ"]) == ("things", "Europe/Vienna")
    assert shown["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert shown["_HANDLER"] == "app.handler"
    assert shown["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{RUNTIME}"
    assert "HOME" not in shown and "LAMBENT_DATA_DIR" not in shown


def test_a_variable_that_changes_the_interpreters_start_is_honoured(functions: Functions) -> None:
    name = functions.create(
        {
            "app.py": "import sys, extra\ndef handler(e, c): return [extra.x, sys.flags.optimize]",
            "more/extra.py": "x = 1",
        },
        Environment={"Variables": {"PYTHONPATH": "/var/task/more", "PYTHONOPTIMIZE": "2"}},
    )
    assert functions.invoke(name).payload == [1, 2]


def test_concurrent_calls_get_an_environment_each(functions: Functions) -> None:
    name = functions.create(
        "import os, time\ndef handler(e, c):\n    time.sleep(0.5)\n    return os.getpid()",
        Timeout=20,
    )
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: functions.invoke(name), range(10)))
    assert [answer.error for answer in answers] == [None] * 10


def test_an_updated_function_runs_its_new_code(functions: Functions) -> None:
    from tests.conftest import make_zip

    name = functions.create("def handler(e, c): return 1")
    assert functions.invoke(name).payload == 1
    code = make_zip({"app.py": "def handler(e, c): return 2"})
    functions.client.update_function_code(FunctionName=name, ZipFile=code)
    functions.client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert functions.invoke(name).payload == 2


def test_a_version_stays_what_it_was(functions: Functions) -> None:
    from tests.conftest import make_zip

    name = functions.create("def handler(e, c): return c.function_version")
    published = functions.client.publish_version(FunctionName=name, Description="first")
    assert published["Version"] == "1"
    assert functions.client.publish_version(FunctionName=name)["Version"] == "1"
    code = make_zip({"app.py": "def handler(e, c): return 'new ' + c.function_version"})
    functions.client.update_function_code(FunctionName=name, ZipFile=code)
    assert functions.invoke(name, Qualifier="1").payload == "1"
    assert functions.invoke(name).payload == "new $LATEST"
    assert functions.invoke(f"{name}:1").raw["ExecutedVersion"] == "1"


def test_dry_run_answers_204_without_running(functions: Functions) -> None:
    name = functions.create("raise Exception")
    assert functions.invoke(name, InvocationType="DryRun").raw["StatusCode"] == 204


@pytest.mark.parametrize(
    "payload", [b"{", b"hello", b'{"a":}', b"\xff", b"[" * 100_000], ids=range(5)
)
def test_bad_json_is_refused_before_the_function_sees_it(
    functions: Functions, payload: bytes
) -> None:
    name = functions.create("def handler(e, c): return 1")
    with pytest.raises(functions.client.exceptions.InvalidRequestContentException) as caught:
        functions.client.invoke(FunctionName=name, Payload=payload)
    assert "Could not parse request body into json" in str(caught.value)


def test_an_oversized_payload_is_refused(functions: Functions) -> None:
    name = functions.create("def handler(e, c): return len(e)", MemorySize=512)
    exactly = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    answer = functions.client.invoke(FunctionName=name, Payload=exactly)
    assert json.loads(answer["Payload"].read()) == len(exactly) - 2
    with pytest.raises(functions.client.exceptions.RequestTooLargeException):
        functions.client.invoke(FunctionName=name, Payload=exactly + b" ")


def test_a_function_can_be_deleted_while_it_runs(functions: Functions) -> None:
    name = functions.create(
        "import time\ndef handler(e, c):\n    time.sleep(1)\n    return 'done'", Timeout=10
    )
    with ThreadPoolExecutor(1) as threads:
        running: Any = threads.submit(functions.invoke, name)
        while not _started(functions, name, running):
            pass
        functions.client.delete_function(FunctionName=name)
        assert running.result().payload == "done"
    with pytest.raises(functions.client.exceptions.ResourceNotFoundException) as caught:
        functions.invoke(name)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert f"Function not found: {arn}" in str(caught.value)


def _started(functions: Functions, name: str, running: Any) -> bool:
    """Whether the invocation is in its function, by its log."""
    import os

    assert not running.done()
    logs = functions.server.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    except logs.exceptions.ResourceNotFoundException:
        os.sched_yield()
        return False
    return any(event["message"].startswith("START") for event in events)


def test_a_trace_begins_with_the_invocation_or_is_the_callers(functions: Functions) -> None:
    source = "import os\ndef handler(e, c): return os.environ['_X_AMZN_TRACE_ID']\n"
    name = functions.create(source)
    # Whose runs the chain has seen so far.
    line = r";Lineage=[0-9a-f]{8}:1"
    form = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=([01])" + line)
    first, second = (functions.invoke(name).payload for _ in range(2))
    assert first != second
    begun = form.fullmatch(first)
    assert begun is not None and begun[1] == "0"
    assert abs(int(first[7:15], 16) - time.time()) < 60

    def bring(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"

    functions.client.meta.events.register("before-sign.lambda.Invoke", bring)
    brought = functions.invoke(name).payload
    given = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    assert re.fullmatch(re.escape(given) + line, brought)
    active = functions.create(source, TracingConfig={"Mode": "Active"})
    functions.client.meta.events.unregister("before-sign.lambda.Invoke", bring)
    begun = form.fullmatch(functions.invoke(active).payload)
    assert begun is not None and begun[1] == "1"
