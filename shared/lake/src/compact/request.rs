//! What to compact.

use serde::Deserialize;

use crate::hour::Hour;
use crate::table::Table;

/// Hours that one request names at most.
const HOURS_MAX: usize = 1000;
/// Into so many shares an hour's work may be divided: one for each minute, the shortest time between two runs of a schedule.
pub const SHARES_MAX: u32 = 60;

/// Which hours of which topics. A schedule's event, whatever else it says, means every closed hour of every topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    tables: Option<Vec<Table>>,
    hours: Option<Vec<Hour>>,
    slices: Option<Vec<u32>>,
    /// The minute of the hour at which a schedule was due.
    minute: Option<u32>,
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
    time: Option<String>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    erased: bool,
}

impl Request {
    /// Reads an event: `topics`, `hours`, `slices`, `open` and `erased`, each of which may be left out, and the `time` of a schedule's.
    ///
    /// # Errors
    /// When it names something that there is not.
    pub fn parse(event: &str) -> Result<Self, InvalidRequest> {
        let Fields { topics, hours, slices, time, open, erased } = serde_json::from_str(event)?;
        let table = |topic: String| Table::of_topic(&topic).ok_or(InvalidRequest::Topic(topic));
        let hour = |text: String| Hour::parse(&text).ok_or(InvalidRequest::Hour(text));
        if let Some(hours) = hours.as_ref().filter(|hours| hours.len() > HOURS_MAX) {
            return Err(InvalidRequest::TooMany(hours.len()));
        }
        Ok(Self {
            tables: topics.map(|topics| topics.into_iter().map(table).collect()).transpose()?,
            hours: hours.map(|hours| hours.into_iter().map(hour).collect()).transpose()?,
            slices,
            minute: time.as_deref().and_then(minute),
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

    /// Whether a slice is to be made, where the work of an hour is divided into so many shares. Slices that are named are; otherwise a
    /// schedule's event stands for the share whose part of the hour its minute is in, and any other event for all.
    pub fn takes(&self, slice: u32, shares: u32) -> bool {
        match (&self.slices, self.minute) {
            (Some(named), _) => named.contains(&slice),
            (None, Some(minute)) => slice % shares.max(1) == minute * shares / SHARES_MAX,
            (None, None) => true,
        }
    }

    /// Whether this is one of several runs of a schedule that share hours.
    pub fn is_shared(&self, shares: u32) -> bool {
        shares > 1 && self.slices.is_none() && self.minute.is_some()
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

/// The minute of a time such as `2026-11-28T12:15:00Z`; none of any other text.
fn minute(time: &str) -> Option<u32> {
    let (_, time) = time.split_once('T')?;
    time.split(':').nth(1)?.parse().ok().filter(|minute| *minute < SHARES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_names_means_every_closed_hour() {
        for event in
            ["{}", r#"{"source":"aws.events","detail":{},"time":"2026-11-28T12:00:00Z"}"#, r#"{"time":"noon"}"#]
        {
            let request = Request::parse(event).unwrap();
            assert_eq!((request.hours(), request.takes_open_hours(), request.looks_for_erased()), (None, false, false));
            assert_eq!(request.tables(), Table::ALL);
            assert!((0..9).all(|slice| request.takes(slice, 1)), "{event}");
        }
    }

    #[test]
    fn the_runs_of_an_hour_share_its_slices_and_leave_none_out() {
        let taken = |event: &str, shares: u32| {
            let request = Request::parse(event).unwrap();
            (0..120).filter(|slice| request.takes(*slice, shares)).collect::<Vec<_>>()
        };
        let at = |minute: u32, shares: u32| taken(&format!(r#"{{"time":"2026-11-28T12:{minute:02}:00Z"}}"#), shares);
        for (shares, every) in [(1, 60), (2, 30), (4, 15), (5, 12), (6, 10), (60, 1)] {
            for first in [0, every / 2] {
                let mut all: Vec<u32> =
                    (first..60).step_by(every as usize).flat_map(|minute| at(minute, shares)).collect();
                all.sort_unstable();
                assert_eq!(all, (0..120).collect::<Vec<_>>(), "{shares} shares, from minute {first} on");
            }
        }
        assert_eq!(at(59, 60), [59, 119]);
        // Whoever asks by hand means all, or what they name.
        assert_eq!(taken("{}", 60).len(), 120);
        assert_eq!(taken(r#"{"slices":[3,7],"time":"2026-11-28T12:00:00Z"}"#, 60), [3, 7]);
    }

    #[test]
    fn a_request_names_topics_hours_and_slices() {
        let event =
            r#"{"topics":["dead-letters","events","events"],"hours":["2026-11-28T17"],"slices":[1],"open":true}"#;
        let request = Request::parse(event).unwrap();
        assert_eq!(request.tables(), [Table::Events, Table::DeadLetters]);
        assert_eq!(request.hours(), Hour::parse("2026-11-28T17").as_ref().map(std::slice::from_ref));
        assert!(request.takes(1, 1) && !request.takes(0, 1) && request.takes_open_hours());
        for wrong in [r#"{"topics":["x"]}"#, r#"{"hours":["17"]}"#, r#"{"slices":[-1]}"#, "[]", "null"] {
            assert!(Request::parse(wrong).is_err(), "{wrong}");
        }
    }
}
