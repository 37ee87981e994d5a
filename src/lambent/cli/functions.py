"""``lambent invoke``, ``ls``, ``rm`` and ``logs``."""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from lambent.cli import table
from lambent.cli.client import Client

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def invoke(arguments: argparse.Namespace, client: Client) -> int:
    """Invoke once; prints the payload, and with --logs the log; exit code 1 on a function error."""
    text: str = arguments.payload
    if text == "-":
        payload = sys.stdin.buffer.read()
    elif text.startswith("@"):
        payload = Path(text[1:]).read_bytes()
    else:
        payload = text.encode()
    path = f"/2015-03-31/functions/{quote(arguments.name, safe='')}/invocations"
    if arguments.qualifier:
        path += f"?Qualifier={quote(arguments.qualifier, safe='')}"
    headers = {"x-amz-log-type": "Tail"} if arguments.logs or arguments.json else {}
    if arguments.tenant:
        headers["x-amz-tenant-id"] = arguments.tenant
    if arguments.event:
        headers["x-amz-invocation-type"] = "Event"
        answer = client.request("POST", path, payload, headers)
        request_id = answer.headers.get("x-amzn-requestid")
        told = {"StatusCode": answer.status, "RequestId": request_id}
        if arguments.json:
            print(json.dumps(told, indent=2))
        else:
            table.say(f"Accepted: {request_id}")
        return 0
    answer = client.request("POST", path, payload, headers)
    error = answer.headers.get("x-amz-function-error")
    log = base64.b64decode(answer.headers.get("x-amz-log-result", "")).decode("utf-8", "replace")
    if arguments.json:
        try:
            value = json.loads(answer.body)
        except ValueError:
            value = answer.body.decode("utf-8", "replace")
        document = {
            "StatusCode": answer.status,
            "ExecutedVersion": answer.headers.get("x-amz-executed-version"),
            "FunctionError": error,
            "Payload": value,
            "Log": log.splitlines(),
        }
        print(json.dumps(document, indent=2))
    else:
        for line in log.splitlines():
            table.say(line, sys.stderr)
        payload_text = answer.body.decode("utf-8", "replace")
        if sys.stdout.isatty():
            table.say(payload_text)
        else:
            sys.stdout.write(payload_text + "\n")  # for another program, as it is
        if error:
            table.say(f"The function failed ({error}).", sys.stderr)
    return 1 if error else 0


def ls(arguments: argparse.Namespace, client: Client) -> int:
    """List functions."""
    rows = []
    marker = ""
    while True:
        path = "/2015-03-31/functions" + (f"?Marker={quote(marker, safe='')}" if marker else "")
        page = client.request("GET", path).json()
        rows += [
            {
                "name": each["FunctionName"],
                "runtime": each["Runtime"],
                "memory": each["MemorySize"],
                "timeout": each["Timeout"],
                "size": each["CodeSize"],
                "modified": each["LastModified"][:19],
            }
            for each in page["Functions"]
        ]
        marker = page.get("NextMarker") or ""
        if not marker:
            break
    table.show(rows, ("name", "runtime", "memory", "timeout", "size", "modified"), arguments.json)
    return 0


def rm(arguments: argparse.Namespace, client: Client) -> int:
    """Delete functions."""
    for name in arguments.names:
        client.request("DELETE", f"/2015-03-31/functions/{quote(name, safe='')}")
        if not arguments.json:
            table.say(f"Deleted {name}")
    if arguments.json:
        print(json.dumps([{"name": name} for name in arguments.names]))
    return 0


def logs(arguments: argparse.Namespace, client: Client) -> int:
    """Print a function's log; --follow goes on until interrupted."""
    parameters: dict[str, object] = {"logGroupName": f"/aws/lambda/{arguments.name}"}
    if arguments.since:
        parameters["startTime"] = int((time.time() - _seconds(arguments.since)) * 1000)
    seen = ""
    try:
        while True:
            seen = _print_new(client, parameters, seen, arguments.json)
            if not arguments.follow:
                return 0
            time.sleep(0.5)
    except KeyboardInterrupt:
        return 0


def _print_new(client: Client, parameters: dict[str, object], seen: str, as_json: bool) -> str:
    token: str | None = None
    while True:
        asked = {**parameters, "nextToken": token} if token else parameters
        page = client.logs("FilterLogEvents", asked)
        for event in page["events"]:
            if event["eventId"] <= seen:
                continue
            seen = event["eventId"]
            if as_json:
                print(json.dumps(event))
            else:
                moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                stamp = moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
                print(stamp, table.clean(event["message"]), sep="  ")
        sys.stdout.flush()
        token = page.get("nextToken")
        if not token:
            return seen


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise SystemExit(2)
    return int(found[1]) * _UNITS[found[2]]
