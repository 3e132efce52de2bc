//! Which metrics there are: those that the functions count, and those of AWS that an alarm here may watch, with their dimensions, what
//! they measure, and the largest threshold that still makes sense.

use super::Infrastructure;

/// Where the functions' own metrics are, and their only dimension.
pub(super) const NAMESPACE: &str = "Centinela";
pub(super) const DIMENSION: &str = "Function";
/// How values of a metric go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Each value is so many more: only their sum says anything.
    Count,
    /// Each value is how much there is: a sum says nothing.
    Level,
}

/// On which side of its threshold a metric is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    Above,
    Below,
}

/// By which brokers of MSK a metric is sent, and from which monitoring level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brokers {
    /// By all, at every level; so is what is no metric of theirs.
    All,
    /// By Standard brokers, at every level.
    Standard,
    /// By Express brokers, at every level.
    Express,
    /// By all, where brokers are monitored one by one.
    OneByOne,
}

/// A metric that may be watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Watchable {
    pub(super) measure: Measure,
    pub(super) bad: Bad,
    /// Above it an alarm would speak when it is far too late, if ever.
    pub(super) most: f64,
    /// The same of an alarm at which the brake acts, which is for floods.
    pub(super) most_of_brake: f64,
    /// Who sends it.
    pub(super) brokers: Brokers,
}

/// Metrics of one namespace with the same dimensions, and of the same brokers.
struct Family {
    namespace: &'static str,
    brokers: Brokers,
    /// Any of these sets, exactly.
    dimensions: &'static [&'static [&'static str]],
    /// Name, measure, side, largest threshold.
    metrics: &'static [(&'static str, Measure, Bad, f64)],
}

use Bad::{Above, Below};
use Measure::{Count, Level};

const HOUR_MS: f64 = 3_600_000.0;
const WEEK_S: f64 = 604_800.0;
/// What a flood may reach before the brake acts.
const FLOOD: f64 = 1_000_000_000.0;
/// So many waiting records are too many: the customer's own figure.
pub(super) const LAG_MAX: f64 = 10_000.0;
/// The same of whoever keeps records and gives none up: nobody waits for it, and it catches up by the million.
pub(super) const LAG_OF_ARCHIVE_MAX: f64 = 5_000_000.0;
/// So long may a decision take: the customer's own figure.
pub(super) const PROCESSING_MS_MAX: f64 = 500.0;
/// So many of a hundred transactions may be blocked: the customer's own figure.
pub(super) const BLOCKED_PER_CENT_MAX: f64 = 10.0;

/// Names and dimensions: <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>,
/// <https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html> for Standard brokers, with the level that each metric of MSK
/// begins at, and <https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details-express.html> for Express brokers,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html>,
/// <https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html>,
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>,
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>.
const FAMILIES: [Family; 15] = [
    Family {
        namespace: "AWS/Lambda",
        brokers: Brokers::All,
        dimensions: &[&["FunctionName"], &["FunctionName", "Resource"], &[]],
        metrics: &[
            ("Invocations", Count, Above, FLOOD),
            // Each is an invocation that ended without an answer.
            ("Errors", Count, Above, 0.0),
            ("Throttles", Count, Above, 900.0),
            ("Duration", Level, Above, 900_000.0),
            ("ConcurrentExecutions", Level, Above, 10_000.0),
        ],
    },
    Family {
        namespace: "AWS/Lambda",
        brokers: Brokers::All,
        dimensions: &[&["FunctionName"]],
        metrics: &[("IteratorAge", Level, Above, HOUR_MS)],
    },
    Family {
        namespace: "AWS/Lambda",
        brokers: Brokers::All,
        dimensions: &[&["EventSourceMappingUUID"]],
        metrics: &[
            ("PolledEventCount", Count, Below, 100.0),
            ("FilteredOutEventCount", Count, Above, 100.0),
            ("InvokedEventCount", Count, Below, 100.0),
            ("FailedInvokeEventCount", Count, Above, 10_000.0),
            ("DroppedEventCount", Count, Above, 100.0),
            ("OnFailureDestinationDeliveredEventCount", Count, Above, 100.0),
            ("CommittedEventCount", Count, Below, 100.0),
            ("PollingErrorCount", Count, Above, 900.0),
            ("InvokeErrorCount", Count, Above, 900.0),
            ("OnFailureDestinationDeliveryErrorCount", Count, Above, 100.0),
            ("SchemaRegistryErrorCount", Count, Above, 100.0),
            ("CommitErrorCount", Count, Above, 100.0),
            ("MaxOffsetLag", Level, Above, LAG_MAX),
            ("SumOffsetLag", Level, Above, LAG_MAX),
            ("ProvisionedPollers", Level, Above, 200.0),
            ("EventPollerUnit", Level, Above, 200.0),
        ],
    },
    Family {
        namespace: "AWS/Kafka",
        brokers: Brokers::All,
        dimensions: &[&["Cluster Name", "Consumer Group", "Topic"]],
        metrics: &[
            ("MaxOffsetLag", Level, Above, LAG_MAX),
            ("SumOffsetLag", Level, Above, LAG_MAX),
            ("EstimatedMaxTimeLag", Level, Above, WEEK_S),
        ],
    },
    Family {
        namespace: "AWS/Kafka",
        brokers: Brokers::All,
        dimensions: &[&["Cluster Name", "Broker ID"]],
        metrics: &[
            ("CpuUser", Level, Above, 90.0),
            ("CpuSystem", Level, Above, 90.0),
            ("CpuIdle", Level, Below, 50.0),
            ("PartitionCount", Level, Above, 4_000.0),
            ("LeaderCount", Level, Above, 4_000.0),
            ("ConnectionCount", Level, Above, 3_000.0),
            ("BytesInPerSec", Level, Above, FLOOD),
        ],
    },
    Family {
        namespace: "AWS/Kafka",
        brokers: Brokers::Standard,
        dimensions: &[&["Cluster Name", "Broker ID"]],
        metrics: &[
            ("KafkaDataLogsDiskUsed", Level, Above, 90.0),
            ("HeapMemoryAfterGC", Level, Above, 90.0),
            ("UnderReplicatedPartitions", Level, Above, 1_000.0),
            ("UnderMinIsrPartitionCount", Level, Above, 1_000.0),
        ],
    },
    Family {
        namespace: "AWS/Kafka",
        brokers: Brokers::OneByOne,
        dimensions: &[&["Cluster Name", "Broker ID"]],
        metrics: &[("IAMTooManyConnections", Count, Above, 100.0)],
    },
    Family {
        namespace: "AWS/Kafka",
        brokers: Brokers::All,
        dimensions: &[&["Cluster Name"]],
        metrics: &[("ActiveControllerCount", Level, Below, 1.0), ("GlobalPartitionCount", Level, Above, 10_000.0)],
    },
    Family {
        namespace: "AWS/Kafka",
        brokers: Brokers::Standard,
        dimensions: &[&["Cluster Name"]],
        metrics: &[("OfflinePartitionsCount", Level, Above, 100.0)],
    },
    Family {
        namespace: "AWS/Kafka",
        brokers: Brokers::Express,
        dimensions: &[&["Cluster Name"]],
        metrics: &[("StorageUsed", Level, Above, FLOOD * 1_000.0)],
    },
    Family {
        namespace: "AWS/DynamoDB",
        brokers: Brokers::All,
        dimensions: &[&["TableName"]],
        metrics: &[
            ("ConsumedReadCapacityUnits", Count, Above, FLOOD),
            ("ConsumedWriteCapacityUnits", Count, Above, FLOOD),
            ("ReadThrottleEvents", Count, Above, 10_000.0),
            ("WriteThrottleEvents", Count, Above, 10_000.0),
            ("ProvisionedWriteCapacityUnits", Level, Above, FLOOD),
        ],
    },
    Family {
        namespace: "AWS/DynamoDB",
        brokers: Brokers::All,
        dimensions: &[&["TableName", "Operation"]],
        metrics: &[("ThrottledRequests", Count, Above, 10_000.0), ("SystemErrors", Count, Above, 900.0)],
    },
    Family {
        namespace: "AWS/Kinesis",
        brokers: Brokers::All,
        dimensions: &[&["StreamName"]],
        metrics: &[
            ("IncomingRecords", Count, Above, FLOOD),
            ("IncomingBytes", Count, Above, FLOOD * 1_000.0),
            ("WriteProvisionedThroughputExceeded", Count, Above, 10_000.0),
            ("ReadProvisionedThroughputExceeded", Count, Above, 10_000.0),
            ("GetRecords.IteratorAgeMilliseconds", Level, Above, HOUR_MS),
        ],
    },
    Family {
        namespace: "AWS/SQS",
        brokers: Brokers::All,
        dimensions: &[&["QueueName"]],
        metrics: &[
            ("ApproximateNumberOfMessagesVisible", Level, Above, 100.0),
            ("ApproximateAgeOfOldestMessage", Level, Above, WEEK_S),
        ],
    },
    Family {
        namespace: "AWS/ApiGateway",
        brokers: Brokers::All,
        dimensions: &[&["ApiId"], &["ApiId", "Stage"]],
        metrics: &[
            ("Count", Count, Above, FLOOD),
            ("4xx", Count, Above, 100_000.0),
            ("5xx", Count, Above, 900.0),
            ("Latency", Level, Above, 30_000.0),
            ("IntegrationLatency", Level, Above, 30_000.0),
        ],
    },
];
/// In one region only, and by the currency of the account.
const CHARGES: (&str, &str, &str) = ("AWS/Billing", "EstimatedCharges", "Currency");

/// What is known of a metric of AWS with just these dimensions; none where AWS sends no such metric.
pub(super) fn of_aws(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Option<Watchable> {
    let mut names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let is_set = |set: &&[&str]| {
        let mut set = set.to_vec();
        set.sort_unstable();
        set == names
    };
    if (namespace, name) == (CHARGES.0, CHARGES.1) && names == [CHARGES.2] {
        let most = 1_000_000.0;
        return Some(Watchable { measure: Level, bad: Above, most, most_of_brake: most, brokers: Brokers::All });
    }
    let families = FAMILIES.iter().filter(|family| family.namespace == namespace);
    let mut with_these = families.filter(|family| family.dimensions.iter().any(is_set));
    with_these.find_map(|family| {
        let (_, measure, bad, most) = family.metrics.iter().find(|(known, ..)| *known == name)?;
        // A brake is for floods, but of what is never to be there a few are one.
        let most_of_brake = if *most >= LAG_MAX { FLOOD / 10.0 } else { *most };
        Some(Watchable { measure: *measure, bad: *bad, most: *most, most_of_brake, brokers: family.brokers })
    })
}

/// What is known of a metric of the function whose binary is this; none where the function sends no such metric.
pub(super) fn of_function(binary: &str, name: &str, infrastructure: &Infrastructure) -> Option<Watchable> {
    let all = |measure, most| Watchable { measure, bad: Above, most, most_of_brake: most, brokers: Brokers::All };
    match name {
        "ProcessingMilliseconds" => Some(all(Level, PROCESSING_MS_MAX)),
        "OldestRecordMilliseconds" => Some(all(Level, WEEK_S * 1_000.0)),
        _ => infrastructure.counted.get(binary)?.contains(name).then_some(all(Count, 900.0)),
    }
}
