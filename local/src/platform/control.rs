//! What a running platform is invoked, watched and braked by: the Lambda API, and SNS for what the alarms and the brake say.

use std::collections::BTreeMap;
use std::sync::Arc;

use centinela_infra::{Infrastructure, Mapping, StreamMapping as DeclaredStream, Trigger, TriggerSource};
use centinela_lambda_host::mapping::KafkaMapping;
use centinela_lambda_host::mapping::event::CLUSTER_ARN;
use centinela_lambda_host::mapping::stream::{StreamMapping, stream_arn};
use centinela_lambda_host::{FunctionHost, HeldMappings, LambdaApi, Mappings, Served, SnsApi, SnsTopic};
use centinela_serve::Calls;
use serde_json::json;

use super::config::Ports;
use super::error::PlatformError;

/// Both APIs at work.
pub(super) struct Control {
    lambda: LambdaApi,
    sns: SnsApi,
    mappings: Arc<Mappings>,
}

/// Whether this trigger is an SNS subscription, which runs here.
pub(super) fn runs(trigger: &Trigger) -> bool {
    matches!(trigger.source, TriggerSource::Sns(_))
}

impl Control {
    /// Listens, before there is anything to answer for: functions are told where both are.
    pub(super) async fn start(ports: &Ports) -> Result<Self, PlatformError> {
        let (lambda, sns) = (LambdaApi::start(ports.lambda).await?, SnsApi::start(ports.sns).await?);
        Ok(Self { lambda, sns, mappings: Arc::default() })
    }

    pub(super) fn lambda_url(&self) -> String {
        self.lambda.url()
    }

    pub(super) fn sns_url(&self) -> String {
        self.sns.url()
    }

    /// Answers from now on for these functions, and for the topics that the stacks declare.
    pub(super) fn serve(
        &self,
        infrastructure: &Infrastructure,
        functions: &BTreeMap<String, Arc<FunctionHost>>,
        calls: &Calls,
        say: &Arc<dyn Fn(&str) + Send + Sync>,
    ) {
        let reserved = infrastructure.functions.iter();
        let reserved = reserved.filter_map(|function| Some((function.name.clone(), function.reserved_concurrency?)));
        let (functions, mappings) = (functions.clone(), Arc::clone(&self.mappings));
        let topics = topics(infrastructure, &functions);
        self.lambda.serve(Served { functions, reserved: reserved.collect(), mappings, calls: calls.clone() });
        let say = Arc::clone(say);
        self.sns.serve(topics, calls.clone(), move |topic, subject| say(&format!("message on {topic}: {subject}")));
    }

    /// A mapping has started.
    pub(super) fn add(&self, declared: &Mapping, host: &FunctionHost, mapping: &Arc<KafkaMapping>) {
        let details = json!({
            "Topics": [declared.topic],
            "AmazonManagedKafkaEventSourceConfig": { "ConsumerGroupId": declared.consumer_group },
            "BatchSize": declared.batch_size,
            "MaximumBatchingWindowInSeconds": declared.window.as_secs(),
            "ProvisionedPollerConfig": { "MinimumPollers": declared.pollers_min, "MaximumPollers": declared.pollers_max },
        });
        self.mappings.add(&declared.function, &host.arn(), CLUSTER_ARN, details, Arc::clone(mapping) as _);
    }

    /// A mapping of a stream has started.
    pub(super) fn add_stream(&self, declared: &DeclaredStream, host: &FunctionHost, mapping: &Arc<StreamMapping>) {
        // AWS says -1 for no limit, 0 for no windows, and an empty destination for none.
        let responses: &[&str] = if declared.report_batch_item_failures { &["ReportBatchItemFailures"] } else { &[] };
        let on_failure = declared.on_failure.as_ref().map_or(json!({}), |arn| json!({ "Destination": arn }));
        let details = json!({
            "StartingPosition": if declared.from_oldest { "TRIM_HORIZON" } else { "LATEST" },
            "BatchSize": declared.batch_size,
            "MaximumBatchingWindowInSeconds": declared.window.as_secs(),
            "TumblingWindowInSeconds": declared.tumbling_window.map_or(0, |length| length.as_secs()),
            "ParallelizationFactor": 1,
            "BisectBatchOnFunctionError": declared.bisect,
            "MaximumRetryAttempts": declared.maximum_retry_attempts.map_or(-1, i64::from),
            "MaximumRecordAgeInSeconds": declared.maximum_record_age.map_or(json!(-1), |age| age.as_secs().into()),
            "FunctionResponseTypes": responses,
            "DestinationConfig": { "OnFailure": on_failure },
        });
        let source = stream_arn(&declared.stream);
        self.mappings.add(&declared.function, &host.arn(), &source, details, Arc::clone(mapping) as _);
    }

    /// Whether the mapping of this topic for this function is there and enabled.
    pub(super) fn is_enabled(&self, function: &str, topic: &str) -> bool {
        self.mappings.is_enabled(function, topic)
    }

    /// Publishes what an alarm says; people are told its subject where `is_said`. False when there is no such topic.
    pub(super) fn publish(&self, topic_arn: &str, subject: &str, text: &str, is_said: bool) -> bool {
        self.sns.publish(topic_arn, subject, text, is_said)
    }

    /// Functions of which a mapping was disabled.
    pub(super) fn disabled(&self) -> Vec<String> {
        self.mappings.disabled()
    }

    /// The mappings of a topic, which nobody may switch meanwhile; none when one of them is disabled.
    pub(super) fn hold(&self, topic: &str) -> Option<HeldMappings> {
        self.mappings.hold(topic)
    }

    /// Ends both; says what did not end in order.
    pub(super) async fn shutdown(self) -> Vec<PlatformError> {
        let ended = [self.lambda.shutdown().await, self.sns.shutdown().await];
        ended.into_iter().filter_map(Result::err).map(PlatformError::from).collect()
    }
}

/// The SNS topics of the stacks with the functions that subscribe to them.
fn topics(infrastructure: &Infrastructure, functions: &BTreeMap<String, Arc<FunctionHost>>) -> Vec<SnsTopic> {
    let declared = infrastructure.topics_of_sns();
    let subscribed = |arn: &str| {
        let triggers = infrastructure.triggers.iter();
        let of_topic = triggers.filter(|trigger| matches!(&trigger.source, TriggerSource::Sns(topic) if topic == arn));
        of_topic.filter_map(|trigger| functions.get(&trigger.function).cloned()).collect()
    };
    declared.into_iter().map(|arn| SnsTopic { functions: subscribed(&arn), arn }).collect()
}
