//! The sizes of a plan, from the stacks that are deployed.

use std::collections::BTreeMap;

use centinela_infra::schedule::minutes_of_an_hour;
use centinela_infra::{Infrastructure, Resource, Sources, TriggerSource};
use centinela_plan::growth::Parameters;
use centinela_plan::{
    Brokers, Capacity, Compaction, Function, KafkaMapping, Lake, Network, Sizes, StreamMapping, Table, Topic, Watch,
};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Metrics that a group of a mapping's metrics sends while all is well:
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics>.
const METRIC_GROUPS: [(&str, u32); 2] = [("EventCount", 7), ("KafkaMetrics", 2)];
/// Alarms that a scaling policy of target tracking makes: for a table two on what is used and two on what is provisioned; for a disk, which
/// never shrinks, one. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/AutoScaling.html>
const ALARMS_OF_A_TABLE: u32 = 4;
const ALARMS_OF_A_DISK: u32 = 1;
/// Alarms with a shorter period are of high resolution.
const RESOLUTION_S: f64 = 60.0;
const HOURS_KEPT_BY_DEFAULT: f64 = 168.0;
const MS_AN_HOUR: f64 = 3_600_000.0;
const SECONDS_AN_HOUR: f64 = 3_600.0;
/// The function that makes the lake's hours exact.
const COMPACTION: &str = "compact-lake";
/// The bucket that the records of requests to the others are written to.
const ACCESS_LOGS: &str = "AccessLogs";

/// The parameters of an environment, as its file has them.
///
/// # Errors
/// The file is not of its form.
pub(super) fn parameters(sources: &Sources) -> Result<Parameters, Failure> {
    let file: Value = serde_json::from_str(&sources.parameters).map_err(|error| Failure::failed(&error))?;
    let entries = file.get("Parameters").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(entries.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect())
}

/// The sizes of the stacks with these parameters in the place of the file's.
///
/// # Errors
/// The stacks cannot be read with them.
pub(super) fn sizes(sources: &Sources, parameters: &Parameters) -> Result<Sizes, Failure> {
    let sources = Sources { parameters: json!({ "Parameters": parameters }).to_string(), ..sources.clone() };
    let infrastructure = Infrastructure::from_sources(&sources).map_err(|error| Failure::usage(&error))?;
    Ok(of(&infrastructure))
}

fn of(infrastructure: &Infrastructure) -> Sizes {
    let resources = Resources(&infrastructure.resources);
    Sizes {
        environment: infrastructure.environment.clone(),
        brokers: resources.brokers(),
        topics: infrastructure.topics.iter().map(topic).collect(),
        shards: infrastructure.streams.iter().map(|stream| stream.shards).sum(),
        tables: resources.tables(&prefix(infrastructure)),
        functions: infrastructure
            .functions
            .iter()
            .map(|function| Function {
                name: function.binary.clone(),
                memory_mb: f64::from(function.memory_mb),
                concurrency: function.reserved_concurrency,
            })
            .collect(),
        mappings: infrastructure
            .mappings
            .iter()
            .filter(|mapping| mapping.enabled)
            .map(|one| mapping(infrastructure, one))
            .collect(),
        stream_mappings: infrastructure
            .stream_mappings
            .iter()
            .filter(|mapping| mapping.enabled)
            .map(|mapping| StreamMapping {
                function: binary(infrastructure, &mapping.function),
                batch: f64::from(mapping.batch_size),
                window_s: mapping.window.as_secs_f64(),
            })
            .collect(),
        lake: resources.lake(),
        compaction: compaction(infrastructure),
        network: resources.network(),
        watch: resources.watch(),
        index_days: index_days(infrastructure),
        keys: resources.count("AWS::KMS::Key"),
        secrets: resources.count("AWS::SecretsManager::Secret"),
    }
}

/// What stands before names in this environment.
fn prefix(infrastructure: &Infrastructure) -> String {
    let prefixes = infrastructure.functions.iter().filter_map(|function| function.name.strip_suffix(&function.binary));
    prefixes.map(str::to_owned).next().unwrap_or_default()
}

fn binary(infrastructure: &Infrastructure, function: &str) -> String {
    infrastructure.function(function).map_or_else(|| function.to_owned(), |function| function.binary.clone())
}

fn topic(topic: &centinela_infra::Topic) -> Topic {
    let kept_ms = topic.config.get("retention.ms").and_then(|text| text.parse::<f64>().ok());
    Topic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication: topic.replication,
        retention_hours: kept_ms.map_or(HOURS_KEPT_BY_DEFAULT, |ms| ms / MS_AN_HOUR),
        zstd: topic.config.get("compression.type").is_some_and(|kind| kind == "zstd"),
    }
}

fn mapping(infrastructure: &Infrastructure, mapping: &centinela_infra::Mapping) -> KafkaMapping {
    let resources = infrastructure.resources.iter();
    let resource = resources.filter(|one| one.file == mapping.file).find(|one| one.logical_id == mapping.logical_id);
    let group = resource.and_then(|one| one.properties.pointer("/ProvisionedPollerConfig/PollerGroupName"));
    KafkaMapping {
        function: binary(infrastructure, &mapping.function),
        topic: mapping.topic.clone(),
        batch: f64::from(mapping.batch_size),
        window_s: mapping.window.as_secs_f64(),
        pollers_min: if mapping.provisioned { mapping.pollers_min } else { 0 },
        pollers_max: if mapping.provisioned { mapping.pollers_max } else { 0 },
        group: group.and_then(Value::as_str).map(str::to_owned),
    }
}

fn index_days(infrastructure: &Infrastructure) -> u32 {
    let function = infrastructure.functions.iter().find(|function| function.binary == "index-decisions");
    let runs = |name: &str| infrastructure.stream_mappings.iter().any(|one| one.function == name && one.enabled);
    let days = function.filter(|function| runs(&function.name)).and_then(|one| one.environment.get("DECISION_DAYS"));
    days.and_then(|days| days.parse().ok()).unwrap_or(0)
}

fn compaction(infrastructure: &Infrastructure) -> Compaction {
    let Some(function) = infrastructure.functions.iter().find(|function| function.binary == COMPACTION) else {
        return Compaction::default();
    };
    let variable = |name: &str| function.environment.get(name).and_then(|text| text.parse::<f64>().ok());
    let of_it = infrastructure.triggers.iter().filter(|trigger| trigger.function == function.name);
    // One with an event of its own searches for erased people.
    let minutes = of_it.filter(|trigger| trigger.input.is_none()).filter_map(|trigger| match &trigger.source {
        TriggerSource::Schedule(expression) => minutes_of_an_hour(expression),
        _ => None,
    });
    let shares = variable("SHARES").unwrap_or(1.0).max(1.0);
    let grace_hours = variable("GRACE_SECONDS").unwrap_or(0.0) / SECONDS_AN_HOUR;
    Compaction {
        runs_an_hour: u32::try_from(minutes.map(|minutes| minutes.len()).sum::<usize>()).unwrap_or(u32::MAX),
        shares: centinela_plan::pieces(shares),
        timeout_s: function.timeout.as_secs_f64(),
        grace_hours,
    }
}

struct Resources<'a>(&'a [Resource]);

impl<'a> Resources<'a> {
    fn of(&self, kind: &'static str) -> impl Iterator<Item = &'a Resource> {
        self.0.iter().filter(move |resource| resource.kind == kind)
    }

    fn count(&self, kind: &'static str) -> u32 {
        u32::try_from(self.of(kind).count()).unwrap_or(u32::MAX)
    }

    fn brokers(&self) -> Brokers {
        let Some(cluster) = self.of("AWS::MSK::Cluster").next() else { return Brokers::default() };
        let volume = "/BrokerNodeGroupInfo/StorageInfo/EBSStorageInfo/VolumeSize";
        Brokers {
            kind: text(cluster, "/BrokerNodeGroupInfo/InstanceType").unwrap_or_default(),
            count: whole(cluster, "/NumberOfBrokerNodes"),
            volume_gib: whole(cluster, volume),
            kafka: text(cluster, "/KafkaVersion").unwrap_or_default(),
            monitoring: text(cluster, "/EnhancedMonitoring").unwrap_or_else(|| "DEFAULT".to_owned()),
            logs: cluster.properties.pointer("/LoggingInfo/BrokerLogs/CloudWatchLogs/LogGroup").is_some(),
        }
    }

    fn tables(&self, prefix: &str) -> Vec<Table> {
        let scaling = self.scaling();
        let tables = self.of("AWS::DynamoDB::Table");
        tables
            .filter_map(|table| {
                let name = text(table, "/TableName")?;
                let capacity = capacity(table, scaling.get(&name).copied().unwrap_or_default());
                Some(Table { name: name.strip_prefix(prefix).unwrap_or(&name).to_owned(), capacity })
            })
            .collect()
    }

    /// By table: target in per cent, and bounds of reads and writes.
    fn scaling(&self) -> BTreeMap<String, Scaling> {
        let mut scaling = BTreeMap::<String, Scaling>::new();
        for target in self.of("AWS::ApplicationAutoScaling::ScalableTarget") {
            let Some(table) = text(target, "/ResourceId").and_then(|id| id.strip_prefix("table/").map(str::to_owned))
            else {
                continue;
            };
            let bounds =
                Some((number(target, "/MinCapacity").unwrap_or(1.0), number(target, "/MaxCapacity").unwrap_or(1.0)));
            let entry = scaling.entry(table).or_default();
            if text(target, "/ScalableDimension").is_some_and(|dimension| dimension.contains("Write")) {
                entry.write = bounds;
            } else {
                entry.read = bounds;
            }
            let policies = self.of("AWS::ApplicationAutoScaling::ScalingPolicy");
            let mut policies = policies.filter(|policy| {
                policy.file == target.file && text(policy, "/ScalingTargetId").as_ref() == Some(&target.logical_id)
            });
            let percent = "/TargetTrackingScalingPolicyConfiguration/TargetValue";
            entry.percent = policies.next().and_then(|policy| number(policy, percent)).or(entry.percent);
        }
        scaling
    }

    fn scaling_alarms(&self) -> u32 {
        let targets = self.of("AWS::ApplicationAutoScaling::ScalableTarget");
        let is_table = |target: &Resource| text(target, "/ServiceNamespace").as_deref() == Some("dynamodb");
        targets.map(|target| if is_table(target) { ALARMS_OF_A_TABLE } else { ALARMS_OF_A_DISK }).sum()
    }

    fn lake(&self) -> Lake {
        let rules =
            |bucket: &'a Resource| bucket.properties.pointer("/LifecycleConfiguration/Rules").and_then(Value::as_array);
        let moves = |rule: &Value, class: &str| -> Option<f64> {
            let transitions = rule.get("Transitions")?.as_array()?.iter();
            let found =
                transitions.into_iter().find(|one| one.get("StorageClass").and_then(Value::as_str) == Some(class))?;
            as_number(found.get("TransitionInDays")?)
        };
        let lakes = self.of("AWS::S3::Bucket").filter_map(rules);
        for rules in lakes {
            let first = |class: &str| rules.iter().find_map(|rule| moves(rule, class));
            let (Some(intelligent), Some(glacier)) = (first("INTELLIGENT_TIERING"), first("GLACIER_IR")) else {
                continue;
            };
            let noncurrent =
                rules.iter().find_map(|rule| as_number(rule.pointer("/NoncurrentVersionExpiration/NoncurrentDays")?));
            return Lake {
                intelligent_after_days: intelligent,
                glacier_after_days: glacier,
                noncurrent_days: noncurrent.unwrap_or(0.0),
                access_log_days: self.access_log_days(),
            };
        }
        Lake::default()
    }

    /// Days that the bucket of the other buckets' records keeps them; 0 without one that is written to.
    fn access_log_days(&self) -> f64 {
        let is_written =
            self.of("AWS::S3::Bucket").any(|bucket| bucket.properties.get("LoggingConfiguration").is_some());
        let records = self.of("AWS::S3::Bucket").find(|bucket| is_written && bucket.logical_id == ACCESS_LOGS);
        records.and_then(|bucket| number(bucket, "/LifecycleConfiguration/Rules/0/ExpirationInDays")).unwrap_or(0.0)
    }

    fn network(&self) -> Network {
        let interfaces = self.of("AWS::EC2::VPCEndpoint");
        let interfaces =
            interfaces.filter(|endpoint| text(endpoint, "/VpcEndpointType").as_deref() == Some("Interface"));
        let zones = interfaces
            .map(|endpoint| endpoint.properties.get("SubnetIds").and_then(Value::as_array).map_or(1, Vec::len));
        Network {
            endpoint_zones: u32::try_from(zones.sum::<usize>()).unwrap_or(u32::MAX),
            nat_gateways: self.count("AWS::EC2::NatGateway"),
            flow_logs: self.count("AWS::EC2::FlowLog") > 0,
        }
    }

    fn watch(&self) -> Watch {
        let mut watch = Watch {
            composites: self.count("AWS::CloudWatch::CompositeAlarm"),
            dashboards: self.count("AWS::CloudWatch::Dashboard"),
            scaling_alarms: self.scaling_alarms(),
            ..Watch::default()
        };
        for alarm in self.of("AWS::CloudWatch::Alarm") {
            let queries = alarm.properties.get("Metrics").and_then(Value::as_array);
            let metrics =
                queries.map_or(1, |queries| queries.iter().filter(|query| query.get("MetricStat").is_some()).count());
            let metrics = u32::try_from(metrics).unwrap_or(u32::MAX);
            watch.alarm_metrics = watch.alarm_metrics.saturating_add(metrics);
            if number(alarm, "/Period").is_some_and(|seconds| seconds < RESOLUTION_S) {
                watch.high_resolution = watch.high_resolution.saturating_add(metrics);
            }
        }
        for mapping in self.of("AWS::Lambda::EventSourceMapping") {
            let groups = mapping.properties.pointer("/MetricsConfig/Metrics").and_then(Value::as_array);
            let groups = groups.into_iter().flatten().filter_map(Value::as_str);
            let sent = groups.filter_map(|group| METRIC_GROUPS.iter().find(|(name, _)| *name == group));
            watch.mapping_metrics += sent.map(|(_, metrics)| metrics).sum::<u32>();
        }
        let days = self.of("AWS::Logs::LogGroup").filter_map(|group| number(group, "/RetentionInDays"));
        watch.log_days = days.fold(0.0, f64::max);
        watch
    }
}

#[derive(Clone, Copy, Default)]
struct Scaling {
    percent: Option<f64>,
    read: Option<(f64, f64)>,
    write: Option<(f64, f64)>,
}

fn capacity(table: &Resource, scaling: Scaling) -> Capacity {
    if text(table, "/BillingMode").as_deref() == Some("PAY_PER_REQUEST") {
        let max =
            |kind: &str| number(table, &format!("/OnDemandThroughput/Max{kind}RequestUnits")).unwrap_or(f64::INFINITY);
        return Capacity::OnDemand { max_read: max("Read"), max_write: max("Write") };
    }
    // Without scaling it stays what it is, and is paid whatever its use.
    let fixed = |kind: &str| {
        let units = number(table, &format!("/ProvisionedThroughput/{kind}CapacityUnits")).unwrap_or(1.0);
        (units, units)
    };
    let (read, write) =
        (scaling.read.unwrap_or_else(|| fixed("Read")), scaling.write.unwrap_or_else(|| fixed("Write")));
    Capacity::Provisioned {
        target_percent: scaling.percent.unwrap_or(100.0),
        min_read: read.0,
        max_read: read.1,
        min_write: write.0,
        max_write: write.1,
    }
}

fn text(resource: &Resource, pointer: &str) -> Option<String> {
    match resource.properties.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(resource: &Resource, pointer: &str) -> Option<f64> {
    as_number(resource.properties.pointer(pointer)?)
}

fn as_number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn whole(resource: &Resource, pointer: &str) -> u32 {
    number(resource, pointer).map_or(0, centinela_plan::pieces)
}
