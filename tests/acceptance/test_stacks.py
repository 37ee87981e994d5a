"""CloudFormation: functions and roles are Lambent's own, and a stack may what its owner may."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.conftest import RUNTIME, Server, User, allow, fetch, make_zip
from tests.integration.test_neighbours import eventually

TEMPLATE: dict[str, Any] = {
    "Parameters": {"Word": {"Type": "String", "Default": "one"}},
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
                "ManagedPolicyArns": [
                    "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"
                ],
                "Policies": [
                    {
                        "PolicyName": "reads",
                        "PolicyDocument": {
                            "Version": "2012-10-17",
                            "Statement": [
                                {
                                    "Effect": "Allow",
                                    "Action": "s3:GetObject",
                                    "Resource": {"Fn::Sub": "${Bucket.Arn}/*"},
                                }
                            ],
                        },
                    }
                ],
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": RUNTIME,
                "Handler": "index.handler",
                "MemorySize": "256",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Environment": {"Variables": {"WORD": {"Ref": "Word"}}},
                "Code": {
                    "ZipFile": "import os\ndef handler(e, c):\n    return [os.environ['WORD'], e]\n"
                },
                "Tags": [{"Key": "team", "Value": "blue"}],
            },
        },
        "Version": {
            "Type": "AWS::Lambda::Version",
            "Properties": {"FunctionName": {"Ref": "Function"}},
        },
        "Alias": {
            "Type": "AWS::Lambda::Alias",
            "Properties": {
                "FunctionName": {"Ref": "Function"},
                "FunctionVersion": {"Fn::GetAtt": ["Version", "Version"]},
                "Name": "live",
            },
        },
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {
                "Subscription": [
                    {"Protocol": "lambda", "Endpoint": {"Fn::GetAtt": ["Function", "Arn"]}}
                ]
            },
        },
        "Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "FunctionName": {"Ref": "Function"},
                "Action": "lambda:InvokeFunction",
                "Principal": "sns.amazonaws.com",
                "SourceArn": {"Ref": "Topic"},
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Feeding": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "FunctionName": {"Ref": "Alias"},
                "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                "BatchSize": "1",
            },
        },
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Logs": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": "/stack/logs", "RetentionInDays": 7},
        },
    },
    "Outputs": {
        "Name": {"Value": {"Ref": "Function"}},
        "Role": {"Value": {"Ref": "Role"}},
        "Topic": {"Value": {"Ref": "Topic"}},
        "Queue": {"Value": {"Ref": "Queue"}},
    },
}
FAST = {"Delay": 1, "MaxAttempts": 120}


def outputs(stacks: Any, name: str) -> dict[str, str]:
    (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


def test_a_stack_makes_changes_and_removes_functions_and_roles(server: Server) -> None:
    stacks, functions, iam = (server.client(name) for name in ("cloudformation", "lambda", "iam"))
    capable = {"Capabilities": ["CAPABILITY_IAM"]}
    stacks.create_stack(StackName="whole", TemplateBody=json.dumps(TEMPLATE), **capable)
    stacks.get_waiter("stack_create_complete").wait(StackName="whole", WaiterConfig=FAST)
    made = outputs(stacks, "whole")
    name = made["Name"]
    found = functions.get_function(FunctionName=name)
    assert found["Configuration"]["MemorySize"] == 256
    assert found["Tags"] == {"team": "blue"}
    answer = functions.invoke(FunctionName=name, Qualifier="live", Payload=b"7")
    assert json.loads(answer["Payload"].read()) == ["one", 7]
    policies = iam.list_attached_role_policies(RoleName=made["Role"])["AttachedPolicies"]
    assert [each["PolicyName"] for each in policies] == ["AWSLambdaSQSQueueExecutionRole"]
    server.client("sqs").send_message(QueueUrl=made["Queue"], MessageBody="hello")
    server.client("sns").publish(TopicArn=made["Topic"], Message="hello")
    logs = server.client("logs")
    eventually(
        lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="REPORT")[
            "events"
        ][2:]
    )
    groups = logs.describe_log_groups(logGroupNamePrefix="/stack/logs")["logGroups"]
    assert groups[0]["retentionInDays"] == 7

    changed = [{"ParameterKey": "Word", "ParameterValue": "two"}]
    stacks.update_stack(StackName="whole", UsePreviousTemplate=True, Parameters=changed, **capable)
    stacks.get_waiter("stack_update_complete").wait(StackName="whole", WaiterConfig=FAST)
    answer = functions.invoke(FunctionName=name, Payload=b"7")
    assert json.loads(answer["Payload"].read()) == ["two", 7]

    stacks.delete_stack(StackName="whole")
    stacks.get_waiter("stack_delete_complete").wait(StackName="whole", WaiterConfig=FAST)
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName=name)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=made["Role"])
    assert functions.list_event_source_mappings()["EventSourceMappings"] == []


def test_a_stack_may_not_what_its_owner_may_not(server: Server) -> None:
    builder = User(server, "builder")
    builder.may(allow(["cloudformation:*", "sqs:CreateQueue", "sqs:DeleteQueue"]))
    stacks = builder.client("cloudformation")

    def build(name: str, kind: str, **properties: Any) -> str:
        """What became of it."""
        template = {"Resources": {"It": {"Type": kind, "Properties": properties}}}
        stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
        try:
            stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=FAST)
        except WaiterError:
            pass
        events = stacks.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [each.get("ResourceStatusReason", "") for each in events]
        return next((each for each in reasons if "not authorized" in each), "made")

    assert build("may", "AWS::SQS::Queue") == "made"
    assert "s3:CreateBucket" in build("may-not", "AWS::S3::Bucket", BucketName="mine")
    assert "iam:CreateGroup" in build("nor", "AWS::IAM::Group", GroupName="ours")
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        build("unknown", "AWS::EC2::Instance")
    assert "mine" not in str(server.client("s3").list_buckets()["Buckets"])


def test_a_stack_acts_with_the_role_it_is_given(server: Server) -> None:
    iam, stacks = server.client("iam"), server.client("cloudformation")

    def role(name: str, service: str, action: str) -> str:
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
        }
        arn = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
        )["Role"]["Arn"]
        allow = {"Effect": "Allow", "Action": action, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
        return str(arn)

    template = json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}})
    other = role("not-for-stacks", "lambda.amazonaws.com", "*")
    with pytest.raises(ClientError, match="not authorized to assume"):
        stacks.create_stack(StackName="none", TemplateBody=template, RoleARN=other)
    weak = role("weak", "cloudformation.amazonaws.com", "s3:*")
    stacks.create_stack(StackName="weak", TemplateBody=template, RoleARN=weak)
    with pytest.raises(WaiterError):
        stacks.get_waiter("stack_create_complete").wait(StackName="weak", WaiterConfig=FAST)
    strong = role("strong", "cloudformation.amazonaws.com", "sqs:*")
    stacks.create_stack(StackName="strong", TemplateBody=template, RoleARN=strong)
    stacks.get_waiter("stack_create_complete").wait(StackName="strong", WaiterConfig=FAST)


def test_an_update_changes_a_roles_boundary_and_tags(server: Server) -> None:
    iam, stacks = server.client("iam"), server.client("cloudformation")
    boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    trust = TEMPLATE["Resources"]["Role"]["Properties"]["AssumeRolePolicyDocument"]
    steps: list[dict[str, Any]] = [
        {"Tags": [{"Key": "team", "Value": "blue"}]},
        {"PermissionsBoundary": boundary, "Tags": [{"Key": "stage", "Value": "test"}]},
        {},
    ]
    for number, step in enumerate(steps):
        properties = {"RoleName": "bounded", "AssumeRolePolicyDocument": trust, **step}
        resource = {"Type": "AWS::IAM::Role", "Properties": properties}
        given = {
            "StackName": "bounded",
            "TemplateBody": json.dumps({"Resources": {"R": resource}}),
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        }
        verb = "update" if number else "create"
        getattr(stacks, f"{verb}_stack")(**given)
        stacks.get_waiter(f"stack_{verb}_complete").wait(StackName="bounded", WaiterConfig=FAST)
        role = iam.get_role(RoleName="bounded")["Role"]
        attached = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        assert attached == step.get("PermissionsBoundary")
        assert role.get("Tags", []) == step.get("Tags", [])


def test_functions_of_stacks_outlive_a_restart(servers: Callable[..., Server]) -> None:
    first = servers()
    template = {key: TEMPLATE[key] for key in ("Parameters", "Outputs", "Resources")}
    stacks = first.client("cloudformation")
    stacks.create_stack(
        StackName="lasting", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"]
    )
    stacks.get_waiter("stack_create_complete").wait(StackName="lasting", WaiterConfig=FAST)
    assert first.stop() == 0
    second = servers()
    stacks = second.client("cloudformation")
    name = outputs(stacks, "lasting")["Name"]
    assert second.client().invoke(FunctionName=name, Payload=b"1")["StatusCode"] == 200
    stacks.delete_stack(StackName="lasting")
    stacks.get_waiter("stack_delete_complete").wait(StackName="lasting", WaiterConfig=FAST)
    assert second.client().list_functions()["Functions"] == []


def test_a_queue_of_a_stack_is_guarded_like_any_other(servers: Callable[..., Server]) -> None:
    """On a server whose SQS nobody has asked before."""
    server = servers()
    endpoint = {"Fn::GetAtt": ["Queue", "Arn"]}
    subscription = [{"Protocol": "sqs", "Endpoint": endpoint}]
    template = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "shut"}},
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"Subscription": subscription}},
        },
        "Outputs": {"Topic": {"Value": {"Ref": "Topic"}}},
    }
    stacks, sqs = server.client("cloudformation"), server.client("sqs")
    stacks.create_stack(StackName="shut", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName="shut", WaiterConfig=FAST)
    topic = outputs(stacks, "shut")["Topic"]
    server.client("sns").publish(TopicArn=topic, Message="without leave")
    url = f"{server.endpoint}/000000000000/shut"
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


CUSTOM = """
import json, urllib.request

def handler(event, context):
    answer = {
        "Status": "FAILED" if event["ResourceProperties"].get("Fail") else "SUCCESS",
        "Reason": "as told", "PhysicalResourceId": "custom-1", "StackId": event["StackId"],
        "RequestId": event["RequestId"], "LogicalResourceId": event["LogicalResourceId"],
        "Data": {"Word": event["RequestType"] + " " + event["ResourceProperties"]["Number"]},
    }
    request = urllib.request.Request(
        event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request)
"""


def test_a_custom_resource_is_a_function_that_answers(server: Server) -> None:
    functions, stacks = server.client(), server.client("cloudformation")
    arn = functions.create_function(
        FunctionName="custom",
        Runtime=RUNTIME,
        Role="arn:aws:iam::000000000000:role/lambda",
        Handler="app.handler",
        Code={"ZipFile": make_zip({"app.py": CUSTOM})},
    )["FunctionArn"]
    functions.get_waiter("function_active_v2").wait(FunctionName="custom")
    resource = {"Type": "Custom::Thing", "Properties": {"ServiceToken": arn, "Number": 7}}
    told = {"Word": {"Value": {"Fn::GetAtt": ["It", "Word"]}}}
    template = {"Resources": {"It": resource}, "Outputs": told}
    stacks.create_stack(StackName="custom", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName="custom", WaiterConfig=FAST)
    assert outputs(stacks, "custom") == {"Word": "Create 7"}
    resource["Properties"] = {"ServiceToken": arn, "Number": 7, "Fail": "yes"}
    stacks.create_stack(StackName="failing", TemplateBody=json.dumps(template))
    with pytest.raises(WaiterError):
        stacks.get_waiter("stack_create_complete").wait(StackName="failing", WaiterConfig=FAST)
    # Nobody without a token says anything.
    request = urllib.request.Request(
        f"{server.endpoint}/_lambent/stacks/{'0' * 8}-0000-0000-0000-{'0' * 12}",
        b"{}",
        method="PUT",
    )
    assert fetch(request)[0] == 404


def test_a_template_in_a_bucket_is_read_by_who_may(server: Server) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="templates")
    template = {"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}
    s3.put_object(Bucket="templates", Key="t.json", Body=json.dumps(template).encode())
    reader = User(server, "reader-of-templates")
    reader.may(allow(["cloudformation:*", "sqs:*"]))
    stacks = reader.client("cloudformation")
    url = f"{server.endpoint}/templates/t.json"
    with pytest.raises(ClientError, match="s3:GetObject"):
        stacks.create_stack(StackName="by-url", TemplateURL=url)
    server.client("cloudformation").create_stack(StackName="by-url", TemplateURL=url)
    stacks.get_waiter("stack_create_complete").wait(StackName="by-url", WaiterConfig=FAST)
