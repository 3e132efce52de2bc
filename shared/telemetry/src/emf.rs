//! Metric lines in CloudWatch's embedded metric format: one line per invocation, no call to any API.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::fmt::Write;

/// Where all metrics are.
pub const NAMESPACE: &str = "Centinela";
/// Their only dimension.
pub const DIMENSION: &str = "Function";
/// Milliseconds from the broker's time of a record to its published decision.
pub const PROCESSING_MILLISECONDS: &str = "ProcessingMilliseconds";
/// Most values that the format allows for one metric in one line.
const VALUES_MAX: usize = 100;

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident => $constant:ident = $name:literal;)*) => {
        /// What is counted per batch.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $field: u64,)*
        }

        $($(#[$doc])* pub const $constant: &str = $name;)*

        impl Counts {
            /// Names of all counts.
            pub const NAMES: &[&str] = &[$($constant),*];

            fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($constant, self.$field)),*].into_iter()
            }
        }
    };
}

counts! {
    /// New decisions, published.
    decided => DECIDED = "Decided";
    /// Of these, approved.
    approved => APPROVED = "Approved";
    /// Of these, blocked.
    blocked => BLOCKED = "Blocked";
    /// Of these, for review.
    review => REVIEW = "Review";
    /// Records that can never be decided, parked.
    parked => PARKED = "Parked";
    /// Records answered from the user's remembered decisions.
    replayed => REPLAYED = "Replayed";
    /// Records settled long ago.
    stale => STALE = "Stale";
    /// Decisions on events far behind the user's newest one.
    late => LATE = "Late";
    /// Decisions made without an optional input.
    degraded => DEGRADED = "Degraded";
    /// Records to be delivered again.
    unsettled => UNSETTLED = "Unsettled";
    /// Lost races for a user's item.
    conflicts => CONFLICTS = "Conflicts";
    /// Partitions that were delivered out of order.
    order_tripwire => ORDER_TRIPWIRE = "OrderTripwire";
    /// Notes about devices that were not written.
    device_notes_dropped => DEVICE_NOTES_DROPPED = "DeviceNotesDropped";
    /// Decisions on events ahead of the broker's time.
    ahead => AHEAD = "Ahead";
    /// Transactions whose id their user has used before with other content, parked.
    id_conflicts => ID_CONFLICTS = "IdConflicts";
    /// Records whose user's item cannot be read.
    state_unreadable => STATE_UNREADABLE = "StateUnreadable";
    /// Pending-failure markers of records that turned out to be settled, taken off.
    markers_settled => MARKERS_SETTLED = "MarkersSettled";
    /// Pending-failure markers of records that the mapping has given up by their age, taken off.
    markers_retired => MARKERS_RETIRED = "MarkersRetired";
    /// Records in the batch.
    batch_records => BATCH_RECORDS = "BatchRecords";
}

/// Counts that stand in every line, because a rate needs its total even when it is 0. The others are left out when they are 0,
/// which halves what the lines cost; alarms treat missing data as nothing wrong.
const ALWAYS: [&str; 4] = [DECIDED, APPROVED, BLOCKED, BATCH_RECORDS];

/// Where the time of an invocation went, in microseconds. Fields of the line, not metrics: free to read in logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StageMicros {
    pub decode_us: u64,
    pub read_us: u64,
    pub decide_us: u64,
    pub commit_us: u64,
    pub publish_us: u64,
    pub total_us: u64,
}

/// What one invocation reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchMetrics<'a> {
    /// The function's name.
    pub function: &'a str,
    /// The invocation's id.
    pub request_id: &'a str,
    /// Milliseconds since 1970 at the end of the batch.
    pub at_ms: i64,
    /// The counts.
    pub counts: Counts,
    /// Per new decision: milliseconds from the broker's time of the record to its publication.
    pub processing_ms: Vec<u32>,
    /// Where the time went.
    pub stages: StageMicros,
    /// Duration of the start, in the first line of an environment only.
    pub init_us: Option<u64>,
}

/// The line, without its line feed.
///
/// The format takes at most 100 values per metric. Of more latencies, 100 are sent at even distances in their order, the
/// smallest and the largest included, so percentiles hold and the sample count does not.
pub fn line(metrics: &BatchMetrics<'_>) -> String {
    let counts: Vec<(&str, u64)> =
        metrics.counts.named().filter(|(name, count)| *count > 0 || ALWAYS.contains(name)).collect();
    let mut line = String::with_capacity(1024);
    push(
        &mut line,
        format_args!(r#"{{"_aws":{{"Timestamp":{},"CloudWatchMetrics":[{{"Namespace":"{NAMESPACE}","#, metrics.at_ms),
    );
    push(&mut line, format_args!(r#""Dimensions":[["{DIMENSION}"]],"Metrics":["#));
    for (index, (name, _)) in counts.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        push(&mut line, format_args!(r#"{separator}{{"Name":"{name}","Unit":"Count"}}"#));
    }
    if !metrics.processing_ms.is_empty() {
        push(&mut line, format_args!(r#",{{"Name":"{PROCESSING_MILLISECONDS}","Unit":"Milliseconds"}}"#));
    }
    push(&mut line, format_args!(r#"]}}]}},"{DIMENSION}":{}"#, quoted(metrics.function)));
    for (name, count) in &counts {
        push(&mut line, format_args!(r#","{name}":{count}"#));
    }
    if !metrics.processing_ms.is_empty() {
        let values = thinned(&metrics.processing_ms);
        push(&mut line, format_args!(r#","{PROCESSING_MILLISECONDS}":{values:?}"#));
    }
    push_fields(&mut line, metrics);
    line.push('}');
    line
}

fn push_fields(line: &mut String, metrics: &BatchMetrics<'_>) {
    let StageMicros { decode_us, read_us, decide_us, commit_us, publish_us, total_us } = metrics.stages;
    push(line, format_args!(r#","request_id":{},"cold":{}"#, quoted(metrics.request_id), metrics.init_us.is_some()));
    if let Some(init_us) = metrics.init_us {
        push(line, format_args!(r#","init_us":{init_us}"#));
    }
    push(line, format_args!(r#","decode_us":{decode_us},"read_us":{read_us},"decide_us":{decide_us}"#));
    push(line, format_args!(r#","commit_us":{commit_us},"publish_us":{publish_us},"total_us":{total_us}"#));
}

fn push(line: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    line.write_fmt(piece).unwrap_or_default();
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn thinned(values: &[u32]) -> Vec<u32> {
    if values.len() <= VALUES_MAX {
        return values.to_vec();
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    (0..VALUES_MAX).map(|place| sorted[place * (sorted.len() - 1) / (VALUES_MAX - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(metrics: &BatchMetrics<'_>) -> Value {
        serde_json::from_str(&line(metrics)).unwrap()
    }

    fn declared(line: &Value) -> Vec<&str> {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_declared_metric_has_a_value_and_its_dimension() {
        let counts = Counts { decided: 3, approved: 2, blocked: 1, conflicts: 4, ..Counts::default() };
        let metrics = BatchMetrics {
            function: "score",
            request_id: "r\"1",
            at_ms: 7,
            counts,
            processing_ms: vec![5, 9],
            ..Default::default()
        };
        let line = parsed(&metrics);
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "Centinela");
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Function"]]));
        assert_eq!(line["_aws"]["Timestamp"], 7);
        assert_eq!(line["Function"], "score");
        assert_eq!(line["request_id"], "r\"1");
        assert_eq!(line["ProcessingMilliseconds"], json!([5, 9]));
        for name in declared(&line) {
            assert!(!line[name].is_null(), "{name} is declared without a value");
        }
        assert_eq!(line["Conflicts"], 4);
    }

    #[test]
    fn a_quiet_batch_still_gives_the_totals_that_rates_need_and_nothing_else() {
        let line = parsed(&BatchMetrics::default());
        assert_eq!(declared(&line), ["Decided", "Approved", "Blocked", "BatchRecords"]);
        assert_eq!(line["cold"], false);
    }

    #[test]
    fn more_latencies_than_the_format_takes_keep_their_percentiles() {
        let processing_ms: Vec<u32> = (0..10_000).rev().collect();
        let line = parsed(&BatchMetrics { processing_ms, ..Default::default() });
        let sent = line["ProcessingMilliseconds"].as_array().unwrap();
        assert_eq!(sent.len(), 100);
        assert_eq!(sent[0], 0);
        assert_eq!(sent[99], 9_999);
        let median = sent[50].as_u64().unwrap();
        assert!((4_900..=5_150).contains(&median), "{median}");
    }

    #[test]
    fn a_cold_start_is_told_once_with_its_duration() {
        let line = parsed(&BatchMetrics { init_us: Some(81_000), ..Default::default() });
        assert_eq!(line["cold"], true);
        assert_eq!(line["init_us"], 81_000);
    }
}
