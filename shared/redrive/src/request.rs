//! What an operator asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64_simd::STANDARD;
use centinela_domain::Millis;
use serde::Deserialize;

use crate::filter::Filter;
use crate::ports::Place;

/// Letters that are listed unless something else is said.
const LISTED: usize = 100;
/// Letters that are sent in one go unless something else is said.
const SENT: usize = 10_000;
/// Records a second unless something else is said.
const RATE: f64 = 100.0;
/// Fewest records a second: a pause between two is a quarter of an hour then, and never more than a clock can count.
const RATE_MIN: f64 = 0.001;
/// Most records a second.
const RATE_MAX: f64 = 100_000.0;
/// Repairs in one request.
const REPAIRS_MAX: usize = 10_000;

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Say what there is.
    #[default]
    List,
    /// The same with the records' bytes.
    Show,
    /// Send back.
    Redrive,
    /// Handle without sending.
    Drop,
}

/// Another value for the record of a letter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// The letter's place, such as `3-81724`.
    pub letter: String,
    /// The value as text.
    pub value: Option<String>,
    /// The value in base64.
    pub value_base64: Option<String>,
}

/// A request as it is written in JSON. Whatever is not said is not restricted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// Reason codes, or conditions of the mapping.
    pub reasons: Vec<String>,
    /// Dead-lettered at or after, milliseconds since 1970.
    pub since: Option<i64>,
    /// Dead-lettered before.
    pub until: Option<i64>,
    /// The topic that the records came from.
    pub topic: Option<String>,
    /// The partition that the records came from.
    pub partition: Option<u32>,
    /// Stands in the reason or in the value.
    pub text: Option<String>,
    /// Places of letters, such as `3-81724`.
    pub letters: Vec<String>,
    /// Letters at most.
    pub limit: Option<usize>,
    /// Records a second at most.
    pub rate: Option<f64>,
    /// False: do it. Otherwise it is only said what would be done.
    pub dry_run: Option<bool>,
    /// Send as records that were never there before; for letters that nobody signed.
    pub as_new: bool,
    /// False: look for no decisions. What the state cannot tell comes back then.
    pub verify: Option<bool>,
    /// Other values for letters.
    pub repairs: Vec<Repair>,
}

/// A request that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestProblem {
    /// Not JSON of a request.
    #[error("the request is not readable: {0}")]
    Json(String),
    /// Not a place.
    #[error("`{0}` is not the place of a letter; a place is PARTITION-OFFSET, such as 3-81724")]
    Place(String),
    /// Not a value.
    #[error("the repair of letter {0} needs a `value` or a `value_base64`, and not both")]
    Value(String),
    /// Too many repairs.
    #[error("a request takes {REPAIRS_MAX} repairs at most, this one has {0}")]
    Repairs(usize),
    /// Not a rate.
    #[error("a rate is a number of records a second from {RATE_MIN} to {RATE_MAX}")]
    Rate,
    /// A drop of everything is hardly what is meant.
    #[error("to drop letters say which: by places, reasons, time, topic, partition or text")]
    DropsAll,
}

/// A request that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which letters.
    pub filter: Filter,
    /// Letters at most.
    pub limit: usize,
    /// Records a second at most.
    pub rate: f64,
    /// Whether it is only said what would be done.
    pub dry_run: bool,
    /// Whether unsigned letters go as new records.
    pub as_new: bool,
    /// Whether decisions are looked for.
    pub verify: bool,
    /// Other values.
    pub repairs: BTreeMap<Place, Vec<u8>>,
    /// How long an invocation of the deciding function may go on after its batch was delivered again: the look-up waits for it.
    pub grace: Duration,
    /// When to stop although there is more.
    pub deadline: Option<Millis>,
}

impl Plan {
    /// Whether it is time to stop.
    pub(crate) fn is_late(&self, now: Millis) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// What is left of the time; none when nobody counts it.
    pub(crate) fn time_left(&self, now: Millis) -> Option<Duration> {
        self.deadline.map(|deadline| Duration::from_millis(deadline.since(now).max(0).unsigned_abs()))
    }
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, RequestProblem> {
        // serde takes a list for a struct of which every field may be absent.
        if !text.trim_start().starts_with('{') {
            return Err(RequestProblem::Json("it is no object".to_owned()));
        }
        serde_json::from_str(text).map_err(|error| RequestProblem::Json(error.to_string()))
    }

    /// Checks it.
    ///
    /// # Errors
    /// When a value is out of bounds.
    pub fn plan(self, grace: Duration, deadline: Option<Millis>) -> Result<Plan, RequestProblem> {
        let filter = Filter {
            reasons: self.reasons.into_iter().collect(),
            since: self.since.map(Millis),
            until: self.until.map(Millis),
            topic: self.topic,
            partition: self.partition,
            text: self.text.filter(|text| !text.is_empty()),
            places: self.letters.iter().map(|text| place(text)).collect::<Result<BTreeSet<_>, _>>()?,
        };
        if self.action == Action::Drop && filter == Filter::default() {
            return Err(RequestProblem::DropsAll);
        }
        if self.repairs.len() > REPAIRS_MAX {
            return Err(RequestProblem::Repairs(self.repairs.len()));
        }
        let rate = self.rate.unwrap_or(RATE);
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            return Err(RequestProblem::Rate);
        }
        let limit = match self.action {
            Action::List | Action::Show => LISTED,
            Action::Redrive | Action::Drop => SENT,
        };
        Ok(Plan {
            filter,
            limit: self.limit.unwrap_or(limit),
            rate,
            dry_run: self.dry_run.unwrap_or(true),
            as_new: self.as_new,
            verify: self.verify.unwrap_or(true),
            repairs: self.repairs.iter().map(repaired).collect::<Result<_, _>>()?,
            grace,
            deadline,
        })
    }
}

fn place(text: &str) -> Result<Place, RequestProblem> {
    let parts = text.split_once('-').and_then(|(partition, offset)| {
        Some(Place { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    });
    parts.ok_or_else(|| RequestProblem::Place(text.to_owned()))
}

fn repaired(repair: &Repair) -> Result<(Place, Vec<u8>), RequestProblem> {
    let wrong = || RequestProblem::Value(repair.letter.clone());
    let value = match (&repair.value, &repair.value_base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(text)) => STANDARD.decode_to_vec(text.as_bytes()).map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    Ok((place(&repair.letter)?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, RequestProblem> {
        Request::parse(text)?.plan(Duration::ZERO, None)
    }

    #[test]
    fn nothing_is_done_unless_that_is_said() {
        let plan = plan(r#"{"action":"redrive"}"#).unwrap();
        assert!(plan.dry_run && plan.verify && !plan.as_new);
        assert_eq!((plan.limit, plan.filter), (SENT, Filter::default()));
    }

    #[test]
    fn a_request_that_makes_no_sense_is_refused_with_a_reason() {
        for (text, said) in [
            ("[]", "not readable"),
            (r#"{"acton":"list"}"#, "acton"),
            (r#"{"letters":["3"]}"#, "PARTITION-OFFSET"),
            (r#"{"rate":0}"#, "from 0.001 to"),
            (r#"{"rate":1e-300}"#, "from 0.001 to"),
            (r#"{"action":"drop"}"#, "say which"),
            (r#"{"repairs":[{"letter":"0-1"}]}"#, "needs a `value`"),
            (r#"{"repairs":[{"letter":"0-1","value_base64":"*"}]}"#, "needs a `value`"),
        ] {
            let problem = plan(text).unwrap_err().to_string();
            assert!(problem.contains(said), "{text}: {problem}");
        }
        let repaired = plan(r#"{"repairs":[{"letter":"2-7","value_base64":"YQ=="}]}"#).unwrap().repairs;
        assert_eq!(repaired, BTreeMap::from([(Place { partition: 2, offset: 7 }, b"a".to_vec())]));
    }
}
