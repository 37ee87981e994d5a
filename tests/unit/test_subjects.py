"""What requests to the neighbours want: tables from AWS's Service Authorization Reference."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.neighbours.subjects import json_services, query_services, s3, s3_documents, scheduler
from lambent.neighbours.subjects.base import Unreadable, Wanted

ACCOUNT, REGION = "111111111111", "us-east-1"


def _s3(request: str, body: bytes = b"", **headers: str) -> list[tuple[str, str]]:
    method, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    read = s3.read(method, path, parse_qs(query, keep_blank_values=True), fields)
    return pairs(list(s3.wanted(read, s3_documents.canonical(read.query, body)[0])))


def pairs(wanted: list[Wanted]) -> list[tuple[str, str]]:
    return [(each.action, each.resource) for each in wanted]


@pytest.mark.parametrize(
    ("request_line", "action", "resource"),
    [
        ("GET /", "s3:ListAllMyBuckets", "*"),
        ("PUT /bbb", "s3:CreateBucket", "arn:aws:s3:::bbb"),
        ("DELETE /bbb", "s3:DeleteBucket", "arn:aws:s3:::bbb"),
        ("HEAD /bbb", "s3:ListBucket", "arn:aws:s3:::bbb"),
        ("GET /bbb?list-type=2&prefix=a", "s3:ListBucket", "arn:aws:s3:::bbb"),
        ("GET /bbb/", "s3:ListBucket", "arn:aws:s3:::bbb"),
        ("GET //bbb", "s3:ListBucket", "arn:aws:s3:::bbb"),
        ("GET /bbb?versions", "s3:ListBucketVersions", "arn:aws:s3:::bbb"),
        ("GET /bbb?policy", "s3:GetBucketPolicy", "arn:aws:s3:::bbb"),
        ("PUT /bbb?policy", "s3:PutBucketPolicy", "arn:aws:s3:::bbb"),
        ("DELETE /bbb?policy", "s3:DeleteBucketPolicy", "arn:aws:s3:::bbb"),
        ("DELETE /bbb?lifecycle", "s3:PutLifecycleConfiguration", "arn:aws:s3:::bbb"),
        ("GET /bbb?uploads", "s3:ListBucketMultipartUploads", "arn:aws:s3:::bbb"),
        ("GET /bbb/k", "s3:GetObject", "arn:aws:s3:::bbb/k"),
        ("HEAD /bbb/k", "s3:GetObject", "arn:aws:s3:::bbb/k"),
        ("GET /bbb/a%2Fb%20c", "s3:GetObject", "arn:aws:s3:::bbb/a/b c"),
        ("GET /bbb//k", "s3:GetObject", "arn:aws:s3:::bbb//k"),
        ("GET /bbb/../k", "s3:GetObject", "arn:aws:s3:::bbb/../k"),
        ("GET /bbb/k?versionId=1", "s3:GetObjectVersion", "arn:aws:s3:::bbb/k"),
        ("GET /bbb/k?acl", "s3:GetObjectAcl", "arn:aws:s3:::bbb/k"),
        ("PUT /bbb/k?acl&versionId=1", "s3:PutObjectVersionAcl", "arn:aws:s3:::bbb/k"),
        ("DELETE /bbb/k?tagging", "s3:DeleteObjectTagging", "arn:aws:s3:::bbb/k"),
        ("PUT /bbb/k", "s3:PutObject", "arn:aws:s3:::bbb/k"),
        ("POST /bbb/k?uploads", "s3:PutObject", "arn:aws:s3:::bbb/k"),
        ("PUT /bbb/k?uploadId=u&partNumber=1", "s3:PutObject", "arn:aws:s3:::bbb/k"),
        ("POST /bbb/k?uploadId=u", "s3:PutObject", "arn:aws:s3:::bbb/k"),
        ("GET /bbb/k?uploadId=u", "s3:ListMultipartUploadParts", "arn:aws:s3:::bbb/k"),
        ("DELETE /bbb/k?uploadId=u", "s3:AbortMultipartUpload", "arn:aws:s3:::bbb/k"),
        ("DELETE /bbb/k", "s3:DeleteObject", "arn:aws:s3:::bbb/k"),
        ("DELETE /bbb/k?versionId=1", "s3:DeleteObjectVersion", "arn:aws:s3:::bbb/k"),
        ("POST /bbb/k?restore", "s3:RestoreObject", "arn:aws:s3:::bbb/k"),
    ],
)
def test_s3_requests_want_one_thing(request_line: str, action: str, resource: str) -> None:
    assert _s3(request_line) == [(action, resource)]


def test_s3_requests_may_want_several() -> None:
    k = "arn:aws:s3:::bbb/k"
    assert _s3("PUT /bbb/k", x_amz_acl="private", x_amz_tagging="a=b") == [
        ("s3:PutObject", k),
        ("s3:PutObjectAcl", k),
        ("s3:PutObjectTagging", k),
    ]
    assert _s3("PUT /bbb/k", x_amz_copy_source="/other/a%20b?versionId=3") == [
        ("s3:PutObject", k),
        ("s3:GetObjectVersion", "arn:aws:s3:::other/a b"),
    ]
    assert _s3("GET /bbb/k?attributes") == [("s3:GetObjectAttributes", k), ("s3:GetObject", k)]
    document = (
        b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a</Key></Object>'
        b"<Object><Key>b&amp;c</Key><VersionId>1</VersionId></Object><Quiet>true</Quiet></Delete>"
    )
    assert _s3("POST /bbb?delete", document) == [
        ("s3:DeleteObject", "arn:aws:s3:::bbb/a"),
        ("s3:DeleteObjectVersion", "arn:aws:s3:::bbb/b&c"),
    ]


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /bbb",
        "POST /bbb/k",
        "GET /bbb?acl&policy",
        "GET /bbb?unheard-of",
        "PATCH /bbb/k",
        "GET /b/k",
        "GET /b%20b/k",
        "PUT /",
        "GET /bbb/k?policy",
        "PUT /bbb/k?delete",
        "GET /bbb/" + "k" * 1025,
        "POST /bbb?delete",
        "PUT /bbb?location",
    ],
)
def test_s3_requests_that_cannot_be_read_are_refused(request_line: str) -> None:
    with pytest.raises(Unreadable):
        _s3(request_line)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<Delete>",
        b"<Delete/>",
        b"<Delete><Object/></Delete>",
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b'<!DOCTYPE d [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>",
    ],
)
def test_what_is_to_be_deleted_must_be_readable(document: bytes) -> None:
    with pytest.raises(Unreadable):
        _s3("POST /bbb?delete", document)


def _json(target: str, parameters: Any) -> list[Wanted]:
    headers = {"x-amz-target": target}
    asked = json_services.read(headers, json.dumps(parameters).encode(), ACCOUNT, REGION)
    return list(json_services.wanted(asked))


TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/"
BUS = f"arn:aws:events:us-east-1:{ACCOUNT}:"
STREAM = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t/stream/1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
TOKEN = base64.urlsafe_b64encode(json.dumps({"arn": STREAM}).encode()).decode()


@pytest.mark.parametrize(
    ("target", "parameters", "expected"),
    [
        ("DynamoDB_20120810.ListTables", {}, [("dynamodb:ListTables", "*")]),
        (
            "DynamoDB_20120810.GetItem",
            {"TableName": "ttt", "Key": {}},
            [("dynamodb:GetItem", TABLE + "ttt")],
        ),
        (
            "DynamoDB_20120810.Query",
            {"TableName": "ttt", "IndexName": "i"},
            [("dynamodb:Query", TABLE + "ttt/index/i")],
        ),
        (
            "DynamoDB_20120810.Query",
            {"TableName": "arn:aws:dynamodb:us-east-1:222222222222:table/ttt"},
            [("dynamodb:Query", "arn:aws:dynamodb:us-east-1:222222222222:table/ttt")],
        ),
        (
            "DynamoDB_20120810.BatchWriteItem",
            {"RequestItems": {"one": [], "two": []}},
            [
                ("dynamodb:BatchWriteItem", TABLE + "one"),
                ("dynamodb:BatchWriteItem", TABLE + "two"),
            ],
        ),
        (
            "DynamoDB_20120810.TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "one"}}, {"Delete": {"TableName": "two"}}]},
            [("dynamodb:PutItem", TABLE + "one"), ("dynamodb:DeleteItem", TABLE + "two")],
        ),
        (
            "DynamoDB_20120810.ExecuteStatement",
            {"Statement": 'SELECT * FROM "my.table" WHERE k = 1'},
            [("dynamodb:PartiQLSelect", TABLE + "my.table")],
        ),
        (
            "DynamoDB_20120810.BatchExecuteStatement",
            {"Statements": [{"Statement": "delete from ttt where k=1"}]},
            [("dynamodb:PartiQLDelete", TABLE + "ttt")],
        ),
        (
            "DynamoDBStreams_20120810.GetRecords",
            {"ShardIterator": TOKEN},
            [("dynamodb:GetRecords", STREAM)],
        ),
        ("AmazonSQS.ListQueues", {}, [("sqs:ListQueues", "*")]),
        (
            "AmazonSQS.SendMessageBatch",
            {"QueueUrl": "http://x:1/222222222222/q", "Entries": []},
            [("sqs:SendMessage", "arn:aws:sqs:us-east-1:222222222222:q")],
        ),
        (
            "AmazonSQS.CreateQueue",
            {"QueueName": "q"},
            [("sqs:CreateQueue", f"arn:aws:sqs:us-east-1:{ACCOUNT}:q")],
        ),
        (
            "AWSEvents.PutEvents",
            {"Entries": [{"EventBusName": "b"}, {}]},
            [
                ("events:PutEvents", BUS + "event-bus/b"),
                ("events:PutEvents", BUS + "event-bus/default"),
            ],
        ),
        (
            "AWSEvents.PutTargets",
            {"Rule": "r", "EventBusName": "b", "Targets": [{"Arn": "a", "RoleArn": ROLE}]},
            [("events:PutTargets", BUS + "rule/b/r"), ("iam:PassRole", ROLE)],
        ),
        ("AWSEvents.PutRule", {"Name": "r"}, [("events:PutRule", BUS + "rule/r")]),
        (
            "AWSEvents.DeleteEventBus",
            {"Name": "b"},
            [("events:DeleteEventBus", BUS + "event-bus/b")],
        ),
        (
            "Kinesis_20131202.PutRecord",
            {"StreamName": "s"},
            [("kinesis:PutRecord", f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s")],
        ),
        (
            "TrentService.Encrypt",
            {"KeyId": "k"},
            [("kms:Encrypt", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k")],
        ),
        ("TrentService.CreateKey", {}, [("kms:CreateKey", "*")]),
        (
            "AmazonSSM.GetParameters",
            {"Names": ["/a/b", "c:3"]},
            [
                ("ssm:GetParameters", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/a/b"),
                ("ssm:GetParameters", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/c"),
            ],
        ),
        (
            "secretsmanager.GetSecretValue",
            {"SecretId": "s"},
            [
                (
                    "secretsmanager:GetSecretValue",
                    f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:s-??????",
                )
            ],
        ),
    ],
)
def test_requests_in_json(target: str, parameters: Any, expected: list[tuple[str, str]]) -> None:
    assert pairs(_json(target, parameters)) == expected


@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        ("", {}),
        ("Unknown.Operation", {}),
        ("DynamoDB_20120810.Get/../Item", {}),
        ("DynamoDB_20120810.GetItem", []),
        ("DynamoDB_20120810.GetItem", {"TableName": 7}),
        ("DynamoDB_20120810.BatchGetItem", {"RequestItems": []}),
        ("DynamoDB_20120810.TransactWriteItems", {"TransactItems": [{"Put": 7}]}),
        ("DynamoDB_20120810.TransactWriteItems", {"TransactItems": [{"Drop": {}}]}),
        ("DynamoDB_20120810.ExecuteStatement", {"Statement": "drop table ttt"}),
        ("DynamoDB_20120810.ExecuteStatement", {}),
        ("AmazonSQS.SendMessage", {"QueueUrl": "http://x/q"}),
        ("AmazonSQS.SendMessage", {"QueueUrl": {"a": 1}}),
        ("AWSEvents.PutEvents", {"Entries": "x"}),
        ("AmazonSSM.GetParameters", {"Names": [7]}),
        ("AmazonSSM.GetParameter", {"Name": "\ud800"}),
        ("secretsmanager.BatchGetSecretValue", {}),
        ("secretsmanager.BatchGetSecretValue", {"Filters": [{"Key": "name", "Values": ["m"]}]}),
        (
            "secretsmanager.BatchGetSecretValue",
            {"SecretIdList": ["m"], "Filters": [{"Key": "all", "Values": ["o"]}]},
        ),
        (
            "DynamoDB_20120810.ExportTableToPointInTime",
            {"TableArn": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t/index/i", "S3Bucket": "b"},
        ),
    ],
)
def test_requests_in_json_that_cannot_be_read_are_refused(target: str, parameters: Any) -> None:
    with pytest.raises(Unreadable):
        _json(target, parameters)


THEIRS = "arn:aws:dynamodb:us-east-1:222222222222:table/theirs"


@pytest.mark.parametrize(
    ("target", "parameters", "other"),
    [
        ("DynamoDB_20120810.GetItem", {"ResourceArn": TABLE + "m", "TableName": "o"}, TABLE + "o"),
        ("DynamoDB_20120810.PutItem", {"TableName": "ooo", "IndexName": "i"}, TABLE + "ooo"),
        (
            "DynamoDB_20120810.RestoreTableToPointInTime",
            {"SourceTableName": "ooo", "TargetTableName": "mine"},
            TABLE + "ooo",
        ),
        (
            "DynamoDB_20120810.RestoreTableToPointInTime",
            {"SourceTableArn": THEIRS, "TargetTableName": "mine"},
            THEIRS,
        ),
        (
            "DynamoDBStreams_20120810.GetRecords",
            {"StreamArn": STREAM + "2", "ShardIterator": TOKEN},
            STREAM,
        ),
        (
            "AmazonSQS.DeleteQueue",
            {"QueueName": "o", "QueueUrl": f"/{ACCOUNT}/m"},
            f"arn:aws:sqs:us-east-1:{ACCOUNT}:o",
        ),
        ("AWSEvents.DeleteArchive", {"Name": "m", "ArchiveName": "o"}, BUS + "archive/o"),
        ("AWSEvents.PutRule", {"Rule": "m", "Name": "o"}, BUS + "rule/o"),
        (
            "Kinesis_20131202.PutRecord",
            {"StreamARN": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/m", "StreamName": "o"},
            f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/o",
        ),
        (
            "TrentService.Decrypt",
            {"KeyId": "m", "CiphertextBlob": base64.b64encode(b"o" * 70).decode()},
            f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{'o' * 36}",
        ),
        (
            "AmazonSSM.GetParameter",
            {"Names": ["m"], "Name": "o"},
            f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/o",
        ),
    ],
)
def test_what_a_request_names_is_authorised_or_not_sent_on(
    target: str, parameters: Any, other: str
) -> None:
    headers, body = {"x-amz-target": target}, json.dumps(parameters).encode()
    asked = json_services.read(headers, body, ACCOUNT, REGION)
    sent = set(json.loads(asked.body))
    left_out = parameters.keys() - sent
    named = [each.resource for each in json_services.wanted(asked)]
    assert other in named or left_out


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ('SELECT * FROM "my.table"."index" WHERE k = 1', "my.table"),
        ("select a from ttt where b = 'from other'", "ttt"),
        ('SELECT "x from mine", b FROM victim', "victim"),
        ("INSERT INTO ttt VALUE {'a': 'update victim'}", "ttt"),
        ('UPDATE "ttt" SET a = 1 WHERE k = 2', "ttt"),
        ("EXISTS(SELECT * FROM ttt WHERE k = 1)", "ttt"),
        ("SELECT a FROM mine -- FROM victim", None),
        ("SELECT a --'\n FROM victim --' FROM mine", None),
        ('SELECT a /*"*/ FROM victim /*"*/ FROM mine', None),
        ("SELECT a FROM mine, (SELECT b FROM victim)", None),
        ("DELETE FROM mine WHERE a IN (SELECT b FROM victim)", None),
        ("INSERT mine VALUE {}", None),
        ("SELECT a FROM my.table", None),
        ("SELECT a FROM my-table", None),
        ("SELECT 1FROM victim WHERE a = 2 FROM mine", None),
        ("SELECT a FROM 'victim'", None),
        ("SELECT a FROM", None),
        ("", None),
    ],
)
def test_a_statement_is_about_one_table(statement: str, table: str | None) -> None:
    def asked() -> list[Wanted]:
        return _json("DynamoDB_20120810.ExecuteStatement", {"Statement": statement})

    if table is None:
        with pytest.raises(Unreadable):
            asked()
    else:
        assert [each.resource for each in asked()] == [TABLE + table]


def test_of_systems_manager_there_is_the_parameter_store() -> None:
    with pytest.raises(Unreadable, match="SendCommand is not known"):
        _json("AmazonSSM.SendCommand", {"Name": "AWS-RunShellScript"})


def test_an_items_partition_key_is_its_leading_key() -> None:
    (wanted,) = _json(
        "DynamoDB_20120810.PutItem", {"TableName": "ttt", "Item": {"u": {"S": "ann"}}}
    )
    assert json_services.leading_keys(wanted.keys, "u") == ["ann"]
    assert json_services.leading_keys(wanted.keys, "v") == ["\0"]
    batch = {"RequestItems": {"ttt": {"Keys": [{"u": {"S": "ann"}}, {"u": {"N": "7"}}]}}}
    (wanted,) = _json("DynamoDB_20120810.BatchGetItem", batch)
    assert json_services.leading_keys(wanted.keys, "u") == ["ann", "7"]
    query = {
        "TableName": "ttt",
        "KeyConditionExpression": "#p = :p and s > :s",
        "ExpressionAttributeNames": {"#p": "u"},
        "ExpressionAttributeValues": {":p": {"S": "ann"}, ":s": {"N": "1"}},
    }
    (wanted,) = _json("DynamoDB_20120810.Query", query)
    assert json_services.leading_keys(wanted.keys, "u") == ["ann"]
    assert json_services.leading_keys(wanted.keys, "s") == ["\0"]


def _query(service: str, **form: str) -> list[tuple[str, str]]:
    asked = query_services.read(service, "/", {}, urlencode(form).encode(), ACCOUNT, REGION)
    return pairs(list(query_services.wanted(asked)))


def test_requests_in_forms() -> None:
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:t"
    assert _query("sns", Action="Publish", TopicArn=topic) == [("sns:Publish", topic)]
    assert _query("sns", Action="PublishBatch", TopicArn=topic) == [("sns:Publish", topic)]
    assert _query("sns", Action="CreateTopic", Name="t") == [("sns:CreateTopic", topic)]
    assert _query("sns", Action="Unsubscribe", SubscriptionArn=f"{topic}:1") == [
        ("sns:Unsubscribe", topic)
    ]
    stack = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/s/*"
    assert _query("cloudformation", Action="CreateStack", StackName="s", RoleARN=ROLE) == [
        ("cloudformation:CreateStack", stack),
        ("iam:PassRole", ROLE),
    ]
    assert _query("sqs", Action="DeleteMessageBatch", QueueUrl=f"/{ACCOUNT}/q") == [
        ("sqs:DeleteMessage", f"arn:aws:sqs:us-east-1:{ACCOUNT}:q")
    ]


def test_whatever_a_form_names_is_wanted() -> None:
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:"
    with pytest.raises(Unreadable):
        _query("sns", Action="TagResource", TopicArn=topic + "m", ResourceArn=topic + "o")
    # Some clients leave the account out, which must not lead past a denial.
    assert _query("sns", Action="Publish", TopicArn="arn:aws:sns:us-east-1::t") == [
        ("sns:Publish", topic + "t")
    ]
    change = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:changeSet/o/1"
    both = _query("cloudformation", Action="DeleteChangeSet", StackName="m", ChangeSetName=change)
    assert ("cloudformation:DeleteChangeSet", change) in both
    with pytest.raises(Unreadable):  # of any stack that has one of this name
        _query("cloudformation", Action="ExecuteChangeSet", ChangeSetName="o")
    queues = _query("sqs", Action="CreateQueue", QueueName="o", QueueUrl=f"/{ACCOUNT}/m")
    assert ("sqs:CreateQueue", f"arn:aws:sqs:us-east-1:{ACCOUNT}:o") in queues
    template = "http://127.0.0.1:4566/templates/a%20b"
    made = _query("cloudformation", Action="CreateStack", StackName="s", TemplateURL=template)
    assert ("s3:GetObject", "arn:aws:s3:::templates/a b") in made


def test_a_form_that_says_two_things_is_refused() -> None:
    body = urlencode([("Action", "ListTopics"), ("Action", "DeleteTopic")]).encode()
    with pytest.raises(Unreadable):
        query_services.read("sns", "/", {}, body, ACCOUNT, REGION)
    body = b"Action=DeleteTopic"
    with pytest.raises(Unreadable):
        query_services.read("sns", "/", {"Action": ["ListTopics"]}, body, ACCOUNT, REGION)


def test_the_schedulers_paths() -> None:
    def wanted(method: str, path: str, body: Any = None, **query: str) -> list[tuple[str, str]]:
        text = json.dumps(body).encode() if body is not None else b""
        fields = {name: [value] for name, value in query.items()}
        asked = scheduler.read(method, path, fields, text, ACCOUNT, REGION)
        return pairs(list(scheduler.wanted(asked)))

    place = f"arn:aws:scheduler:us-east-1:{ACCOUNT}:"
    assert wanted("POST", "/schedules/s", {"GroupName": "g", "Target": {"RoleArn": ROLE}}) == [
        ("scheduler:CreateSchedule", place + "schedule/g/s"),
        ("iam:PassRole", ROLE),
    ]
    assert wanted("GET", "/schedules/s", groupName="g") == [
        ("scheduler:GetSchedule", place + "schedule/g/s")
    ]
    assert wanted("GET", "/schedules") == [("scheduler:ListSchedules", "*")]
    assert wanted("DELETE", "/schedule-groups/g") == [
        ("scheduler:DeleteScheduleGroup", place + "schedule-group/g")
    ]
    group = place + "schedule-group/g"
    tagged = wanted("POST", "/tags/" + quote(group, safe=""), {"Tags": []})
    assert tagged == [("scheduler:TagResource", group)]
    for method, path in (("PATCH", "/schedules/s"), ("GET", "/else"), ("GET", "/schedules/a%2Fb")):
        with pytest.raises(Unreadable):
            wanted(method, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "TableName",
                    "RequestItems",
                    "TransactItems",
                    "Statements",
                    "Statement",
                    "Key",
                    "QueueUrl",
                    "Entries",
                    "Names",
                    "SecretId",
                    "SecretIdList",
                    "Put",
                    "KeyId",
                    "Item",
                    "Targets",
                    "RoleArn",
                    "Rule",
                    "StreamARN",
                    "ShardIterator",
                    "CiphertextBlob",
                    "KeyConditionExpression",
                    "KeyConditions",
                    "ExpressionAttributeNames",
                    "ExpressionAttributeValues",
                    "StreamArn",
                    "ResourceArn",
                    "TableCreationParameters",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    service=st.sampled_from(sorted(json_services.TARGETS)),
    operation=st.sampled_from(
        [
            "GetItem",
            "BatchGetItem",
            "BatchWriteItem",
            "TransactWriteItems",
            "Query",
            "PutEvents",
            "ExecuteStatement",
            "BatchExecuteStatement",
            "GetRecords",
            "SendMessage",
            "PutTargets",
            "Decrypt",
            "ReEncrypt",
            "CreateAlias",
            "GetParameters",
            "BatchGetSecretValue",
            "CreateSecret",
            "PutRule",
            "GetShardIterator",
            "CreateTable",
            "ImportTable",
        ]
    ),
    parameters=JSON,
)
def test_no_document_is_more_than_refused(service: str, operation: str, parameters: Any) -> None:
    try:
        for each in _json(f"{service}.{operation}", parameters):
            assert each.action.partition(":")[2] and isinstance(each.resource, str)
            json_services.leading_keys(each.keys, "TableName")
    except Unreadable:
        pass


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS"]),
    path=st.text(st.sampled_from("/abc%2.F_-"), max_size=12),
    names=st.lists(
        st.sampled_from(
            ["acl", "policy", "delete", "uploadId", "uploads", "versionId", "x", "tagging"]
        ),
        max_size=3,
    ),
    source=st.none() | st.text(max_size=12),
    body=st.binary(max_size=40),
)
def test_no_s3_request_is_more_than_refused(
    method: str, path: str, names: list[str], source: str | None, body: bytes
) -> None:
    headers = {} if source is None else {"x-amz-copy-source": source}
    try:
        read = s3.read(method, "/" + path, {name: [""] for name in names}, headers)
        for each in s3.wanted(read, s3_documents.canonical(read.query, body)[0]):
            assert each.action.startswith("s3:")
    except Unreadable:
        pass


@pytest.mark.parametrize(
    ("operation", "own", "other"),
    [
        ("ExecuteTransaction", "TransactStatements", "Statements"),
        ("BatchExecuteStatement", "Statements", "TransactStatements"),
    ],
)
def test_statements_are_read_from_the_list_of_their_operation_only(
    operation: str, own: str, other: str
) -> None:
    mine, theirs = ([{"Statement": f'DELETE FROM "{t}" WHERE pk=1'}] for t in ("mine", "theirs"))
    target = f"DynamoDB_20120810.{operation}"
    resource = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/theirs"
    expected = [("dynamodb:PartiQLDelete", resource)]
    assert pairs(_json(target, {own: theirs})) == expected
    assert pairs(_json(target, {other: mine, own: theirs})) == expected
    with pytest.raises(Unreadable):
        _json(target, {other: mine})
