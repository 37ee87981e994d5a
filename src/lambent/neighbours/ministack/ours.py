"""What is Lambent's own in MiniStack: functions are run by Lambent, and policies of queues and
topics are held against the services that deliver to them.
"""

from __future__ import annotations

import contextvars
import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from lambent.http import ClientGone
from lambent.iam.policy.document import Malformed, read
from lambent.iam.policy.evaluation import Policies, Request, Requester, evaluate
from lambent.neighbours.ministack.adapter import MiniStack, need

_log = logging.getLogger(__name__)

_SECONDS = 920  # longer than a function may run


class Refused(Exception):
    """Lambent's answer was no."""


class Lambent:
    """The server, as the process beside it may ask it (``gateway.inward``)."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ask(self, path: str, **asked: Any) -> bytes:
        """The body of its answer; raises Refused."""
        connection = Connection(self._path)
        try:
            connection.request("POST", path, json.dumps(asked).encode())
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"it did not answer: {error}") from None
        finally:
            connection.close()
        if answer.status not in (200, 202):
            raise Refused(body.decode("utf-8", "replace")[:500])
        return body


class Connection(http.client.HTTPConnection):
    """HTTP to a socket in the working directory."""

    def __init__(self, path: str) -> None:
        super().__init__("lambent", timeout=_SECONDS)
        self._socket_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


def install(stack: MiniStack, lambent: Lambent) -> None:
    """Put what is ours in its places, before any service is asked: they call each other."""
    sender = _Sender(stack, lambent)
    sender.in_s3(stack.module("s3"))
    sender.in_sns(stack.module("sns"))
    sender.in_sqs(stack.module("sqs"))
    sender.in_eventbridge(stack.module("eventbridge"))


# The tracing header of the request at hand: what it leads to is part of the same chain.
tracing: contextvars.ContextVar[str] = contextvars.ContextVar("tracing", default="")
# Whether whoever made the request at hand has hung up.
gone: contextvars.ContextVar[Callable[[], bool]] = contextvars.ContextVar(
    "gone", default=lambda: False
)
# Who is delivering in this thread: the service, the resource that makes it, a role to use.
_delivering: contextvars.ContextVar[tuple[str, str, str]] = contextvars.ContextVar("delivering")


class _Sender:
    """What services send to functions, queues and topics."""

    def __init__(self, stack: MiniStack, lambent: Lambent) -> None:
        self._stack = stack
        self._lambent = lambent

    # -- the places ------------------------------------------------------------------------

    def in_s3(self, module: Any) -> None:
        """S3 notifies functions."""
        need(module, "_deliver_event_to_lambda")

        def deliver(arn: str, event: dict[str, Any], region: str) -> None:
            name = event["Records"][0]["s3"]["bucket"]["name"]
            self._invoke(arn, json.dumps(event), "s3.amazonaws.com", f"arn:aws:s3:::{name}")

        module._deliver_event_to_lambda = deliver

    def in_sns(self, module: Any) -> None:
        """Topics notify functions, and take from services what their policies let in."""
        need(module, "_deliver_to_lambda")
        subscribe = need(module, "_validate_subscription_endpoint")
        error = need(module, "_error")

        def deliver(endpoint: str, envelope: str, topic: str, subscription: str, *_: Any) -> None:
            record = {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": subscription,
                "Sns": json.loads(envelope),
            }
            event = json.dumps({"Records": [record]})
            self._invoke(endpoint, event, "sns.amazonaws.com", topic)

        def validate(protocol: str, endpoint: str) -> Any:
            if protocol not in ("lambda", "sqs"):
                return error(
                    "InvalidParameter",
                    f"Invalid parameter: the protocol {protocol[:32]} is not offered by this "
                    "version of Lambent; sqs and lambda are",
                    400,
                )
            return subscribe(protocol, endpoint)

        def allows(arn: str, service: str, source_arn: str, source_account: str) -> bool:
            topic = module._topic_by_arn_any_scope(arn)
            policy = topic["attributes"].get("Policy") if topic else ""
            return _allows(policy or "", "sns:Publish", arn, service, source_arn, source_account)

        need(module, "topic_policy_allows")
        module._deliver_to_lambda = deliver
        module._validate_subscription_endpoint = validate
        module.topic_policy_allows = allows

    def in_sqs(self, module: Any) -> None:
        """Queues take from services what their policies let in."""
        need(module, "queue_policy_allows")
        attributes, completed = (
            need(module, "_build_send_sys_attrs"),
            need(module, "_ensure_msg_fields"),
        )
        collect = need(module, "_collect_msgs")

        def traced(now: float, given: Any) -> dict[str, Any]:
            """What SQS notes of a message: the request's tracing header, unless it has its own."""
            found: dict[str, Any] = attributes(now, given)
            if tracing.get():
                found.setdefault("AWSTraceHeader", tracing.get())
            return found

        def complete(message: dict[str, Any]) -> None:
            fresh = "sys" not in message  # another service has just made it
            completed(message)
            if fresh and tracing.get():
                message["sys"]["AWSTraceHeader"] = tracing.get()

        def collected(queue: Any, most: int, visibility: int) -> Any:
            """Nothing for those who hung up while they waited: it would be nobody's for a while."""
            if gone.get()():
                raise ClientGone
            return collect(queue, most, visibility)

        module._build_send_sys_attrs = traced
        module._ensure_msg_fields = complete
        module._collect_msgs = collected

        def allows(arn: str, service: str, source_arn: str, source_account: str) -> bool:
            queue = module._queue_by_arn(arn)
            policy = queue["attributes"].get("Policy") if queue else ""
            return _allows(
                policy or "", "sqs:SendMessage", arn, service, source_arn, source_account
            )

        module.queue_policy_allows = allows

    def in_eventbridge(self, module: Any) -> None:
        """Rules and schedules reach functions, queues and topics, by policy or by role."""
        invoke_target = need(module, "_invoke_target")
        to_sqs, to_sns = need(module, "_dispatch_to_sqs"), need(module, "_dispatch_to_sns")
        to_bus = need(module, "_dispatch_to_event_bus")
        need(module, "_dispatch_to_lambda")

        def invoke(target: dict[str, Any], event: Any, rule: dict[str, Any], *rest: Any) -> Any:
            arn = str(rule.get("Arn", ""))
            scheduled = ":scheduler:" in arn
            service = "scheduler.amazonaws.com" if scheduled else "events.amazonaws.com"
            token = _delivering.set((service, arn, str(target.get("RoleArn") or "")))
            try:
                return invoke_target(target, event, rule, *rest)
            finally:
                _delivering.reset(token)

        def to_lambda(arn: str, payload: str) -> None:
            service, source, role = _delivering.get()
            self._invoke(arn, payload, service, source, role)

        def guarded(action: str, deliver: Callable[..., None]) -> Callable[..., None]:
            def checked(target: Any, *rest: Any) -> None:
                if self._may_deliver(action, str(target)):
                    deliver(target, *rest)

            return checked

        module._invoke_target = invoke
        module._dispatch_to_lambda = to_lambda
        module._dispatch_to_sqs = guarded("sqs:SendMessage", to_sqs)
        module._dispatch_to_sns = guarded("sns:Publish", to_sns)
        module._dispatch_to_event_bus = guarded("events:PutEvents", to_bus)

    # -- what they do ----------------------------------------------------------------------

    def _invoke(self, arn: str, payload: str, service: str, source: str, role: str = "") -> None:
        """Run a function in a thread; nobody waits for it."""
        responses = self._stack.responses
        asked = {
            "function": arn,
            "payload": payload,
            "service": service,
            "source_arn": source,
            "role": role,
            "trace": tracing.get(),
            "account": responses.get_account_id(),
            "region": responses.get_region(),
        }

        def run() -> None:
            try:
                self._lambent.ask("/invoke", **asked)
            except Refused as refused:
                _log.warning("%s could not run %s: %s", source, arn, refused)

        threading.Thread(target=run, daemon=True, name="invoke").start()

    def _may_deliver(self, action: str, arn: str) -> bool:
        """Whether the rule or the schedule at hand may send to a queue or a topic."""
        service, source, role = _delivering.get()
        account = self._stack.responses.get_account_id()
        policies = {
            "sqs:SendMessage": ("sqs", "queue_policy_allows"),
            "sns:Publish": ("sns", "topic_policy_allows"),
        }
        if not role and action in policies:
            kind, name = policies[action]
            allows = getattr(self._stack.module(kind), name)
            allowed = bool(allows(arn, service, source, account))
        elif not role:
            allowed = False  # another bus takes events from a role only
        else:
            try:
                self._lambent.ask(
                    "/permit",
                    service=service,
                    role=role,
                    action=action,
                    resource=arn,
                    account=account,
                    region=self._stack.responses.get_region(),
                )
                allowed = True
            except Refused:
                allowed = False
        if not allowed:
            _log.warning("%s may not send to %s", source, arn)
        return allowed


def _allows(
    policy: str, action: str, resource: str, service: str, source_arn: str, account: str
) -> bool:
    """Whether a resource's policy lets a service in that acts for a resource of an account."""
    try:
        document = read(policy, principals=True)
    except Malformed:
        return False
    keys = {
        "aws:sourcearn": [source_arn],
        "aws:sourceaccount": [account],
        "aws:sourceowner": [account],
        "aws:principalisawsservice": ["true"],
        "aws:principalservicename": [service],
    }
    owner = resource.split(":")[4]
    request = Request(Requester("", "", service=service), action, resource, owner, keys)
    return evaluate(request, Policies(resource=document)).allowed
