//! What to compact.

use serde::Deserialize;

use crate::hour::Hour;
use crate::table::Table;

/// Hours that one request names at most.
const HOURS_MAX: usize = 1000;

/// Which hours of which topics. A schedule's event, whatever else it says, means every closed hour of every topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    tables: Option<Vec<Table>>,
    hours: Option<Vec<Hour>>,
    slices: Option<Vec<u32>>,
    open: bool,
    erased: bool,
}

/// A request that names something that there is not.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRequest {
    /// Not JSON of a request.
    #[error("the request is not of the expected form")]
    Form(#[from] serde_json::Error),
    /// An unknown topic.
    #[error("topic {0:?} is not archived")]
    Topic(String),
    /// Not an hour.
    #[error("{0:?} is no hour, which looks like 2026-11-28T17")]
    Hour(String),
    /// Too many hours.
    #[error("the request names {0} hours, at most {HOURS_MAX} are taken")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Fields {
    topics: Option<Vec<String>>,
    hours: Option<Vec<String>>,
    slices: Option<Vec<u32>>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    erased: bool,
}

impl Request {
    /// Reads an event: `topics`, `hours`, `slices`, `open` and `erased`, each of which may be left out.
    ///
    /// # Errors
    /// When it names something that there is not.
    pub fn parse(event: &str) -> Result<Self, InvalidRequest> {
        let Fields { topics, hours, slices, open, erased } = serde_json::from_str(event)?;
        let table = |topic: String| Table::of_topic(&topic).ok_or(InvalidRequest::Topic(topic));
        let hour = |text: String| Hour::parse(&text).ok_or(InvalidRequest::Hour(text));
        if let Some(hours) = hours.as_ref().filter(|hours| hours.len() > HOURS_MAX) {
            return Err(InvalidRequest::TooMany(hours.len()));
        }
        Ok(Self {
            tables: topics.map(|topics| topics.into_iter().map(table).collect()).transpose()?,
            hours: hours.map(|hours| hours.into_iter().map(hour).collect()).transpose()?,
            slices,
            open,
            erased,
        })
    }

    /// The tables, each once.
    pub fn tables(&self) -> Vec<Table> {
        let mut tables = self.tables.clone().unwrap_or_else(|| Table::ALL.to_vec());
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// The hours, if they are named: these are compacted whether they are closed or not.
    pub fn hours(&self) -> Option<&[Hour]> {
        self.hours.as_deref()
    }

    /// The slices, if not all.
    pub fn slices(&self) -> Option<&[u32]> {
        self.slices.as_deref()
    }

    /// Whether hours count that may still grow.
    pub fn takes_open_hours(&self) -> bool {
        self.open
    }

    /// Whether every hour that there ever was is searched for erased users.
    pub fn looks_for_erased(&self) -> bool {
        self.erased
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_names_means_every_closed_hour() {
        for event in ["{}", r#"{"source":"aws.events","detail":{},"time":"2026-11-28T12:00:00Z"}"#] {
            let request = Request::parse(event).unwrap();
            assert_eq!(request, Request::default());
            assert_eq!(request.tables(), Table::ALL);
        }
    }

    #[test]
    fn a_request_names_topics_hours_and_slices() {
        let event =
            r#"{"topics":["dead-letters","events","events"],"hours":["2026-11-28T17"],"slices":[1],"open":true}"#;
        let request = Request::parse(event).unwrap();
        assert_eq!(request.tables(), [Table::Events, Table::DeadLetters]);
        assert_eq!(request.hours(), Hour::parse("2026-11-28T17").as_ref().map(std::slice::from_ref));
        assert_eq!((request.slices(), request.takes_open_hours()), (Some(&[1][..]), true));
        for wrong in [r#"{"topics":["x"]}"#, r#"{"hours":["17"]}"#, r#"{"slices":[-1]}"#, "[]", "null"] {
            assert!(Request::parse(wrong).is_err(), "{wrong}");
        }
    }
}
