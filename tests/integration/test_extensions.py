"""Extensions beside a function, with the whole Extensions and Telemetry APIs, in a real sandbox."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.conftest import Functions, make_zip

EXTENSION = """#!/usr/bin/env python3
import http.server, json, os, socketserver, sys, threading, time, urllib.error, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
name = os.path.basename(__file__)
seen = []

def call(method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    request = urllib.request.Request(api + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        seen.extend(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        with open("/tmp/seen.new", "w") as file: json.dump(seen, file)
        os.rename("/tmp/seen.new", "/tmp/seen")
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *words): pass

server = http.server.HTTPServer(("0.0.0.0", 8080), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
me = {"Lambda_Extension_Name": name}
status, headers, body = call("POST", "/2020-01-01/extension/register",
    {"events": ["INVOKE", "SHUTDOWN"]}, **me)
known = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
told = {"registered": json.loads(body), "environment": dict(os.environ)}
told["again"] = call("POST", "/2020-01-01/extension/register", {"events": []}, **me)[::2]
told["nobody"] = call("GET", "/2020-01-01/extension/event/next")[::2]
told["bad"] = call("PUT", "/2022-07-01/telemetry", {"types": ["all"]}, **known)[0]
told["subscribed"] = call("PUT", "/2022-07-01/telemetry", {"schemaVersion": "2022-07-01",
    "types": ["platform", "function", "extension"], "buffering": {"timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}},
    **known)[::2]
with open("/tmp/told", "w") as file: json.dump(told, file)
print("extension is up", flush=True)
while True:
    event = json.loads(call("GET", "/2020-01-01/extension/event/next", **known)[2])
    print("extension got", event["eventType"], event.get("shutdownReason", ""), flush=True)
    if event["eventType"] == "SHUTDOWN": break
"""
FUNCTION = """
import json, os, time
count = 0
def handler(event, context):
    global count
    count += 1
    print("function speaks")
    if event.get("sleep"): time.sleep(20)
    if event.get("exit"): os._exit(3)
    told = json.load(open("/tmp/told"))
    deadline = time.monotonic() + 5
    wanted = event.get("until", "function")
    while time.monotonic() < deadline:
        seen = json.load(open("/tmp/seen")) if os.path.exists("/tmp/seen") else []
        if any(each["type"] == wanted for each in seen): break
        time.sleep(0.01)
    return {"count": count, "told": told, "seen": seen}
"""


def layer(functions: Functions, files: dict[str, str | bytes]) -> str:
    """A layer with extensions."""
    made = functions.client.publish_layer_version(
        LayerName="extensions", Content={"ZipFile": make_zip(files, 0o755)}
    )
    return str(made["LayerVersionArn"])


def log(functions: Functions, name: str, wanted: str) -> list[str]:
    """The function's log, once it has a line."""
    logs = functions.server.client("logs")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        messages = [each["message"] for each in events]
        if any(wanted in each for each in messages):
            return messages
    raise AssertionError(f"{wanted!r} is not in {messages}")


def test_an_extension_lives_with_its_function(functions: Functions) -> None:
    arn = layer(functions, {"extensions/watcher": EXTENSION})
    name = functions.create(FUNCTION, Layers=[arn], Timeout=10)
    answer = functions.invoke(name)
    assert answer.error is None, answer.payload
    told: dict[str, Any] = answer.payload["told"]
    assert told["registered"] == {
        "functionName": name, "functionVersion": "$LATEST", "handler": "app.handler",
    }  # fmt: skip
    assert told["again"][0] == 403 and "InvalidExtensionState" in told["again"][1]
    assert told["nobody"][0] == 403 and "MissingExtensionIdentifier" in told["nobody"][1]
    assert told["bad"] == 400 and told["subscribed"] == [200, "OK"]
    hidden = ("_", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "AWS_XRAY")
    assert [each for each in told["environment"] if each.startswith(hidden) and each != "_"] == []
    kinds = [each["type"] for each in answer.payload["seen"]]
    assert kinds.index("platform.initRuntimeDone") < kinds.index("platform.start")
    assert any(each["record"] == "function speaks" for each in answer.payload["seen"])
    second = functions.invoke(name, {"until": "platform.report"})
    report = next(each for each in second.payload["seen"] if each["type"] == "platform.report")
    assert report["record"]["metrics"]["memorySizeMB"] == 128
    assert second.payload["count"] == 2
    functions.client.delete_function(FunctionName=name)
    messages = log(functions, name, "extension got SHUTDOWN spindown")
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE,SHUTDOWN]" in messages
    assert messages.count("extension got INVOKE ") == 2


@pytest.mark.parametrize(("how", "reason"), [("sleep", "timeout"), ("exit", "failure")])
def test_after_a_failure_all_begin_anew(functions: Functions, how: str, reason: str) -> None:
    arn = layer(functions, {"extensions/watcher": EXTENSION})
    name = functions.create(FUNCTION, Layers=[arn], Timeout=2)
    assert functions.invoke(name).payload["count"] == 1
    assert functions.invoke(name, {how: True}).error == "Unhandled"
    again = functions.invoke(name)
    assert again.error is None and again.payload["count"] == 1
    assert f"extension got SHUTDOWN {reason}" in log(functions, name, "SHUTDOWN")


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("#!/bin/sh\nexit 7\n", "Extension.Crash"),
        ("not a program", "Extension.LaunchError"),
    ],
)
def test_an_extension_that_ends_fails_the_initialisation(
    functions: Functions, program: str, kind: str
) -> None:
    arn = layer(functions, {"extensions/broken": program})
    name = functions.create("def handler(e, c): return 1", Layers=[arn])
    answer = functions.invoke(name)
    assert answer.error == "Unhandled" and answer.payload["errorType"] == kind, answer.payload


def test_an_extension_inside_the_runtime_hears_of_invocations(functions: Functions) -> None:
    name = functions.create(
        "import json, os, threading, urllib.request\n"
        "api = 'http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2020-01-01/extension/'\n"
        "def call(path, body=None, **headers):\n"
        "    headers = {k.replace('_', '-'): v for k, v in headers.items()}\n"
        "    with urllib.request.urlopen(urllib.request.Request(api + path, body, headers)) as a:\n"
        "        return a.headers, json.loads(a.read())\n"
        "got, heard = [], threading.Event()\n"
        "body = json.dumps({'events': ['INVOKE']}).encode()\n"
        "headers, _ = call('register', body, Lambda_Extension_Name='inner')\n"
        "me = {'Lambda_Extension_Identifier': headers['Lambda-Extension-Identifier']}\n"
        "def listen():\n"
        "    while True:\n"
        "        got.append(call('event/next', **me)[1])\n"
        "        heard.set()\n"
        "threading.Thread(target=listen, daemon=True).start()\n"
        "def handler(e, c):\n"
        "    heard.wait(5)\n"
        "    return [got[-1]['eventType'], got[-1]['requestId'] == c.aws_request_id]\n",
        Timeout=10,
    )
    assert functions.invoke(name).payload == ["INVOKE", True]


def test_pythons_logging_speaks_json_where_it_is_told_to(functions: Functions) -> None:
    name = functions.create(
        "import logging\ndef handler(e, c):\n"
        "    logging.debug('no')\n    logging.info('yes %d', 1, extra={'order': 7})\n"
        "    try: 1 / 0\n    except ZeroDivisionError: logging.exception('caught')\n"
        "    raise ValueError('boom')\n",
        LoggingConfig={"LogFormat": "JSON"},
    )
    answer = functions.invoke(name)
    records = [json.loads(line) for line in answer.log.splitlines()]
    told = [each for each in records if "level" in each]
    request_id = answer.raw["ResponseMetadata"]["RequestId"]
    assert [each["level"] for each in told] == ["INFO", "ERROR", "ERROR"]
    assert told[0]["message"] == "yes 1" and told[0]["order"] == 7
    assert told[0]["requestId"] == request_id and told[0]["logger"] == "root"
    assert told[1]["errorType"] == "ZeroDivisionError" and told[1]["stackTrace"]
    assert told[2]["errorType"] == "ValueError" and told[2]["requestId"] == request_id


def test_logs_in_json_carry_levels_that_are_filtered(functions: Functions) -> None:
    name = functions.create(
        "import json\ndef handler(e, c):\n"
        "    for level in ('DEBUG', 'INFO', 'ERROR'):\n"
        "        print(json.dumps({'timestamp': 'now', 'level': level, 'message': level}))\n"
        "    print('plain')\n",
        LoggingConfig={
            "LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "DEBUG",
        },
    )  # fmt: skip
    answer = functions.invoke(name)
    lines = answer.log.splitlines()
    assert "plain" in lines
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert [each["level"] for each in records if "level" in each] == ["INFO", "ERROR"]
    kinds = [each["type"] for each in records if "type" in each]
    assert kinds == ["platform.start", "platform.runtimeDone", "platform.report"]
    assert records[-1]["record"]["metrics"]["memorySizeMB"] == 128
