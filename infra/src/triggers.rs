//! What invokes functions other than Kafka mappings: Kinesis mappings, HTTP routes, schedules and topics of SNS.

use serde_json::Value;

use super::Infrastructure;
use super::error::InfraError;
use super::model::{Resource, Trigger, TriggerSource};
use super::reading::Reading;

/// What this resource lets happen to functions: a rule has several targets, and not every one is a function.
pub(super) fn triggers(resource: &Resource, infrastructure: &Infrastructure) -> Result<Vec<Trigger>, InfraError> {
    let mut reading = Reading::new(resource);
    let (functions, source) = match resource.kind.as_str() {
        "AWS::Lambda::EventSourceMapping" => {
            let function = reading.required_text("FunctionName", "a mapping invokes a function")?;
            let Some(stream) = kinesis_stream(resource) else { return Ok(Vec::new()) };
            (vec![(function, None)], TriggerSource::Kinesis(stream.to_owned()))
        }
        "AWS::ApiGatewayV2::Route" => {
            let route = reading.required_text("RouteKey", "a route answers something")?;
            let target = reading.required_text("Target", "a route leads to an integration")?;
            let integration = infrastructure.resources.iter().find(|other| {
                other.file == resource.file
                    && other.kind == "AWS::ApiGatewayV2::Integration"
                    && target.strip_prefix("integrations/") == Some(&other.logical_id)
            });
            let Some(integration) = integration else { return Ok(Vec::new()) };
            let mut integration = Reading::new(integration);
            let function = integration.required_text("IntegrationUri", "an integration invokes a function")?;
            (vec![(function, None)], TriggerSource::Http(route))
        }
        "AWS::Events::Rule" => {
            let Some(expression) = reading.text("ScheduleExpression")? else { return Ok(Vec::new()) };
            let targets = resource.properties.get("Targets").and_then(Value::as_array).into_iter().flatten();
            let text = |target: &Value, name: &str| target.get(name).and_then(Value::as_str).map(str::to_owned);
            let arns = targets.filter_map(|target| Some((text(target, "Arn")?, text(target, "Input"))));
            let of_functions = arns.filter(|(arn, _)| arn.contains(":function:") || !arn.contains(':'));
            (of_functions.collect(), TriggerSource::Schedule(expression))
        }
        "AWS::SNS::Subscription" => {
            if reading.text("Protocol")?.as_deref() != Some("lambda") {
                return Ok(Vec::new());
            }
            let topic = reading.required_text("TopicArn", "a subscription is to a topic")?;
            let function = reading.required_text("Endpoint", "a subscription tells somebody")?;
            (vec![(function, None)], TriggerSource::Sns(topic))
        }
        _ => return Ok(Vec::new()),
    };
    let (file, logical_id) = (resource.file.clone(), resource.logical_id.clone());
    let trigger = |(function, input): (String, Option<String>)| Trigger {
        file: file.clone(),
        logical_id: logical_id.clone(),
        function: function_name(&function).to_owned(),
        source: source.clone(),
        input,
    };
    Ok(functions.into_iter().map(trigger).collect())
}

/// The stream that a mapping reads, if it is one of Kinesis.
fn kinesis_stream(mapping: &Resource) -> Option<&str> {
    let source = mapping.properties.get("EventSourceArn")?.as_str()?;
    source.starts_with("arn:aws:kinesis:").then(|| source.split_once(":stream/").map(|(_, stream)| stream))?
}

/// The function in a name or an ARN, either with a version or alias behind it.
pub(super) fn function_name(named: &str) -> &str {
    let name = named.rsplit_once("function:").map_or(named, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}
