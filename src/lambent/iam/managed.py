"""AWS's own managed policies that users of Lambda attach, under their ARNs.

What each allows is a fact of AWS's; the documents are written anew, in the form of a table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from lambent.iam.entities import ManagedPolicy, PolicyVersion

OWNER = "aws"
# AWS dates its policies; these have one date.
_CREATED = 1_422_000_000.0
_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_NETWORK = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)
_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_STREAM = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator",
           "dynamodb:ListStreams")  # fmt: skip
_SHARDS = ("kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords",
           "kinesis:GetShardIterator", "kinesis:ListShards", "kinesis:ListStreams",
           "kinesis:SubscribeToShard")  # fmt: skip
_READ = ("Get*", "List*", "Describe*")


def _read_only(*services: str) -> tuple[str, ...]:
    return tuple(f"{service}:{verb}" for service in services for verb in _READ)


# Path and name → the actions it allows on everything, or whole statements.
_TABLE: dict[str, Sequence[str]] = {
    "/AdministratorAccess": ("*",),
    "/ReadOnlyAccess": (
        *_read_only("cloudformation", "cloudwatch", "dynamodb", "ec2", "events", "iam", "kinesis",
                    "kms", "lambda", "logs", "s3", "scheduler", "secretsmanager", "sns", "sqs",
                    "ssm", "sts"),
        "dynamodb:BatchGet*", "dynamodb:Query", "dynamodb:Scan", "logs:FilterLogEvents",
        "logs:StartQuery", "logs:StartLiveTail",
    ),
    "/IAMFullAccess": ("iam:*",),
    "/IAMReadOnlyAccess": (*_read_only("iam")[:2], "iam:GenerateCredentialReport",
                           "iam:GenerateServiceLastAccessedDetails", "iam:SimulateCustomPolicy",
                           "iam:SimulatePrincipalPolicy"),
    "/AWSLambda_FullAccess": (
        "cloudformation:DescribeStacks", "cloudformation:ListStackResources",
        "cloudwatch:ListMetrics", "cloudwatch:GetMetricData", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets", "ec2:DescribeVpcs", "kms:ListAliases", "iam:GetPolicy",
        "iam:GetPolicyVersion", "iam:GetRole", "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:ListRoles", "iam:PassRole",
        "lambda:*", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:GetLogEvents",
        "logs:FilterLogEvents", "logs:StartLiveTail", "states:DescribeStateMachine",
        "states:ListStateMachines", "tag:GetResources", "xray:GetTraceSummaries",
        "xray:BatchGetTraces",
    ),
    "/AWSLambda_ReadOnlyAccess": (
        "cloudformation:DescribeStacks", "cloudformation:ListStackResources",
        "cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets", "ec2:DescribeVpcs", "kms:ListAliases", "iam:GetPolicy",
        "iam:GetPolicyVersion", "iam:GetRole", "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:ListRoles",
        "logs:DescribeLogGroups", "lambda:Get*", "lambda:List*", "states:DescribeStateMachine",
        "states:ListStateMachines", "tag:GetResources", "xray:GetTraceSummaries",
        "xray:BatchGetTraces",
    ),
    "/AWSLambdaExecute": ("logs:*", "s3:GetObject", "s3:PutObject"),
    "/AWSLambdaInvocation-DynamoDB": ("lambda:InvokeFunction", *_STREAM),
    "/service-role/AWSLambdaRole": ("lambda:InvokeFunction",),
    "/service-role/AWSLambdaBasicExecutionRole": _LOGS,
    "/service-role/AWSLambdaVPCAccessExecutionRole": (*_LOGS, *_NETWORK),
    "/service-role/AWSLambdaENIManagementAccess": _NETWORK,
    "/service-role/AWSLambdaSQSQueueExecutionRole": (*_QUEUE, *_LOGS),
    "/service-role/AWSLambdaDynamoDBExecutionRole": (*_STREAM, *_LOGS),
    "/service-role/AWSLambdaKinesisExecutionRole": (*_SHARDS, *_LOGS),
    "/AmazonS3FullAccess": ("s3:*", "s3-object-lambda:*"),
    "/AmazonS3ReadOnlyAccess": ("s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*",
                                "s3-object-lambda:List*"),
    "/AmazonDynamoDBFullAccess": ("dynamodb:*", "dax:*", "kinesis:ListStreams",
                                  "kinesis:DescribeStream", "cloudwatch:GetMetricData"),
    "/AmazonDynamoDBReadOnlyAccess": (
        "dynamodb:BatchGetItem", "dynamodb:Describe*", "dynamodb:List*", "dynamodb:GetItem",
        "dynamodb:GetResourcePolicy", "dynamodb:Query", "dynamodb:Scan",
        "dynamodb:PartiQLSelect", "kinesis:ListStreams", "kinesis:DescribeStream",
    ),
    "/AmazonSQSFullAccess": ("sqs:*",),
    "/AmazonSQSReadOnlyAccess": ("sqs:GetQueueAttributes", "sqs:GetQueueUrl",
                                 "sqs:ListDeadLetterSourceQueues", "sqs:ListQueues",
                                 "sqs:ListMessageMoveTasks", "sqs:ListQueueTags"),
    "/AmazonSNSFullAccess": ("sns:*",),
    "/AmazonSNSReadOnlyAccess": ("sns:GetTopicAttributes", "sns:List*",
                                 "sns:CheckIfPhoneNumberIsOptedOut", "sns:GetEndpointAttributes",
                                 "sns:GetDataProtectionPolicy", "sns:GetSMSAttributes",
                                 "sns:GetSubscriptionAttributes"),
    "/AmazonKinesisFullAccess": ("kinesis:*",),
    "/AmazonKinesisReadOnlyAccess": ("kinesis:Get*", "kinesis:List*", "kinesis:Describe*"),
    "/AmazonEventBridgeFullAccess": ("events:*", "schemas:*", "scheduler:*", "pipes:*",
                                     "iam:PassRole"),
    "/CloudWatchFullAccess": ("autoscaling:Describe*", "cloudwatch:*", "logs:*", "sns:*",
                              "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole"),
    "/CloudWatchLogsFullAccess": ("logs:*", "cloudwatch:GenerateQuery"),
    "/CloudWatchLogsReadOnlyAccess": (
        "logs:Describe*", "logs:Get*", "logs:List*", "logs:StartQuery", "logs:StopQuery",
        "logs:TestMetricFilter", "logs:FilterLogEvents", "logs:StartLiveTail",
        "logs:StopLiveTail", "cloudwatch:GenerateQuery",
    ),
    "/AWSXRayDaemonWriteAccess": (
        "xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules",
        "xray:GetSamplingTargets", "xray:GetSamplingStatisticSummaries",
    ),
    "/SecretsManagerReadWrite": ("secretsmanager:*",),
    "/AmazonSSMReadOnlyAccess": ("ssm:Describe*", "ssm:Get*", "ssm:List*"),
    "/AmazonSSMFullAccess": ("ssm:*",),
}  # fmt: skip
# What is not everything: resources by the policy's name.
_RESOURCES = {"AWSLambdaExecute": {"logs:*": "arn:aws:logs:*:*:*", "s3": "arn:aws:s3:::*"}}


def _document(name: str, actions: Sequence[str]) -> str:
    statements: list[dict[str, object]]
    if name == "PowerUserAccess":
        statements = [
            {"Effect": "Allow", "NotAction": list(actions), "Resource": "*"},
            {"Effect": "Allow", "Action": ["iam:ListRoles"], "Resource": "*"},
        ]
    elif name in _RESOURCES:
        where = _RESOURCES[name]
        statements = [
            {
                "Effect": "Allow",
                "Action": [each],
                "Resource": where.get(each, where.get(each.partition(":")[0], "*")),
            }
            for each in actions
        ]
    else:
        statements = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _made(place: str, actions: Sequence[str], number: int) -> ManagedPolicy:
    path, _, name = place.rpartition("/")
    return ManagedPolicy(
        account=OWNER,
        name=name,
        path=f"{path}/",
        identifier=f"ANPALAMBENT{number:010d}",
        created=_CREATED,
        updated=_CREATED,
        description="",
        versions=(PolicyVersion("v1", _document(name, actions), _CREATED),),
        default="v1",
    )


_TABLE["/PowerUserAccess"] = ("iam:*", "organizations:*", "account:*")
POLICIES = {
    made.arn: made
    for made in (_made(place, actions, at) for at, (place, actions) in enumerate(_TABLE.items()))
}
