"""CloudFormation's resource types that are offered: what names them, what they take, what they do.

One entry per type.  A resource is made, changed and removed by calls of the API as the stack's
principal, so each call is authorised as any request: by the name it carries, which is the name that
is used, against the resource's own policy, with ``iam:PassRole`` where it takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Type:
    """A resource type.

    named: the property that names the resource, or what it belongs to; "" if nothing does.
    properties: those of AWS's resource specification; any other is refused.
    calls: the operations of the API it is made of.
    roles: where it names roles (``*`` is every element of a list), passed to the service passed_to.
    without_effect: properties that are taken and change nothing here.
    """

    named: str
    properties: frozenset[str]
    calls: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    passed_to: str = ""
    without_effect: frozenset[str] = frozenset()


def unsupported(kind: Type, properties: Any) -> str:
    """CloudFormation's message about a property that the type lacks; "" if there is none."""
    if not isinstance(properties, dict):
        return "Properties must be an object"
    unknown = sorted(str(each) for each in properties.keys() - kind.properties)
    return f"Encountered unsupported property {unknown[0]}" if unknown else ""


def roles(kind: Type, properties: dict[str, Any]) -> set[str]:
    """The roles that a resource's properties name."""
    named = (value for path in kind.roles for value in _values(properties, path))
    return {str(each) for each in named if each}


def _values(document: Any, path: str) -> Iterator[Any]:
    """What a document has at a path of names parted by dots; ``*`` is every element of a list."""
    if not path:
        yield document
        return
    name, _, rest = path.partition(".")
    if name == "*":
        for each in document if isinstance(document, list) else ():
            yield from _values(each, rest)
    elif isinstance(document, dict) and name in document:
        yield from _values(document[name], rest)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TYPES = {
    "AWS::S3::Bucket": Type(
        named="BucketName",
        properties=_words(
            "AccelerateConfiguration AccessControl AnalyticsConfigurations BucketEncryption "
            "BucketName CorsConfiguration IntelligentTieringConfigurations "
            "InventoryConfigurations LifecycleConfiguration LoggingConfiguration "
            "MetadataConfiguration MetadataTableConfiguration MetricsConfigurations "
            "NotificationConfiguration ObjectLockConfiguration ObjectLockEnabled "
            "OwnershipControls PublicAccessBlockConfiguration ReplicationConfiguration Tags "
            "VersioningConfiguration WebsiteConfiguration"
        ),
        calls=_words(
            "s3:CreateBucket s3:DeleteBucket s3:PutBucketVersioning "
            "s3:PutBucketNotificationConfiguration s3:PutBucketCors s3:DeleteBucketCors "
            "s3:PutPublicAccessBlock s3:DeletePublicAccessBlock s3:PutBucketWebsite "
            "s3:DeleteBucketWebsite"
        ),
        roles=("ReplicationConfiguration.Role",),
        passed_to="s3.amazonaws.com",
        without_effect=_words(
            "AccelerateConfiguration AccessControl AnalyticsConfigurations BucketEncryption "
            "IntelligentTieringConfigurations InventoryConfigurations LifecycleConfiguration "
            "LoggingConfiguration MetadataConfiguration MetadataTableConfiguration "
            "MetricsConfigurations ObjectLockConfiguration OwnershipControls "
            "ReplicationConfiguration Tags"
        ),
    ),
    "AWS::S3::BucketPolicy": Type(
        named="Bucket",
        properties=_words("Bucket PolicyDocument"),
        calls=_words("s3:PutBucketPolicy s3:DeleteBucketPolicy"),
    ),
    "AWS::SQS::Queue": Type(
        named="QueueName",
        properties=_words(
            "ContentBasedDeduplication DeduplicationScope DelaySeconds FifoQueue "
            "FifoThroughputLimit KmsDataKeyReusePeriodSeconds KmsMasterKeyId "
            "MaximumMessageSize MessageRetentionPeriod QueueName "
            "ReceiveMessageWaitTimeSeconds RedriveAllowPolicy RedrivePolicy "
            "SqsManagedSseEnabled Tags VisibilityTimeout"
        ),
        calls=_words(
            "sqs:CreateQueue sqs:SetQueueAttributes sqs:TagQueue sqs:UntagQueue sqs:DeleteQueue"
        ),
    ),
    "AWS::SQS::QueuePolicy": Type(
        named="Queues",
        properties=_words("PolicyDocument Queues"),
        calls=_words("sqs:SetQueueAttributes"),
    ),
    "AWS::SNS::Topic": Type(
        named="TopicName",
        properties=_words(
            "ArchivePolicy ContentBasedDeduplication DataProtectionPolicy "
            "DeliveryStatusLogging DisplayName FifoThroughputScope FifoTopic KmsMasterKeyId "
            "SignatureVersion Subscription Tags TopicName TracingConfig"
        ),
        calls=_words(
            "sns:CreateTopic sns:SetTopicAttributes sns:Subscribe sns:Unsubscribe "
            "sns:ListSubscriptionsByTopic sns:TagResource sns:UntagResource sns:DeleteTopic"
        ),
        roles=(
            "DeliveryStatusLogging.*.SuccessFeedbackRoleArn",
            "DeliveryStatusLogging.*.FailureFeedbackRoleArn",
        ),
        passed_to="sns.amazonaws.com",
        without_effect=_words("DataProtectionPolicy DeliveryStatusLogging"),
    ),
    "AWS::SNS::TopicPolicy": Type(
        named="Topics",
        properties=_words("PolicyDocument Topics"),
        calls=_words("sns:SetTopicAttributes"),
    ),
    "AWS::SNS::Subscription": Type(
        named="TopicArn",
        properties=_words(
            "DeliveryPolicy Endpoint FilterPolicy FilterPolicyScope Protocol "
            "RawMessageDelivery RedrivePolicy Region ReplayPolicy SubscriptionRoleArn "
            "TopicArn"
        ),
        calls=_words("sns:Subscribe sns:SetSubscriptionAttributes sns:Unsubscribe"),
        roles=("SubscriptionRoleArn",),
        passed_to="sns.amazonaws.com",
        without_effect=_words("Region ReplayPolicy"),
    ),
    "AWS::DynamoDB::Table": Type(
        named="TableName",
        properties=_words(
            "AttributeDefinitions BillingMode ContributorInsightsSpecification "
            "DeletionProtectionEnabled GlobalSecondaryIndexes KeySchema "
            "KinesisStreamSpecification LocalSecondaryIndexes OnDemandThroughput "
            "PointInTimeRecoverySpecification ProvisionedThroughput ResourcePolicy "
            "SSESpecification StreamSpecification TableClass TableName Tags "
            "TimeToLiveSpecification WarmThroughput"
        ),
        calls=_words(
            "dynamodb:CreateTable dynamodb:UpdateTable dynamodb:UpdateTimeToLive "
            "dynamodb:PutResourcePolicy dynamodb:DescribeTable dynamodb:TagResource "
            "dynamodb:UntagResource dynamodb:DeleteTable"
        ),
        without_effect=_words(
            "ContributorInsightsSpecification KinesisStreamSpecification "
            "PointInTimeRecoverySpecification"
        ),
    ),
    "AWS::Events::Rule": Type(
        named="Name",
        properties=_words(
            "Description EventBusName EventPattern Name RoleArn ScheduleExpression State Tags "
            "Targets"
        ),
        calls=_words(
            "events:PutRule events:PutTargets events:RemoveTargets events:TagResource "
            "events:UntagResource events:DeleteRule"
        ),
        roles=(
            "RoleArn",
            "Targets.*.RoleArn",
        ),
        passed_to="events.amazonaws.com",
    ),
    "AWS::Events::EventBus": Type(
        named="Name",
        properties=_words(
            "DeadLetterConfig Description EventSourceName KmsKeyIdentifier LogConfig Name "
            "Policy Tags"
        ),
        calls=_words(
            "events:CreateEventBus events:UpdateEventBus events:PutPermission "
            "events:RemovePermission events:TagResource events:UntagResource "
            "events:DeleteEventBus"
        ),
    ),
    "AWS::Scheduler::Schedule": Type(
        named="Name",
        properties=_words(
            "Description EndDate FlexibleTimeWindow GroupName KmsKeyArn Name "
            "ScheduleExpression ScheduleExpressionTimezone StartDate State Target"
        ),
        calls=_words("scheduler:CreateSchedule scheduler:UpdateSchedule scheduler:DeleteSchedule"),
        roles=("Target.RoleArn",),
        passed_to="scheduler.amazonaws.com",
    ),
    "AWS::Scheduler::ScheduleGroup": Type(
        named="Name",
        properties=_words("Name Tags"),
        calls=_words(
            "scheduler:CreateScheduleGroup scheduler:GetScheduleGroup scheduler:TagResource "
            "scheduler:UntagResource scheduler:DeleteScheduleGroup"
        ),
    ),
    "AWS::Kinesis::Stream": Type(
        named="Name",
        properties=_words(
            "DesiredShardLevelMetrics Name RetentionPeriodHours ShardCount StreamEncryption "
            "StreamModeDetails Tags"
        ),
        calls=_words(
            "kinesis:CreateStream kinesis:UpdateStreamMode "
            "kinesis:IncreaseStreamRetentionPeriod kinesis:DecreaseStreamRetentionPeriod "
            "kinesis:StartStreamEncryption kinesis:StopStreamEncryption "
            "kinesis:AddTagsToStream kinesis:RemoveTagsFromStream kinesis:DeleteStream"
        ),
        without_effect=_words("DesiredShardLevelMetrics"),
    ),
    "AWS::KMS::Key": Type(
        named="",
        properties=_words(
            "BypassPolicyLockoutSafetyCheck Description Enabled EnableKeyRotation KeyPolicy "
            "KeySpec KeyUsage MultiRegion Origin PendingWindowInDays RotationPeriodInDays "
            "Tags"
        ),
        calls=_words(
            "kms:CreateKey kms:UpdateKeyDescription kms:PutKeyPolicy kms:EnableKey "
            "kms:DisableKey kms:EnableKeyRotation kms:DisableKeyRotation kms:TagResource "
            "kms:UntagResource kms:DescribeKey kms:ScheduleKeyDeletion"
        ),
    ),
    "AWS::KMS::Alias": Type(
        named="AliasName",
        properties=_words("AliasName TargetKeyId"),
        calls=_words("kms:CreateAlias kms:UpdateAlias kms:DeleteAlias"),
    ),
    "AWS::SSM::Parameter": Type(
        named="Name",
        properties=_words("AllowedPattern DataType Description Name Policies Tags Tier Type Value"),
        calls=_words(
            "ssm:PutParameter ssm:AddTagsToResource ssm:RemoveTagsFromResource ssm:DeleteParameter"
        ),
    ),
    "AWS::SecretsManager::Secret": Type(
        named="Name",
        properties=_words(
            "Description GenerateSecretString KmsKeyId Name ReplicaRegions SecretString Tags Type"
        ),
        calls=_words(
            "secretsmanager:CreateSecret secretsmanager:GetRandomPassword "
            "secretsmanager:UpdateSecret secretsmanager:ReplicateSecretToRegions "
            "secretsmanager:TagResource secretsmanager:UntagResource "
            "secretsmanager:DeleteSecret"
        ),
    ),
    "AWS::Lambda::Function": Type(
        named="FunctionName",
        properties=_words(
            "Architectures CapacityProviderConfig Code CodeSigningConfigArn DeadLetterConfig "
            "Description DurableConfig Environment EphemeralStorage FileSystemConfigs "
            "FunctionName FunctionScalingConfig Handler ImageConfig KmsKeyArn Layers "
            "LoggingConfig MemorySize PackageType PublishToLatestPublished RecursiveLoop "
            "ReservedConcurrentExecutions Role Runtime RuntimeManagementConfig SnapStart Tags "
            "TenancyConfig Timeout TracingConfig VpcConfig"
        ),
        calls=_words(
            "lambda:CreateFunction lambda:GetFunctionConfiguration lambda:UpdateFunctionCode "
            "lambda:UpdateFunctionConfiguration lambda:PutFunctionConcurrency "
            "lambda:DeleteFunctionConcurrency lambda:TagResource lambda:UntagResource "
            "lambda:DeleteFunction"
        ),
        roles=("Role",),
        passed_to="lambda.amazonaws.com",
        without_effect=_words(
            "CapacityProviderConfig FunctionScalingConfig PublishToLatestPublished "
            "RecursiveLoop RuntimeManagementConfig"
        ),
    ),
    "AWS::Lambda::Version": Type(
        named="FunctionName",
        properties=_words(
            "CodeSha256 Description FunctionName FunctionScalingConfig "
            "ProvisionedConcurrencyConfig RuntimePolicy"
        ),
        calls=_words("lambda:PublishVersion lambda:DeleteFunction"),
        without_effect=_words("FunctionScalingConfig ProvisionedConcurrencyConfig RuntimePolicy"),
    ),
    "AWS::Lambda::Alias": Type(
        named="FunctionName",
        properties=_words(
            "Description FunctionName FunctionVersion Name ProvisionedConcurrencyConfig "
            "RoutingConfig"
        ),
        calls=_words("lambda:CreateAlias lambda:UpdateAlias lambda:DeleteAlias"),
        without_effect=_words("ProvisionedConcurrencyConfig"),
    ),
    "AWS::Lambda::Permission": Type(
        named="FunctionName",
        properties=_words(
            "Action EventSourceToken FunctionName FunctionUrlAuthType InvokedViaFunctionUrl "
            "Principal PrincipalOrgID SourceAccount SourceArn"
        ),
        calls=_words("lambda:AddPermission lambda:RemovePermission"),
    ),
    "AWS::Lambda::Url": Type(
        named="TargetFunctionArn",
        properties=_words("AuthType Cors InvokeMode Qualifier TargetFunctionArn"),
        calls=_words(
            "lambda:CreateFunctionUrlConfig lambda:UpdateFunctionUrlConfig "
            "lambda:DeleteFunctionUrlConfig"
        ),
    ),
    "AWS::Lambda::EventSourceMapping": Type(
        named="",
        properties=_words(
            "AmazonManagedKafkaEventSourceConfig BatchSize BisectBatchOnFunctionError "
            "DestinationConfig DocumentDBEventSourceConfig Enabled EventSourceArn "
            "FilterCriteria FunctionName FunctionResponseTypes KmsKeyArn LoggingConfig "
            "MaximumBatchingWindowInSeconds MaximumRecordAgeInSeconds MaximumRetryAttempts "
            "MetricsConfig ParallelizationFactor ProvisionedPollerConfig Queues ScalingConfig "
            "SelfManagedEventSource SelfManagedKafkaEventSourceConfig "
            "SourceAccessConfigurations StartingPosition StartingPositionTimestamp Tags "
            "Topics TumblingWindowInSeconds"
        ),
        calls=_words(
            "lambda:CreateEventSourceMapping lambda:UpdateEventSourceMapping "
            "lambda:DeleteEventSourceMapping"
        ),
    ),
    "AWS::Lambda::LayerVersion": Type(
        named="LayerName",
        properties=_words(
            "CompatibleArchitectures CompatibleRuntimes Content Description LayerName LicenseInfo"
        ),
        calls=_words("lambda:PublishLayerVersion lambda:DeleteLayerVersion"),
    ),
    "AWS::Lambda::LayerVersionPermission": Type(
        named="LayerVersionArn",
        properties=_words("Action LayerVersionArn OrganizationId Principal"),
        calls=_words("lambda:AddLayerVersionPermission lambda:RemoveLayerVersionPermission"),
    ),
    "AWS::Lambda::EventInvokeConfig": Type(
        named="FunctionName",
        properties=_words(
            "DestinationConfig FunctionName MaximumEventAgeInSeconds MaximumRetryAttempts Qualifier"
        ),
        calls=_words("lambda:PutFunctionEventInvokeConfig lambda:DeleteFunctionEventInvokeConfig"),
    ),
    "AWS::Logs::LogGroup": Type(
        named="LogGroupName",
        properties=_words(
            "BearerTokenAuthenticationEnabled DataProtectionPolicy DeletionProtectionEnabled "
            "FieldIndexPolicies KmsKeyId LogGroupClass LogGroupName ResourcePolicyDocument "
            "RetentionInDays Tags"
        ),
        calls=_words(
            "logs:CreateLogGroup logs:DescribeLogGroups logs:PutRetentionPolicy "
            "logs:DeleteRetentionPolicy logs:DeleteLogGroup"
        ),
        without_effect=_words(
            "BearerTokenAuthenticationEnabled DataProtectionPolicy DeletionProtectionEnabled "
            "FieldIndexPolicies KmsKeyId LogGroupClass ResourcePolicyDocument"
        ),
    ),
    "AWS::IAM::Role": Type(
        named="RoleName",
        properties=_words(
            "AssumeRolePolicyDocument Description ManagedPolicyArns MaxSessionDuration Path "
            "PermissionsBoundary Policies RoleName Tags"
        ),
        calls=_words(
            "iam:TagRole iam:UntagRole iam:PutRolePermissionsBoundary "
            "iam:DeleteRolePermissionsBoundary "
            "iam:CreateRole iam:GetRole iam:PutRolePolicy iam:DeleteRolePolicy "
            "iam:AttachRolePolicy iam:DetachRolePolicy iam:DeleteRole "
            "iam:UpdateAssumeRolePolicy iam:UpdateRole"
        ),
    ),
    "AWS::IAM::User": Type(
        named="UserName",
        properties=_words(
            "Groups LoginProfile ManagedPolicyArns Path PermissionsBoundary Policies Tags UserName"
        ),
        calls=_words(
            "iam:TagUser iam:UntagUser iam:PutUserPermissionsBoundary "
            "iam:DeleteUserPermissionsBoundary "
            "iam:CreateUser iam:GetUser iam:PutUserPolicy iam:DeleteUserPolicy "
            "iam:AttachUserPolicy iam:DetachUserPolicy iam:DeleteUser iam:AddUserToGroup "
            "iam:RemoveUserFromGroup"
        ),
        without_effect=_words("LoginProfile"),
    ),
    "AWS::IAM::Group": Type(
        named="GroupName",
        properties=_words("GroupName ManagedPolicyArns Path Policies"),
        calls=_words(
            "iam:CreateGroup iam:GetGroup iam:PutGroupPolicy iam:DeleteGroupPolicy "
            "iam:AttachGroupPolicy iam:DetachGroupPolicy iam:DeleteGroup"
        ),
    ),
    "AWS::IAM::Policy": Type(
        named="PolicyName",
        properties=_words("Groups PolicyDocument PolicyName Roles Users"),
        calls=_words(
            "iam:PutRolePolicy iam:DeleteRolePolicy iam:PutUserPolicy iam:DeleteUserPolicy "
            "iam:PutGroupPolicy iam:DeleteGroupPolicy"
        ),
    ),
    "AWS::IAM::ManagedPolicy": Type(
        named="ManagedPolicyName",
        properties=_words("Description Groups ManagedPolicyName Path PolicyDocument Roles Users"),
        calls=_words(
            "iam:CreatePolicy iam:CreatePolicyVersion iam:ListPolicyVersions "
            "iam:DeletePolicyVersion iam:DeletePolicy iam:AttachRolePolicy "
            "iam:DetachRolePolicy iam:AttachUserPolicy iam:DetachUserPolicy "
            "iam:AttachGroupPolicy iam:DetachGroupPolicy"
        ),
    ),
    "AWS::IAM::AccessKey": Type(
        named="UserName",
        properties=_words("Serial Status UserName"),
        calls=_words("iam:CreateAccessKey iam:DeleteAccessKey"),
        without_effect=_words("Serial Status"),
    ),
    "AWS::CloudFormation::Stack": Type(
        named="",
        properties=_words("NotificationARNs Parameters Tags TemplateURL TimeoutInMinutes"),
        without_effect=_words("NotificationARNs TimeoutInMinutes"),
    ),
    "AWS::CloudFormation::WaitCondition": Type(
        named="",
        properties=_words("Count Handle Timeout"),
    ),
    "AWS::CloudFormation::WaitConditionHandle": Type(
        named="",
        properties=_words(""),
    ),
}
