"""Functions whose tenants never share an environment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Functions
from tests.integration.test_async import events_of
from tests.integration.test_neighbours import eventually

# Remembers what it was told, in memory and on disk.
CODE = """
import os
seen = []

def handler(event, context):
    seen.append(event["n"])
    with open("/tmp/seen", "a") as file:
        file.write(str(event["n"]))
    print("EVENT", context.tenant_id, event["n"])
    return {"tenant": context.tenant_id, "seen": seen, "disk": open("/tmp/seen").read()}
"""


def test_each_tenant_has_environments_of_his_own(functions: Functions) -> None:
    name = functions.create(CODE, TenancyConfig={"TenantIsolationMode": "PER_TENANT"})

    def ask(tenant: str, n: int) -> Any:
        return functions.invoke(name, {"n": n}, TenantId=tenant).payload

    shown = functions.client.get_function_configuration(FunctionName=name)
    assert shown["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
    assert ask("blue", 1) == {"tenant": "blue", "seen": [1], "disk": "1"}
    assert ask("green", 2) == {"tenant": "green", "seen": [2], "disk": "2"}
    assert ask("blue", 3) == {"tenant": "blue", "seen": [1, 3], "disk": "13"}
    assert ask("a b/c:d=e@f", 4)["tenant"] == "a b/c:d=e@f"
    events = functions.client.invoke_with_response_stream(
        FunctionName=name, Payload=b'{"n": 5}', TenantId="green"
    )["EventStream"]
    piece = next(iter(events))
    assert json.loads(piece["PayloadChunk"]["Payload"])["seen"] == [2, 5]
    events.close()
    answer = functions.client.invoke(
        FunctionName=name, Payload=b'{"n": 6}', TenantId="red", InvocationType="Event"
    )
    answer["Payload"].close()

    def reds() -> list[str]:
        return [each for each in events_of(functions.server, name) if each.startswith("red")]

    assert eventually(reds) == ["red 6"]


def refusal(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
def test_a_tenant_is_wanted_where_there_are_tenants_and_nowhere_else(
    functions: Functions, kind: str
) -> None:
    with_tenants = functions.create(CODE, TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    without = functions.create(CODE)
    client = functions.client
    code, message = refusal(
        client.invoke, FunctionName=with_tenants, InvocationType=kind, Payload=b'{"n": 1}'
    )
    assert (code, "tenant ID" in message) == ("InvalidParameterValueException", True)
    code, _ = refusal(
        client.invoke,
        FunctionName=without,
        InvocationType=kind,
        Payload=b'{"n": 1}',
        TenantId="blue",
    )
    assert code == "InvalidParameterValueException"
    wrong = refusal(client.invoke, FunctionName=with_tenants, TenantId="no#good")
    assert wrong[0] in ("ValidationException", "InvalidParameterValueException")


def test_what_does_not_go_with_tenants_is_refused(functions: Functions) -> None:
    name = functions.create(CODE, TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    client = functions.client
    version = client.publish_version(FunctionName=name)["Version"]
    invalid = "InvalidParameterValueException"
    assert refusal(client.create_function_url_config, FunctionName=name, AuthType="NONE")[0] == (
        invalid
    )
    assert (
        refusal(
            client.put_provisioned_concurrency_config,
            FunctionName=name,
            Qualifier=version,
            ProvisionedConcurrentExecutions=1,
        )[0]
        == invalid
    )
    queue = functions.server.client("sqs").create_queue(QueueName="of-tenants")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:000000000000:" + queue.rpartition("/")[2]
    mapping = refusal(client.create_event_source_mapping, FunctionName=name, EventSourceArn=arn)
    assert mapping[0] == invalid
