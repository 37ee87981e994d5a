"""The rest of the control plane through boto3: each resource, its errors, its conflicts."""

from __future__ import annotations

import http.server
import json
import os
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambent.aws import sigv4
from tests.conftest import ROLE, RUNTIME, Functions, Server, make_zip
from tests.integration.test_neighbours import eventually

ECHO = "def handler(event, context): return event"
WHO = "def handler(event, context): return context.function_version"
ARN = "arn:aws:lambda:us-east-1:000000000000:"


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error.get("Message", "")


def publish(functions: Functions, name: str, count: int) -> None:
    """Versions 1 to count, each with a description of its own."""
    for number in range(1, count + 1):
        functions.client.update_function_configuration(
            FunctionName=name, Description=f"v{number}", Timeout=number + 3
        )
        functions.settle(name)
        functions.client.publish_version(FunctionName=name)


# -- versions and aliases ---------------------------------------------------------------------


def test_publishing_what_has_not_changed_gives_the_last_version_again(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    first = client.publish_version(FunctionName=name, Description="one")
    again = client.publish_version(FunctionName=name, Description="another word for it")
    assert first["Version"] == again["Version"] == "1" and again["Description"] == "one"
    assert first["FunctionArn"] == f"{ARN}function:{name}:1"
    client.update_function_configuration(FunctionName=name, Timeout=9)
    functions.settle(name)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    client.delete_function(FunctionName=name, Qualifier="2")
    client.update_function_configuration(FunctionName=name, Timeout=8)
    functions.settle(name)
    assert client.publish_version(FunctionName=name)["Version"] == "3", "a number used again"
    assert refused(client.publish_version, FunctionName=name, CodeSha256="x" * 44)[0] == (
        "InvalidParameterValueException"
    )


def test_an_alias_leads_where_it_says_until_it_is_moved(functions: Functions) -> None:
    name = functions.create(WHO)
    client = functions.client
    publish(functions, name, 2)
    made = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert made["AliasArn"] == f"{ARN}function:{name}:live" and "RoutingConfig" not in made
    answer = functions.invoke(name, Qualifier="live")
    assert answer.payload == "1" and answer.raw["ExecutedVersion"] == "1"
    assert client.get_function_configuration(FunctionName=name, Qualifier="live")[
        "FunctionArn"
    ].endswith(":live")
    moved = client.update_alias(
        FunctionName=name, Name="live", FunctionVersion="2", RevisionId=made["RevisionId"]
    )
    assert functions.invoke(f"{ARN}function:{name}:live").payload == "2"
    assert refused(
        client.update_alias, FunctionName=name, Name="live", RevisionId=made["RevisionId"]
    )[0] == ("PreconditionFailedException")
    assert client.get_alias(FunctionName=name, Name="live")["RevisionId"] == moved["RevisionId"]
    assert refused(client.delete_function, FunctionName=name, Qualifier="2")[0] == (
        "ResourceConflictException"
    )
    client.delete_alias(FunctionName=name, Name="live")
    client.delete_alias(FunctionName=name, Name="live")
    assert refused(client.get_alias, FunctionName=name, Name="live") == (
        "ResourceNotFoundException",
        f"Cannot find alias arn: {ARN}function:{name}:live",
    )


def test_an_alias_shares_its_traffic_by_weight(functions: Functions) -> None:
    name = functions.create(WHO)
    client = functions.client
    publish(functions, name, 2)
    made = client.create_alias(
        FunctionName=name, Name="canary", FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.3}},
    )  # fmt: skip
    assert made["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.3}}
    seen = Counter(
        client.invoke(FunctionName=f"{name}:canary")["ExecutedVersion"] for _ in range(400)
    )
    # 120 of 400 expected; seven standard deviations to either side.
    assert set(seen) == {"1", "2"} and 55 < seen["2"] < 185
    client.update_alias(FunctionName=name, Name="canary", RoutingConfig={})
    assert "RoutingConfig" not in client.get_alias(FunctionName=name, Name="canary")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1, "3": 0.1}}},
            "InvalidParameterValueException",
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}},
            "InvalidParameterValueException",
            "Function version 1 is already included in routing configuration.",
        ),
        (
            {
                "FunctionVersion": "$LATEST",
                "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}},
            },
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        ({"FunctionVersion": "9"}, "ResourceNotFoundException", ":9"),
        ({"Name": "12"}, "ValidationException", "at 'name'"),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}}},
            "ValidationException",
            "less than or equal to 1",
        ),
    ],
    ids=range(6),
)
def test_a_wrong_alias_is_refused(
    functions: Functions, options: dict[str, Any], code: str, message: str
) -> None:
    name = functions.create(ECHO)
    publish(functions, name, 3)
    client = functions.server.client(parameter_validation=False)
    told = refused(
        client.create_alias,
        **{"FunctionName": name, "Name": "wrong", "FunctionVersion": "1", **options},
    )
    assert told[0] == code and message in told[1]


# -- layers -----------------------------------------------------------------------------------


def test_layers_are_merged_so_that_the_later_wins(functions: Functions) -> None:
    client = functions.client

    def layer(name: str, files: dict[str, str]) -> str:
        published = client.publish_layer_version(
            LayerName=name, Content={"ZipFile": make_zip(files)}, Description=name,
            CompatibleRuntimes=[RUNTIME],
        )  # fmt: skip
        assert published["LayerVersionArn"] == f"{ARN}layer:{name}:{published['Version']}"
        return str(published["LayerVersionArn"])

    lower = layer(
        "lower", {"python/data.py": "NAME = 'lower'", "python/only.py": "HERE = 1", "bin/x": "1"}
    )
    upper = layer("upper", {"python/data.py": "NAME = 'upper'", "bin/x/y": "2"})
    source = (
        "import os, data, only\n"
        "def handler(event, context):\n"
        "    return [data.NAME, only.HERE, open('/opt/bin/x/y').read(), data.__file__]\n"
    )
    name = functions.create(source, Layers=[lower, upper])
    assert functions.invoke(name).payload == ["upper", 1, "2", "/opt/python/data.py"]
    shown = client.get_function_configuration(FunctionName=name)["Layers"]
    assert [each["Arn"] for each in shown] == [lower, upper] and shown[0]["CodeSize"] > 0
    # One that is deleted stays with who has it, and is nobody else's any more.
    client.delete_layer_version(LayerName="lower", VersionNumber=int(lower.rpartition(":")[2]))
    client.update_function_configuration(FunctionName=name, Timeout=8)
    functions.settle(name)
    assert functions.invoke(name).payload[:2] == ["upper", 1]
    assert (
        "does not exist"
        in refused(client.update_function_configuration, FunctionName=name, Layers=[lower])[1]
    )
    client.update_function_configuration(FunctionName=name, Layers=[])
    functions.settle(name)
    assert "Layers" not in client.get_function_configuration(FunctionName=name)
    assert functions.invoke(name).payload["errorType"] == "Runtime.ImportModuleError"


def test_layer_versions_are_listed_newest_first_and_downloaded(functions: Functions) -> None:
    client = functions.client
    content = [make_zip({"python/n.py": f"N = {number}"}) for number in range(3)]
    for number, data in enumerate(content):
        client.publish_layer_version(
            LayerName="paged", Content={"ZipFile": data},
            CompatibleRuntimes=[RUNTIME] if number else ["nodejs22.x"],
        )  # fmt: skip
    pages = client.get_paginator("list_layer_versions").paginate(
        LayerName="paged", PaginationConfig={"PageSize": 2}
    )
    assert [each["Version"] for page in pages for each in page["LayerVersions"]] == [3, 2, 1]
    layers = client.get_paginator("list_layers").paginate(CompatibleRuntime="nodejs22.x")
    mine = [each for page in layers for each in page["Layers"] if each["LayerName"] == "paged"]
    assert mine[0]["LatestMatchingVersion"]["Version"] == 1
    arn = f"{ARN}layer:paged:2"
    by_arn = client.get_layer_version_by_arn(Arn=arn)
    assert by_arn["LayerVersionArn"] == arn
    with urllib.request.urlopen(by_arn["Content"]["Location"]) as answer:
        assert answer.read() == content[1]
    assert refused(client.get_layer_version, LayerName="paged", VersionNumber=9)[0] == (
        "ResourceNotFoundException"
    )


@pytest.mark.parametrize(
    ("layers", "code", "message"),
    [
        ([f"{ARN}layer:a{n}:1" for n in range(6)], "InvalidParameterValueException", "than 5"),
        (
            [f"{ARN}layer:twice:1", f"{ARN}layer:twice:2"],
            "InvalidParameterValueException",
            "Two different versions of the same layer",
        ),
        (
            ["arn:aws:lambda:eu-west-1:000000000000:layer:a:1"],
            "InvalidParameterValueException",
            "expected to be in region us-east-1",
        ),
        (
            ["arn:aws:lambda:us-east-1:111111111111:layer:a:1"],
            "AccessDeniedException",
            "not authorized to perform: lambda:GetLayerVersion",
        ),
    ],
    ids=range(4),
)
def test_wrong_layers_are_refused(
    functions: Functions, layers: list[str], code: str, message: str
) -> None:
    client = functions.client
    for number in range(2):
        content = {"ZipFile": make_zip({"n": str(number)})}
        client.publish_layer_version(LayerName="twice", Content=content)
    name = functions.create(ECHO)
    told = refused(client.update_function_configuration, FunctionName=name, Layers=layers)
    assert told[0] == code and message in told[1]


def test_functions_with_the_same_layers_share_one_copy(functions: Functions) -> None:
    client = functions.client
    content = {"ZipFile": make_zip({"python/common.py": "HERE = __file__", "data": "x" * 5000})}
    arns = [
        client.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
        for name in ("common", "spare")
    ]
    code = functions.server.data / "code"
    before = set(code.iterdir())
    source = "import common\ndef handler(event, context): return common.HERE"
    names = [functions.create(source, Layers=arns) for _ in range(50)]
    for name in names[:3]:
        assert functions.invoke(name).payload == "/opt/python/common.py"
    # The code of all fifty, the two layers' archive unpacked, and the one tree they make at /opt.
    added = {path.name[:7] for path in set(code.iterdir()) - before}
    assert len(set(code.iterdir()) - before) <= 3 and "merged-" in added


def test_a_start_sweeps_the_trees_that_nothing_needs_and_no_other(
    servers: Callable[..., Server],
) -> None:
    server = servers()
    functions = Functions(server, "swept")
    arns = [
        functions.client.publish_layer_version(
            LayerName=name, Content={"ZipFile": make_zip({f"python/{name}.py": ""})}
        )["LayerVersionArn"]
        for name in ("one", "two")
    ]
    functions.create("import one, two\ndef handler(event, context): pass", Layers=arns)
    code = server.data / "code"
    there = {path: path.stat().st_ino for path in code.iterdir() if path.is_dir()}
    assert any(path.name.startswith("merged-") for path in there)
    unused = code / ("merged-" + "0" * 64)
    unused.mkdir()
    # As the server would, whose uid is not this test's.
    os.chown(unused, code.stat().st_uid, code.stat().st_gid)
    assert server.stop() == 0
    assert servers().stop() == 0  # which waits for the sweep
    assert {path: path.stat().st_ino for path in code.iterdir() if path.is_dir()} == there


def test_code_and_layers_together_have_a_limit(servers: Callable[..., Server]) -> None:
    functions = Functions(servers("--unzipped-bytes", "30000"), "sized")
    client = functions.client
    content = {"ZipFile": make_zip({"data": "x" * 20_000})}
    arn = client.publish_layer_version(LayerName="large", Content=content)["LayerVersionArn"]
    name = functions.create({"app.py": ECHO, "data": "x" * 12_000})
    told = refused(client.update_function_configuration, FunctionName=name, Layers=[arn])
    assert told[0] == "InvalidParameterValueException"
    assert "exceeds the maximum allowed size of 30000 bytes. The actual size is 32" in told[1]
    client.update_function_code(FunctionName=name, ZipFile=make_zip({"app.py": ECHO}))
    functions.settle(name)
    client.update_function_configuration(FunctionName=name, Layers=[arn])


def test_a_layer_is_shared_by_its_policy_alone(servers: Callable[..., Server]) -> None:
    server = servers("--authentication", "any")
    owner, other = (account(server, number) for number in ("111111111111", "222222222222"))
    content = {"ZipFile": make_zip({"python/shared.py": "HERE = True"})}
    arn = owner.publish_layer_version(LayerName="shared", Content=content)["LayerVersionArn"]
    assert refused(other.get_layer_version_by_arn, Arn=arn)[0] == "AccessDeniedException"
    plain = arn.rpartition(":")[0]
    assert refused(other.list_layer_versions, LayerName=plain)[0] == "AccessDeniedException"
    assert refused(other.list_layer_versions, LayerName=plain + "-not")[0] == (
        "AccessDeniedException"
    )
    statement = {
        "LayerName": "shared", "VersionNumber": 1, "StatementId": "other",
        "Action": "lambda:GetLayerVersion", "Principal": "222222222222",
    }  # fmt: skip
    owner.add_layer_version_permission(**statement)
    assert refused(owner.add_layer_version_permission, **statement)[0] == (
        "ResourceConflictException"
    )
    assert other.get_layer_version_by_arn(Arn=arn)["Version"] == 1
    # One version is shared, and no list of what else there is.
    assert refused(other.list_layer_versions, LayerName=plain)[0] == "AccessDeniedException"
    policy = json.loads(
        owner.get_layer_version_policy(LayerName="shared", VersionNumber=1)["Policy"]
    )
    assert policy["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::222222222222:root"}
    owner.remove_layer_version_permission(LayerName="shared", VersionNumber=1, StatementId="other")
    assert refused(other.get_layer_version_by_arn, Arn=arn)[0] == "AccessDeniedException"
    # What is one account's is not another's, nor another region's.
    assert other.list_layers()["Layers"] == []
    assert account(server, "111111111111", "eu-west-1").list_layers()["Layers"] == []


def account(server: Server, number: str, region: str = "us-east-1") -> Any:
    import boto3

    return boto3.client(
        "lambda", endpoint_url=server.endpoint, region_name=region,
        aws_access_key_id=number, aws_secret_access_key="x",
    )  # fmt: skip


# -- policies ---------------------------------------------------------------------------------


def test_permissions_are_statements_of_a_policy(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    added = client.add_permission(
        FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::pictures",
        SourceAccount="123456789012",
    )  # fmt: skip
    assert json.loads(added["Statement"]) == {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"{ARN}function:{name}",
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "123456789012"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::pictures"},
        },
    }
    client.add_permission(
        FunctionName=name, StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*",
        FunctionUrlAuthType="NONE",
    )  # fmt: skip
    shown = client.get_policy(FunctionName=name)
    document = json.loads(shown["Policy"])
    assert (document["Version"], document["Id"]) == ("2012-10-17", "default")
    assert [each["Sid"] for each in document["Statement"]] == ["s3", "url"]
    assert refused(
        client.add_permission, FunctionName=name, StatementId="s3",
        Action="lambda:InvokeFunction", Principal="*",
    )[0] == "ResourceConflictException"  # fmt: skip
    stale = "00000000-0000-4000-8000-000000000000"
    assert refused(
        client.remove_permission, FunctionName=name, StatementId="s3", RevisionId=stale
    )[0] == "PreconditionFailedException"  # fmt: skip
    client.remove_permission(FunctionName=name, StatementId="s3", RevisionId=shown["RevisionId"])
    client.remove_permission(FunctionName=name, StatementId="url")
    assert refused(client.get_policy, FunctionName=name) == (
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"Qualifier": "$LATEST"}, "InvalidParameterValueException", "policies for $LATEST"),
        ({"Principal": "nobody"}, "InvalidParameterValueException", "principal was invalid"),
        ({"FunctionUrlAuthType": "NONE"}, "InvalidParameterValueException", "only supported for"),
        ({"Qualifier": "1"}, "ResourceNotFoundException", "Function not found"),
        ({"Qualifier": "no"}, "ResourceNotFoundException", "Cannot find alias arn"),
        ({"SourceArn": "arn:aws:s3:::" + "x" * 9000}, "", ""),
        ({"Action": "s3:GetObject"}, "ValidationException", "at 'action'"),
    ],
    ids=range(7),
)
def test_a_wrong_permission_is_refused(
    functions: Functions, options: dict[str, Any], code: str, message: str
) -> None:
    name = functions.create(ECHO)
    client = functions.server.client(parameter_validation=False)

    def add(number: int) -> None:
        client.add_permission(
            **{
                "FunctionName": name, "StatementId": f"s{number}",
                "Action": "lambda:InvokeFunction", "Principal": "*", **options,
            }
        )  # fmt: skip

    if not code:  # one fits into 20 KB, two do, a third does not
        add(0)
        add(1)
        code, message = "PolicyLengthExceededException", "bigger than the limit (20480)"
    told = refused(lambda: add(2))
    assert told[0] == code and message in told[1]


def test_a_policy_can_be_put_as_a_whole(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    arn = f"{ARN}function:{name}"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "one",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "lambda:*",
                "Resource": arn,
            }
        ],
    }
    put = client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    shown = client.get_resource_policy(ResourceArn=arn)
    assert json.loads(shown["Policy"])["Statement"] == policy["Statement"]
    assert (
        json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"][0]["Sid"] == "one"
    )
    client.delete_resource_policy(ResourceArn=arn, RevisionId=put["RevisionId"])
    assert refused(client.get_resource_policy, ResourceArn=arn)[0] == "ResourceNotFoundException"
    for wrong in ("no json", "{}", '{"Statement": [{"Effect": "Maybe"}]}', "[" * 9000):
        assert refused(client.put_resource_policy, ResourceArn=arn, Policy=wrong)[0] == (
            "InvalidParameterValueException"
        )


# -- concurrency, asynchronous invocation, URLs -------------------------------------------------


def test_reserved_concurrency_leaves_a_hundred_to_the_others(functions: Functions) -> None:
    one, two = functions.create(ECHO), functions.create(ECHO)
    client = functions.client
    before = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    put = client.put_function_concurrency(FunctionName=one, ReservedConcurrentExecutions=300)
    assert put["ReservedConcurrentExecutions"] == 300
    assert client.get_function_concurrency(FunctionName=two).get(
        "ReservedConcurrentExecutions"
    ) is None  # fmt: skip
    assert client.get_function(FunctionName=one)["Concurrency"] == {
        "ReservedConcurrentExecutions": 300
    }
    settings = client.get_account_settings()
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == before - 300
    assert settings["AccountUsage"]["FunctionCount"] >= 2
    assert "below its minimum value of [100]" in refused(
        client.put_function_concurrency, FunctionName=two,
        ReservedConcurrentExecutions=before - 300 - 99,
    )[1]  # fmt: skip
    client.put_function_concurrency(FunctionName=two, ReservedConcurrentExecutions=0)
    client.delete_function_concurrency(FunctionName=one)
    client.delete_function_concurrency(FunctionName=two)


def test_provisioned_environments_are_really_there(functions: Functions) -> None:
    source = "import os\nME = os.urandom(8).hex()\ndef handler(event, context): return ME"
    name = functions.create(source)
    client = functions.client
    assert "unpublished" in refused(
        client.put_provisioned_concurrency_config, FunctionName=name, Qualifier="$LATEST",
        ProvisionedConcurrentExecutions=1,
    )[1]  # fmt: skip
    client.publish_version(FunctionName=name)
    put = client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=3
    )
    assert put["RequestedProvisionedConcurrentExecutions"] == 3
    shown: dict[str, Any] = put
    while shown["Status"] != "READY":
        shown = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert shown["AllocatedProvisionedConcurrentExecutions"] == 3
    answer = functions.invoke(name, Qualifier="1")
    assert "Init Duration" not in answer.log, "the invocation waited for an initialisation"
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)
    assert [each["FunctionArn"] for each in listed["ProvisionedConcurrencyConfigs"]] == [
        f"{ARN}function:{name}:1"
    ]
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert refused(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1")[
        0
    ] == "ProvisionedConcurrencyConfigNotFoundException"  # fmt: skip


def test_asynchronous_invocation_is_configured_per_qualifier(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    queue = "arn:aws:sqs:us-east-1:000000000000:failed"
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )  # fmt: skip
    changed = client.update_function_event_invoke_config(
        FunctionName=name, MaximumEventAgeInSeconds=60
    )
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (1, 60)
    assert changed["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}
    assert changed["FunctionArn"] == f"{ARN}function:{name}:$LATEST"
    put = client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    assert "MaximumEventAgeInSeconds" not in put, "Put replaces what was there"
    listed = client.list_function_event_invoke_configs(FunctionName=name)
    assert len(listed["FunctionEventInvokeConfigs"]) == 1
    itself = {"OnSuccess": {"Destination": f"{ARN}function:{name}"}}
    for wrong in ({}, {"DestinationConfig": itself}):
        assert refused(client.put_function_event_invoke_config, FunctionName=name, **wrong)[0] == (
            "InvalidParameterValueException"
        )
    client.delete_function_event_invoke_config(FunctionName=name)
    assert (
        "doesn't have an EventInvokeConfig"
        in refused(client.get_function_event_invoke_config, FunctionName=name)[1]
    )


def test_a_function_url_is_configured(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    cors = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["GET"], "MaxAge": 60}
    made = client.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)
    assert ".lambda-url.us-east-1." in made["FunctionUrl"] and made["Cors"] == cors
    assert (
        "FunctionUrlConfig exists"
        in refused(client.create_function_url_config, FunctionName=name, AuthType="NONE")[1]
    )
    changed = client.update_function_url_config(
        FunctionName=name, AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM"
    )
    assert (changed["AuthType"], changed["InvokeMode"], changed["Cors"]) == (
        "AWS_IAM", "RESPONSE_STREAM", cors,
    )  # fmt: skip
    assert changed["FunctionUrl"] == made["FunctionUrl"]
    every = {"AllowOrigins": ["https://example.com", "*"], "AllowCredentials": True}
    for operation in (client.create_function_url_config, client.update_function_url_config):
        code, said = refused(operation, FunctionName=name, AuthType="NONE", Cors=every)
        assert code == "InvalidParameterValueException" and "wildcard" in said
    listed = client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert [each["FunctionUrl"] for each in listed] == [made["FunctionUrl"]]
    client.delete_function_url_config(FunctionName=name)
    assert refused(client.get_function_url_config, FunctionName=name)[0] == (
        "ResourceNotFoundException"
    )


# -- event sources, signing, runtime, recursion, tags --------------------------------------------

QUEUE = "arn:aws:sqs:us-east-1:000000000000:queue"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


def test_an_event_source_mapping_is_created_read_updated_and_deleted(functions: Functions) -> None:
    # AWS looks whether the queue is there and the role may read it.
    functions.server.client("sqs").create_queue(QueueName="queue")
    iam = functions.server.client("iam")
    trust = iam.get_role(RoleName="lambda")["Role"]["AssumeRolePolicyDocument"]
    iam.create_role(RoleName="reads-queues", AssumeRolePolicyDocument=json.dumps(trust))
    policy = "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"
    iam.attach_role_policy(RoleName="reads-queues", PolicyArn=policy)
    name = functions.create(ECHO, Role=ROLE.replace("/lambda", "/reads-queues"))
    client = functions.client
    made = client.create_event_source_mapping(
        FunctionName=name, EventSourceArn=QUEUE, BatchSize=100, MaximumBatchingWindowInSeconds=5,
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}, Tags={"a": "b"},
    )  # fmt: skip
    assert made["State"] == "Creating" and made["FunctionArn"] == f"{ARN}function:{name}"
    uuid = made["UUID"]
    shown = client.get_event_source_mapping(UUID=uuid)
    assert shown["State"] == "Enabled" and shown["BatchSize"] == 100
    assert (
        uuid
        in refused(client.create_event_source_mapping, FunctionName=name, EventSourceArn=QUEUE)[1]
    )
    changed = client.update_event_source_mapping(UUID=uuid, Enabled=False, BatchSize=5)
    assert (changed["State"], changed["BatchSize"]) == ("Updating", 5)
    assert client.get_event_source_mapping(UUID=uuid)["State"] == "Disabled"
    assert client.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == {"a": "b"}
    listed = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    assert [each["UUID"] for each in listed] == [uuid]
    assert client.delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"
    assert refused(client.get_event_source_mapping, UUID=uuid)[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"EventSourceArn": "arn:aws:s3:::bucket"}, "Unrecognized event source"),
        ({"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0"),
        ({"EventSourceArn": QUEUE + ".fifo", "BatchSize": 11}, "at most 10 for FIFO"),
        (
            {"EventSourceArn": QUEUE + ".fifo", "MaximumBatchingWindowInSeconds": 1},
            "not supported for FIFO",
        ),
        ({"ParallelizationFactor": 2}, "ParallelizationFactor"),
        ({"EventSourceArn": STREAM}, "Value null at 'startingPosition'"),
        (
            {"EventSourceArn": STREAM, "StartingPosition": "AT_TIMESTAMP"},
            "StartingPositionTimestamp is required",
        ),
        (
            {
                "EventSourceArn": STREAM,
                "StartingPosition": "LATEST",
                "MaximumRecordAgeInSeconds": 30,
            },
            "Minimum permitted value",
        ),
        ({"FunctionName": "there-is-none"}, "Function does not exist"),
    ],
    ids=range(9),
)
def test_a_wrong_event_source_mapping_is_refused(
    functions: Functions, options: dict[str, Any], message: str
) -> None:
    name = functions.create(ECHO)
    told = refused(
        functions.client.create_event_source_mapping,
        **{"FunctionName": name, "EventSourceArn": QUEUE, **options},
    )
    assert told[0] == "InvalidParameterValueException" and message in told[1]


def test_code_signing_is_configured(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    profile = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/abcdefghij"
    made = client.create_code_signing_config(
        AllowedPublishers={"SigningProfileVersionArns": [profile]}, Description="d"
    )["CodeSigningConfig"]
    arn = made["CodeSigningConfigArn"]
    assert made["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
    assert client.get_function_code_signing_config(FunctionName=name)[
        "CodeSigningConfigArn"
    ] == arn  # fmt: skip
    assert client.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)[
        "FunctionArns"
    ] == [f"{ARN}function:{name}"]  # fmt: skip
    assert refused(client.delete_code_signing_config, CodeSigningConfigArn=arn)[0] == (
        "ResourceConflictException"
    )
    client.delete_function_code_signing_config(FunctionName=name)
    changed = client.update_code_signing_config(
        CodeSigningConfigArn=arn,
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )["CodeSigningConfig"]
    assert changed["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"] == "Enforce"
    pages = client.get_paginator("list_code_signing_configs").paginate()
    every = [each["CodeSigningConfigArn"] for page in pages for each in page["CodeSigningConfigs"]]
    assert arn in every
    client.delete_code_signing_config(CodeSigningConfigArn=arn)
    assert refused(
        client.put_function_code_signing_config, FunctionName=name, CodeSigningConfigArn=arn
    )[0] == "CodeSigningConfigNotFoundException"  # fmt: skip


def test_runtime_management_and_recursion_are_configured(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    assert client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    version = "arn:aws:lambda:us-east-1::runtime:" + "a" * 64
    client.put_runtime_management_config(
        FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=version
    )
    assert client.get_runtime_management_config(FunctionName=name)["RuntimeVersionArn"] == version
    assert (
        "required"
        in refused(
            client.put_runtime_management_config, FunctionName=name, UpdateRuntimeOn="Manual"
        )[1]
    )
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"


def test_tags_are_at_most_fifty_and_never_awss(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    arn = f"{ARN}function:{name}"
    before = client.get_function_configuration(FunctionName=name)["RevisionId"]
    client.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    assert client.get_function_configuration(FunctionName=name)["RevisionId"] != before
    client.untag_resource(Resource=arn, TagKeys=["a"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    many = {f"k{number}": "" for number in range(50)}
    assert "limit" in refused(client.tag_resource, Resource=arn, Tags=many)[1]
    assert refused(client.tag_resource, Resource=arn, Tags={"aws:x": "1"})[0] == (
        "InvalidParameterValueException"
    )
    assert (
        "aliases and versions"
        in refused(client.tag_resource, Resource=f"{arn}:1", Tags={"a": "1"})[1]
    )
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}


# -- a resource's whole life, as an infrastructure tool drives it --------------------------------


def test_what_is_created_is_read_back_and_updated_without_a_difference(
    functions: Functions,
) -> None:
    client = functions.client
    layer = client.publish_layer_version(
        LayerName="whole", Content={"ZipFile": make_zip({"python/l.py": ""})}
    )["LayerVersionArn"]
    wanted: dict[str, Any] = {
        "Description": "all of it",
        "Timeout": 17,
        "MemorySize": 256,
        "Environment": {"Variables": {"STAGE": "test"}},
        "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"},
        "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
        "TracingConfig": {"Mode": "Active"},
        "Layers": [layer],
        "EphemeralStorage": {"Size": 1024},
        "SnapStart": {"ApplyOn": "PublishedVersions"},
        "LoggingConfig": {
            "LogFormat": "JSON",
            "ApplicationLogLevel": "WARN",
            "SystemLogLevel": "INFO",
            "LogGroup": "/mine/whole",
        },
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "FileSystemConfigs": [
            {
                "Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-"
                + "0" * 17,
                "LocalMountPath": "/mnt/shared",
            }
        ],
    }
    name = functions.create(ECHO, **wanted, Tags={"team": "a"})

    def differences(expected: dict[str, Any]) -> dict[str, Any]:
        shown = client.get_function_configuration(FunctionName=name)
        shown["Layers"] = [each["Arn"] for each in shown.get("Layers", [])]
        shown["SnapStart"].pop("OptimizationStatus")
        shown.get("VpcConfig", {}).pop("VpcId", None)
        return {key: shown.get(key) for key, value in expected.items() if shown.get(key) != value}

    assert differences(wanted) == {}
    assert functions.invoke(name, {"n": 1}).payload == {"n": 1}
    events = functions.server.client("logs").filter_log_events(logGroupName="/mine/whole")["events"]
    assert any("platform.start" in each["message"] for each in events)
    changed = wanted | {
        "Description": "",
        "Timeout": 3,
        "Environment": {"Variables": {}},
        "Layers": [],
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "SnapStart": {"ApplyOn": "None"},
    }
    client.update_function_configuration(FunctionName=name, **changed)
    functions.settle(name)
    assert differences(changed) == {}
    client.delete_function(FunctionName=name)
    assert refused(client.get_function, FunctionName=name)[0] == "ResourceNotFoundException"


def test_an_update_in_progress_is_a_conflict(functions: Functions) -> None:
    name = functions.create(ECHO)
    client = functions.client
    told: list[str] = []
    while not told:  # the update is over in a few milliseconds: race it until it is lost
        try:
            for timeout in (5, 6):
                client.update_function_configuration(FunctionName=name, Timeout=timeout)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ResourceConflictException"
            told.append(error.response["Error"]["Message"])
        functions.settle(name)
    assert told == [
        "The operation cannot be performed at this time. An update is in progress for resource: "
        f"{ARN}function:{name}"
    ]


# -- code from S3 -------------------------------------------------------------------------------

S3_KEY, S3_SECRET = "AKIASOURCE", "a secret of the source"


OBJECTS = {"/code/dir/a%20b.zip": make_zip({"app.py": ECHO}), "/code/bad.zip": b"no archive"}


class Bucket(http.server.BaseHTTPRequestHandler):
    """An S3 of one object, which believes only requests that are signed right."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        claim = sigv4.read_claim(headers, {})
        status, body = 200, OBJECTS.get(path, b"")
        try:
            assert claim is not None
            sigv4.check_time(claim, datetime.now(UTC).timestamp())
            hashed = sigv4.declared_hash(claim, headers) or sigv4.EMPTY_SHA256
            key = sigv4.SigningKey(S3_SECRET, claim.scope)
            sigv4.verify(claim, key, "GET", path, query, headers, hashed)
        except sigv4.SignatureError:
            status, body = 403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
        if status == 200 and (not body or query not in ("", "versionId=7")):
            status = 404
            body = b"<Error><Code>NoSuchKey</Code><Message>None.</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def bucket() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_code_is_read_from_the_configured_s3(bucket: str, servers: Callable[..., Server]) -> None:
    prefix = "LAMBENT_NEIGHBOURS_S3_"
    server = servers(
        environment={
            prefix + "ENDPOINT": bucket,
            prefix + "ACCESS_KEY_ID": S3_KEY,
            prefix + "SECRET_ACCESS_KEY": S3_SECRET,
        }
    )
    functions = Functions(server, "s3")
    client = functions.client
    code = {"S3Bucket": "code", "S3Key": "dir/a b.zip"}
    client.create_function(
        FunctionName="s3", Runtime=RUNTIME, Handler="app.handler", Role=ROLE, Code=code
    )
    functions.settle("s3")
    assert functions.invoke("s3", {"n": 1}).payload == {"n": 1}
    client.update_function_code(FunctionName="s3", **code, S3ObjectVersion="7")
    functions.settle("s3")
    assert refused(
        client.update_function_code, FunctionName="s3", S3Bucket="code", S3Key="none"
    ) == (
        "InvalidParameterValueException",
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: None.",
    )
    blobs = set((server.data / "blobs").glob("??/*"))
    assert (
        "Could not unzip"
        in refused(
            client.update_function_code, FunctionName="s3", S3Bucket="code", S3Key="bad.zip"
        )[1]
    )
    eventually(lambda: set((server.data / "blobs").glob("??/*")) == blobs)  # not kept
    layer = client.publish_layer_version(LayerName="s3", Content=code)
    assert layer["Version"] == 1 and layer["Content"]["CodeSize"] > 0
