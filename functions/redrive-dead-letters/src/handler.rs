//! One invocation: from the request to the answer.

use aws_config::BehaviorVersion;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_object_store::S3Lake;
use centinela_redrive::{Action, Plan, RedriveError, Report, Request, drop_letters, list, redrive};
use centinela_redrive_adapters::{Cluster, Config as Places, Lake, Marks};
use centinela_telemetry::emf::Metrics;
use serde_json::{Value, json};
use tracing::info;

use crate::config::Config;
use crate::metrics::Counts;

/// Bytes of an answer that lists letters: Lambda takes 6 MB.
const ANSWER_BYTES_MAX: usize = 5 * 1024 * 1024;

/// The function between two requests.
pub struct RedriveDeadLetters {
    config: Config,
    lake: Lake,
    marks: Marks,
}

impl Function for RedriveDeadLetters {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(config: Config) -> Result<Self, Error> {
        let sdk = Box::pin(aws_config::load_defaults(BehaviorVersion::latest())).await;
        let store = S3Lake::from_environment(&config.lake_bucket).await?;
        let lake = Lake { store, bucket: config.lake_bucket.clone() };
        let marks = Marks {
            client: aws_sdk_dynamodb::Client::new(&sdk),
            table: config.settled_table.clone(),
            group: config.marks_of.clone(),
        };
        Ok(Self { config, lake, marks })
    }

    /// A request that is repeated does nothing twice: what was handled is noted, and what is sent once more counts once.
    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let wrong = |error: &(dyn std::error::Error + 'static)| {
            Failure::new("Centinela.RequestInvalid", "nothing was done", error)
        };
        let request = Request::parse(invocation.payload()).map_err(|error| wrong(&error))?;
        let action = request.action;
        let deadline = invocation.deadline().work;
        let plan = request.plan(self.config.grace, Some(deadline)).map_err(|error| wrong(&error))?;
        let places = Places {
            access: self.config.access.clone(),
            dead_letters: self.config.dead_letters_topic.clone(),
            group: self.config.handled_by.clone(),
            transactions: self.config.settings.topics.transactions.clone(),
            decisions: vec![self.config.approved_topic.clone(), self.config.blocked_topic.clone()],
        };
        let cluster = Cluster::new(places, Some(self.marks.clone()), Some(self.lake.clone()));
        let mut cluster = cluster.map_err(|error| unavailable(&RedriveError::Port(error)))?;
        let settings = &self.config.settings;
        let report = match action {
            Action::List | Action::Show => return self.listed(&mut cluster, &plan, action == Action::Show).await,
            Action::Redrive => Box::pin(redrive(&mut cluster, settings, &plan)).await,
            Action::Drop => drop_letters(&mut cluster, settings, &plan).await,
        };
        let report = report.map_err(|error| unavailable(&error))?;
        info!(?report, "done");
        Answer::of(&report, Metrics { counts: counts(&report), ..Metrics::default() })
    }
}

impl RedriveDeadLetters {
    async fn listed(&self, cluster: &mut Cluster, plan: &Plan, bytes: bool) -> Result<Answer<Counts>, Failure> {
        let mut shown = Shown::default();
        let listing = list(cluster, &self.config.settings, plan, |letter| shown.take(letter.json(bytes)));
        let more = listing.await.map_err(|error| unavailable(&error))?;
        let counts = Counts { letters: shown.letters.len() as u64, ..Counts::default() };
        let answer = json!({ "letters": shown.letters, "unfinished": more });
        Answer::of(&answer, Metrics { counts, ..Metrics::default() })
    }
}

/// Letters as they are answered, as many as an answer holds.
#[derive(Default)]
struct Shown {
    letters: Vec<Value>,
    size: usize,
}

impl Shown {
    /// False when there is no room for it.
    fn take(&mut self, letter: Value) -> bool {
        self.size += letter.to_string().len();
        let has_room = self.size <= ANSWER_BYTES_MAX;
        if has_room {
            self.letters.push(letter);
        }
        has_room
    }
}

fn unavailable(error: &RedriveError) -> Failure {
    Failure::new("Centinela.RedriveIncomplete", "what was handled before is noted; ask again", error)
}

fn counts(report: &Report) -> Counts {
    Counts {
        letters: report.letters,
        sent: report.sent,
        verified: report.verified,
        found: report.found,
        dropped: report.dropped,
        left: report.needs_repair + report.cannot,
        failed: report.failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_full_before_it_is_too_large_for_lambda_and_takes_nothing_more() {
        let mut shown = Shown::default();
        let letter = || json!({ "value_base64": "A".repeat(1024 * 1024) });
        let taken = (0..9).take_while(|_| shown.take(letter())).count();
        assert_eq!((taken, shown.letters.len()), (4, 4));
        assert!(json!({ "letters": shown.letters }).to_string().len() <= ANSWER_BYTES_MAX);
    }
}
