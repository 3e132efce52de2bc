//! What to do at which alarm, as the stack declares it.

use serde::{Deserialize, Serialize};

/// More plans, or steps of one, are a mistake.
const PLANS_MAX: usize = 64;
/// What stands before the short name of an alarm.
const SHORT_AFTER: &str = "-brake-";

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Money: something costs more than it should and does what it should.
    Cost,
    /// Something does what it should not: a flood, a poisoned topic, a model that blocks everybody.
    Runaway,
}

/// What is done to one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its mappings are disabled: all of them, or those of one topic or stream. Nothing is lost: they go on where they stopped.
    Mappings {
        /// The topic or stream.
        source: Option<String>,
    },
    /// It gets so much reserved concurrency.
    Concurrency {
        /// While braked.
        braked: u32,
        /// Otherwise; none shares the account's.
        released: Option<u32>,
    },
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenStep")]
pub struct Step {
    /// The function.
    pub function: String,
    /// What is done to it.
    pub action: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Off {
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    function: String,
    mappings: Option<Off>,
    source: Option<String>,
    concurrency: Option<u32>,
    released: Option<u32>,
}

/// What is wrong with a plan. Found at the start of the function, never at the alarm.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PlanError {
    #[error("the plans are not JSON of the expected form: {0}")]
    Form(#[from] serde_json::Error),
    #[error("there are no plans")]
    None,
    #[error("there are more than {PLANS_MAX} plans, or steps in one")]
    TooMany,
    #[error("the plan of alarm `{0}` has no step")]
    NoStep(String),
    #[error("alarm `{0}` has two plans; make one of them")]
    Twice(String),
    #[error(
        "a step of function `{0}` must either be \"mappings\": \"off\" or a \"concurrency\" below what is \"released\""
    )]
    Step(String),
}

/// The name that an operator gave is not that of one plan. Nothing is done; the operator is to name one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No plan has it.
    #[error("alarm `{name}` has no plan; name one of {plans}")]
    Unknown {
        /// What was given.
        name: String,
        /// The alarms of all plans.
        plans: String,
    },
    /// More than one may be meant.
    #[error("`{name}` may mean {plans}; name one of them in full")]
    Ambiguous {
        /// What was given.
        name: String,
        /// The alarms of the plans that it may mean.
        plans: String,
    },
}

impl TryFrom<WrittenStep> for Step {
    type Error = PlanError;

    fn try_from(written: WrittenStep) -> Result<Self, PlanError> {
        let WrittenStep { function, mappings, source, concurrency, released } = written;
        let action = match (mappings, concurrency) {
            (Some(Off::Off), None) if released.is_none() => Action::Mappings { source },
            (None, Some(braked)) if source.is_none() && released.is_none_or(|released| braked < released) => {
                Action::Concurrency { braked, released }
            }
            _ => return Err(PlanError::Step(function)),
        };
        Ok(Self { function, action })
    }
}

/// What is done at an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The alarm's name.
    pub alarm: String,
    /// What it is about.
    pub kind: Kind,
    /// In this order.
    pub steps: Vec<Step>,
}

/// Every plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plans(Vec<Plan>);

impl Plans {
    /// Reads a JSON list of plans.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plans: Vec<Plan> = serde_json::from_str(text)?;
        if plans.is_empty() {
            return Err(PlanError::None);
        }
        if plans.len() > PLANS_MAX || plans.iter().any(|plan| plan.steps.len() > PLANS_MAX) {
            return Err(PlanError::TooMany);
        }
        for (index, plan) in plans.iter().enumerate() {
            if plan.steps.is_empty() {
                return Err(PlanError::NoStep(plan.alarm.clone()));
            }
            if plans[..index].iter().any(|before| before.alarm == plan.alarm) {
                return Err(PlanError::Twice(plan.alarm.clone()));
            }
        }
        Ok(Self(plans))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.0.iter()
    }

    /// The plan of an alarm.
    #[must_use]
    pub fn of_alarm(&self, alarm: &str) -> Option<&Plan> {
        self.0.iter().find(|plan| plan.alarm == alarm)
    }

    /// The plan that a person means: by the alarm's name, by all that stands behind `-brake-` in it, or by its last words. The first of
    /// these that any alarm has counts, so `writes` means `centinela-brake-writes` although `centinela-brake-index-writes` ends so too.
    ///
    /// # Errors
    /// When no alarm has it, or more than one.
    pub fn meant(&self, name: &str) -> Result<&Plan, NameError> {
        let short = |plan: &&Plan| plan.alarm.rsplit_once(SHORT_AFTER).is_some_and(|(_, short)| short == name);
        let ends = |plan: &&Plan| !name.is_empty() && plan.alarm.ends_with(&format!("-{name}"));
        let mut found: Vec<&Plan> = self.of_alarm(name).into_iter().collect();
        if found.is_empty() {
            found = self.0.iter().filter(short).collect();
        }
        if found.is_empty() {
            found = self.0.iter().filter(ends).collect();
        }
        let name = name.to_owned();
        match found.as_slice() {
            [plan] => Ok(*plan),
            [] => Err(NameError::Unknown { name, plans: self.alarms() }),
            several => Err(NameError::Ambiguous { name, plans: listed(several.iter().copied()) }),
        }
    }

    /// The alarms' names, for messages.
    #[must_use]
    pub fn alarms(&self) -> String {
        listed(self.0.iter())
    }
}

fn listed<'a>(plans: impl Iterator<Item = &'a Plan>) -> String {
    plans.map(|plan| plan.alarm.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_could_not_be_carried_out_or_taken_back_is_refused_at_the_start() {
        let step = |step: &str| format!(r#"[{{"alarm":"a","kind":"cost","steps":[{step}]}}]"#);
        for (text, why) in [
            ("[]".to_owned(), "no plans"),
            ("{}".to_owned(), "expected form"),
            (step(""), "no step"),
            (step(r#"{"function":"f"}"#), "must either be"),
            (step(r#"{"function":"f","mappings":"on"}"#), "expected form"),
            (step(r#"{"function":"f","mappings":"off","concurrency":1}"#), "must either be"),
            (step(r#"{"function":"f","mappings":"off","released":1}"#), "must either be"),
            (step(r#"{"function":"f","concurrency":4,"released":4}"#), "must either be"),
            (step(r#"{"function":"f","concurrency":4,"relesed":5}"#), "expected form"),
            (r#"[{"alarm":"a","kind":"cost","steps":[{"function":"f","mappings":"off"}]},{"alarm":"a","kind":"cost","steps":[{"function":"f","mappings":"off"}]}]"#.to_owned(), "two plans"),
        ] {
            let error = Plans::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_short_name_means_the_alarm_that_has_it_and_otherwise_the_one_that_ends_with_it() {
        let plan = |alarm: &str| {
            format!(r#"{{"alarm":"{alarm}","kind":"cost","steps":[{{"function":"f","mappings":"off"}}]}}"#)
        };
        let alarms = [
            "dev-brake-index-writes",
            "dev-brake-writes",
            "dev-brake-user-actions-lag",
            "dev-brake-events-lag",
            "other",
        ];
        let text = format!("[{}]", alarms.map(plan).join(","));
        let plans = Plans::parse(&text).expect("plans");
        for (name, alarm) in [
            ("writes", "dev-brake-writes"),
            ("index-writes", "dev-brake-index-writes"),
            ("brake-writes", "dev-brake-writes"),
            ("dev-brake-writes", "dev-brake-writes"),
            ("events-lag", "dev-brake-events-lag"),
            ("actions-lag", "dev-brake-user-actions-lag"),
            ("other", "other"),
        ] {
            assert_eq!(plans.meant(name).map(|plan| plan.alarm.as_str()), Ok(alarm), "{name}");
        }
        for name in ["", "nothing", "ites", "-writes"] {
            let error = plans.meant(name).expect_err(name);
            assert!(matches!(error, NameError::Unknown { .. }), "{name}: {error}");
            assert!(alarms.iter().all(|alarm| error.to_string().contains(alarm)), "{error}");
        }
        let error = plans.meant("lag").expect_err("two end so");
        let meant = "dev-brake-user-actions-lag, dev-brake-events-lag".to_owned();
        assert_eq!(error, NameError::Ambiguous { name: "lag".to_owned(), plans: meant });
    }
}
