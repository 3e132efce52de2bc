//! A running platform, looked at: its counters, its metrics and its alarms.

use std::collections::BTreeMap;

use centinela_aws::{DynamoStats, KinesisStats, ObjectStats};
use centinela_cloudwatch::Event;
use centinela_lambda_host::FunctionStats;
use centinela_lambda_host::mapping::MappingStats;

use super::Platform;
use super::http_front::HttpApis;
use super::mapped::MappingKey;
use super::streams_mapped::StreamsMapped;
use super::watch::{AlarmView, Measured, MetricTotal};

/// A look at a running platform.
#[derive(Clone, Debug, Default)]
pub struct PlatformStats {
    /// What was asked of DynamoDB and what it would have cost.
    pub dynamodb: DynamoStats,
    /// Every function by name.
    pub functions: BTreeMap<String, FunctionStats>,
    /// What was asked of S3; none when it is external.
    pub objects: Option<ObjectStats>,
    /// What was asked of Kinesis; none when it is external.
    pub streams: Option<KinesisStats>,
    /// Every mapping.
    pub mappings: BTreeMap<MappingKey, MappingStats>,
}

impl Platform {
    /// Counters of everything.
    #[must_use]
    pub fn stats(&self) -> PlatformStats {
        PlatformStats {
            dynamodb: self.services.database_stats(),
            functions: self.functions.iter().map(|(name, host)| (name.clone(), host.stats())).collect(),
            objects: self.services.object_stats(),
            streams: self.services.stream_stats(),
            mappings: self
                .mappings()
                .map(|(key, mapping)| (key.clone(), mapping.stats()))
                .chain(self.streams.get().into_iter().flat_map(StreamsMapped::stats))
                .collect(),
        }
    }

    /// Takes in what was measured since the last call, evaluates the alarms for the minutes that have ended by this time (milliseconds since
    /// 1970), and does what they do: their topics of SNS are told, which brakes what a plan of `guard-costs` says. Cheap when nothing is
    /// due, so it may be called many times a second. What happened is returned.
    pub fn observe(&self, now_ms: i64) -> Vec<Event> {
        let (events, notices) = self.watch.observe(now_ms, || Measured {
            stats: self.stats(),
            durations: self.functions.iter().map(|(name, host)| (name.clone(), host.take_durations())).collect(),
            apis: self.http_apis.as_ref().map(HttpApis::take_counts).unwrap_or_default(),
            enabled: self
                .mappings()
                .filter(|(key, _)| self.control.is_enabled(&key.function, &key.topic))
                .map(|(key, _)| key.clone())
                .collect(),
        });
        for notice in notices {
            if !self.control.publish(&notice.topic_arn, &notice.subject, &notice.message, notice.is_said) {
                let line = format!("an alarm's action is not done: there is no topic {} here", notice.topic_arn);
                (self.say)(&line);
            }
        }
        events
    }

    /// How every alarm of the stacks stands.
    #[must_use]
    pub fn alarms(&self) -> Vec<AlarmView> {
        self.watch.alarms()
    }

    /// What the metrics come to that functions have sent since the platform began.
    #[must_use]
    pub fn metric_totals(&self) -> Vec<MetricTotal> {
        self.watch.totals()
    }
}
