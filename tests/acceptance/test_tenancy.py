"""Accounts do not reach one another, whatever a request says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.accounts import ACCOUNT, OtherAccount, grant, new_user, refusal, signed
from tests.conftest import ROLE, RUNTIME, Functions, Server, make_zip

LOGS = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group"


@pytest.fixture(scope="module")
def other(server: Server) -> OtherAccount:
    return OtherAccount(server)


def groups(client: Any, **options: Any) -> list[str]:
    return [each["logGroupName"] for each in client.describe_log_groups(**options)["logGroups"]]


@pytest.mark.parametrize("region", ["..", ".", f"../{ACCOUNT}/us-east-1", "%2e%2e", "a b"])
def test_no_region_leads_to_the_logs_of_another_account(
    server: Server, other: OtherAccount, region: str
) -> None:
    logs = server.client("logs")
    logs.create_log_group(logGroupName="/tenancy/region")
    for operation, body in (
        ("DescribeLogGroups", {}),
        ("CreateLogGroup", {"logGroupName": ACCOUNT}),
        ("DeleteLogGroup", {"logGroupName": ACCOUNT}),
    ):
        status = signed(
            server, other.key, "logs", region, f"Logs_20140328.{operation}", body
        )  # fmt: skip
        assert 400 <= status < 500 or (operation, status) == ("DescribeLogGroups", 200)
    assert groups(logs, logGroupNamePrefix="/tenancy/") == ["/tenancy/region"]
    logs.delete_log_group(logGroupName="/tenancy/region")


def test_log_groups_that_are_named_are_described_and_no_others(
    server: Server, other: OtherAccount
) -> None:
    logs = server.client("logs")
    for name in ("/tenancy/one", "/tenancy/two"):
        logs.create_log_group(logGroupName=name)
    mine = grant("logs:DescribeLogGroups", f"{LOGS}:/tenancy/one:*")
    reader = new_user(server, mine).client("logs")
    for identifier in ("/tenancy/one", f"{LOGS}:/tenancy/one"):
        assert groups(reader, logGroupIdentifiers=[identifier]) == ["/tenancy/one"]
    assert refusal(reader.describe_log_groups) == "AccessDeniedException"
    both = ["/tenancy/one", "/tenancy/two"]
    assert refusal(lambda: groups(reader, logGroupIdentifiers=both)) == "AccessDeniedException"
    assert groups(logs, logGroupIdentifiers=both) == both
    # An ARN of another account is not a name in one's own.
    stranger = other.client("logs")
    stranger.create_log_group(logGroupName="/tenancy/one")
    named = {"logGroupIdentifiers": [f"{LOGS}:/tenancy/one"]}
    assert refusal(lambda: groups(stranger, **named)) == "ResourceNotFoundException"
    for client in (logs, stranger):
        for name in groups(client, logGroupNamePrefix="/tenancy/"):
            client.delete_log_group(logGroupName=name)


# Plants what could be seen from outside, or looks for what others planted.
SPY = """
import ctypes, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
planted = {}

def reached(name):
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(chr(0) + name)
    except OSError:
        return False
    return True

def comm(process):
    try:
        with open(f"/proc/{process}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""

def handler(event, context):
    if "plant" in event:
        name = event["plant"]
        with open("/tmp/" + name, "w") as file:
            file.write(name)
        planted["socket"] = socket.socket(socket.AF_UNIX)
        planted["socket"].bind(chr(0) + name)
        planted["socket"].listen()
        planted["child"] = subprocess.Popen(["sleep", "300"])
        while comm(planted["child"].pid) != "sleep":
            pass
        planted["memory"] = libc.shmget(4711, 4096, 0o1666)
    processes = [comm(each) for each in filter(str.isdigit, os.listdir("/proc"))]
    return {
        "files": sorted(os.listdir("/tmp")),
        "sleeping": processes.count("sleep"),
        "socket": reached(event["look"]),
        "memory": libc.shmget(4711, 4096, 0o666) != -1,
        "planted": sorted(planted),
    }
"""


@pytest.fixture
def spies(server: Server, other: OtherAccount, functions: Functions) -> Iterator[list[Any]]:
    """How to invoke two functions of one account, and one of another."""
    mine = [(server.client(), functions.create(SPY)) for _ in range(2)]
    stranger = other.client("lambda")
    stranger.create_function(
        FunctionName="spy", Runtime=RUNTIME, Handler="app.handler", Role=OtherAccount.role,
        Code={"ZipFile": make_zip({"app.py": SPY})},
    )  # fmt: skip
    stranger.get_waiter("function_active_v2").wait(FunctionName="spy")

    def invoker(client: Any, name: str) -> Any:
        return lambda event: json.loads(
            client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read()
        )

    yield [invoker(client, name) for client, name in [*mine, (stranger, "spy")]]
    stranger.delete_function(FunctionName="spy")


def test_functions_see_nothing_of_one_another(spies: list[Any]) -> None:
    planted = {
        "files": ["trace"], "sleeping": 1, "socket": True, "memory": True,
        "planted": ["child", "memory", "socket"],
    }  # fmt: skip
    nothing = {"files": [], "sleeping": 0, "socket": False, "memory": False, "planted": []}
    first, *others = spies
    assert first({"plant": "trace", "look": "trace"}) == planted
    for spy in others:
        assert spy({"look": "trace"}) == nothing
    assert first({"look": "trace"}) == planted


def test_a_timeout_leaves_nothing_but_tmp(functions: Functions) -> None:
    source = (
        "import os, time\n"
        "state = []\n"
        "def handler(event, context):\n"
        "    if event.get('hang'):\n"
        "        open('/tmp/kept', 'w').close()\n"
        "        state.append(1)\n"
        "        for _ in range(5):\n"
        "            if os.fork() == 0:\n"
        "                os.setsid()\n"
        "                time.sleep(300)\n"
        "                os._exit(0)\n"
        "        time.sleep(300)\n"
        "    processes = sum(each.isdigit() for each in os.listdir('/proc'))\n"
        "    return [os.listdir('/tmp'), state, processes]\n"
    )
    name = functions.create(source, Timeout=1)
    fresh = functions.invoke(name).payload
    assert functions.invoke(name, {"hang": True}).error == "Unhandled"
    assert functions.invoke(name).payload == [["kept"], [], fresh[2]]


def test_no_error_tells_a_path_of_the_host(server: Server, functions: Functions) -> None:
    client = server.client()
    said = [
        functions.invoke(functions.create({"a.py": ""})).payload,
        functions.invoke(
            functions.create({"bootstrap": ""}, Runtime="provided.al2023", Handler="x")
        ).payload,
        functions.invoke(
            functions.create({"bootstrap/x": ""}, Runtime="provided.al2023", Handler="x")
        ).payload,
    ]
    for code in (b"x", make_zip({"../x": ""}), make_zip({".": ""})):
        with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
            client.create_function(
                FunctionName="pathless", Runtime=RUNTIME, Handler="app.handler", Role=ROLE,
                Code={"ZipFile": code},
            )  # fmt: skip
        said.append(str(refused.value))
    assert all(str(server.data) not in json.dumps(each) for each in said), said
