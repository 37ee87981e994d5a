"""The Python runtime: fetches events from the Runtime API and calls the user's handler.

Runs on every CPython from 3.8 on, either as a fork of a zygote or by itself
(``python bootstrap.py``), with nothing but the standard library.  It speaks HTTP over a raw
socket, because http.client costs more to import than a whole cold start, and it asks for the next
event with the response to the last (``?next``, which the official API does not know).  Error
payloads have the shape of AWS's Python runtime.  A handler that is a generator streams: what it
yields goes out at once, and a dict that it yields first is an HTTP response's status and headers.
"""

from __future__ import annotations

import _socket
import binascii
import io
import json
import logging
import os
import sys
import time
from typing import Any, Callable, Generator, Iterator

_API = b"/2018-06-01/runtime/"
_GENERATOR = type(_ for _ in ())
_HTTP = b"application/vnd.awslambda.http-integration-response"
_RUNTIME_DIRECTORY = os.path.dirname(os.path.abspath(__file__))


class _RuntimeApi:
    """One keep-alive connection to the Runtime API: a stream handed over, or TCP.

    It reads what Lambent's own server writes: header names come as they are spelled there.
    """

    def __init__(self, address: str, descriptor: int) -> None:
        if descriptor >= 0:
            stream = _socket.socket(fileno=descriptor)
        else:
            host, _, port = address.partition(":")
            stream = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            stream.connect((host, int(port)))
            stream.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._send = stream.sendall
        self._recv = stream.recv
        self._buffer = b""
        self._host = ("Host: %s\r\n" % address).encode()

    def next(self) -> tuple[dict[str, str], bytes]:
        """Wait for an invocation: its headers and its event."""
        self._send(b"GET %sinvocation/next HTTP/1.1\r\n%s\r\n" % (_API, self._host))
        return self._read()[1:]

    def respond(self, request_id: str, body: bytes) -> tuple[dict[str, str], bytes]:
        """Post a response and wait for the next invocation, in one round trip."""
        return self._post_for_next(b"invocation/%s/response" % request_id.encode(), body, b"")

    def fail(self, request_id: str, error: dict[str, Any]) -> tuple[dict[str, str], bytes]:
        """Post an error and wait for the next invocation, in one round trip."""
        path = b"invocation/%s/error" % request_id.encode()
        return self._post_for_next(path, _encode(error), _error_type(error))

    def stream(
        self, request_id: str, kind: bytes, pieces: Iterator[bytes]
    ) -> tuple[tuple[dict[str, str], bytes], BaseException | None]:
        """Post a response piece by piece, then wait for the next invocation; and what broke it."""
        self._send(
            b"POST %sinvocation/%s/response?next HTTP/1.1\r\n%sContent-Type: %s\r\n"
            b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: Lambda-Runtime-Function-Error-Type\r\n"
            b"Trailer: Lambda-Runtime-Function-Error-Body\r\n\r\n"
            % (_API, request_id.encode(), self._host, kind)
        )
        broke = None
        try:
            for piece in pieces:
                if piece:
                    self._send(b"%x\r\n%s\r\n" % (len(piece), piece))
            self._send(b"0\r\n\r\n")
        except Exception as error:
            broke = error
            described = _describe(error, request_id)
            body = binascii.b2a_base64(_encode(described), newline=False)
            trailers = b"%sLambda-Runtime-Function-Error-Body: %s\r\n"
            self._send(b"0\r\n" + trailers % (_error_type(described), body) + b"\r\n")
        return self._answered(), broke

    def fail_initialisation(self, error: dict[str, Any]) -> None:
        """Report that the handler could not be loaded."""
        self._send(self._post(b"init/error", _encode(error), _error_type(error)))
        self._read()

    def _post(self, path: bytes, body: bytes, extra: bytes) -> bytes:
        return b"POST %s%s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
            _API, path, self._host, extra, len(body), body,
        )  # fmt: skip

    def _post_for_next(
        self, path: bytes, body: bytes, extra: bytes
    ) -> tuple[dict[str, str], bytes]:
        self._send(self._post(path + b"?next", body, extra))
        return self._answered()

    def _answered(self) -> tuple[dict[str, str], bytes]:
        """The next invocation, which comes with the receipt or must be asked for."""
        status, headers, answer = self._read()
        if status == 200:
            return headers, answer
        if status == 413:
            sys.stderr.write("%s\n" % answer.decode("utf-8", "replace"))
        elif status >= 500:
            sys.exit(1)
        return self.next()

    def _read(self) -> tuple[int, dict[str, str], bytes]:
        """A response: status, headers, body; what follows stays in the buffer."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        while end < 0:
            buffer += self._receive()
            end = buffer.find(b"\r\n\r\n")
        status, *lines = buffer[:end].decode("latin-1").split("\r\n")
        headers = dict([line.split(": ", 1) for line in lines])
        end += 4
        stop = end + int(headers["Content-Length"])
        if len(buffer) < stop:
            parts = [buffer]
            missing = stop - len(buffer)
            while missing > 0:
                parts.append(self._receive(262144))
                missing -= len(parts[-1])
            buffer = b"".join(parts)
        self._buffer = buffer[stop:]
        return int(status[9:12]), headers, buffer[end:stop]

    def _receive(self, most: int = 8192) -> bytes:
        data: bytes = self._recv(most)
        if not data:
            os._exit(0)  # the environment is being taken down
        return data


def _error_type(error: dict[str, Any]) -> bytes:
    kind = "".join(c for c in error["errorType"] if " " <= c < "\x7f")[:256]
    return b"Lambda-Runtime-Function-Error-Type: %s\r\n" % kind.encode()


def _encode(error: dict[str, Any]) -> bytes:
    return json.dumps(error).encode()


class _Identity:
    def __init__(self, raw: dict[str, Any]) -> None:
        self.cognito_identity_id = raw.get("cognitoIdentityId")
        self.cognito_identity_pool_id = raw.get("cognitoIdentityPoolId")


class _Client:
    def __init__(self, raw: dict[str, Any]) -> None:
        self.installation_id = raw.get("installation_id")
        self.app_title = raw.get("app_title")
        self.app_version_name = raw.get("app_version_name")
        self.app_version_code = raw.get("app_version_code")
        self.app_package_name = raw.get("app_package_name")


class _ClientContext:
    def __init__(self, raw: dict[str, Any]) -> None:
        self.client = _Client(raw["client"]) if isinstance(raw.get("client"), dict) else None
        self.custom = raw.get("custom")
        self.env = raw.get("env")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class LambdaContext:
    """The second argument of a handler; attributes as AWS documents them."""

    def __init__(self, headers: dict[str, str], fixed: dict[str, str | None]) -> None:
        self.__dict__.update(fixed)
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers.get("Lambda-Runtime-Invoked-Function-Arn")
        self.tenant_id = headers.get("Lambda-Runtime-Aws-Tenant-Id")
        client = headers.get("Lambda-Runtime-Client-Context")
        self.client_context = _ClientContext(_object(client)) if client else None
        identity = headers.get("Lambda-Runtime-Cognito-Identity")
        self.identity = _Identity(_object(identity) if identity else {})
        self._deadline = int(headers.get("Lambda-Runtime-Deadline-Ms", 0))

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until this invocation times out; never negative."""
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message: Any) -> None:
        """Write to the log, unformatted."""
        sys.stdout.write(str(message))
        sys.stdout.flush()

    def __repr__(self) -> str:
        names = (name for name in vars(self) if not name.startswith("_"))
        return "LambdaContext([%s])" % ",".join("%s=%s" % (n, getattr(self, n)) for n in names)


def _fixed_context() -> dict[str, str | None]:
    """The part of a context that is the same in every invocation."""
    names = {
        "log_group_name": "AWS_LAMBDA_LOG_GROUP_NAME",
        "log_stream_name": "AWS_LAMBDA_LOG_STREAM_NAME",
        "function_name": "AWS_LAMBDA_FUNCTION_NAME",
        "memory_limit_in_mb": "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "function_version": "AWS_LAMBDA_FUNCTION_VERSION",
    }
    return {name: os.environ.get(variable) for name, variable in names.items()}


class _RequestIdFilter(logging.Filter):
    request_id = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id
        return True


class _LogHandler(logging.Handler):
    """What logging writes; looks sys.stdout up, since functions replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(self.format(record))


_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id"}


class _JsonFormatter(logging.Formatter):
    """One JSON object a record, with what the record was given beside its message."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told = {
            "timestamp": at + "Z",
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": record.__dict__.get("aws_request_id"),
        }
        if record.exc_info and record.exc_info[0] is not None:
            import traceback

            told["errorType"] = record.exc_info[0].__name__
            told["errorMessage"] = str(record.exc_info[1])
            told["stackTrace"] = traceback.format_tb(record.exc_info[2])
            told["location"] = "%s:%s:%d" % (record.pathname, record.funcName, record.lineno)
        for name, value in record.__dict__.items():
            if name not in _PLAIN and name not in told:
                told[name] = value
        return json.dumps(told, default=str) + "\n"


def _apply_log_format() -> None:
    """LogFormat JSON, with its level; text needs nothing."""
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        root = logging.getLogger()
        for handler in root.handlers:
            if isinstance(handler, _LogHandler):
                handler.setFormatter(_JsonFormatter())
        level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
        root.setLevel({"TRACE": 5, "FATAL": logging.CRITICAL}.get(level, level))


def _set_up_logging(request_id: _RequestIdFilter) -> None:
    formatter = logging.Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n",
        "%Y-%m-%dT%H:%M:%S",
    )
    formatter.converter = time.gmtime
    handler = _LogHandler()
    handler.setFormatter(formatter)
    handler.addFilter(request_id)
    logging.getLogger().addHandler(handler)


class _HandlerError(Exception):
    """The handler cannot be loaded or its answer not be sent: an error type and a message."""

    def __init__(self, kind: str, message: str, frames: list[str]) -> None:
        Exception.__init__(self, message)
        self.kind = kind
        self.frames = frames


def _user_frames(error: BaseException) -> list[str]:
    """The formatted stack below this file."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    while frames and (frames[0].filename == __file__ or "importlib" in frames[0].filename):
        del frames[0]
    return traceback.format_list(frames)


def _import_handler(name: str) -> Callable[[Any, Any], Any]:
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise _HandlerError(
            "Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, error), []
        ) from None
    import importlib

    try:
        if module_name.split(".")[0] in sys.builtin_module_names:
            raise ImportError("Cannot use built-in module %s as a handler module" % module_name)
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise _HandlerError(
            "Runtime.ImportModuleError",
            "Unable to import module '%s': %s" % (module_name, error),
            [],
        ) from None
    except SyntaxError as error:
        frame = '  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text or "")
        raise _HandlerError(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '%s': %s" % (module_name, error),
            [frame.rstrip("\n") + "\n"],
        ) from None
    try:
        return getattr(module, function_name)  # type: ignore[no-any-return]
    except AttributeError:
        raise _HandlerError(
            "Runtime.HandlerNotFound",
            "Handler '%s' missing on module '%s'" % (function_name, module_name),
            [],
        ) from None


def _describe(error: BaseException, request_id: str) -> dict[str, Any]:
    if isinstance(error, _HandlerError):
        kind, frames = error.kind, error.frames
    else:
        kind, frames = type(error).__name__, _user_frames(error)
    return {
        "errorMessage": str(error),
        "errorType": kind,
        "requestId": request_id,
        "stackTrace": frames,
    }


def _log_error(error: dict[str, Any], request_id: str = "") -> None:
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        told = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "log_level": "ERROR",
            "level": "ERROR",
            "errorMessage": error["errorMessage"],
            "errorType": error["errorType"],
            "requestId": request_id,
            "stackTrace": error["stackTrace"],
        }
        sys.stdout.write(json.dumps(told) + "\n")
        return
    lines = ["[ERROR] %s: %s" % (error["errorType"], error["errorMessage"])]
    lines.append("Traceback (most recent call last):")
    lines.extend(frame.rstrip("\n") for frame in error["stackTrace"])
    sys.stdout.write("\n".join(lines) + "\n")


def _default(value: Any) -> Any:
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def _encoder() -> Callable[[Any], str]:
    # AWS's runtimes from Python 3.12 on send UTF-8, the older ones escape.
    escape = sys.version_info < (3, 12)
    return json.JSONEncoder(ensure_ascii=escape, default=_default).encode


def _invoke(
    handler: Callable[[Any, Any], Any],
    decode: Callable[[str], Any],
    encode: Callable[[Any], str],
    event: bytes,
    context: LambdaContext,
) -> bytes | Generator[Any, None, Any]:
    """The answer as JSON; a handler that is a generator answers piece by piece."""
    try:
        argument = decode(event.decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise _HandlerError(
            "Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error, []
        ) from None
    result = handler(argument, context)
    if type(result) is _GENERATOR:
        return result
    try:
        return encode(result).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError) as error:
        raise _HandlerError(
            "Runtime.MarshalError", "Unable to marshal response: %s" % error, []
        ) from None


def _pieces(first: Any, rest: Iterator[Any]) -> Iterator[bytes]:
    """What a generator yields, as bytes; a dict at its beginning is status, headers and cookies."""
    if isinstance(first, dict):
        yield _encode(first) + bytes(8)
    elif first is not None:
        yield _piece(first)
    for value in rest:
        yield _piece(value)


def _piece(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise _HandlerError(
        "Runtime.MarshalError",
        "A handler that streams must yield str or bytes, not %s" % type(value).__name__,
        [],
    )


class Prepared:
    """What every function of this interpreter needs and none changes: made once, then forked.

    Each page that an environment need not write to is memory it shares with all others.
    """

    def __init__(self) -> None:
        import site

        # What site.main() would have put into builtins, had it run (it did not: -S).
        site.setquit()
        site.setcopyright()
        site.sethelper()
        self.request_id = _RequestIdFilter()
        _set_up_logging(self.request_id)
        self.decode = json.JSONDecoder().decode
        self.encode = _encoder()


def _prepare_interpreter() -> None:
    version = "python%d.%d" % sys.version_info[:2]
    task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    layers = ["/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    own = ("", _RUNTIME_DIRECTORY)
    standard = [path for path in sys.path if path not in own and path not in given]
    sys.path[:] = [task, *layers, *given, *standard]
    sys.path_importer_cache.clear()
    sys.argv[:] = [os.path.join(_RUNTIME_DIRECTORY, "bootstrap.py")]
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(descriptor, "wb", closefd=False)
        buffer = io.BufferedWriter(raw, 8192)
        stream = io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)
    time.tzset()


def main(prepared: Prepared, descriptor: int = -1) -> None:
    """Load the handler, then serve invocations until the environment ends.

    descriptor: a stream connected to the Runtime API; without one its address is connected to.
    """
    _prepare_interpreter()
    _apply_log_format()
    request_id, decode, encode = prepared.request_id, prepared.decode, prepared.encode
    fixed = _fixed_context()
    api = _RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"], descriptor)
    try:
        handler = _import_handler(os.environ["_HANDLER"])
    except Exception as error:
        described = _describe(error, "")
        _log_error(described)
        sys.stdout.flush()
        api.fail_initialisation(described)
        sys.exit(1)
    headers, event = api.next()
    while True:
        request_id.request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        os.environ["_X_AMZN_TRACE_ID"] = headers["Lambda-Runtime-Trace-Id"]
        try:
            answer = _invoke(handler, decode, encode, event, LambdaContext(headers, fixed))
            if type(answer) is _GENERATOR:
                # Its code before the first piece may fail like any other.
                first = next(answer, None)
        except Exception as error:
            described = _describe(error, request_id.request_id)
            del error
            _log_error(described, request_id.request_id)
            sys.stdout.flush()
            sys.stderr.flush()
            headers, event = api.fail(request_id.request_id, described)
        else:
            sys.stdout.flush()
            sys.stderr.flush()
            current = request_id.request_id
            if type(answer) is not _GENERATOR:
                headers, event = api.respond(current, answer)  # type: ignore[arg-type]
                continue
            kind = _HTTP if isinstance(first, dict) else b"application/octet-stream"
            (headers, event), broke = api.stream(current, kind, _pieces(first, answer))
            if broke is not None:
                _log_error(_describe(broke, current), current)
            sys.stdout.flush()
            sys.stderr.flush()


if __name__ == "__main__":
    main(Prepared())
