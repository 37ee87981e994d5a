"""Accounts do not reach one another, whatever a request says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.accounts import ACCOUNT, OtherAccount, grant, new_user, refusal, signed
from tests.conftest import Server

LOGS = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group"


@pytest.fixture(scope="module")
def other(server: Server) -> OtherAccount:
    return OtherAccount(server)


def groups(client: Any, **options: Any) -> list[str]:
    return [each["logGroupName"] for each in client.describe_log_groups(**options)["logGroups"]]


@pytest.mark.parametrize("region", ["..", ".", f"../{ACCOUNT}/us-east-1", "%2e%2e", "a b"])
def test_no_region_leads_to_the_logs_of_another_account(
    server: Server, other: OtherAccount, region: str
) -> None:
    logs = server.client("logs")
    logs.create_log_group(logGroupName="/tenancy/region")
    for operation, body in (
        ("DescribeLogGroups", {}),
        ("CreateLogGroup", {"logGroupName": ACCOUNT}),
        ("DeleteLogGroup", {"logGroupName": ACCOUNT}),
    ):
        status = signed(
            server, other.key, "logs", region, f"Logs_20140328.{operation}", body
        )  # fmt: skip
        assert 400 <= status < 500 or (operation, status) == ("DescribeLogGroups", 200)
    assert groups(logs, logGroupNamePrefix="/tenancy/") == ["/tenancy/region"]
    logs.delete_log_group(logGroupName="/tenancy/region")


def test_log_groups_that_are_named_are_described_and_no_others(
    server: Server, other: OtherAccount
) -> None:
    logs = server.client("logs")
    for name in ("/tenancy/one", "/tenancy/two"):
        logs.create_log_group(logGroupName=name)
    mine = grant("logs:DescribeLogGroups", f"{LOGS}:/tenancy/one:*")
    reader = new_user(server, mine).client("logs")
    for identifier in ("/tenancy/one", f"{LOGS}:/tenancy/one"):
        assert groups(reader, logGroupIdentifiers=[identifier]) == ["/tenancy/one"]
    assert refusal(reader.describe_log_groups) == "AccessDeniedException"
    both = ["/tenancy/one", "/tenancy/two"]
    assert refusal(lambda: groups(reader, logGroupIdentifiers=both)) == "AccessDeniedException"
    assert groups(logs, logGroupIdentifiers=both) == both
    # An ARN of another account is not a name in one's own.
    stranger = other.client("logs")
    stranger.create_log_group(logGroupName="/tenancy/one")
    named = {"logGroupIdentifiers": [f"{LOGS}:/tenancy/one"]}
    assert refusal(lambda: groups(stranger, **named)) == "ResourceNotFoundException"
    for client in (logs, stranger):
        for name in groups(client, logGroupNamePrefix="/tenancy/"):
            client.delete_log_group(logGroupName=name)
