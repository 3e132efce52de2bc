//! What was done, for programs and for people.

use std::fmt::Write as _;

use serde::Serialize;

use crate::plan::Kind;

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was so already.
    Already,
    /// It would be done: this is a dry run.
    Would,
    /// It is of the main job, which was not to be touched.
    Kept,
    /// There is nothing of that name.
    Missing,
    /// It was not done.
    Failed,
    /// It stands as the plan wants it when braked.
    Braked,
    /// It stands as the plan wants it when released.
    Released,
    /// It stands as neither: a person has set it.
    Other,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// The function.
    pub function: String,
    /// What of it, in words.
    pub target: String,
    /// How it was found, where it could be asked.
    pub found: Option<String>,
    /// How it is to be.
    pub wanted: String,
    /// How it went.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// Its alarm.
    pub alarm: String,
    /// What that is about.
    pub kind: Kind,
    /// Its steps.
    pub steps: Vec<StepReport>,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `show`, `fire`, `release` or `nothing`.
    pub action: &'static str,
    /// Whether it only says what would be done.
    pub dry_run: bool,
    /// Why, or why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was done.
    pub plans: Vec<PlanReport>,
    /// Whether the alert topic was told; false also where nobody was to be told.
    pub alerted: bool,
    /// Why it was not, although it should have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsaid: Option<String>,
}

impl Report {
    /// Steps with this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.plans.iter().flat_map(|plan| &plan.steps).filter(|step| step.outcome == outcome).count()
    }

    /// One line of ASCII, at most 100 bytes, as SNS wants a subject.
    #[must_use]
    pub fn subject(&self) -> String {
        let dry = if self.dry_run { " (dry run)" } else { "" };
        let what = match (self.action, self.plans.as_slice()) {
            ("nothing", _) => "an alarm without a plan".to_owned(),
            (action, [one]) => format!("{action} {}", one.alarm),
            (action, plans) => format!("{action} {} plans", plans.len()),
        };
        let ascii = format!("centinela brake{dry}: {what}").replace(|letter: char| !(' '..='~').contains(&letter), "?");
        ascii.chars().take(100).collect()
    }

    /// What people read.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}.\n", self.subject());
        if let Some(reason) = &self.reason {
            text.push_str(&format!("{reason}\n"));
        }
        for plan in &self.plans {
            text.push_str(&format!("\n{}:\n", plan.alarm));
            for StepReport { function, target, found, wanted, outcome, detail } in &plan.steps {
                let found = found.as_deref().unwrap_or("unknown");
                let outcome = format!("{outcome:?}").to_lowercase();
                write!(text, "  {outcome:<8} {function}: {target}: {found} -> {wanted}").unwrap_or_default();
                text.push_str(&detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default());
                text.push('\n');
            }
        }
        if self.action == "fire" {
            text.push_str(
                "\nMappings go on where they stopped. Take it back with `centinela brake release`, within their records' age (six hours, \
                 unless the stacks say otherwise): what is older by then goes to the dead letters, and has to be redriven.\n",
            );
        }
        text
    }
}
