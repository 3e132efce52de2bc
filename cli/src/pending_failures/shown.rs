//! What an operator sees of the items. Never a user: where one is known, the transaction's digest is shown, with which the
//! decision's `decision_id` begins.

use std::fmt::Write as _;

use centinela_contracts::stored_partition::{PendingFailure, StoredPartition};
use centinela_domain::{Mark, Millis};
use serde_json::{Value, json};

use super::Place;
use super::settled_table::Found;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// For a person: the partitions, their markers, and a last line that sums up.
pub(super) fn text(place: &Place, found: &Found, now: Millis) -> String {
    let Place { table, group, topic, .. } = place;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut put = |line: String| writeln!(text, "{line}").unwrap_or_default();
    for partition in found.partitions() {
        if let Some(problem) = found.unreadable.get(&partition) {
            put(format!("partition {partition}: cannot be read: {problem}"));
        }
        let Some(stored) = found.readable.get(&partition) else { continue };
        let StoredPartition { mark, pending_failures: holds, noted_at } = &stored.item;
        let mark = mark.map_or("no settled mark".to_owned(), |mark| {
            format!("settled below offset {} ({})", mark.offset, rfc3339(mark.timestamp))
        });
        put(format!("partition {partition}: {mark}, written {}, {}", rfc3339(*noted_at), counted(holds.len())));
        for hold in holds {
            put(format!("  {}", marker(hold, now)));
        }
    }
    let partitions = found.partitions().count();
    let markers: usize = found.readable.values().map(|stored| stored.item.pending_failures.len()).sum();
    put(match partitions {
        0 => format!(
            "no partition of topic `{topic}` has an item of group `{group}` in table `{table}`: {}",
            found.advice()
        ),
        _ => format!("{} in {partitions} partitions of topic `{topic}`, group `{group}`", counted(markers)),
    });
    text
}

/// For a program.
pub(super) fn json(place: &Place, found: &Found, now: Millis) -> String {
    let partitions: Vec<Value> = found
        .partitions()
        .filter_map(|partition| match (found.readable.get(&partition), found.unreadable.get(&partition)) {
            (Some(stored), _) => {
                let StoredPartition { mark, pending_failures: holds, noted_at } = &stored.item;
                Some(json!({
                    "partition": partition,
                    "version": stored.version,
                    "settled_mark": mark.map(position),
                    "written_at": rfc3339(*noted_at),
                    "markers": holds.iter().map(|hold| marker_json(hold, now)).collect::<Vec<_>>(),
                }))
            }
            (None, Some(problem)) => Some(json!({ "partition": partition, "problem": problem })),
            (None, None) => None,
        })
        .collect();
    let all = json!({
        "table": place.table,
        "group": place.group,
        "topic": place.topic,
        "markers": found.readable.values().map(|stored| stored.item.pending_failures.len()).sum::<usize>(),
        "partitions": partitions,
    });
    format!("{all:#}\n")
}

/// How many markers.
pub(super) fn counted(markers: usize) -> String {
    match markers {
        0 => "no pending-failure markers".to_owned(),
        1 => "1 pending-failure marker".to_owned(),
        several => format!("{several} pending-failure markers"),
    }
}

/// One marker, in one line.
pub(super) fn marker(hold: &PendingFailure, now: Millis) -> String {
    let Mark { offset, timestamp } = hold.at;
    let known =
        transaction(hold).map_or("no user known".to_owned(), |digest| format!("user known, transaction {digest}"));
    format!("offset {offset}  {}  {} old  {known}", rfc3339(timestamp), duration(now.since(timestamp)))
}

fn marker_json(hold: &PendingFailure, now: Millis) -> Value {
    let mut object = position(hold.at);
    object["age_seconds"] = (now.since(hold.at.timestamp).max(0) / SECOND_MS).into();
    object["user_known"] = hold.owner.is_some().into();
    object["transaction"] = transaction(hold).into();
    object
}

fn position(mark: Mark) -> Value {
    json!({ "offset": mark.offset, "broker_time": rfc3339(mark.timestamp) })
}

/// The digest of the record's transaction, in the form of a `decision_id`.
fn transaction(hold: &PendingFailure) -> Option<String> {
    hold.owner.as_ref().map(|owner| owner.digest.to_string())
}

/// The two largest units of a time.
fn duration(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    let (days, hours) = (milliseconds / DAY_MS, milliseconds % DAY_MS / HOUR_MS);
    let (minutes, seconds) = (milliseconds % HOUR_MS / MINUTE_MS, milliseconds % MINUTE_MS / SECOND_MS);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>, to the millisecond.
fn rfc3339(instant: Millis) -> String {
    let (days, of_day) = (instant.0.div_euclid(DAY_MS), instant.0.rem_euclid(DAY_MS));
    let (year, month, day) = centinela_calendar::date(days);
    let (hour, minute) = (of_day / HOUR_MS, of_day % HOUR_MS / MINUTE_MS);
    let (second, millisecond) = (of_day % MINUTE_MS / SECOND_MS, of_day % SECOND_MS);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_what_a_calendar_says() {
        for (milliseconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (946_684_800_000, "2000-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_795_357_920_500, "2026-11-22T14:32:00.500Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Millis(milliseconds)), expected);
        }
        // Whatever an item says, it can be shown.
        assert!(rfc3339(Millis(i64::MAX)).ends_with('Z') && rfc3339(Millis(i64::MIN)).ends_with('Z'));
    }

    #[test]
    fn an_age_has_its_two_largest_units() {
        for (milliseconds, expected) in
            [(-5_000, "0s"), (59_999, "59s"), (61_000, "1m 1s"), (7_380_000, "2h 3m"), (2 * DAY_MS + HOUR_MS, "2d 1h")]
        {
            assert_eq!(duration(milliseconds), expected);
        }
    }
}
