"""What a template reads, it reads with the permission of the stack's principal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.acceptance.test_stack_rights import deploy, one, own, policy, settled, statement
from tests.conftest import Server, User

WAITS: dict[str, Any] = {"W": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}
CAPABLE = {"Capabilities": ["CAPABILITY_AUTO_EXPAND", "CAPABILITY_IAM"]}


@pytest.fixture(scope="module")
def secrets(server: Server) -> None:
    """The owner's: a secret, parameters, objects."""
    server.client("secretsmanager").create_secret(
        Name="db-secret", SecretString=json.dumps({"password": "s3cr3t"})
    )
    for name, kind in (("/prod/key", "SecureString"), ("/prod/host", "String")):
        server.client("ssm").put_parameter(Name=name, Value=f"value of {name}", Type=kind)
    s3 = server.client("s3")
    s3.create_bucket(Bucket="private-templates")
    inner = {"Description": "private", "Resources": WAITS}
    for key, document in (("t.json", inner), ("config.json", {"password": "hunter2"})):
        s3.put_object(Bucket="private-templates", Key=key, Body=json.dumps(document).encode())


@pytest.fixture(scope="module")
def stacker(server: Server, secrets: None) -> User:
    user = User(server, "stacker")
    user.may(policy(statement("cloudformation:*")))
    return user


def refused(user: User, name: str, template: dict[str, Any]) -> str:
    """Why a stack is not made, of a request or of its events."""
    stacks = user.client("cloudformation")
    try:
        status, why = deploy(stacks, name, template, **CAPABLE)
    except ClientError as error:
        return str(error)
    assert status == "ROLLBACK_COMPLETE"
    return why


SSM: dict[str, Any] = {
    "Parameters": {"P": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/prod/host"}},
    "Resources": WAITS,
    "Outputs": {"O": {"Value": {"Ref": "P"}}},
}


def including(location: str) -> dict[str, Any]:
    include = {"Name": "AWS::Include", "Parameters": {"Location": location}}
    return {
        "Resources": WAITS,
        "Mappings": {"M": {"a": {"Fn::Transform": include}}},
        "Outputs": {"O": {"Value": {"Fn::FindInMap": ["M", "a", "password"]}}},
    }


def nested(server: Server) -> dict[str, Any]:
    url = f"{server.endpoint}/private-templates/t.json"
    return one("AWS::CloudFormation::Stack", TemplateURL=url)


def test_without_the_permission_nothing_is_read(server: Server, stacker: User) -> None:
    assert "ssm:GetParameters" in refused(stacker, "reads-ssm", SSM)
    include = including("s3://private-templates/config.json")
    assert "s3:GetObject" in refused(stacker, "reads-include", include)
    assert "s3:GetObject" in refused(stacker, "reads-nested", nested(server))
    names = [each["StackName"] for each in stacks_of(server)]
    assert not [each for each in names if each.startswith("reads-nested-")]


def stacks_of(server: Server) -> list[dict[str, Any]]:
    summaries: list[dict[str, Any]] = server.client("cloudformation").list_stacks()[
        "StackSummaries"
    ]
    return summaries


def test_with_the_permission_it_is(server: Server, stacker: User) -> None:
    reader = User(server, "reader-by-stacks")
    reader.may(
        policy(
            statement("cloudformation:*"),
            statement("ssm:GetParameters", own("ssm", "parameter/prod/host")),
            statement("s3:GetObject", "arn:aws:s3:::private-templates/*"),
        )
    )
    stacks = reader.client("cloudformation")
    for name, template, value in (
        ("may-ssm", SSM, "value of /prod/host"),
        ("may-include", including("s3://private-templates/config.json"), "hunter2"),
    ):
        assert deploy(stacks, name, template, **CAPABLE) == ("CREATE_COMPLETE", "")
        (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
        assert stack["Outputs"][0]["OutputValue"] == value
    assert deploy(stacks, "may-nested", nested(server), **CAPABLE) == ("CREATE_COMPLETE", "")


def test_a_secure_string_is_no_parameter_of_a_template(server: Server, secrets: None) -> None:
    stacks = server.client("cloudformation")
    template = {**SSM, "Parameters": {"P": {**SSM["Parameters"]["P"], "Default": "/prod/key"}}}
    with pytest.raises(ClientError, match="types not supported by CloudFormation"):
        stacks.create_stack(StackName="secure", TemplateBody=json.dumps(template))
    for service, message in (("ssm", "Non-secure ssm prefix"), ("ssm-secure", "not supported")):
        value = f"{{{{resolve:{service}:/prod/key}}}}"
        template = one("AWS::SSM::Parameter", Name="copy", Type="String", Value=value)
        status, why = deploy(stacks, f"secure-{service}", template)
        assert status == "ROLLBACK_COMPLETE"
        assert message in why


SECRET = "{{resolve:secretsmanager:db-secret:SecretString:password}}"


@pytest.mark.parametrize("by_parameter", [False, True], ids=["in the template", "as a parameter"])
def test_a_dynamic_reference_is_resolved_for_those_who_may_read_it(
    server: Server, secrets: None, by_parameter: bool
) -> None:
    label = "dynamic-p" if by_parameter else "dynamic-t"
    user = User(server, label)
    statements = [
        statement("cloudformation:*"),
        statement("ssm:*", own("ssm", "parameter/copy-*")),
    ]
    user.may(policy(*statements))
    value = {"Ref": "P"} if by_parameter else SECRET
    template = one("AWS::SSM::Parameter", Name=f"copy-{label}", Type="String", Value=value)
    if by_parameter:
        template["Parameters"] = {"P": {"Type": "String", "Default": SECRET}}
    assert "secretsmanager:GetSecretValue" in refused(user, f"{label}-1", template)
    host = json.loads(json.dumps(template).replace(SECRET, "{{resolve:ssm:/prod/host}}"))
    assert "ssm:GetParameters" in refused(user, f"{label}-2", host)
    secret = server.client("secretsmanager").describe_secret(SecretId="db-secret")["ARN"]
    user.may(policy(*statements, statement("secretsmanager:GetSecretValue", secret)))
    stacks = user.client("cloudformation")
    assert deploy(stacks, f"{label}-3", template) == ("CREATE_COMPLETE", "")
    read = user.client("ssm").get_parameter(Name=f"copy-{label}")["Parameter"]
    assert read["Value"] == "s3cr3t"


def test_a_resolved_secret_does_not_move_with_those_who_may_not_read_it(
    server: Server, secrets: None
) -> None:
    """A later update keeps the value of an unchanged resource, but under no other name."""
    template = one("AWS::SSM::Parameter", Name={"Ref": "N"}, Type="String", Value=SECRET)
    template["Parameters"] = {"N": {"Type": "String"}}

    def named(name: str) -> list[dict[str, str]]:
        return [{"ParameterKey": "N", "ParameterValue": name}]

    owner = server.client("cloudformation")
    made = deploy(owner, "moving", template, Parameters=named("kept-1"))
    assert made == ("CREATE_COMPLETE", "")
    mover = User(server, "mover")
    mover.may(policy(statement(["cloudformation:*", "ssm:*"])))
    stacks = mover.client("cloudformation")
    stacks.update_stack(StackName="moving", UsePreviousTemplate=True, Parameters=named("moved-1"))
    status, why = settled(stacks, "moving")
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert "secretsmanager:GetSecretValue" in why
    with pytest.raises(ClientError, match="ParameterNotFound"):
        server.client("ssm").get_parameter(Name="moved-1")


def test_a_policy_of_the_resource_that_denies_holds_for_stacks_too(
    server: Server, secrets: None
) -> None:
    user = User(server, "kept-out")
    user.may(policy(statement(["cloudformation:*", "s3:GetObject"])))
    arn = user.iam.get_user(UserName=user.name)["User"]["Arn"]
    denial = {
        "Effect": "Deny",
        "Principal": {"AWS": arn},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::private-templates/config.json",
    }
    s3 = server.client("s3")
    s3.put_bucket_policy(Bucket="private-templates", Policy=policy(denial))
    try:
        include = including("s3://private-templates/config.json")
        assert "explicit deny" in refused(user, "kept-out", include)
    finally:
        s3.delete_bucket_policy(Bucket="private-templates")


def test_the_object_that_is_authorised_is_the_one_that_is_read(
    server: Server, secrets: None
) -> None:
    """A key with percent signs is not the key that they stand for."""
    s3 = server.client("s3")
    document = json.dumps({"Description": "other", "Resources": WAITS}).encode()
    s3.put_object(Bucket="private-templates", Key="t%2Ejson", Body=document)
    user = User(server, "encoder")
    user.may(
        policy(
            statement("cloudformation:*"),
            statement("s3:GetObject", "arn:aws:s3:::private-templates/t.json"),
        )
    )
    stacks = user.client("cloudformation")
    url = f"{server.endpoint}/private-templates/t%2Ejson"
    assert stacks.validate_template(TemplateURL=url)["Description"] == "private"
    with pytest.raises(ClientError, match="s3:GetObject"):
        stacks.validate_template(TemplateURL=url.replace("%2E", "%252E"))


def test_another_stacks_outputs_are_not_a_function_away(stacker: User) -> None:
    template = {
        "Resources": WAITS,
        "Outputs": {"O": {"Value": {"Fn::GetStackOutput": {"StackName": "x", "OutputName": "y"}}}},
    }
    assert "Fn::GetStackOutput is not supported" in refused(stacker, "outputs", template)


def test_a_stack_keeps_the_role_it_was_given(server: Server) -> None:
    """CreateStack, "RoleARN": used for every later operation, also by those who may not pass it."""
    iam = server.client("iam")
    trust = {
        **statement("sts:AssumeRole"),
        "Principal": {"Service": "cloudformation.amazonaws.com"},
    }
    del trust["Resource"]
    role = iam.create_role(RoleName="stack-role", AssumeRolePolicyDocument=policy(trust))
    arn = role["Role"]["Arn"]
    iam.put_role_policy(
        RoleName="stack-role", PolicyName="p", PolicyDocument=policy(statement("sqs:*"))
    )
    user = User(server, "later")
    user.may(policy(statement("cloudformation:*")))
    stacks = user.client("cloudformation")
    body = json.dumps(one("AWS::SQS::Queue", QueueName="of-the-role"))
    with pytest.raises(ClientError, match="iam:PassRole"):
        stacks.create_stack(StackName="of-role", TemplateBody=body, RoleARN=arn)
    owner = server.client("cloudformation")
    owner.create_stack(StackName="of-role", TemplateBody=body, RoleARN=arn)
    assert settled(owner, "of-role") == ("CREATE_COMPLETE", "")
    changed = one("AWS::SQS::Queue", QueueName="of-the-role", DelaySeconds=7)
    stacks.update_stack(StackName="of-role", TemplateBody=json.dumps(changed))
    assert settled(stacks, "of-role") == ("UPDATE_COMPLETE", "")
    iam.delete_role_policy(RoleName="stack-role", PolicyName="p")
    stacks.delete_stack(StackName="of-role")
    status, why = settled(stacks, "of-role")
    assert status == "DELETE_FAILED"
    assert "sqs:DeleteQueue" in why
    iam.delete_role(RoleName="stack-role")
    with pytest.raises(ClientError, match="is invalid or cannot be assumed"):
        stacks.delete_stack(StackName="of-role")
