"""CloudFormation's resource types that the services here make: what names them, what they take.

One entry per type.  ``properties`` are those of AWS's resource specification; any other is refused,
as CloudFormation refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Type:
    """A resource type.

    arn: what follows ``arn:aws:SERVICE:REGION:ACCOUNT:`` before the name; an S3 bucket has neither
    region nor account.  named: the property that names the resource, or the list of resources it
    belongs to.  making, changing, removing: the actions asked about.  roles: where it names roles
    (``*`` is every element of a list) that are passed to ``passed_to``.
    """

    service: str
    arn: str
    named: str
    making: str
    changing: str
    removing: str
    properties: frozenset[str]
    roles: tuple[str, ...] = ()
    passed_to: str = ""


def unsupported(kind: Type, properties: dict[str, Any]) -> str:
    """CloudFormation's message about a property that the type lacks; "" if there is none."""
    unknown = sorted(str(each) for each in properties.keys() - kind.properties)
    return f"Encountered unsupported property {unknown[0]}" if unknown else ""


def values(document: Any, path: str) -> Iterator[Any]:
    """What a document has at a path of names parted by dots; ``*`` is every element of a list."""
    if not path:
        yield document
        return
    name, _, rest = path.partition(".")
    if name == "*":
        for each in document if isinstance(document, list) else ():
            yield from values(each, rest)
    elif isinstance(document, dict) and name in document:
        yield from values(document[name], rest)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TYPES = {
    "AWS::S3::Bucket": Type(
        service="s3",
        arn="",
        named="BucketName",
        making="CreateBucket",
        changing="CreateBucket",
        removing="DeleteBucket",
        properties=_names(
            "AccelerateConfiguration AccessControl AnalyticsConfigurations BucketEncryption "
            "BucketName CorsConfiguration IntelligentTieringConfigurations InventoryConfigurations "
            "LifecycleConfiguration LoggingConfiguration MetadataConfiguration "
            "MetadataTableConfiguration MetricsConfigurations NotificationConfiguration "
            "ObjectLockConfiguration ObjectLockEnabled OwnershipControls "
            "PublicAccessBlockConfiguration ReplicationConfiguration Tags VersioningConfiguration "
            "WebsiteConfiguration"
        ),
        roles=("ReplicationConfiguration.Role",),
        passed_to="s3.amazonaws.com",
    ),
    "AWS::S3::BucketPolicy": Type(
        service="s3",
        arn="",
        named="Bucket",
        making="PutBucketPolicy",
        changing="PutBucketPolicy",
        removing="DeleteBucketPolicy",
        properties=_names("Bucket PolicyDocument"),
    ),
    "AWS::SQS::Queue": Type(
        service="sqs",
        arn="",
        named="QueueName",
        making="CreateQueue",
        changing="SetQueueAttributes",
        removing="DeleteQueue",
        properties=_names(
            "ContentBasedDeduplication DeduplicationScope DelaySeconds FifoQueue "
            "FifoThroughputLimit KmsDataKeyReusePeriodSeconds KmsMasterKeyId MaximumMessageSize "
            "MessageRetentionPeriod QueueName ReceiveMessageWaitTimeSeconds RedriveAllowPolicy "
            "RedrivePolicy SqsManagedSseEnabled Tags VisibilityTimeout"
        ),
    ),
    "AWS::SQS::QueuePolicy": Type(
        service="sqs",
        arn="",
        named="Queues",
        making="SetQueueAttributes",
        changing="SetQueueAttributes",
        removing="SetQueueAttributes",
        properties=_names("PolicyDocument Queues"),
    ),
    "AWS::SNS::Topic": Type(
        service="sns",
        arn="",
        named="TopicName",
        making="CreateTopic",
        changing="SetTopicAttributes",
        removing="DeleteTopic",
        properties=_names(
            "ArchivePolicy ContentBasedDeduplication DataProtectionPolicy DeliveryStatusLogging "
            "DisplayName FifoThroughputScope FifoTopic KmsMasterKeyId SignatureVersion "
            "Subscription Tags TopicName TracingConfig"
        ),
        roles=(
            "DeliveryStatusLogging.*.SuccessFeedbackRoleArn",
            "DeliveryStatusLogging.*.FailureFeedbackRoleArn",
        ),
        passed_to="sns.amazonaws.com",
    ),
    "AWS::SNS::TopicPolicy": Type(
        service="sns",
        arn="",
        named="Topics",
        making="SetTopicAttributes",
        changing="SetTopicAttributes",
        removing="SetTopicAttributes",
        properties=_names("PolicyDocument Topics"),
    ),
    "AWS::SNS::Subscription": Type(
        service="sns",
        arn="",
        named="TopicArn",
        making="Subscribe",
        changing="SetSubscriptionAttributes",
        removing="Unsubscribe",
        properties=_names(
            "DeliveryPolicy Endpoint FilterPolicy FilterPolicyScope Protocol RawMessageDelivery "
            "RedrivePolicy Region ReplayPolicy SubscriptionRoleArn TopicArn"
        ),
        roles=("SubscriptionRoleArn",),
        passed_to="sns.amazonaws.com",
    ),
    "AWS::DynamoDB::Table": Type(
        service="dynamodb",
        arn="table/",
        named="TableName",
        making="CreateTable",
        changing="UpdateTable",
        removing="DeleteTable",
        properties=_names(
            "AttributeDefinitions BillingMode ContributorInsightsSpecification "
            "DeletionProtectionEnabled GlobalSecondaryIndexes KeySchema "
            "KinesisStreamSpecification LocalSecondaryIndexes OnDemandThroughput "
            "PointInTimeRecoverySpecification ProvisionedThroughput ResourcePolicy "
            "SSESpecification StreamSpecification TableClass TableName Tags "
            "TimeToLiveSpecification WarmThroughput"
        ),
    ),
    "AWS::Events::Rule": Type(
        service="events",
        arn="rule/",
        named="Name",
        making="PutRule",
        changing="PutRule",
        removing="DeleteRule",
        properties=_names(
            "Description EventBusName EventPattern Name RoleArn ScheduleExpression State Tags "
            "Targets"
        ),
        roles=("RoleArn", "Targets.*.RoleArn"),
        passed_to="events.amazonaws.com",
    ),
    "AWS::Events::EventBus": Type(
        service="events",
        arn="event-bus/",
        named="Name",
        making="CreateEventBus",
        changing="UpdateEventBus",
        removing="DeleteEventBus",
        properties=_names(
            "DeadLetterConfig Description EventSourceName KmsKeyIdentifier LogConfig Name Policy "
            "Tags"
        ),
    ),
    "AWS::Scheduler::Schedule": Type(
        service="scheduler",
        arn="schedule/",
        named="Name",
        making="CreateSchedule",
        changing="UpdateSchedule",
        removing="DeleteSchedule",
        properties=_names(
            "Description EndDate FlexibleTimeWindow GroupName KmsKeyArn Name ScheduleExpression "
            "ScheduleExpressionTimezone StartDate State Target"
        ),
        roles=("Target.RoleArn",),
        passed_to="scheduler.amazonaws.com",
    ),
    "AWS::Scheduler::ScheduleGroup": Type(
        service="scheduler",
        arn="schedule-group/",
        named="Name",
        making="CreateScheduleGroup",
        changing="CreateScheduleGroup",
        removing="DeleteScheduleGroup",
        properties=_names("Name Tags"),
    ),
    "AWS::Kinesis::Stream": Type(
        service="kinesis",
        arn="stream/",
        named="Name",
        making="CreateStream",
        changing="UpdateShardCount",
        removing="DeleteStream",
        properties=_names(
            "DesiredShardLevelMetrics Name RetentionPeriodHours ShardCount StreamEncryption "
            "StreamModeDetails Tags"
        ),
    ),
    "AWS::KMS::Key": Type(
        service="kms",
        arn="key/",
        named="",
        making="CreateKey",
        changing="PutKeyPolicy",
        removing="ScheduleKeyDeletion",
        properties=_names(
            "BypassPolicyLockoutSafetyCheck Description Enabled EnableKeyRotation KeyPolicy "
            "KeySpec KeyUsage MultiRegion Origin PendingWindowInDays RotationPeriodInDays Tags"
        ),
    ),
    "AWS::KMS::Alias": Type(
        service="kms",
        arn="",
        named="AliasName",
        making="CreateAlias",
        changing="UpdateAlias",
        removing="DeleteAlias",
        properties=_names("AliasName TargetKeyId"),
    ),
    "AWS::SSM::Parameter": Type(
        service="ssm",
        arn="parameter/",
        named="Name",
        making="PutParameter",
        changing="PutParameter",
        removing="DeleteParameter",
        properties=_names("AllowedPattern DataType Description Name Policies Tags Tier Type Value"),
    ),
    "AWS::SecretsManager::Secret": Type(
        service="secretsmanager",
        arn="secret:",
        named="Name",
        making="CreateSecret",
        changing="UpdateSecret",
        removing="DeleteSecret",
        properties=_names(
            "Description GenerateSecretString KmsKeyId Name ReplicaRegions SecretString Tags Type"
        ),
    ),
}
