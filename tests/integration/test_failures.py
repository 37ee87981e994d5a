"""What goes wrong inside a function, and what its caller then hears, in AWS's words."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Functions


def test_a_handlers_exception_is_its_callers_error(functions: Functions) -> None:
    name = functions.create("def handler(e, c):\n    raise ValueError('no good')\n")
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert answer.payload["errorMessage"] == "no good"
    assert answer.payload["errorType"] == "ValueError"
    assert answer.payload["requestId"] == answer.raw["ResponseMetadata"]["RequestId"]
    assert answer.payload["stackTrace"] == [
        "  File \"/var/task/app.py\", line 2, in handler\n    raise ValueError('no good')\n"
    ]
    assert "[ERROR] ValueError: no good" in answer.log
    assert functions.invoke(name).error == "Unhandled"


@pytest.mark.parametrize(
    ("source", "handler", "kind", "message"),
    [
        (
            "def handler(",
            "app.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app'",
        ),
        (
            "import nothing_here",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_here'",
        ),
        ("", "gone.handler", "Runtime.ImportModuleError", "Unable to import module 'gone'"),
        ("", "app.gone", "Runtime.HandlerNotFound", "Handler 'gone' missing on module 'app'"),
        ("", "app", "Runtime.MalformedHandlerName", "Bad handler 'app'"),
        ("1 / 0", "app.handler", "ZeroDivisionError", "division by zero"),
    ],
)
def test_a_function_that_cannot_be_loaded_says_why(
    functions: Functions, source: str, handler: str, kind: str, message: str
) -> None:
    name = functions.create(source, Handler=handler)
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == kind
    assert answer.payload["errorMessage"].startswith(message)
    assert answer.payload["requestId"] == ""
    request_id = answer.raw["ResponseMetadata"]["RequestId"]
    assert answer.log.startswith(
        f"START RequestId: {request_id} Version: $LATEST\n[ERROR] {kind}: "
    )
    assert f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\t" in answer.log
    assert "Status: error\tError Type: " in answer.log
    logs = functions.server.client("logs")
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    reports = [e["message"] for e in events if e["message"].startswith("INIT_REPORT")]
    assert [re.search(r"Phase: (\w+)", report)[1] for report in reports] == ["init", "invoke"]  # type: ignore[index]


def test_an_infinite_loop_times_out_and_the_next_call_works(functions: Functions) -> None:
    name = functions.create(
        "def handler(e, c):\n    while e.get('loop'): pass\n    return 'ok'\n", Timeout=1
    )
    assert functions.invoke(name).payload == "ok"
    answer = functions.invoke(name, {"loop": True})
    request_id = answer.raw["ResponseMetadata"]["RequestId"]
    assert answer.payload == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    assert "Status: timeout" in answer.log
    assert functions.invoke(name).payload == "ok"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("sys.exit(4)", "Runtime exited with error: exit status 4"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
        ("os.abort()", "Runtime exited with error: signal: aborted"),
        (
            "ctypes.string_at(0)",
            "Runtime exited with error: signal: segmentation fault",
        ),
    ],
)
def test_a_process_that_ends_is_an_exit_error(
    functions: Functions, statement: str, reason: str
) -> None:
    name = functions.create(
        f"import os, sys, ctypes\ndef handler(e, c):\n    if e: {statement}\n    return 'ok'\n"
    )
    answer = functions.invoke(name, {"now": True})
    request_id = answer.raw["ResponseMetadata"]["RequestId"]
    assert answer.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {reason}",
    }
    assert functions.invoke(name).payload == "ok"


def test_running_out_of_memory_is_told_and_harms_nobody(functions: Functions) -> None:
    name = functions.create(
        "def handler(e, c):\n    return len(bytearray(e['mb'] << 20))\n", Timeout=20
    )
    assert functions.invoke(name, {"mb": 10}).payload == 10 << 20
    answer = functions.invoke(name, {"mb": 1000})
    assert answer.error == "Unhandled"
    # Killed by the control group, or refused by the process limit where there is none.
    assert answer.payload["errorType"] in ("Runtime.OutOfMemory", "MemoryError")
    assert functions.invoke(name, {"mb": 10}).payload == 10 << 20


def test_a_child_that_runs_out_of_memory_ends_the_invocation(functions: Functions) -> None:
    name = functions.create(
        "import subprocess, sys\n"
        "def handler(e, c):\n"
        "    done = subprocess.run([sys.executable, '-c', 'len(bytearray(1000 << 20))'])\n"
        "    return done.returncode\n",
        Timeout=20,
    )
    answer = functions.invoke(name)
    assert answer.payload == 1 or answer.payload["errorType"] == "Runtime.OutOfMemory"


def test_a_fork_bomb_is_contained(functions: Functions) -> None:
    bomb = functions.create(
        "import os\n"
        "def handler(e, c):\n"
        "    count = 0\n"
        "    try:\n"
        "        while True:\n"
        "            if os.fork() == 0:\n"
        "                while True: os.read(r, 1)\n"
        "            count += 1\n"
        "    except OSError as error:\n"
        "        return [count, error.errno]\n"
        "r, w = os.pipe()\n",
        Timeout=30,
        MemorySize=2048,
    )
    good = functions.create("def handler(e, c): return 'ok'")
    answer = functions.invoke(bomb)
    assert functions.invoke(good).payload == "ok"
    if answer.error is None:
        assert answer.payload[0] < 1024 and answer.payload[1] == 11
    else:
        assert answer.payload["errorType"] == "Runtime.OutOfMemory"


def test_a_flood_of_output_stops_nobody_else(functions: Functions) -> None:
    flood = functions.create(
        "import os\ndef handler(e, c):\n    while True: os.write(1, b'x' * 99 + b'\\n')\n",
        Timeout=3,
    )
    good = functions.create("def handler(e, c): return 'ok'")
    with ThreadPoolExecutor(1) as threads:
        flooding = threads.submit(functions.invoke, flood)
        calls = 0
        while not flooding.done():
            assert functions.invoke(good).payload == "ok"
            calls += 1
    assert flooding.result().payload["errorType"] == "Sandbox.Timedout"
    assert calls > 20
    folder = functions.server.data / "logs"
    assert sum(path.stat().st_size for path in folder.rglob("*.log")) < 200 * 1024 * 1024


def test_a_full_tmp_is_the_functions_own_problem(functions: Functions) -> None:
    name = functions.create(
        "import os\n"
        "def handler(e, c):\n"
        "    try:\n"
        "        with open('/tmp/big', 'wb') as f:\n"
        "            while True: f.write(b'x' * (1 << 20))\n"
        "    except OSError as error:\n"
        "        size = os.path.getsize('/tmp/big')\n"
        "        os.unlink('/tmp/big')\n"
        "        return [error.errno, size >> 20]\n",
        MemorySize=1024,
        Timeout=30,
    )
    assert functions.invoke(name).payload == [28, 512]
    assert functions.invoke(name).payload == [28, 512]


def test_too_many_files_in_tmp_is_the_functions_own_problem(functions: Functions) -> None:
    name = functions.create(
        "import os\n"
        "def handler(e, c):\n"
        "    try:\n"
        "        for i in range(10**6): open('/tmp/%d' % i, 'w').close()\n"
        "    except OSError as error:\n"
        "        return error.errno\n",
        MemorySize=1024,
        Timeout=60,
    )
    assert functions.invoke(name).payload == 28


def test_a_response_over_the_limit_is_refused_and_the_environment_lives_on(
    functions: Functions,
) -> None:
    name = functions.create(
        "calls = 0\n"
        "def handler(e, c):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    return 'x' * e['size'] if e else calls\n",
        MemorySize=512,
        Timeout=20,
    )
    answer = functions.invoke(name, {"size": 7 << 20})
    assert answer.error == "Unhandled"
    assert answer.payload == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size "
        "(6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert len(functions.invoke(name, {"size": 6 << 20}).payload) == 6 << 20
    assert functions.invoke(name).payload == 3


def test_an_answer_that_is_no_json_is_a_marshal_error(functions: Functions) -> None:
    name = functions.create("def handler(e, c): return {1, 2}")
    answer = functions.invoke(name)
    assert answer.payload["errorType"] == "Runtime.MarshalError"
    assert answer.payload["errorMessage"] == (
        "Unable to marshal response: Object of type set is not JSON serializable"
    )
