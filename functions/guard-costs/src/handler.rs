//! One invocation: from the event to the answer.

use centinela_brake::{Outcome, Report, Request, parse};
use centinela_control::{LambdaControl, SnsAlerts};
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_signed_http::settings;
use centinela_telemetry::emf::Metrics;
use tracing::{info, warn};

use crate::config::Config;
use crate::metrics::Counts;

/// The function between two invocations.
pub struct GuardCosts {
    brake: centinela_brake::Brake,
    lambda: LambdaControl,
    alerts: SnsAlerts,
}

/// Something was not done, and is to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Incomplete(String);

impl Function for GuardCosts {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(config: Config) -> Result<Self, Error> {
        let sdk = settings().await;
        let (lambda, alerts) = (LambdaControl::new(&sdk)?, SnsAlerts::new(&sdk, &config.alert_topic_arn)?);
        Ok(Self { brake: config.brake, lambda, alerts })
    }

    /// An invocation that fails is tried again by Lambda, twice; all that was done already is found so.
    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let requests = parse(invocation.payload()).map_err(|error| invalid(&error))?;
        let deadline = invocation.deadline().work;
        let (mut reports, mut counts) = (Vec::with_capacity(requests.len()), Counts::default());
        for request in &requests {
            let report = self.brake.carry_out(request, &self.lambda, &self.alerts, deadline).await;
            let report = report.map_err(|error| invalid(&error))?;
            count(&mut counts, request, &report);
            match request {
                Request::Show => {}
                _ if report.count(Outcome::Failed) > 0 || report.unsaid.is_some() => warn!(?report, "not all was done"),
                _ => info!(?report, "done"),
            }
            reports.push(report);
        }
        let is_incomplete = |report: &&Report| report.count(Outcome::Failed) > 0 || report.unsaid.is_some();
        if let Some(report) = reports.iter().find(is_incomplete).filter(|report| report.action != "show") {
            let unsaid = report.unsaid.as_ref().map(|why| format!("the alert topic was not told: {why}\n"));
            let why = Incomplete(format!("{}{}", unsaid.unwrap_or_default(), report.text()));
            return Err(Failure::new("Centinela.BrakeIncomplete", "not everything was done", &why));
        }
        Answer::of(&reports, Metrics { counts, ..Metrics::default() })
    }
}

fn invalid(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new("Centinela.RequestInvalid", "nothing was done", error)
}

fn count(counts: &mut Counts, request: &Request, report: &Report) {
    let number = |outcome| report.count(outcome) as u64;
    counts.alarms += u64::from(matches!(request, Request::Alarm { .. }));
    counts.unplanned += u64::from(matches!(request, Request::Alarm { .. }) && report.plans.is_empty());
    counts.braked += if report.action == "fire" { number(Outcome::Done) } else { 0 };
    counts.released += if report.action == "release" { number(Outcome::Done) } else { 0 };
    counts.missing += number(Outcome::Missing);
    counts.kept += number(Outcome::Kept);
}
