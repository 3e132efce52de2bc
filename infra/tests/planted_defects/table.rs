//! The defects, found by reading the stacks resource by resource and asking of each what could be wrong with it.

/// What is wrong (with a star: planted by somebody who found that it passed), the change, and the rule that finds it. `read` is the reader,
/// with a word of its refusal behind it; `lint` is cfn-lint, with the beginning of its rule's name. Several changes have `&&` between them.
pub const DEFECTS: &str = r#"
the key of tables is never rotated | 10 StateKey/Properties/EnableKeyRotation = false | NotRotated
nobody may administer the key of the lake | 10 LakeKey/Properties/KeyPolicy/Statement/[Sid=AccountAdministers]/Action = kms:DescribeKey | NobodyAdministers
the key of streams is open to everybody | 10 StreamKey/Properties/KeyPolicy/Statement/[0]/Principal = '*' | Anybody
alarms may not use the key of their topic | 10 OperationsKey/Properties/KeyPolicy/Statement/[Sid=AlarmsPublish]/Action = kms:GenerateDataKey | KeyRefuses
logs may not use their key | 10 OperationsKey/Properties/KeyPolicy/Statement/[Sid=LogGroupsOfThisAccount] remove | KeyRefuses
a service of any account may use the key | 10 OperationsKey/Properties/KeyPolicy/Statement/[Sid=AlarmsPublish]/Condition remove | ServiceForAnybody
* kms:Decrypt is denied in a key's policy | 10 OperationsKey/Properties/KeyPolicy/Statement add {Effect: Deny, Principal: '*', Action: 'kms:Decrypt', Resource: '*'} | KeyRefuses
* a key is deleted with its stack | 10 StateKey/DeletionPolicy = Delete | DeletedWithStack
a key is deleted when it is replaced | 10 LakeKey/UpdateReplacePolicy remove | DeletedByReplacement
an alias of AWS's own | 10 StateKeyAlias/Properties/AliasName = alias/aws/centinela | AliasReserved
instances get public addresses | 10 PrivateSubnetA/Properties/MapPublicIpOnLaunch = true | PublicSubnet
a way to the internet | 10 Gateway = {Type: 'AWS::EC2::InternetGateway'} | WayToTheInternet
* brokers are open to the world | 10 BrokersFromMappings/Properties/CidrIp = 0.0.0.0/0 | OpenToEverywhere
brokers are open to the world over IPv6 | 10 BrokersFromFunctions/Properties/CidrIpv6 = '::/0' | OpenToEverywhere
brokers are open to addresses | 10 BrokersFromMappings/Properties/CidrIp = 10.0.0.0/8 | BrokersFromAddresses
* brokers are reached by port 9096 | 10 BrokersFromFunctions/Properties/FromPort = 9096 && 10 BrokersFromFunctions/Properties/ToPort = 9096 | WrongBrokerPort
a port that there is not | 10 EndpointSecurityGroup/Properties/SecurityGroupIngress/[0]/ToPort = 99999 | NoPort
producers may not reach the brokers | 25 BrokersFromProducers remove | BrokersUnreachable
mappings may not reach the brokers | 10 BrokersFromMappings remove | BrokersUnreachable
functions may not reach the brokers | 10 BrokersFromFunctions remove | BrokersUnreachable
functions may go everywhere | 10 FunctionSecurityGroup/Properties/SecurityGroupEgress/[0] = {IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0} | OpenToEverywhere
nothing is said of what brokers may call | 10 BrokerSecurityGroup/Properties/SecurityGroupEgress remove | EverythingMayLeave
an endpoint has no policy | 10 DynamoDbEndpoint/Properties/PolicyDocument remove | EndpointWithoutPolicy
an endpoint lets through to other accounts' tables | 10 DynamoDbEndpoint/Properties/PolicyDocument/Statement/[0]/Resource = '*' | EndpointLetsThrough
an endpoint lets through to other accounts' buckets | 10 S3Endpoint/Properties/PolicyDocument/Statement/[0]/Resource = '*' && 10 S3Endpoint/Properties/PolicyDocument/Statement/[0]/Condition remove | EndpointLetsThrough
an endpoint forgets an action | 10 DynamoDbEndpoint/Properties/PolicyDocument/Statement/[0]/Action = dynamodb:GetItem | EndpointRefuses
the endpoint of Kinesis is gone | 10 KinesisEndpoint remove | NoEndpoint
the endpoint of Kinesis has no private name | 10 KinesisEndpoint/Properties/PrivateDnsEnabled = false | NoPrivateName
the endpoint of Kinesis lets nobody in | 10 EndpointSecurityGroup/Properties/SecurityGroupIngress remove | ClosedEndpoint
the endpoint of DynamoDB is in no route table | 10 DynamoDbEndpoint/Properties/RouteTableIds remove | NoRoute
a subnet has no route to the endpoints | 10 PrivateRoutesC remove | NoRoute
functions may not go to the tables | 10 FunctionSecurityGroup/Properties/SecurityGroupEgress/[1] remove | NoWayOut
functions may go to the bucket of another region | 10 FunctionSecurityGroup/Properties/SecurityGroupEgress/[2]/DestinationPrefixListId = pl-6da54004 | NoWayOut
functions may not go to the stream | 10 FunctionsToEndpoints remove | NoWayOut
functions may not go to the brokers | 10 FunctionSecurityGroup/Properties/SecurityGroupEgress/[0] remove | NoWayOut
functions may go to addresses of the internet | 10 FunctionSecurityGroup/Properties/SecurityGroupEgress add {IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 52.0.0.0/8} | OpenToEverywhere
functions may go to addresses of the internet next to private ones | 10 FunctionSecurityGroup/Properties/SecurityGroupEgress add {IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 10.0.0.0/7} | OpenToEverywhere
names are not resolved in the network | 10 Vpc/Properties/EnableDnsSupport = false | NoNames
a function that asks the brokers is not in their network | score ScoreTransactions/Properties/VpcConfig remove | NotInVpc
two brokers stand in one zone | 10 PrivateSubnetB/Properties/AvailabilityZone = !Select [0, !GetAZs ''] | SameZone
the network is joined to another | 10 Peering = {Type: 'AWS::EC2::VPCPeeringConnection', Properties: {VpcId: !Ref Vpc, PeerVpcId: vpc-12345678}} | WayOut
a route leads away | 10 Away = {Type: 'AWS::EC2::Route', Properties: {RouteTableId: !Ref PrivateRoutes, DestinationCidrBlock: 0.0.0.0/0, TransitGatewayId: tgw-12345678}} | WayOut
an endpoint that nobody uses | 10 SqsEndpoint = {Type: 'AWS::EC2::VPCEndpoint', Properties: {VpcEndpointType: Interface, VpcId: !Ref Vpc, ServiceName: !Sub 'com.amazonaws.${AWS::Region}.sqs'}} | UnusedEndpoint
the bucket of code could become public | 10 ArtefactBucket/Properties/PublicAccessBlockConfiguration/BlockPublicPolicy = false | PublicAccessNotBlocked
the bucket of code takes access lists | 10 ArtefactBucket/Properties/OwnershipControls remove | TakesAccessLists
the bucket of code is not encrypted | 10 ArtefactBucket/Properties/BucketEncryption remove | NotEncrypted
old code stays for ever | 10 ArtefactBucket/Properties/LifecycleConfiguration/Rules/[0]/NoncurrentVersionExpiration remove | Uncapped
the bucket of code takes what is not encrypted on its way | 10 ArtefactBucketPolicy/Properties/PolicyDocument/Statement/[0]/Effect = Allow | WithoutTlsOnly
TLS is asked of a bucket's objects only | 10 ArtefactBucketPolicy/Properties/PolicyDocument/Statement/[0]/Resource = !Sub '${ArtefactBucket.Arn}/*' | WithoutTlsOnly
another account opens the key of the lake | 10 LakeKey/Properties/KeyPolicy/Statement add {Effect: Allow, Principal: {AWS: 'arn:aws:iam::999999999999:root'}, Action: 'kms:Decrypt', Resource: '*'} | Anybody
another account reads the lake | 30 LakePolicy/Properties/PolicyDocument/Statement add {Effect: Allow, Principal: {AWS: '999999999999'}, Action: 's3:GetObject', Resource: !Sub '${Lake.Arn}/*'} | Anybody
alarms of another account may publish | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Condition/StringEquals/aws:SourceAccount = '999999999999' | ServiceForAnybody
alarms of every account may publish, by a condition | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Condition = {StringLike: {'aws:SourceAccount': '*'}} | ServiceForAnybody
alarms of every other account may publish | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Condition = {StringNotEquals: {'aws:SourceAccount': !Ref 'AWS::AccountId'}} | ServiceForAnybody
alarms of whoever does not say of which account may publish | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Condition = {StringEqualsIfExists: {'aws:SourceAccount': !Ref 'AWS::AccountId'}} | ServiceForAnybody
everybody but another account may read code | 10 ArtefactBucketPolicy/Properties/PolicyDocument/Statement add {Effect: Allow, NotPrincipal: {AWS: '999999999999'}, Action: 's3:GetObject', Resource: !Sub '${ArtefactBucket.Arn}/*'} | Anybody
another account may invoke compaction | compact CompactLakeMayBeCalled/Properties/Principal = '999999999999' | InvokedByAnybody
rules of another account may invoke compaction | compact CompactLakeMayBeCalled/Properties/SourceArn = arn:aws:events:us-east-1:999999999999:rule/compact-lake | InvokedByAnybody
every account reaches the brokers | env ClientAccounts = * | Anybody
senders may answer | 25 ProducerPolicy/Properties/PolicyDocument/Statement/[Sid=Send]/Resource add {'Fn::ImportValue': !Sub '${NamePrefix}centinela-ApprovedTopicArn'} | ForgesAnswers
another account may answer | env ClientAccounts = 999999999999 && 25 OtherAccounts/Properties/Policy/Statement/[Sid=Send]/Resource add {'Fn::ImportValue': !Sub '${NamePrefix}centinela-BlockedTopicArn'} | ForgesAnswers
readers may commit for our groups | 25 ConsumerPolicy/Properties/PolicyDocument/Statement/[Sid=CommitOwnOffsets]/Resource/Fn::Sub/[0] = '${Prefix}*' | CommitsForOurs
the budget's role may put any policy on a role | 80 BudgetActionRole/Properties/Policies/[0]/PolicyDocument/Statement/[0]/Condition remove | MayRaise
the brake may make roles | guard-costs GuardCostsRole grant iam:PutRolePolicy on !Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*' | MayRaise
anybody may read code | 10 ArtefactBucketPolicy/Properties/PolicyDocument/Statement add {Effect: Allow, Principal: '*', Action: 's3:GetObject', Resource: !Sub '${ArtefactBucket.Arn}/*'} | Anybody
alarms are told in the clear | 10 AlertTopic/Properties/KmsMasterKeyId remove | NotEncrypted
alarms use a key of AWS's, with which they are lost | 10 AlertTopic/Properties/KmsMasterKeyId = alias/aws/sns | UnknownKey
alarms may do everything with their topic | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Action = 'sns:*' | WildcardAction
alarms may not publish | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Principal/Service = budgets.amazonaws.com | TopicRefuses
alarms of any account may publish | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Condition remove | ServiceForAnybody
somebody else hears of alarms too | 10 Stranger = {Type: 'AWS::SNS::Subscription', Properties: {TopicArn: !Ref AlertTopic, Protocol: email, Endpoint: stranger@elsewhere.example}} | TellsStrangers
a page of somebody else's hears of alarms | 10 Stranger = {Type: 'AWS::SNS::Subscription', Properties: {TopicArn: !Ref AlertTopic, Protocol: https, Endpoint: 'https://elsewhere.example/'}} | TellsStrangers
a queue of another account hears of alarms | 10 Stranger = {Type: 'AWS::SNS::Subscription', Properties: {TopicArn: !Ref AlertTopic, Protocol: sqs, Endpoint: 'arn:aws:sqs:us-east-1:999999999999:other'}} | TellsStrangers
nobody hears of alarms in production | env AlertEmail =  | NobodySubscribed
* brokers take what is not encrypted | 20 Cluster/Properties/EncryptionInfo/EncryptionInTransit/ClientBroker = TLS_PLAINTEXT | NotTls
brokers speak in the clear to each other | 20 Cluster/Properties/EncryptionInfo/EncryptionInTransit/InCluster = false | PlainBetweenBrokers
* brokers take who does not log in | 20 Cluster/Properties/ClientAuthentication/Unauthenticated/Enabled = true | Unauthenticated
brokers take no logins by IAM | 20 Cluster/Properties/ClientAuthentication/Sasl/Iam/Enabled = false | NoIam
brokers have public addresses | 20 Cluster/Properties/BrokerNodeGroupInfo/ConnectivityInfo = {PublicAccess: {Type: SERVICE_PROVIDED_EIPS}} | PublicBrokers
disks of brokers have a key of AWS's | 20 Cluster/Properties/EncryptionInfo/EncryptionAtRest remove | NotEncrypted
* the cluster is deleted with its stack | 20 Cluster/DeletionPolicy = Delete | DeletedWithStack
four brokers in three zones | env BrokerCount = 4 | BrokersUneven
brokers of a size that there is not | env BrokerInstanceType = kafka.m7g.huge | UnknownBrokerType
a version of Kafka that has ended | env KafkaVersion = 2.8.1 | UnknownKafkaVersion
small brokers with KRaft | env BrokerInstanceType = kafka.t3.small && env KafkaVersion = 3.9.x.kraft | UnknownKafkaVersion
Express brokers with disks | env BrokerInstanceType = express.m7g.large && 20 Cluster/Properties/BrokerNodeGroupInfo/StorageInfo = {EBSStorageInfo: {VolumeSize: 100}} | StorageOnExpress
a replica without the records may lead | 20 BrokerConfiguration/Properties/ServerProperties/[1] replace unclean.leader.election.enable=false => unclean.leader.election.enable=true | UncleanLeaders
producers' records are stored as they come | 20 TransactionsTopic/Properties/Configs/Fn::Base64 replace "compression.type":"zstd" => "compression.type":"producer" | Uncompressed
a misspelt topic is made | 20 BrokerConfiguration/Properties/ServerProperties = auto.create.topics.enable=true | CreatesTopics
* decisions are kept for an hour | 20 ApprovedTopic/Properties/Configs/Fn::Base64 replace "259200000" => "3600000" | KeptTooShort
transactions are kept for a day | 20 TransactionsTopic/Properties/Configs/Fn::Base64 replace "604800000" => "86400000" | KeptTooShort
actions are kept for three days | 20 UserActionsTopic/Properties/Configs/Fn::Base64 replace "2592000000" => "259200000" | KeptTooShort
a topic keeps records as long as Kafka likes | 20 DeadLettersTopic/Properties/Configs/Fn::Base64 replace "retention.ms":"1209600000","min => "min | RetentionUnset
dead letters go before their source does | 20 DeadLettersTopic/Properties/Configs/Fn::Base64 replace "1209600000" => "259200000" | DeadLettersExpireFirst
dead letters are too small for their records | 20 DeadLettersTopic/Properties/Configs/Fn::Base64 replace "2097152" => "1048588" | DeadLettersTooSmall
no broker may be away | 20 TransactionsTopic/Properties/Configs/Fn::Base64 replace "min.insync.replicas":"2" => "min.insync.replicas":"3" | InSyncReplicas
a record is confirmed by one broker | 20 BlockedTopic/Properties/Configs/Fn::Base64 replace "min.insync.replicas":"2" => "min.insync.replicas":"1" | InSyncReplicas
records have their producers' time | 20 TransactionsTopic/Properties/Configs/Fn::Base64 replace LogAppendTime => CreateTime | NotBrokerTime
more replicas than brokers | 20 EventsTopic/Properties/ReplicationFactor = 4 | MoreReplicasThanBrokers
a topic's settings in another form | 20 EventsTopic/Properties/Configs = {'Fn::Base64': retention.ms=259200000} | read base64 of a JSON object
a topic is deleted with its stack | 20 TransactionsTopic/DeletionPolicy = Delete | DeletedWithStack
a topic is misspelt | 20 ApprovedTopic/Properties/TopicName = aproved | NamesNothing
the stream is not encrypted | 20 Decisions/Properties/StreamEncryption remove | NotEncrypted
an on-demand stream with shards | 20 Decisions/Properties/StreamModeDetails/StreamMode = ON_DEMAND | ShardsOnDemand
the stream forgets what its readers still want | env RollupMetricsMaximumRecordAgeSeconds = 604800 | StreamTooShort
logs of brokers stay for ever | 20 BrokerLogs/Properties/RetentionInDays remove | Uncapped
logs of brokers are not encrypted | 20 BrokerLogs/Properties/KmsKeyId remove | NotEncrypted
* a table is not encrypted | 30 UserState/Properties/SSESpecification remove | NotEncrypted
a table has a key of AWS's | 30 DeviceState/Properties/SSESpecification/KMSMasterKeyId remove | NotEncrypted
* a table may cost anything | 30 Labels/Properties/OnDemandThroughput remove | Uncapped
a table cannot be put back to an hour ago | 30 UserState/Properties/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled = false | NoRecovery
tables of production can be deleted by one call | env TableDeletionProtection = false | NotProtected
labels stay for ever | 30 Labels/Properties/TimeToLiveSpecification/AttributeName = tll | NeverExpires
the index stays for ever | 30 Decisions/Properties/TimeToLiveSpecification remove | NeverExpires
labels have another key than the code's | 30 Labels/Properties/AttributeDefinitions/[0]/AttributeName = id && 30 Labels/Properties/KeySchema/[0]/AttributeName = id | OtherKey
users have a number for a key | 30 UserState/Properties/AttributeDefinitions/[0]/AttributeType = N | OtherKey
windows have another order than the code's | 30 DecisionMetrics/Properties/AttributeDefinitions/[1]/AttributeName = part && 30 DecisionMetrics/Properties/KeySchema/[1]/AttributeName = part | OtherKey
users expire | 30 UserState/Properties/TimeToLiveSpecification = {AttributeName: ttl, Enabled: true} | ExpiresByNothing
* a table is deleted with its stack | 30 UserState/DeletionPolicy = Delete | DeletedWithStack
a table is deleted when it is replaced | 30 Labels/UpdateReplacePolicy = Delete | DeletedByReplacement
capacity never scales | 30 UserWritesPolicy remove | ScalesNever
writes scale by reads | 30 UserWritesPolicy/Properties/TargetTrackingScalingPolicyConfiguration/PredefinedMetricSpecification/PredefinedMetricType = DynamoDBReadCapacityUtilization | ScalesByOther
disks of brokers never grow | 20 BrokerDisksPolicy remove | ScalesNever
capacity scales from more to less | env TableBillingMode = PROVISIONED && env UserWriteUnitsMin = 9000000 | ScalingOutOfOrder
the key of pseudonyms has a key of AWS's | 30 PseudonymKey/Properties/KmsKeyId remove | NotEncrypted
the key of pseudonyms can be guessed | 30 PseudonymKey/Properties/GenerateSecretString/PasswordLength = 8 | WeakSecret
the key of pseudonyms is written out | 30 PseudonymKey/Properties/GenerateSecretString remove && 30 PseudonymKey/Properties/SecretString = 0123456789abcdef | WeakSecret
a function's secret is written out | score ScoreTransactions/Properties/Environment/Variables/PSEUDONYM_KEY = 'ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100' | SecretWrittenOut
* the lake is public | 30 Lake/Properties/PublicAccessBlockConfiguration/RestrictPublicBuckets = false | PublicAccessNotBlocked
the lake is not encrypted with our key | 30 Lake/Properties/BucketEncryption/ServerSideEncryptionConfiguration/[0]/ServerSideEncryptionByDefault = {SSEAlgorithm: AES256} | NotEncrypted
the lake keeps no old versions | 30 Lake/Properties/VersioningConfiguration/Status = Suspended | NotVersioned
* the lake is in Glacier on day 3 | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/Transitions/[1]/TransitionInDays = 3 | MovedTooEarly
the lake must be restored before it answers | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/Transitions/[1]/StorageClass = DEEP_ARCHIVE | MovedTooEarly
the lake is infrequent on day 7 | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/Transitions/[0]/StorageClass = STANDARD_IA | MovedTooEarly
the lake is deleted before it is cold | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/ExpirationInDays = 20 | ExpiresBeforeMove
the lake is deleted after a year | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/ExpirationInDays = 365 | LakeExpires
the lake never grows cold | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/Transitions remove | NeverColder
the lake's rule is for other objects | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/Prefix = lakes/ | NeverColder
an erased person stays for ten years | 30 Lake/Properties/LifecycleConfiguration/Rules/[1]/NoncurrentVersionExpiration/NoncurrentDays = 3650 | OldVersionsStay
the markers of deleted objects stay | 30 Lake/Properties/LifecycleConfiguration/Rules/[1]/ExpiredObjectDeleteMarker remove | DeleteMarkersStay
who asked for what is kept for ever | 10 AccessLogs/Properties/LifecycleConfiguration/Rules/[0]/ExpirationInDays remove | KeptForEver
a lifecycle rule is off | 30 Lake/Properties/LifecycleConfiguration/Rules/[0]/Status = Disabled | RuleOff
parts of broken uploads stay | 30 Lake/Properties/LifecycleConfiguration/Rules/[1]/AbortIncompleteMultipartUpload remove | Uncapped
the lake takes what is not encrypted on its way | 30 LakePolicy remove | WithoutTlsOnly
* a function may not write decisions | score ScoreTransactionsRole drop kafka-cluster:WriteData | MissingAction
* a mapping may not commit | score ScoreTransactionsRole drop kafka-cluster:AlterGroup | MissingAction
* a function may not write users | score ScoreTransactionsRole drop dynamodb:PartiQLUpdate | MissingAction
* a function is denied its key | score ScoreTransactionsRole deny kms:Decrypt | DeniedAction
a function may delete users | score ScoreTransactionsRole grant dynamodb:DeleteItem on !Sub 'arn:aws:dynamodb:*:*:table/*' | UnusedAction
a function may write to any stream | score ScoreTransactionsRole grant kinesis:PutRecords on '*' | WildcardResource
a function may do everything with a stream | score ScoreTransactionsRole/Properties/Policies/[PolicyName=streams]/PolicyDocument/Statement/[Sid=PublishDecisionsToKinesis]/Action = 'kinesis:*' | WildcardAction
a function may do all but one thing | score ScoreTransactionsRole/Properties/Policies/[PolicyName=state]/PolicyDocument/Statement/[Sid=NoteSettledOffsets] = {Effect: Allow, NotAction: 'iam:*', Resource: 'arn:aws:dynamodb:us-east-1:000000000000:table/settled_offsets'} | WildcardAction
a function is an administrator | score ScoreTransactionsRole/Properties/ManagedPolicyArns = ['arn:aws:iam::aws:policy/AdministratorAccess'] | WildcardAction
a function writes to one topic of two | score ScoreTransactionsRole/Properties/Policies/[PolicyName=streams]/PolicyDocument/Statement/[Sid=PublishDecisionsToKafka]/Resource/[1] remove | MissingAction
a mapping commits for another group | score ScoreTransactionsRole/Properties/Policies/[PolicyName=streams]/PolicyDocument/Statement/[Sid=CommitOffsets]/Resource/Fn::Sub/[0] = '${Prefix}scores' | MissingAction
a key opens for another service | score ScoreTransactionsRole/Properties/Policies/[PolicyName=state]/PolicyDocument/Statement/[Sid=UseStateKey]/Condition/StringEquals/kms:ViaService = s3.us-east-1.amazonaws.com | MissingAction
a function may open a class of data that it does not use | score ScoreTransactionsRole grant kms:Decrypt on {'Fn::ImportValue': !Sub '${NamePrefix}centinela-LakeKeyArn'} | UnusedAction
anybody may take a function's role | score ScoreTransactionsRole/Properties/AssumeRolePolicyDocument/Statement/[0]/Principal = {AWS: '*'} | TrustsOthers
a function's code may make network interfaces | score ScoreTransactionsRole/Properties/Policies/[PolicyName=network]/PolicyDocument/Statement/[Sid=CodeLeavesInterfacesAlone] remove | CodeMayManageInterfaces
a function has a role of somebody else's | score ScoreTransactions/Properties/Role = arn:aws:iam::000000000000:role/other | UnknownRole
* production logs in without encryption | env KafkaAuth = plaintext | PlainLogin
a function may run as often as it likes | score ScoreTransactions/Properties/ReservedConcurrentExecutions remove | Uncapped
variables have a key of AWS's | score ScoreTransactions/Properties/KmsKeyArn remove | NotEncrypted
functions reserve more than the account has | env DecisionsApiConcurrency = 900 | TooMuchReserved
an account has less than functions reserve | env AccountConcurrency = 200 | TooMuchReserved
a function for other processors | score ScoreTransactions/Properties/Architectures = [x86_64] | NotPackagedForArm
a system that has ended | score ScoreTransactions/Properties/Runtime = provided.al2 | OldRuntime
metric lines are filtered away | score ScoreTransactions/Properties/LoggingConfig/ApplicationLogLevel = WARN | MetricsFiltered
metric lines are plain text | score ScoreTransactions/Properties/LoggingConfig/LogFormat = Text | LogsAsText
logs go where no retention is | score ScoreTransactions/Properties/LoggingConfig/LogGroup = /aws/lambda/other | UndeclaredLogs
a timeout that a Kafka source does not allow | score ScoreTransactions/Properties/Timeout = 900 | TimeoutTooLong
a slow try would be the only one | env ScoreTransactionsMaximumRecordAgeSeconds = 60 && env ScoreTransactionsTimeoutSeconds = 60 | TimeoutReachesAge
records vanish untried | env ScoreTransactionsMaximumRecordAgeSeconds = 604800 | AgeReachesRetention
less concurrency than batches | env ScoreTransactionsConcurrency = 1 | TooLittleConcurrency
fewer pollers than pollers | env ScoreTransactionsPollersMin = 3 && env ScoreTransactionsPollersMax = 2 | PollersOutOfOrder
more pollers than partitions | env ScoreTransactionsPollersMax = 11 | MorePollersThanPartitions
five thousand pollers | score ScoreTransactionsMapping/Properties/ProvisionedPollerConfig/MaximumPollers = 5000 | read MaximumPollers: is 5000
a mapping starts nowhere | score ScoreTransactionsMapping/Properties/StartingPosition remove | read StartingPosition: is missing
a mapping starts at the end | score ScoreTransactionsMapping/Properties/StartingPosition = LATEST | StartsAtLatest
a mapping reads nothing | score ScoreTransactionsMapping/Properties/Topics remove | read exactly one topic
a mapping reads what there is not | score ScoreTransactionsMapping/Properties/Topics/[0] = transaction | UnknownTopic
a mapping reads something else than the function thinks | score ScoreTransactionsMapping/Properties/Topics/[0] = approved | EnvironmentDisagrees
a mapping is off | score ScoreTransactionsMapping/Properties/Enabled = false | SwitchedOff
a mapping splits batches | score ScoreTransactionsMapping/Properties/BisectBatchOnFunctionError = true | SplitsBatches
a mapping loses what it gives up | score ScoreTransactionsMapping/Properties/DestinationConfig remove | GivesUpIntoNothing
a mapping makes ten tries of endless ones | score ScoreTransactionsMapping/Properties/MaximumRetryAttempts remove | EndlessRetriesWithFailureTopic
a mapping has controls that AWS does not take | score ScoreTransactionsMapping/Properties/ProvisionedPollerConfig remove | ControlsNeedProvisionedPollers
what is given up comes round | score ScoreTransactionsMapping/Properties/DestinationConfig/OnFailure/Destination = kafka://transactions | FailureTopicIsSource
a group's lag is never sent | score ScoreTransactionsMapping/Properties/AmazonManagedKafkaEventSourceConfig/ConsumerGroupId = score:transactions | GroupHasColon
records that failed count as done | score ScoreTransactionsMapping/Properties/FunctionResponseTypes remove | IgnoresFailedRecords
decisions that could not be indexed count as done | index IndexDecisionsMapping/Properties/FunctionResponseTypes remove | IgnoresFailedRecords
half a minute is waited before anything is decided | score ScoreTransactionsMapping/Properties/MaximumBatchingWindowInSeconds = 30 | WaitsBeforeDeciding
a mapping has AWS's own window | score ScoreTransactionsMapping/Properties/MaximumBatchingWindowInSeconds remove | WaitsBeforeDeciding
an outage of a minute dead-letters what waits | env ScoreTransactionsMaximumRetryAttempts = 2 | TooFewTries
a stream's mapping loses what it gives up | rollup RollupMetricsMapping/Properties/DestinationConfig remove | GivesUpIntoNothing
a record that cannot be counted stops its shard | rollup RollupMetricsMapping/Properties/MaximumRetryAttempts remove && rollup RollupMetricsMapping/Properties/MaximumRecordAgeInSeconds remove | EndlessRetriesOfShard
decisions are counted in no windows | rollup RollupMetricsMapping/Properties/TumblingWindowInSeconds remove | OtherWindow
the index begins with the next decision | index IndexDecisionsMapping/Properties/StartingPosition = LATEST | StartsAtLatest
the function is told another age than the mapping's | score ScoreTransactions/Properties/Environment/Variables/MAXIMUM_RECORD_AGE_SECONDS = 60 | EnvironmentDisagrees
a mapping sends no metrics of Kafka | score ScoreTransactionsMapping/Properties/MetricsConfig/Metrics = [EventCount, ErrorCount] | MetricFromNobody
a mapping goes by the alias of nobody | score ScoreTransactionsMapping/Properties/FunctionName = !Ref ScoreTransactions | BypassesAlias
* a metric of ours is misspelt | score IdConflicts/Properties/MetricName = IdConflict | MetricFromNobody
* the lag has another mapping's dimension | score Lag/Properties/Dimensions/[0] = {Name: FunctionName, Value: !Ref ScoreTransactions} | MetricFromNobody
* the lag alarm speaks at ten million | score Lag/Properties/Threshold = 10000000 | ThresholdTooHigh
* an alarm tells nobody | score OldestRecord/Properties/AlarmActions remove | TellsNobody
an alarm tells a topic of somebody else's | score Lag/Properties/AlarmActions/[0] = arn:aws:sns:us-east-1:999999999999:other | TellsStranger
an alarm's actions are off | score SlowTail/Properties/ActionsEnabled = false | ActionsOff
an alarm says nothing of missing data | score Dropped/Properties/TreatMissingData remove | MissingDataUnsaid
a dead mapping is taken for a healthy one | env SilenceIs = notBreaching | SilenceIsHealth
an alarm is never quiet | score IdConflicts/Properties/TreatMissingData = breaching | SilenceIsTrouble
an alarm says nothing of what it means | score Dropped/Properties/AlarmDescription = '' | Undescribed
an alarm wants more than there is | score SlowOnAverage/Properties/DatapointsToAlarm = 4 | MoreDatapointsThanPeriods
decisions may take five seconds | score SlowOnAverage/Properties/Threshold = 5000 | ThresholdTooHigh
everybody may be blocked | score BlockRate/Properties/Threshold = 100 | ThresholdTooHigh
an expression names what is not there | score BlockRate/Properties/Metrics/[2]/Expression replace decided >= => decisions >= | UnknownMetricId
an expression is not closed | score BlockRate/Properties/Metrics/[2]/Expression replace decided, 0) => decided, 0 | Unbalanced
an alarm gives back two metrics | score BlockRate/Properties/Metrics/[1]/ReturnData = true | NotOneResult
an alarm speaks when all is well | score SlowTail/Properties/ComparisonOperator = LessThanThreshold | WrongSide
a hundred invocations a minute may fail | score ScoreTransactionsFails/Properties/Threshold = 99 | ThresholdTooHigh
errors are averaged | score ScoreTransactionsFails/Properties/Statistic = Average | WrongStatistic
lag is summed up over time | score Lag/Properties/Statistic = Sum | WrongStatistic
a metric of AWS is misspelt | score ScoreTransactionsThrottled/Properties/MetricName = Throttle | MetricFromNobody
a metric stands in another namespace | score NearRetention/Properties/Namespace = AWS/MSK | MetricFromNobody
the time lag is of a group that there is not | score NearRetention/Properties/Dimensions/[1]/Value = scores | MetricFromNobody
nobody watches the lag | score Lag remove | NotWatched
nobody watches the slowest in a hundred | score SlowTail remove | SlowUnnoticed
nobody watches how many are blocked | score BlockRate remove && score BlockRateJumps remove | BlockRateUnwatched
nobody watches throttled invocations | score ScoreTransactionsThrottled remove | NotWatched
nobody watches what was given up | score GivenUp remove | NotWatched
nobody watches that decisions lose races | score Conflicts remove | NotWatched
nobody watches producers that send twice | score Duplicates remove | NotWatched
nobody watches how old the oldest record is | score OldestRecord remove | NotWatched
nobody watches whether the mapping polls | score Silent remove && 50 Answers/Properties/AlarmRule replace centinela-silent" => centinela-lag" | NotWatched
nobody watches what cannot be dead-lettered | score DeadLetteringFails remove && 50 Records/Properties/AlarmRule replace centinela-dead-lettering-fails" => centinela-dropped" | NotWatched
nobody watches how long records have waited | score NearRetention remove && 50 Records/Properties/AlarmRule replace centinela-near-retention" => centinela-dropped" | NotWatched
nobody watches whether nothing is blocked any more | score NothingBlocked remove | NothingBlockedUnwatched
an alarm on too little asks for too much | score NothingBlocked/Properties/ComparisonOperator = GreaterThanThreshold | NothingBlockedUnwatched
nobody watches whether more is blocked than usual | score BlockRateJumps remove | JumpUnwatched
nobody watches readers of the stream | 50 StreamReadThrottled remove | NotWatched
nobody watches the users' cap | 50 UsersNearCap remove | NotWatched
nobody watches the account's concurrency | 50 ConcurrencyNearCap remove | AccountUnwatched
nobody watches connections that brokers refuse | 45 BrokersRefuseConnections remove | NotWatched
nobody watches replicas that fall behind | 45 BelowMinInSync remove | NotWatched
brokers of production say nothing of refused connections | env BrokerMonitoring = DEFAULT | NotWatched
nobody is woken by the lag | 50 Answers/Properties/AlarmRule replace centinela-lag" => centinela-silent" | WakesNobody
the lag is told after an hour | score Lag/Properties/EvaluationPeriods = 60 | SpeaksTooLate
failures are told after a day | index IndexDecisionsFails/Properties/EvaluationPeriods = 1440 | SpeaksTooLate
an alarm looks back further than CloudWatch does | score SlowTail/Properties/EvaluationPeriods = 2000 | LooksBackTooFar
an hourly run must fail in two minutes running | compact CompactLakeFails/Properties/EvaluationPeriods = 2 | AsksTwiceOfRare
the brake must be refused three minutes running | guard-costs GuardCostsThrottled/Properties/EvaluationPeriods = 3 | AsksTwiceOfRare
nobody watches disks of brokers | 45 BrokersFull remove | NotWatched
nobody watches what a million decisions cost | 50 CostPerMillion remove && 50 Money/Properties/AlarmRule = 'ALARM("centinela-brake-writes")' | CostUnwatched
a broker that there is not is watched | 45 BrokersFull/Properties/Metrics/[0]/MetricStat/Metric/Dimensions/[1]/Value = '12' | MetricFromNobody
refused connections are watched at a level that does not tell of them | 45 BrokersRefuseConnections/Condition remove && env BrokerMonitoring = DEFAULT | NotAtThisLevel
the level is left out, and refused connections are watched | 20 Cluster/Properties/EnhancedMonitoring remove | NotAtThisLevel
disks of Express brokers are watched | 45 BrokersFull/Condition remove && env BrokerInstanceType = express.m7g.large | NotByTheseBrokers
replicas in sync of Express brokers are watched | 45 BelowMinInSync/Condition remove && env BrokerInstanceType = express.m7g.large | NotByTheseBrokers
what Express brokers keep is watched of Standard ones | 45 PartitionsOffline/Properties/MetricName = StorageUsed | NotByTheseBrokers
the board shows disks of Express brokers | 55 Dashboard/Properties/DashboardBody/[1]/Storage/[2] = !Sub '{"type":"metric","properties":{"metrics":[["AWS/Kafka","KafkaDataLogsDiskUsed","Cluster Name","${NamePrefix}centinela","Broker ID","1"]]}}' && env BrokerInstanceType = express.m7g.large | NotByTheseBrokers
disks may be full | 45 BrokersFull/Properties/Threshold = 75000 | ThresholdTooHigh
a composite is no rule | 50 Answers/Properties/AlarmRule = 'ALARM("centinela-lag") OR' | UnreadableRule
a composite asks about nobody | 50 Records/Properties/AlarmRule = 'ALARM("centinela-droped")' | UnknownAlarm
a board is no JSON | 55 Dashboard/Properties/DashboardBody = '{"widgets": [' | UnreadableBoard
a board shows what nobody sends | 55 Dashboard/Properties/DashboardBody/[0] replace "Approved" => "Aproved" | MetricFromNobody
the archive may not put objects | archive ArchiveRecordsRole drop s3:PutObject | MissingAction
the archive may read what it put | archive ArchiveRecordsRole grant s3:GetObject on !Sub ['arn:aws:s3:::${B}/raw/*', {B: {'Fn::ImportValue': !Sub '${NamePrefix}centinela-LakeBucket'}}] | UnusedAction
the archive's pollers have no limit | archive TransactionsMapping/Properties/ProvisionedPollerConfig/MaximumPollers remove | Uncapped
compaction is never called | compact CompactLakeMayBeCalled remove | MayNotInvoke
compaction runs at no time | env CompactLakeSchedule = cron(15 * * * *) | NoSchedule
compaction runs once a month | env CompactLakeSchedule = cron(15 0 1 * ? *) | CompactsTooRarely
the runs of an hour share what only one of them gets | env CompactLakeSlices = 60 && env CompactLakeShares = 4 | ShareWithoutRun
one of four shares has no run | env CompactLakeSlices = 60 && env CompactLakeShares = 4 && env CompactLakeSchedule = cron(0,15,30 * * * ? *) | ShareWithoutRun
some shares have no slices | env CompactLakeShares = 60 && env CompactLakeSchedule = cron(* * * * ? *) | FewerSlicesThanShares
erased people stay in the lake for a month | env CompactLakeErasureSchedule = cron(45 2 1 * ? *) | CompactsTooRarely
nobody is erased from the lake | compact CompactLakeErasureRule/Properties/Targets/[0]/Input remove | CompactsTooRarely
compaction deletes what is being read | env CompactLakeGraceSeconds = 1 | DeletedWhileRead
compaction is switched off | compact CompactLakeRule/Properties/State = DISABLED | SwitchedOff
anybody may invoke compaction | compact CompactLakeMayBeCalled/Properties/SourceArn remove | InvokedByAnybody
requests ask nobody who they are | decisions-api MachinesDecide/Properties/AuthorizationType = NONE | OpenRoute
nobody notes who connects to whom in production | env FlowLogs = off | FlowsUnseen
nobody notes who asks for objects of production | env BucketLogs = off | NoAccessLog
nobody notes who asks for files of the lake | 30 Lake/Properties/LoggingConfiguration remove | NoAccessLog
requests are not noted | decisions-api MachinesStage/Properties/AccessLogSettings remove | NoAccessLog
the access log names people | decisions-api MachinesStage/Properties/AccessLogSettings/Format = '{"ip":"$context.identity.sourceIp"}' | NamesPeople
requests have no limit | decisions-api MachinesStage/Properties/DefaultRouteSettings remove | Uncapped
tokens of others would do | env DecisionsApiJwtIssuer = https://issuer.example && decisions-api PeopleAuthorizer/Properties/JwtConfiguration/Audience = [] | NoAudience
pages of every origin may call | env DecisionsApiJwtIssuer = https://issuer.example && decisions-api PeopleApi/Properties/CorsConfiguration = {AllowOrigins: ['*']} | EveryOrigin
the API may not call its function | decisions-api MachinesMayCall remove | MayNotInvoke
a function has an open address | decisions-api Address = {Type: 'AWS::Lambda::Url', Properties: {AuthType: NONE, TargetFunctionArn: !GetAtt DecisionsApi.Arn}} | OpenUrl
the API gives up before its function | decisions-api DecisionsApi/Properties/Timeout = 60 | SlowerThanApi
a caller waits as long as the function lives | env DecisionsApiDecisionWaitMs = 15000 && env DecisionsApiTimeoutSeconds = 3 | WaitsTooLong
the API looks up another table | decisions-api DecisionsApi/Properties/Environment/Variables/USER_TABLE = users | NamesNothing
the brake may not switch mappings | guard-costs GuardCostsRole drop lambda:UpdateEventSourceMapping | MissingAction
the brake may do everything with functions | guard-costs GuardCostsRole/Properties/Policies/[PolicyName=brake]/PolicyDocument/Statement/[Sid=SwitchMappings]/Action = 'lambda:*' | WildcardAction
the brake has a plan for no alarm | guard-costs GuardCosts/Properties/Environment/Variables/BRAKE_PLANS/[0] replace brake-writes => brake-rites | PlanForNoAlarm
the brake has a plan for no function | guard-costs GuardCosts/Properties/Environment/Variables/BRAKE_PLANS/[0] replace compact-lake => compact-lakes | PlanForNoFunction
the brake's plans are no JSON | guard-costs GuardCosts/Properties/Environment/Variables/BRAKE_PLANS/[0] replace {"alarm" => "alarm" | PlansUnreadable
the brake of production only says what it would do | env GuardCostsAtAlarms = say | BrakeOnlySays
the brake is never told | 50 BrakeWrites/Properties/AlarmActions/[1] remove | PlanNeverTold
the brake may not be called | guard-costs GuardCostsMayBeCalled remove | MayNotInvoke
what is given up of the stream goes nowhere | index IndexDecisionsMapping/Properties/DestinationConfig/OnFailure/Destination = arn:aws:sqs:us-east-1:000000000000:other | UnknownDestination
what is given up is kept for a day | index IndexDecisionsGivenUp/Properties/MessageRetentionPeriod = 86400 | QueueTooShort
what is given up is not encrypted | rollup RollupMetricsGivenUp/Properties/KmsMasterKeyId remove | NotEncrypted
a redrive does not wait for late invocations | env RedriveDeadLettersGraceSeconds = 5 | GraceTooShort
a redrive reads amounts in another currency | redrive RedriveDeadLetters/Properties/Environment/Variables/DEFAULT_CURRENCY = EUR | VariablesDiffer
a redrive may not look into the lake | redrive RedriveDeadLettersRole drop s3:GetObject | MissingAction
labels are written by nobody | apply-labels ApplyLabelsRole drop dynamodb:PutItem | MissingAction
actions are dead-lettered by nobody | track-user-actions TrackUserActionsRole drop kafka-cluster:WriteDataIdempotently | MissingAction
an export that nobody imports | 70 #Outputs/Nobody = {Value: nothing, Export: {Name: nobody}} | UnusedExport
an alias is what was shipped last | score ScoreTransactionsLive/Properties/FunctionVersion = $LATEST | AliasOnLatest
results go to somebody else's bucket | 70 WorkGroup/Properties/WorkGroupConfiguration/ResultConfiguration/OutputLocation = s3://somebody-elses/ | ResultsElsewhere
a machine nobody reckoned with | 10 Machine = {Type: 'AWS::EC2::Instance', Properties: {InstanceType: m7g.16xlarge, ImageId: ami-12345678, SubnetId: !Ref PrivateSubnetA}} | UnjudgedKind
a person with a key for everything | 80 Person = {Type: 'AWS::IAM::User', Properties: {Policies: [{PolicyName: all, PolicyDocument: {Statement: [{Effect: Allow, Action: '*', Resource: '*'}]}}]}} | UnjudgedKind
a table in every region | 30 Copy = {Type: 'AWS::DynamoDB::GlobalTable', Properties: {TableName: copies, BillingMode: PAY_PER_REQUEST, Replicas: [{Region: us-east-1}]}} | UnjudgedKind
production logs every step | env RustLog = trace | Uncapped
functions wait and are paid | score ScoreTransactionsLive/Properties/ProvisionedConcurrencyConfig = {ProvisionedConcurrentExecutions: 500} | Uncapped
a question may scan everything | 70 WorkGroup/Properties/WorkGroupConfiguration/BytesScannedCutoffPerQuery remove | Uncapped
whoever asks may write results anywhere | 70 WorkGroup/Properties/WorkGroupConfiguration/EnforceWorkGroupConfiguration = false | Uncapped
results are not encrypted | 70 WorkGroup/Properties/WorkGroupConfiguration/ResultConfiguration/EncryptionConfiguration remove | NotEncrypted
results stay for ever | 70 Results/Properties/LifecycleConfiguration/Rules/[0]/AbortIncompleteMultipartUpload remove | Uncapped
analysts may do everything with Athena | 70 AnalystRole/Properties/Policies/[0]/PolicyDocument/Statement/[Sid=AskInThisWorkgroup]/Action/[0] = 'athena:*' | WildcardAction
analysts may write anywhere | 70 AnalystRole/Properties/Policies/[0]/PolicyDocument/Statement/[Sid=WriteResults]/Resource = '*' | WildcardResource
analysts may list all of the lake | 70 AnalystRole/Properties/Policies/[0]/PolicyDocument/Statement/[Sid=ListTheLake]/Condition remove | PeopleSeeRaw
analysts may list raw objects | 70 AnalystRole/Properties/Policies/[0]/PolicyDocument/Statement/[Sid=ListTheLake]/Condition/StringLike/s3:prefix add raw/* | PeopleSeeRaw
analysts may read all of the lake | 70 AnalystRole/Properties/Policies/[0]/PolicyDocument/Statement/[Sid=ReadTheLake]/Resource/[0]/[0] replace /lake/* => /* | PeopleSeeRaw
another account may be an analyst | 70 AnalystRole/Properties/AssumeRolePolicyDocument/Statement/[0]/Principal/AWS = arn:aws:iam::999999999999:root | TrustsOthers
a month may cost a million | env MonthlyBudgetUsd = 1000000 | LimitTooHigh
the budget tells nobody | 80 Budget/Properties/NotificationsWithSubscribers remove | BudgetTellsNobody
the budget tells when it is used up ten times | 80 Budget/Properties/NotificationsWithSubscribers/[0]/Notification/Threshold = 1000 | BudgetTellsNobody
nothing is stopped when the budget is used up | 80 StopWhatWaits remove | StopsNothing
what can wait is stopped at the double budget | 80 StopWhatWaits/Properties/ActionThreshold/Value = 200 | StopsNothing
anomalies are told once a day | 80 AnomalySubscription/Properties/Frequency = DAILY | AnomaliesUntold
what stops at the budget is somebody else's | 80 StopWhatWaits/Properties/Definition/IamActionDefinition/PolicyArn = arn:aws:iam::aws:policy/AdministratorAccess | StopAllows
what stops at the budget allows | 80 WhatWaits/Properties/PolicyDocument/Statement/[0]/Effect = Allow | StopAllows
the budget acts by something else than it says | 80 StopWhatWaits/Properties/ActionType = RUN_SSM_DOCUMENTS | ActionUnfit
a property is misspelt | 30 UserState/Properties/PointInTimeRecoverySpecifications = {PointInTimeRecoveryEnabled: true} | lint E3002
a type is misspelt | 10 KeyLog = {Type: 'AWS::Logs::LogGrup', Properties: {LogGroupName: x}} | lint E3006
a number is a word | score Lag/Properties/EvaluationPeriods = two | lint E3012
a period that CloudWatch does not have | score Lag/Properties/Period = 45 | lint E3615
a retention that CloudWatch does not have | 10 MoreLogs = {Type: 'AWS::Logs::LogGroup', DeletionPolicy: Delete, UpdateReplacePolicy: Delete, Properties: {LogGroupName: x, RetentionInDays: 8, KmsKeyId: !GetAtt OperationsKey.Arn}} | lint E3030
memory that Lambda does not have | env ScoreTransactionsMemoryMb = 20000 | read must be between
a subnet outside of its network | 10 PrivateSubnetC/Properties/CidrBlock = 192.168.0.0/20 | OutsideOfNetwork
two subnets overlap | 10 PrivateSubnetC/Properties/CidrBlock = !Sub '${VpcCidrPrefix}.16.0/21' | Overlaps
two resources wait for each other | 10 AlertTopic/DependsOn = AlertTopicPolicy | lint E3004
a resource waits for nobody | 30 LakePolicy/DependsOn = Lakes | lint E3005
a policy denies and allows nothing | 10 AlertTopicPolicy/Properties/PolicyDocument/Statement/[0]/Effect = Permit | lint E3
a statistic that CloudWatch does not have | score IdConflicts/Properties/ExtendedStatistic = p99 | lint E3
a route is attached to nothing | 10 PrivateRoutesA/Properties/SubnetId remove | lint E3003
"#;
