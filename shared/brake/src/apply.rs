//! From a request to what was done.

use std::error::Error;

use centinela_domain::Millis;

use crate::plan::{Action, Kind, NameError, Plan, Plans, Step};
use crate::ports::{Alerts, Control, ControlError, Mapping};
use crate::report::{Outcome, PlanReport, Report, StepReport};
use crate::request::Request;

/// When an alarm may stop the function that answers transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MainJob {
    /// At none.
    Never,
    /// At those of something that runs away.
    Runaway,
    /// At those of cost too.
    Always,
}

/// The brake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brake {
    /// What to do at which alarm.
    pub plans: Plans,
    /// The function that answers transactions.
    pub main_function: String,
    /// When an alarm may stop it.
    pub main_job: MainJob,
    /// At alarms, only say what would be done.
    pub only_says: bool,
}

/// What is wanted of a plan's targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Braked,
    Released,
    Shown,
}

/// How far a request goes.
#[derive(Clone, Copy)]
struct Order {
    wanted: Wanted,
    dry_run: bool,
    main_job: bool,
}

impl Brake {
    /// Carries a request out and says so; what was not done is in the report, and whatever it is may be asked again.
    ///
    /// # Errors
    /// When an operator names no plan, or what may mean several; nothing was done then. An alarm without a plan is reported, and told.
    pub async fn carry_out(
        &self,
        request: &Request,
        control: &impl Control,
        alerts: &impl Alerts,
        deadline: Millis,
    ) -> Result<Report, NameError> {
        let mut report = self.worked(request, control, deadline).await?;
        let is_to_tell = match request {
            Request::Alarm { .. } => true,
            Request::Fire { .. } | Request::Release { .. } => !report.dry_run,
            Request::Show | Request::Other { .. } => false,
        };
        if is_to_tell {
            match alerts.publish(&report.subject(), &report.text(), deadline).await {
                Ok(()) => report.alerted = true,
                Err(error) => report.unsaid = Some(causes(&error)),
            }
        }
        Ok(report)
    }

    async fn worked(&self, request: &Request, control: &impl Control, deadline: Millis) -> Result<Report, NameError> {
        let nothing = |reason: String| Ok(Report { action: "nothing", reason: Some(reason), ..Report::default() });
        let (action, reason, plans, order) = match request {
            Request::Other { what } => return nothing(what.clone()),
            Request::Alarm { name, reason } => {
                let Some(plan) = self.plans.of_alarm(name) else {
                    return nothing(format!("alarm `{name}` has no plan; there are {}", self.plans.alarms()));
                };
                let order = Order { wanted: Wanted::Braked, dry_run: self.only_says, main_job: false };
                ("fire", Some(reason.clone()), vec![plan], order)
            }
            Request::Fire { alarm, dry_run, main_job } => {
                let order = Order { wanted: Wanted::Braked, dry_run: *dry_run, main_job: *main_job };
                ("fire", Some("an operator asked for it".to_owned()), vec![self.plans.meant(alarm)?], order)
            }
            Request::Release { alarm, dry_run, main_job } => {
                let plans = match alarm {
                    Some(alarm) => vec![self.plans.meant(alarm)?],
                    None => self.plans.iter().collect(),
                };
                let order = Order { wanted: Wanted::Released, dry_run: *dry_run, main_job: *main_job };
                ("release", Some("an operator asked for it".to_owned()), plans, order)
            }
            Request::Show => {
                let order = Order { wanted: Wanted::Shown, dry_run: true, main_job: true };
                ("show", None, self.plans.iter().collect(), order)
            }
        };
        let mut done = Vec::with_capacity(plans.len());
        for plan in plans {
            let mut steps = Vec::new();
            for step in &plan.steps {
                steps.extend(self.step(plan, step, order, control, deadline).await);
            }
            done.push(PlanReport { alarm: plan.alarm.clone(), kind: plan.kind, steps });
        }
        Ok(Report { action, dry_run: order.dry_run, reason, plans: done, ..Report::default() })
    }

    fn may_touch(&self, plan: &Plan, step: &Step, order: Order) -> bool {
        let is_allowed = match self.main_job {
            MainJob::Never => false,
            MainJob::Runaway => plan.kind == Kind::Runaway,
            MainJob::Always => true,
        };
        step.function != self.main_function || is_allowed || order.main_job
    }

    async fn step(
        &self,
        plan: &Plan,
        step: &Step,
        order: Order,
        control: &impl Control,
        deadline: Millis,
    ) -> Vec<StepReport> {
        if !self.may_touch(plan, step, order) {
            let target = match &step.action {
                Action::Mappings { .. } => "mappings",
                Action::Concurrency { .. } => "concurrency",
            };
            return vec![StepReport {
                function: step.function.clone(),
                target: target.to_owned(),
                found: None,
                wanted: "untouched: it is the main job".to_owned(),
                outcome: Outcome::Kept,
                detail: None,
            }];
        }
        match &step.action {
            Action::Mappings { source } => mappings(&step.function, source.as_deref(), order, control, deadline).await,
            Action::Concurrency { braked, released } => {
                vec![concurrency(&step.function, *braked, *released, order, control, deadline).await]
            }
        }
    }
}

async fn mappings(
    function: &str,
    source: Option<&str>,
    order: Order,
    control: &impl Control,
    deadline: Millis,
) -> Vec<StepReport> {
    let wanted = if order.wanted == Wanted::Released { "on" } else { "off" };
    let report = |target: String, found: Option<String>, outcome, detail| StepReport {
        function: function.to_owned(),
        target,
        found,
        wanted: wanted.to_owned(),
        outcome,
        detail,
    };
    let all = source.map_or_else(|| "its mappings".to_owned(), |source| format!("its mapping of {source}"));
    let found = match control.mappings(function, deadline).await {
        Ok(found) => found,
        Err(error) => return vec![report(all, None, outcome_of(&error), Some(causes(&error)))],
    };
    let found: Vec<Mapping> =
        found.into_iter().filter(|mapping| source.is_none_or(|source| mapping.source == source)).collect();
    if found.is_empty() {
        return vec![report(all, None, Outcome::Missing, None)];
    }
    let mut reports = Vec::with_capacity(found.len());
    for mapping in found {
        let is_to_be_on = order.wanted == Wanted::Released;
        let (outcome, detail) = match order.wanted {
            Wanted::Shown if mapping.is_on() => (Outcome::Released, None),
            Wanted::Shown => (Outcome::Braked, None),
            _ if mapping.is_on() == is_to_be_on => (Outcome::Already, None),
            _ if order.dry_run => (Outcome::Would, None),
            _ => done(control.set_mapping(&mapping.id, is_to_be_on, deadline).await),
        };
        reports.push(report(format!("mapping of {}", mapping.source), Some(mapping.state), outcome, detail));
    }
    reports
}

async fn concurrency(
    function: &str,
    braked: u32,
    released: Option<u32>,
    order: Order,
    control: &impl Control,
    deadline: Millis,
) -> StepReport {
    let wanted = if order.wanted == Wanted::Released { released } else { Some(braked) };
    let (found, outcome, detail) = match control.concurrency(function, deadline).await {
        Err(error) => (None, outcome_of(&error), Some(causes(&error))),
        Ok(found) => {
            let (outcome, detail) = match order.wanted {
                Wanted::Shown if found == Some(braked) => (Outcome::Braked, None),
                Wanted::Shown if found == released => (Outcome::Released, None),
                Wanted::Shown => (Outcome::Other, None),
                _ if found == wanted => (Outcome::Already, None),
                _ if order.dry_run => (Outcome::Would, None),
                _ => done(control.set_concurrency(function, wanted, deadline).await),
            };
            (Some(in_words(found)), outcome, detail)
        }
    };
    let (function, target) = (function.to_owned(), "concurrency".to_owned());
    StepReport { function, target, found, wanted: in_words(wanted), outcome, detail }
}

fn in_words(reserved: Option<u32>) -> String {
    reserved.map_or_else(|| "the account's".to_owned(), |reserved| reserved.to_string())
}

fn done(outcome: Result<(), ControlError>) -> (Outcome, Option<String>) {
    match outcome {
        Ok(()) => (Outcome::Done, None),
        Err(error) => (outcome_of(&error), Some(causes(&error))),
    }
}

fn outcome_of(error: &ControlError) -> Outcome {
    if matches!(error, ControlError::Missing(_)) { Outcome::Missing } else { Outcome::Failed }
}

fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    text
}
