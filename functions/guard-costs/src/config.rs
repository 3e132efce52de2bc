//! What the environment tells the function.

use centinela_brake::{Brake, MainJob, Plans};
use centinela_function::Environment;

/// The plans, and whom to tell.
#[derive(Debug)]
pub struct Config {
    pub brake: Brake,
    pub alert_topic_arn: String,
}

impl Config {
    /// `None` without plans that can be carried out: a brake that finds that out at an alarm is none.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let alert_topic_arn = environment.text("ALERT_TOPIC_ARN");
        let main_function = environment.text("MAIN_FUNCTION");
        let main_job =
            environment.parsed("STOP_MAIN_JOB", MainJob::Never, "never, runaway or always", |text| match text {
                "never" => Ok(MainJob::Never),
                "runaway" => Ok(MainJob::Runaway),
                "always" => Ok(MainJob::Always),
                _ => Err(()),
            });
        let only_says = environment.parsed("AT_ALARMS", false, "brake or say", |text| match text {
            "brake" => Ok(false),
            "say" => Ok(true),
            _ => Err(()),
        });
        let text = environment.text("BRAKE_PLANS");
        let plans = Plans::parse(&text).map_err(|error| environment.problem(format!("BRAKE_PLANS: {error}"))).ok()?;
        Some(Self { brake: Brake { plans, main_function, main_job, only_says }, alert_topic_arn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use centinela_brake::Action;
    use centinela_function::configure;
    use centinela_infra::{Infrastructure, Sources};

    fn configured(stacks: &Infrastructure) -> Config {
        let name = env!("CARGO_PKG_NAME");
        let function = stacks.functions.iter().find(|function| function.binary == name).unwrap();
        configure(|variable| function.environment.get(variable).cloned(), Config::read).unwrap()
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let given = |name: &str| (name == "STOP_MAIN_JOB").then(|| "sometimes".to_owned());
        let problem = configure(given, Config::read).unwrap_err().to_string();
        for wanted in ["ALERT_TOPIC_ARN", "MAIN_FUNCTION", "`sometimes`", "BRAKE_PLANS"] {
            assert!(problem.contains(wanted), "{problem}");
        }
    }

    /// A plan whose function is misspelt would brake nothing, and one without an alarm never.
    #[test]
    fn the_plans_of_every_environment_name_what_the_stacks_declare() {
        for environment in ["local", "dev", "stage", "prod"] {
            let stacks = Infrastructure::bundled(environment).unwrap();
            let Config { brake, alert_topic_arn } = configured(&stacks);
            assert!(stacks.function(&brake.main_function).is_some(), "{environment}: {}", brake.main_function);
            for step in brake.plans.iter().flat_map(|plan| &plan.steps) {
                let function = stacks.function(&step.function);
                let function = function.unwrap_or_else(|| panic!("{environment}: no function {}", step.function));
                match &step.action {
                    Action::Concurrency { released, .. } => {
                        assert_eq!(*released, function.reserved_concurrency, "{environment}: {}", step.function);
                    }
                    Action::Mappings { source } => {
                        let kafka = stacks.mappings.iter().map(|mapping| (&mapping.function, &mapping.topic));
                        let streams = stacks.stream_mappings.iter().filter(|mapping| mapping.enabled);
                        let streams = streams.map(|mapping| (&mapping.function, &mapping.stream));
                        let has = kafka.chain(streams).any(|(function, from)| {
                            *function == step.function && source.as_ref().is_none_or(|source| from == source)
                        });
                        assert!(has, "{environment}: {} has no such mapping", step.function);
                        let arn = format!(":function:{}", step.function);
                        let granted = switched_by_the_role(&stacks);
                        assert!(
                            granted.iter().any(|granted| granted.ends_with(&arn)),
                            "{environment}: no grant, {arn}"
                        );
                    }
                }
            }
            let braking = alarms_that_tell(&stacks, "-brake");
            let planned: BTreeSet<String> = brake.plans.iter().map(|plan| plan.alarm.clone()).collect();
            assert_eq!(planned, braking, "{environment}: plans and alarms on the brake's topic");
            assert!(alert_topic_arn.ends_with("centinela-alerts"), "{alert_topic_arn}");
        }
    }

    /// The functions whose mappings the role may switch.
    fn switched_by_the_role(stacks: &Infrastructure) -> Vec<String> {
        let role = stacks.resources.iter().find(|resource| resource.logical_id == "GuardCostsRole").unwrap();
        let policies = role.properties["Policies"].as_array().into_iter().flatten();
        let statements = policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
        let switches = statements.filter(|statement| statement["Action"] == "lambda:UpdateEventSourceMapping");
        let arns = switches.flat_map(|it| it["Condition"]["ArnEquals"]["lambda:FunctionArn"].as_array().unwrap());
        arns.map(|arn| arn.as_str().unwrap().to_owned()).collect()
    }

    /// An index that the stacks switch off must not be switched on by a release.
    #[test]
    fn an_index_that_is_off_has_no_plan() {
        let local = Infrastructure::bundled("local").unwrap();
        assert!(configured(&local).brake.plans.meant("index-writes").is_ok());
        let mut sources = Sources::bundled("local").unwrap();
        sources.parameters = sources.parameters.replace(r#""IndexDecisionsDays": "1""#, r#""IndexDecisionsDays": "0""#);
        let off = Infrastructure::from_sources(&sources).unwrap();
        assert!(configured(&off).brake.plans.meant("index-writes").is_err());
    }

    /// The alarms that tell a topic with this ending.
    fn alarms_that_tell(stacks: &Infrastructure, ending: &str) -> BTreeSet<String> {
        let alarms = stacks.resources.iter().filter(|resource| resource.kind == "AWS::CloudWatch::Alarm");
        let telling = alarms.filter(|alarm| {
            let told = alarm.properties["AlarmActions"].as_array().into_iter().flatten();
            told.filter_map(|arn| arn.as_str()).any(|arn| arn.ends_with(ending))
        });
        telling.filter_map(|alarm| alarm.properties["AlarmName"].as_str().map(str::to_owned)).collect()
    }
}
