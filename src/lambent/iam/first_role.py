"""Roles that are there before anybody makes one.

A fresh server has one so that a first function needs no IAM: it may write its log.  Another account
begins with one that administrators of the first may assume, as the members of an organization do
on AWS.
"""

from __future__ import annotations

import json

from lambent import ids
from lambent.clock import Clock
from lambent.errors import EntityAlreadyExists
from lambent.iam.directory import Directory
from lambent.iam.entities import PREFIXES, Holder

NAME = "lambda"
ORGANIZATION = "OrganizationAccountAccessRole"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
_POLICY = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


async def first_role(directory: Directory, account: str, clock: Clock) -> None:
    """Make the role "lambda", unless it is there."""
    role = Holder(
        kind="role",
        account=account,
        name=NAME,
        path="/",
        identifier=ids.entity_id(PREFIXES["role"]),
        created=clock.time(),
        trust=json.dumps(_TRUST),
        description="Made with the server: functions that may write their logs.",
        attached=(_POLICY,),
    )
    try:
        await directory.create(role)
    except EntityAlreadyExists:
        pass  # a first start was cut off here


def of_organization(account: str, management: str, clock: Clock) -> Holder:
    """The role by which an account is begun from the first one."""
    trusted = {"AWS": f"arn:aws:iam::{management}:root"}
    statement = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    return Holder(
        kind="role",
        account=account,
        name=ORGANIZATION,
        path="/",
        identifier=ids.entity_id(PREFIXES["role"]),
        created=clock.time(),
        trust=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        attached=("arn:aws:iam::aws:policy/AdministratorAccess",),
    )
