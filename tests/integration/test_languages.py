"""What each of our bootstraps promises beyond the matrix."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Functions, make_zip
from tests.official.functions import COMMONJS

NODE = {"Runtime": "nodejs20.x", "Handler": "app.handler"}


@pytest.mark.parametrize("fresh", [False, True], ids=["booted ahead", "executed"])
@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("exports.handler = (event, context, callback) => callback(null, 1)", 1),
        ("exports.handler = (event, context) => context.succeed(2)", 2),
        ("exports.handler = (event, context) => context.done(null, 3)", 3),
        (
            "exports.handler = (e, c, done) => { setTimeout(() => {}, 30); done(null, 4) }",
            4,
        ),
        ("exports.handler = async () => {}", None),
        ("exports.handler = () => {}", None),
        ("exports.handler = async () => new Promise(() => {})", None),
    ],
)
def test_node_handlers_answer_in_every_way(
    functions: Functions, source: str, wanted: object, fresh: bool
) -> None:
    variables = {"NODE_OPTIONS": "--no-warnings"} if fresh else {}
    name = functions.create({"app.js": source}, **NODE, Environment={"Variables": variables})
    for _ in range(2):
        answer = functions.invoke(name)
        assert (answer.payload, answer.error) == (wanted, None)


def test_node_waits_for_the_event_loop_only_if_told_to(functions: Functions) -> None:
    source = (
        "exports.handler = (event, context, callback) => {\n"
        "  context.callbackWaitsForEmptyEventLoop = event.wait;\n"
        "  setTimeout(() => console.log('later'), 200);\n"
        "  callback(null, 'ok');\n"
        "};\n"
    )
    name = functions.create({"app.js": source}, **NODE)
    assert "later" in functions.invoke(name, {"wait": True}).log
    assert "later" not in functions.invoke(name, {"wait": False}).log


@pytest.mark.parametrize(
    ("files", "handler", "kind", "message"),
    [
        ({"app.js": "exports.x = 1"}, "app.handler", "Runtime.HandlerNotFound", "app.handler is"),
        ({"app.js": "{"}, "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError"),
        ({"app.js": "require('./no')"}, "app.handler", "Runtime.ImportModuleError", "Cannot find"),
        ({"other.js": ""}, "app.handler", "Runtime.ImportModuleError", "Cannot find module"),
        ({"app.mjs": "throw new TypeError('at start')"}, "app.handler", "TypeError", "at start"),
        ({"app.js": ""}, "app", "Runtime.MalformedHandlerName", "Bad handler"),
    ],
)  # fmt: skip
def test_node_tells_why_it_cannot_start(
    functions: Functions, files: dict[str, str | bytes], handler: str, kind: str, message: str
) -> None:
    name = functions.create(files, Runtime="nodejs20.x", Handler=handler)
    answer = functions.invoke(name)
    assert answer.error == "Unhandled" and answer.payload["errorType"] == kind, answer.payload
    assert message in answer.payload["errorMessage"]
    frames = [line for line in answer.payload["trace"] if line.startswith("    at ")]
    assert not any("/var/runtime" in line for line in frames), frames


def test_node_ends_with_what_nobody_catches(functions: Functions) -> None:
    source = (
        "exports.handler = async (event) => {\n"
        "  if (event.reject) Promise.reject(new Error('unseen'));\n"
        "  else setTimeout(() => { throw new Error('unseen'); }, 1);\n"
        "  return new Promise((resolve) => setTimeout(resolve, 2000));\n"
        "};\n"
    )
    name = functions.create({"app.js": source}, **NODE)
    thrown = functions.invoke(name)
    assert thrown.payload["errorType"] == "Error" and thrown.payload["errorMessage"] == "unseen"
    rejected = functions.invoke(name, {"reject": True})
    assert rejected.payload["errorType"] == "Runtime.UnhandledPromiseRejection"


def test_node_modules_are_found_in_packages_layers_and_by_type(functions: Functions) -> None:
    files: dict[str, str | bytes] = {
        "package.json": '{"type": "module"}',
        "src/app.js": "import { two } from 'two'; export const api = { handler: async () => two };",
        "node_modules/two/package.json": '{"name": "two", "main": "index.cjs"}',
        "node_modules/two/index.cjs": "exports.two = 2;",
    }
    name = functions.create(files, Runtime="nodejs20.x", Handler="src/app.api.handler")
    assert functions.invoke(name).payload == 2


def test_node_logs_carry_time_request_and_level(functions: Functions) -> None:
    source = "exports.handler = async () => { console.warn('two\\nlines %d', 2); }"
    name = functions.create({"app.js": source}, **NODE)
    answer = functions.invoke(name)
    request_id = answer.raw["ResponseMetadata"]["RequestId"]
    assert f"Z\t{request_id}\tWARN\ttwo\nlines 2\n" in answer.log
    name = functions.create(
        {"app.js": "exports.handler = async () => { console.debug('no'); console.error({a: 1}); }"},
        **NODE, LoggingConfig={"LogFormat": "JSON"},
    )  # fmt: skip
    answer = functions.invoke(name)
    mine = [json.loads(line) for line in answer.log.splitlines() if 'requestId":' in line]
    told = [each for each in mine if "level" in each]
    assert [(each["level"], each["message"]) for each in told] == [("ERROR", {"a": 1})]


def test_node_streams_its_answer(functions: Functions) -> None:
    name = functions.create({"app.js": COMMONJS}, Runtime="nodejs20.x", Handler="app.stream")
    raw = functions.client.invoke(FunctionName=name, Payload="{}")
    assert raw["Payload"].read() == b'one two {"three":3}'
    for event, message in (({"fail": 1}, "before"), ({"late": 1}, "late")):
        answer = functions.invoke(name, event)
        assert (answer.error, answer.payload["errorMessage"]) == ("Unhandled", message)
    assert functions.client.invoke(FunctionName=name)["Payload"].read().startswith(b"one")


@pytest.mark.parametrize(
    ("files", "kind", "message"),
    [
        ({"other": ""}, "Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s)"),
        ({"bootstrap": "\0\1"}, "Runtime.InvalidEntrypoint", "exec format error"),
        ({"bootstrap": "#!/nowhere\n"}, "Runtime.InvalidEntrypoint", "no such file"),
        ({"bootstrap": "#!/bin/sh\nexit 5\n"}, "Runtime.ExitError", "exit status 5"),
    ],
)  # fmt: skip
def test_a_bootstrap_that_cannot_start_is_told(
    functions: Functions, files: dict[str, str | bytes], kind: str, message: str
) -> None:
    code = {"ZipFile": make_zip(files, 0o755)}
    name = functions.create({}, Runtime="provided.al2023", Handler="x", Code=code)
    answer = functions.invoke(name)
    assert answer.payload["errorType"] == kind and message in answer.payload["errorMessage"]


def test_a_wrapper_script_starts_the_runtime(functions: Functions) -> None:
    wrapper = '#!/bin/sh\nexport ADDED="by the wrapper: $1"\nexec "$@"\n'
    for runtime, source, program in (
        (
            "python3.11",
            {"app.py": "import os\ndef handler(e, c): return os.environ['ADDED']"},
            "python3.11",
        ),
        ("nodejs20.x", {"app.js": "exports.handler = async () => process.env.ADDED"}, "node"),
    ):
        files: dict[str, str | bytes] = {**source, "wrap": wrapper}
        name = functions.create(
            {}, Runtime=runtime, Code={"ZipFile": make_zip(files, 0o755)},
            Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}},
        )  # fmt: skip
        answer = functions.invoke(name)
        assert answer.payload == f"by the wrapper: /var/lang/bin/{program}", answer.payload
