//! `centinela brake`: asks the function `guard-costs` how things stand, to brake as at an alarm, or to take it back. It is that function
//! that acts, here as in AWS: whoever runs this needs nothing but the right to invoke it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_credential_types::provider::ProvideCredentials as _;
use centinela_audit::errors::one_line;
use centinela_local::aws::{AwsAccess, AwsClient, CallError};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::endpoints_file::EndpointsFile;
use crate::failure::Failure;
use crate::terminal;

/// Longer than the function's own timeout.
const PATIENCE: Duration = Duration::from_secs(90);

/// `centinela brake`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The plans stand in infra/40-functions/guard-costs.yaml: per alarm the mappings that are disabled and the concurrency that is lowered. A
mapping that is disabled loses nothing and goes on where it stopped. `release` puts the plans' targets to what the stacks declare, whoever
changed them, but for the main job, which is touched by --main-job, or where GuardCostsStopMainJob says so, only.

An alarm is named in full, by what stands behind `brake-` in it (`writes` for `centinela-brake-writes`), or by an end that no other has.
With --endpoints it asks a running `centinela up`,
otherwise AWS, with region and credentials of the environment, a profile or the machine's role, which needs lambda:InvokeFunction.

The exit code is 0 when all was done, 1 when something was not, 2 when the request cannot be carried out.

Examples:
  centinela brake show --endpoints endpoints.json
  centinela brake fire writes --dry-run
  centinela brake fire user-actions-lag --endpoints endpoints.json
  centinela brake release --endpoints endpoints.json
  centinela brake release dev-centinela-brake-writes --function dev-guard-costs")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The file that a running `centinela up --endpoints FILE` wrote.
    #[arg(long, value_name = "FILE", global = true)]
    pub endpoints: Option<PathBuf>,
    /// The function, with the prefix of its environment.
    #[arg(long, value_name = "NAME", default_value = "guard-costs", global = true)]
    pub function: String,
    /// Print the function's answer as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every plan and how its targets stand.
    #[command(after_help = "Example:\n  centinela brake show --endpoints endpoints.json")]
    Show,
    /// Brake as at this alarm.
    #[command(after_help = "Example:\n  centinela brake fire writes --dry-run --endpoints endpoints.json")]
    Fire {
        /// The alarm whose plan is carried out.
        alarm: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Stop the function that answers transactions too, where the plan names it.
        #[arg(long)]
        main_job: bool,
    },
    /// Take back what an alarm's plan braked, or what any did.
    #[command(after_help = "Example:\n  centinela brake release --endpoints endpoints.json")]
    Release {
        /// The alarm; every one where none is named.
        alarm: Option<String>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Start the function that answers transactions too, where the plan names it.
        #[arg(long)]
        main_job: bool,
    },
}

impl Command {
    fn event(&self) -> Value {
        match self {
            Self::Show => json!({ "action": "show" }),
            Self::Fire { alarm, dry_run, main_job } => {
                json!({ "action": "fire", "alarm": alarm, "dry_run": dry_run, "main_job": main_job })
            }
            Self::Release { alarm, dry_run, main_job } => {
                json!({ "action": "release", "alarm": alarm, "dry_run": dry_run, "main_job": main_job })
            }
        }
    }
}

/// What the function answers.
#[derive(Deserialize)]
struct Report {
    action: String,
    dry_run: bool,
    plans: Vec<Plan>,
    alerted: bool,
}

#[derive(Deserialize)]
struct Plan {
    alarm: String,
    kind: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    function: String,
    target: String,
    found: Option<String>,
    wanted: String,
    outcome: String,
    detail: Option<String>,
}

/// Asks, and shows the answer.
///
/// # Errors
/// When nobody can be asked, there is no such plan, or something was not done.
pub async fn run(arguments: Args) -> Result<(), Failure> {
    let lambda = match &arguments.endpoints {
        Some(file) => of_endpoints(file)?,
        None => of_aws().await?,
    };
    let event = arguments.command.event().to_string();
    let answer = lambda.invoke(&arguments.function, event.into(), PATIENCE).await;
    let answer = answer.map_err(|error| refused(&arguments.function, lambda.url(), &error))?;
    if arguments.json {
        terminal::print(&format!("{}\n", String::from_utf8_lossy(&answer)));
    }
    let reports: Vec<Report> = serde_json::from_slice(&answer)
        .map_err(|error| Failure::Failed(format!("{} answered something else: {error}", arguments.function)))?;
    for report in &reports {
        if !arguments.json {
            terminal::print(&shown(report));
        }
    }
    match missing(&reports) {
        names if names.is_empty() => Ok(()),
        names => Err(Failure::Failed(format!("not braked, because it is not there: {}", names.join(", ")))),
    }
}

/// Targets that should have been braked and do not exist. Of what does not exist nothing has to be taken back.
fn missing(reports: &[Report]) -> Vec<String> {
    let fired = reports.iter().filter(|report| report.action == "fire");
    let steps = fired.flat_map(|report| &report.plans).flat_map(|plan| &plan.steps);
    let missing = steps.filter(|step| step.outcome == "missing");
    missing.map(|step| format!("{} of {}", step.target, step.function)).collect()
}

fn refused(function: &str, url: &str, error: &CallError) -> Failure {
    match error {
        CallError::Refused { code, message } if code == "Centinela.BrakeIncomplete" => {
            Failure::Failed(message.trim_end().to_owned())
        }
        CallError::Refused { code, message } if code == "Centinela.RequestInvalid" => Failure::Usage(message.clone()),
        CallError::Refused { message, .. } => Failure::Failed(format!("{function} refused: {message}")),
        unreachable @ CallError::Unreachable(_) => Failure::Failed(format!("{function} at {url}: {unreachable}")),
    }
}

fn shown(report: &Report) -> String {
    let mut text = String::new();
    let widest = |of: fn(&Step) -> &str| {
        let steps = report.plans.iter().flat_map(|plan| &plan.steps);
        steps.map(|step| of(step).chars().count()).max().unwrap_or(0)
    };
    let (function, target) = (widest(|step| &step.function), widest(|step| &step.target));
    for Plan { alarm, kind, steps } in &report.plans {
        writeln!(text, "{alarm} ({kind})").unwrap_or_default();
        for step in steps {
            let found = step.found.as_deref().unwrap_or("-");
            let wanted = match report.action.as_str() {
                "show" => format!("; braked: {}", step.wanted),
                _ => format!(" -> {}", step.wanted),
            };
            write!(
                text,
                "  {:<9} {:<function$}  {:<target$}  {found}{wanted}",
                step.outcome, step.function, step.target
            )
            .unwrap_or_default();
            text.push_str(&step.detail.as_ref().map(|detail| format!("  ({detail})")).unwrap_or_default());
            text.push('\n');
        }
    }
    match (report.dry_run, report.alerted) {
        (true, _) if report.action != "show" => text.push_str("nothing was changed: this is a dry run\n"),
        (_, true) => text.push_str("the alert topic was told\n"),
        _ => {}
    }
    text
}

/// The Lambda API of a running `centinela up`, from the file that its `--endpoints` wrote.
fn of_endpoints(file: &Path) -> Result<AwsClient, Failure> {
    let endpoints = EndpointsFile::read(file)?;
    let url = endpoints.needed("lambda")?;
    // It is on this machine, and asks nobody who they are.
    AwsClient::new("lambda", url, &AwsAccess::default()).map_err(|error| endpoints.refused(&one_line(&error)))
}

/// Lambda of AWS, with region and credentials of the environment, a profile, or the machine's role.
async fn of_aws() -> Result<AwsClient, Failure> {
    let sdk = Box::pin(aws_config::defaults(BehaviorVersion::latest()).load()).await;
    let advice = "name a running `centinela up` with --endpoints FILE, or";
    let region = sdk.region().map(ToString::to_string);
    let region = region.ok_or_else(|| Failure::Usage(format!("no region: {advice} set AWS_REGION")))?;
    let credentials = match sdk.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.map_err(|error| one_line(&error)),
        None => Err("there is no provider".to_owned()),
    };
    let credentials = credentials.map_err(|why| {
        let set = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
        Failure::Usage(format!("no credentials for AWS: {why}; {advice} {set}"))
    })?;
    let access = AwsAccess {
        region: region.clone(),
        access_key_id: credentials.access_key_id().to_owned(),
        secret_access_key: credentials.secret_access_key().to_owned(),
        session_token: credentials.session_token().map(str::to_owned),
    };
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let url = std::env::var("AWS_ENDPOINT_URL_LAMBDA").ok().filter(|url| !url.is_empty());
    let url = url.unwrap_or_else(|| format!("https://lambda.{region}.{domain}"));
    AwsClient::new("lambda", &url, &access).map_err(|error| Failure::usage(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_should_be_braked_and_is_not_there_is_named() {
        let report = |action: &str| Report {
            action: action.to_owned(),
            dry_run: false,
            plans: vec![Plan {
                alarm: "centinela-brake-writes".to_owned(),
                kind: "cost".to_owned(),
                steps: ["done", "missing"].map(step).into(),
            }],
            alerted: true,
        };
        assert_eq!(missing(&[report("fire")]), ["its mappings of apply-labels"]);
        assert!(missing(&[report("release"), report("show")]).is_empty());
    }

    fn step(outcome: &str) -> Step {
        Step {
            function: "apply-labels".to_owned(),
            target: "its mappings".to_owned(),
            found: None,
            wanted: "off".to_owned(),
            outcome: outcome.to_owned(),
            detail: None,
        }
    }
}
