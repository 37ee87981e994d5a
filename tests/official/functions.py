"""The matrix's function in every language: one behaviour, told by the event's "do"."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).resolve().parent
OFFICIAL = ROOT / ".official"

PYTHON = """
import os, subprocess, sys, time
def handler(event, context):
    do = event.get("do")
    if do == "error": raise ValueError("boom")
    if do == "sleep": time.sleep(20)
    if do == "memory":
        held = []
        while True: held.append(b"x" * (16 << 20))
    if do == "exit": os._exit(3)
    if do == "large": return "x" * (7 << 20)
    if do == "env": return os.environ["COLOUR"]
    if do == "layer": return open("/opt/marker.txt").read()
    if do == "tmp":
        before = open("/tmp/kept").read() if os.path.exists("/tmp/kept") else ""
        open("/tmp/kept", "w").write(before + "x")
        return len(before)
    if do == "child":
        return subprocess.check_output(["/bin/sh", "-c", "echo $COLOUR; pwd"], text=True)
    if do == "context":
        return {"id": context.aws_request_id, "arn": context.invoked_function_arn,
                "name": context.function_name, "memory": str(context.memory_limit_in_mb),
                "left": context.get_remaining_time_in_millis() > 0}
    return event
"""
_NODE = """
const answer = async (event, context) => {
  switch (event.do) {
    case 'error': throw new RangeError('boom');
    case 'sleep': return new Promise((resolve) => setTimeout(resolve, 20000));
    case 'memory': { const held = []; for (;;) held.push(Buffer.alloc(16 << 20, 1)); }
    case 'exit': process.exit(3);
    case 'large': return 'x'.repeat(7 << 20);
    case 'env': return process.env.COLOUR;
    case 'layer': return fs.readFileSync('/opt/marker.txt', 'utf8');
    case 'tmp': {
      const before = fs.existsSync('/tmp/kept') ? fs.readFileSync('/tmp/kept', 'utf8') : '';
      fs.writeFileSync('/tmp/kept', before + 'x');
      return before.length;
    }
    case 'child': return child.execSync('echo $COLOUR; pwd', { encoding: 'utf8' });
    case 'context': return { id: context.awsRequestId, arn: context.invokedFunctionArn,
      name: context.functionName, memory: context.memoryLimitInMB,
      left: context.getRemainingTimeInMillis() > 0 };
    default: return event;
  }
};
"""
COMMONJS = (
    "const fs = require('fs'); const child = require('child_process');\n"
    + _NODE
    + "exports.handler = answer;\n"
    "exports.stream = awslambda.streamifyResponse(async (event, out) => {\n"
    "  if (event.fail) throw new Error('before');\n"
    "  out.write('one '); out.write('two '); if (event.late) throw new Error('late');\n"
    "  out.write({ three: 3 }); out.end();\n"
    "});\n"
)
MODULE = (
    "import fs from 'node:fs'; import child from 'node:child_process';\n"
    + _NODE
    + "export { answer as handler };\n"
)
RUBY = r"""
def handler(event:, context:)
  case event['do']
  when 'error' then raise IndexError, 'boom'
  when 'sleep' then sleep 20
  when 'memory' then held = []; loop { held << 'x' * (16 << 20) }
  when 'exit' then exit! 3
  when 'large' then 'x' * (7 << 20)
  when 'env' then ENV['COLOUR']
  when 'layer' then File.read('/opt/marker.txt')
  when 'tmp'
    before = File.exist?('/tmp/kept') ? File.read('/tmp/kept') : ''
    File.write('/tmp/kept', before + 'x')
    before.length
  when 'child' then `echo $COLOUR; pwd`
  when 'context'
    { id: context.aws_request_id, arn: context.invoked_function_arn, name: context.function_name,
      memory: context.memory_limit_in_mb, left: context.get_remaining_time_in_millis > 0 }
  else event
  end
end
"""
SHELL = r"""#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  event=$(curl -sS -D /tmp/headers "$api/invocation/next")
  header() { grep -i "^$1:" /tmp/headers | cut -d' ' -f2- | tr -d '\r\n'; }
  id=$(header lambda-runtime-aws-request-id)
  respond() { curl -sS -o /dev/null --data-binary @- "$api/invocation/$id/response"; }
  case "$event" in
    *'"error"'*) echo '{"errorType": "Shell.Error", "errorMessage": "boom"}' |
      curl -sS -o /dev/null --data-binary @- "$api/invocation/$id/error" ;;
    *'"sleep"'*) sleep 20 ;;
    *'"memory"'*) dd if=/dev/zero of=/dev/null bs=1G count=1; exit 9 ;;
    *'"exit"'*) exit 3 ;;
    *'"large"'*) (printf '"'; head -c 7340032 /dev/zero | tr '\0' x; printf '"') | respond ;;
    *'"env"'*) printf '"%s"' "$COLOUR" | respond ;;
    *'"layer"'*) printf '"%s"' "$(cat /opt/marker.txt)" | respond ;;
    *'"tmp"'*) before=$(cat /tmp/kept 2>/dev/null || true)
      printf '%sx' "$before" > /tmp/kept; printf '%s' "${#before}" | respond ;;
    *'"child"'*) printf '"%s\\n%s\\n"' "$(sh -c 'echo $COLOUR')" "$(sh -c pwd)" | respond ;;
    *'"context"'*)
      left=false
      [ "$(header lambda-runtime-deadline-ms)" -gt "$(date +%s)000" ] && left=true
      printf '{"id":"%s","arn":"%s","name":"%s","memory":"%s","left":%s}' "$id" \
        "$(header lambda-runtime-invoked-function-arn)" "$AWS_LAMBDA_FUNCTION_NAME" \
        "$AWS_LAMBDA_FUNCTION_MEMORY_SIZE" "$left" | respond ;;
    *) printf '%s' "$event" | respond ;;
  esac
done
"""


@dataclass(frozen=True)
class Subject:
    """A function of the matrix: its runtime, its files, and what is its own way to fail."""

    runtime: str
    handler: str
    files: Callable[[], dict[str, str | bytes]]
    error_type: str
    memory: int = 512


def java_classes(source: Path, *libraries: Path) -> dict[str, str | bytes]:
    """Compile a Java file; its classes as files of an archive."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = ":".join(str(each) for each in libraries)
        subprocess.run(["javac", "-cp", path, "-d", folder, str(source)], check=True)
        return {
            str(each.relative_to(folder)): each.read_bytes()
            for each in Path(folder).rglob("*.class")
        }


def _java() -> dict[str, str | bytes]:
    core = next(OFFICIAL.glob("java/aws-lambda-java-core-*.jar"))
    files = java_classes(SOURCES / "java/src/example/Matrix.java", core)
    return {**files, f"lib/{core.name}": core.read_bytes()}


def _program(name: str) -> Callable[[], dict[str, str | bytes]]:
    return lambda: {"bootstrap": (OFFICIAL / name / "bootstrap").read_bytes()}


def tree(folder: Path) -> dict[str, str | bytes]:
    """A folder's files."""
    return {
        str(each.relative_to(folder)): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }


def _python_client() -> dict[str, str | bytes]:
    interpreter = f"/usr/bin/python3.{sys.version_info.minor}"
    return {
        **tree(OFFICIAL / "python"),
        "app.py": PYTHON,
        "bootstrap": f'#!/bin/sh\nexec {interpreter} -m awslambdaric "$_HANDLER"\n',
    }


def _node_client() -> dict[str, str | bytes]:
    # The package with what it was built into, not the sources it was built from.
    client = OFFICIAL / "node/node_modules/aws-lambda-ric"
    files = {
        f"node_modules/aws-lambda-ric/{name}": content
        for name, content in tree(client).items()
        if name.startswith(("dist/", "bin/", "index", "package.json", "lib/"))
    }
    node = shutil.which("node")
    start = f"exec {node} node_modules/aws-lambda-ric/bin/index.mjs"
    return {**files, "app.js": COMMONJS, "bootstrap": f'#!/bin/sh\n{start} "$_HANDLER"\n'}


def _ruby() -> dict[str, str | bytes]:
    """Lambent's own Ruby runtime under whatever Ruby is here, which AWS may not know."""
    runtime = (ROOT / "src/lambent/bootstraps/ruby/bootstrap.rb").read_bytes()
    ruby = shutil.which("ruby")
    start = f"#!/bin/sh\nexec {ruby} /var/task/lambent/bootstrap.rb\n"
    return {"lambent/bootstrap.rb": runtime, "app.rb": RUBY, "bootstrap": start}


SUBJECTS = {
    "python": Subject("python3.11", "app.handler", lambda: {"app.py": PYTHON}, "ValueError"),
    "node": Subject("nodejs20.x", "app.handler", lambda: {"app.js": COMMONJS}, "RangeError"),
    "module": Subject("nodejs20.x", "app.handler", lambda: {"app.mjs": MODULE}, "RangeError"),
    "java": Subject("java17", "example.Matrix", _java, "java.lang.IllegalStateException"),
    "ruby": Subject("provided.al2023", "app.handler", _ruby, "Function<IndexError>"),
    "go": Subject("provided.al2023", "unused", _program("go"), "errorString"),
    "rust": Subject("provided.al2023", "unused", _program("rust"), ""),
    "shell": Subject("provided.al2", "unused", lambda: {"bootstrap": SHELL}, "Shell.Error"),
    "awslambdaric": Subject("provided.al2023", "app.handler", _python_client, "ValueError"),
    "aws-lambda-ric": Subject("provided.al2023", "app.handler", _node_client, "RangeError"),
}
