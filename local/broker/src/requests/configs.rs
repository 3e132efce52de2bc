//! Settings: of topics, which may be changed, and of the broker, which may not.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_response::CreatableTopicConfigs;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::{NODE, text};
use crate::router::Router;
use crate::store::settings::{self, Kind, Setting, Settings};

const OF_TOPIC: i8 = 2;
const OF_BROKER: i8 = 4;
// Where a value comes from.
const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;
// What is done to a value.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// What a client may want to know of the broker.
const BROKER: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "false"),
    ("default.replication.factor", "1"),
    ("delete.topic.enable", "true"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.max.session.timeout.ms", "1800000"),
    ("group.min.session.timeout.ms", "6000"),
    ("message.max.bytes", "1048588"),
    ("min.insync.replicas", "1"),
    ("num.partitions", "1"),
];

pub(crate) fn describe(router: &Router, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let described = describe_one(router, &resource);
        let result = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        let result = result.with_resource_name(resource.resource_name);
        match described {
            Ok(configs) => result.with_configs(configs),
            Err(error) => result.with_error_code(error.code()),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe_one(
    router: &Router,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
    let keys = resource.configuration_keys.as_deref();
    let is_asked = |name: &str| keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key.as_str() == name));
    match resource.resource_type {
        OF_TOPIC => {
            let topics = router.topics().lock();
            let topic = topics.get(resource.resource_name.as_str()).ok_or(ResponseError::UnknownTopicOrPartition)?;
            let asked = settings::ALL.iter().filter(|setting| is_asked(setting.name));
            Ok(asked.map(|setting| of_topic(setting, &topic.settings)).collect())
        }
        OF_BROKER if resource.resource_name.as_str() == NODE.0.to_string() || resource.resource_name.is_empty() => {
            let asked = BROKER.iter().filter(|(name, _)| is_asked(name));
            let described = asked.map(|(name, value)| {
                let config =
                    DescribeConfigsResourceResult::default().with_name(text(name)).with_value(Some(text(value)));
                config.with_read_only(true).with_config_source(STATIC_BROKER)
            });
            Ok(described.collect())
        }
        _ => Err(ResponseError::InvalidRequest),
    }
}

fn of_topic(setting: &Setting, settings: &Settings) -> DescribeConfigsResourceResult {
    let source = if settings.given(setting.name).is_some() { DYNAMIC_TOPIC } else { DEFAULT };
    let kind = match setting.kind {
        Kind::Boolean => 1,
        Kind::OneOf(_) => 2,
        Kind::Integer(_) => 3,
        Kind::Long(_) => 5,
        Kind::Double => 6,
        Kind::ManyOf(_) | Kind::List => 7,
    };
    let value = Some(text(settings.value(setting.name)));
    let config = DescribeConfigsResourceResult::default().with_name(text(setting.name)).with_value(value);
    config.with_config_source(source).with_config_type(kind)
}

/// The settings of a topic that was just created.
pub(super) fn created_configs(settings: &Settings) -> Vec<CreatableTopicConfigs> {
    let configs = settings::ALL.iter().map(|setting| {
        let described = of_topic(setting, settings);
        let config = CreatableTopicConfigs::default().with_name(described.name).with_value(described.value);
        config.with_config_source(described.config_source)
    });
    configs.collect()
}

pub(crate) fn alter(router: &Router, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        let altered = alter_one(router, &resource, request.validate_only);
        let response = AlterConfigsResourceResponse::default().with_resource_type(resource.resource_type);
        let response = response.with_resource_name(resource.resource_name);
        match altered {
            Ok(()) => response,
            Err((error, problem)) => {
                response.with_error_code(error.code()).with_error_message(problem.as_deref().map(text))
            }
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter_one(
    router: &Router,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), (ResponseError, Option<String>)> {
    if resource.resource_type != OF_TOPIC {
        return Err((ResponseError::InvalidRequest, Some("only settings of topics can be changed".to_owned())));
    }
    router.topics().change_settings(&resource.resource_name, validate_only, |settings| {
        resource.configs.iter().try_for_each(|config| change(settings, config))
    })
}

fn change(settings: &mut Settings, config: &AlterableConfig) -> Result<(), String> {
    let name = config.name.as_str();
    let value = config.value.as_deref().unwrap_or_default();
    let known = Setting::named(name).ok_or_else(|| format!("unknown topic config name: {name}"))?;
    let is_list = matches!(known.kind, Kind::ManyOf(_) | Kind::List);
    let present = settings.value(name).split(',').filter(|one| !one.is_empty()).map(str::to_owned);
    match config.config_operation {
        SET => settings.set(name, value),
        DELETE => {
            settings.remove(name);
            Ok(())
        }
        APPEND if is_list => {
            let mut all: Vec<_> = present.collect();
            all.extend(
                value.split(',').filter(|new| !all.iter().any(|one| one == new)).map(str::to_owned).collect::<Vec<_>>(),
            );
            settings.set(name, &all.join(","))
        }
        SUBTRACT if is_list => {
            let gone: Vec<_> = value.split(',').collect();
            let left: Vec<_> = present.filter(|one| !gone.contains(&one.as_str())).collect();
            settings.set(name, &left.join(","))
        }
        operation => Err(format!("operation {operation} cannot be done to {name}")),
    }
}
