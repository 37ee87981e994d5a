"""IAM as boto3 sees it: users, groups, roles, managed policies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import Server

TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    },
}
READ = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}],
}
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
ACCOUNT = "000000000000"


@pytest.fixture
def iam(servers: Callable[..., Server]) -> Iterator[Any]:
    """A client of a server of one's own."""
    yield servers().client("iam")


def refusal(call: Callable[[], Any]) -> tuple[str, str, int]:
    """The code, message and status of what a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call()
    error, meta = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
    return error["Code"], error["Message"], meta["HTTPStatusCode"]


def test_a_role_lives_as_on_aws(servers: Callable[..., Server]) -> None:
    server = servers()
    iam = server.client("iam")
    made = iam.create_role(
        RoleName="Worker", Path="/team/", AssumeRolePolicyDocument=json.dumps(TRUST),
        Description="does & works", MaxSessionDuration=7200, Tags=[{"Key": "k", "Value": "ü v"}],
    )["Role"]  # fmt: skip
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/team/Worker"
    assert made["RoleId"].startswith("AROA") and len(made["RoleId"]) == 21
    assert made["AssumeRolePolicyDocument"] == TRUST
    taken = refusal(
        lambda: iam.create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(TRUST))
    )
    assert taken == ("EntityAlreadyExists", "Role with name worker already exists.", 409)

    iam.attach_role_policy(RoleName="Worker", PolicyArn=BASIC)
    iam.attach_role_policy(RoleName="Worker", PolicyArn=BASIC)
    iam.put_role_policy(RoleName="Worker", PolicyName="read", PolicyDocument=json.dumps(READ))
    iam.update_role(RoleName="Worker", Description="still")
    iam.tag_role(RoleName="Worker", Tags=[{"Key": "K", "Value": "new"}, {"Key": "b", "Value": ""}])
    iam.untag_role(RoleName="Worker", TagKeys=["b"])
    server.kill()

    iam = servers().client("iam")
    found = iam.get_role(RoleName="worker")["Role"]
    assert found["Description"] == "still" and found["MaxSessionDuration"] == 7200
    assert found["Tags"] == [{"Key": "K", "Value": "new"}]
    assert iam.list_attached_role_policies(RoleName="Worker")["AttachedPolicies"] == [
        {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}
    ]
    inline = iam.get_role_policy(RoleName="Worker", PolicyName="read")
    assert inline["PolicyDocument"] == READ
    assert iam.list_role_policies(RoleName="Worker")["PolicyNames"] == ["read"]
    assert [each["RoleName"] for each in iam.list_roles(PathPrefix="/team/")["Roles"]] == ["Worker"]
    assert iam.list_roles(PathPrefix="/other/")["Roles"] == []
    assert iam.list_instance_profiles_for_role(RoleName="Worker")["InstanceProfiles"] == []

    assert refusal(lambda: iam.delete_role(RoleName="Worker"))[:2] == (
        "DeleteConflict", "Cannot delete entity, must detach all policies first.",
    )  # fmt: skip
    iam.detach_role_policy(RoleName="Worker", PolicyArn=BASIC)
    assert "must delete policies first" in refusal(lambda: iam.delete_role(RoleName="Worker"))[1]
    iam.delete_role_policy(RoleName="Worker", PolicyName="read")
    iam.delete_role(RoleName="Worker")
    gone = ("NoSuchEntity", "The role with name Worker cannot be found.", 404)
    assert refusal(lambda: iam.get_role(RoleName="Worker")) == gone
    assert refusal(lambda: iam.delete_role(RoleName="Worker")) == gone


def test_a_managed_policy_has_versions(iam: Any) -> None:
    made = iam.create_policy(PolicyName="read", PolicyDocument=json.dumps(READ))["Policy"]
    arn = made["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/read" and made["DefaultVersionId"] == "v1"
    assert made["AttachmentCount"] == 0
    wider = {**READ, "Statement": [{**READ["Statement"][0], "Resource": "*"}]}  # type: ignore[dict-item]
    for _ in range(4):
        made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(wider))
    assert made["PolicyVersion"]["VersionId"] == "v5"
    full = refusal(
        lambda: iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(wider))
    )
    assert full[0] == "LimitExceeded" and full[2] == 409
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v3")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v3"
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v3")["PolicyVersion"]
    assert version["Document"] == wider and version["IsDefaultVersion"]
    listed = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [each["VersionId"] for each in listed] == ["v5", "v4", "v3", "v2", "v1"]
    assert refusal(lambda: iam.delete_policy_version(PolicyArn=arn, VersionId="v3"))[0] == (
        "DeleteConflict"
    )
    for number in (1, 2, 4, 5):
        assert refusal(lambda: iam.delete_policy(PolicyArn=arn))[0] == "DeleteConflict"
        iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}")
    assert refusal(lambda: iam.get_policy_version(PolicyArn=arn, VersionId="v1"))[0] == (
        "NoSuchEntity"
    )
    iam.create_user(UserName="ann", PermissionsBoundary=arn)
    iam.attach_user_policy(UserName="ann", PolicyArn=arn)
    users = iam.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"]
    assert [each["UserName"] for each in users] == ["ann"]
    assert refusal(lambda: iam.delete_policy(PolicyArn=arn))[1] == (
        "Cannot delete a policy attached to entities."
    )
    iam.detach_user_policy(UserName="ann", PolicyArn=arn)
    assert "boundary" in refusal(lambda: iam.delete_policy(PolicyArn=arn))[1]
    iam.delete_user_permissions_boundary(UserName="ann")
    iam.delete_policy(PolicyArn=arn)
    assert refusal(lambda: iam.get_policy(PolicyArn=arn)) == (
        "NoSuchEntity", f"Policy {arn} was not found.", 404,
    )  # fmt: skip


def test_awss_own_policies_are_there_and_nobodys_to_change(iam: Any) -> None:
    for name in (
        "service-role/AWSLambdaBasicExecutionRole", "service-role/AWSLambdaSQSQueueExecutionRole",
        "AWSLambda_FullAccess", "AdministratorAccess", "ReadOnlyAccess", "PowerUserAccess",
        "AmazonS3FullAccess", "AmazonDynamoDBReadOnlyAccess", "AmazonSQSFullAccess",
        "AmazonSNSFullAccess", "AWSLambdaExecute",
    ):  # fmt: skip
        policy = iam.get_policy(PolicyArn=f"arn:aws:iam::aws:policy/{name}")["Policy"]
        version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId="v1")["PolicyVersion"]
        assert version["Document"]["Statement"]
    assert refusal(lambda: iam.delete_policy(PolicyArn=BASIC))[0] == "AccessDenied"
    pages = iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 7})
    arns = [each["Arn"] for page in pages for each in page["Policies"]]
    assert len(arns) == len(set(arns)) > 30
    assert iam.list_policies(Scope="Local")["Policies"] == []


def test_users_belong_to_groups(iam: Any) -> None:
    iam.create_user(UserName="ann", Path="/people/")
    iam.create_group(GroupName="readers")
    iam.add_user_to_group(GroupName="readers", UserName="ann")
    assert [each["UserName"] for each in iam.get_group(GroupName="readers")["Users"]] == ["ann"]
    groups = iam.list_groups_for_user(UserName="ann")["Groups"]
    assert [each["GroupName"] for each in groups] == ["readers"]
    assert "remove users" in refusal(lambda: iam.delete_group(GroupName="readers"))[1]
    assert refusal(lambda: iam.delete_user(UserName="ann"))[0] == "DeleteConflict"
    iam.remove_user_from_group(GroupName="readers", UserName="ann")
    iam.delete_group(GroupName="readers")
    iam.delete_user(UserName="ann")
    assert iam.get_account_summary()["SummaryMap"]["Users"] == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda iam: iam.create_role(RoleName="r", AssumeRolePolicyDocument="{"),
         "MalformedPolicyDocument"),
        (lambda iam: iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(READ)),
         "MalformedPolicyDocument"),
        (lambda iam: iam.create_role(RoleName="a b", AssumeRolePolicyDocument=json.dumps(TRUST)),
         "ValidationError"),
        (lambda iam: iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(TRUST)),
         "MalformedPolicyDocument"),
        (lambda iam: iam.create_policy(
            PolicyName="p",
            PolicyDocument=json.dumps({**READ, "Id": "x" * 7000})), "LimitExceeded"),
        (lambda iam: iam.get_policy(PolicyArn="arn:aws:iam::999999999999:policy/p"),
         "NoSuchEntity"),
        (lambda iam: iam.put_user_policy(
            UserName="nobody", PolicyName="p", PolicyDocument=json.dumps(READ)), "NoSuchEntity"),
        (lambda iam: iam.list_roles(Marker="%%%"), "ValidationError"),
        (lambda iam: iam.create_user(
            UserName="u", Tags=[{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]),
         "InvalidInput"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_iams_words(
    server: Server, call: Callable[[Any], Any], code: str
) -> None:
    assert refusal(lambda: call(server.client("iam")))[0] == code


def test_who_is_not_known_is_told_so_in_the_services_own_form(server: Server) -> None:
    for service, call in (("iam", "list_roles"), ("sts", "get_caller_identity")):
        client = boto3.client(
            service, endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id="AKIANOBODY0000000000", aws_secret_access_key="x" * 40,
        )  # fmt: skip
        assert refusal(getattr(client, call))[0] == "InvalidClientTokenId"
        forged = boto3.client(
            service, endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=server.key["access_key_id"], aws_secret_access_key="x" * 40,
        )  # fmt: skip
        assert refusal(getattr(forged, call))[0] == "SignatureDoesNotMatch"
    assert server.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
