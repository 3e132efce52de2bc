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
/// Milliseconds from the broker's time of a Kafka batch's oldest record to the batch's answer, whatever became of the record: one value
/// per batch, of a batch that is late. [`PROCESSING_MILLISECONDS`] speaks only of what was decided, so it is silent while nothing is.
pub const OLDEST_RECORD_MILLISECONDS: &str = "OldestRecordMilliseconds";
/// From this age on it is sent. A line costs by its length, and nobody asks for the oldest record of a batch that is in time.
pub const OLDEST_RECORD_SENT_FROM_MS: u64 = 1_000;
/// What the chassis sends of its own accord; a function's [`Counts`] have the rest.
pub const OF_THE_CHASSIS: [&str; 2] = [PROCESSING_MILLISECONDS, OLDEST_RECORD_MILLISECONDS];
/// Most values that the format allows for one metric in one line.
const VALUES_MAX: usize = 100;

/// What a function counts per invocation; made by [`counts!`](crate::counts).
pub trait Counts {
    /// Names of all its metrics, in the order in which they stand in a line.
    const NAMES: &'static [&'static str];
    /// Those that stand in every line, because a rate needs its total even when it is 0. The others are left out when they are 0,
    /// which halves what the lines cost; alarms treat missing data as nothing wrong.
    const ALWAYS: &'static [&'static str];

    /// The counts, in the order of [`Counts::NAMES`].
    fn values(&self) -> impl Iterator<Item = u64>;
}

/// Declares a function's counts: a struct of `u64` fields, each with its metric's name; `always` marks those of [`Counts::ALWAYS`].
///
/// ```
/// centinela_telemetry::counts! {
///     /// What is counted per batch.
///     pub struct Counts {
///         /// Records in the batch.
///         records: always "BatchRecords",
///         /// Records to be delivered again.
///         failed: "Failed",
///     }
/// }
/// ```
#[macro_export]
macro_rules! counts {
    (
        $(#[$outer:meta])*
        $visibility:vis struct $type:ident { $($(#[$inner:meta])* $field:ident: $($always:ident)? $name:literal,)* }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $visibility struct $type {
            $($(#[$inner])* pub $field: u64,)*
        }

        impl $crate::emf::Counts for $type {
            const NAMES: &'static [&'static str] = &[$($name),*];
            const ALWAYS: &'static [&'static str] = &[$($($crate::counts!(@$always $name),)?)*];

            fn values(&self) -> impl Iterator<Item = u64> {
                [$(self.$field),*].into_iter()
            }
        }
    };
    (@always $name:literal) => { $name };
}

/// What an invocation found out, beside what is known of every invocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics<C> {
    /// The counts.
    pub counts: C,
    /// Per record or request that is done: milliseconds from when it came to be until then.
    pub processing_ms: Vec<u32>,
    /// Where the time went, in microseconds, by names that end in `_us`. Fields of the line, not metrics: free to read in logs.
    pub stages: Vec<(&'static str, u64)>,
}

/// Which invocation it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// The function's name.
    pub function: &'a str,
    /// Its id.
    pub request_id: &'a str,
    /// Milliseconds since 1970 at its end.
    pub at_ms: i64,
    /// How long it took, in microseconds.
    pub total_us: u64,
    /// How long the start took, in microseconds; in the first invocation of an environment only.
    pub init_us: Option<u64>,
    /// How old the oldest record of its Kafka batch is at its end, in milliseconds by the broker's time; none of another event.
    pub oldest_record_ms: Option<u64>,
}

/// The line, without its line feed.
///
/// The format takes at most 100 values per metric. Of more latencies, 100 are sent at even distances in their order, the
/// smallest and the largest included, so percentiles hold and the sample count does not.
pub fn line<C: Counts>(invocation: &Invocation<'_>, metrics: &Metrics<C>) -> String {
    let counts = || {
        let all = C::NAMES.iter().zip(metrics.counts.values());
        all.filter(|(name, count)| *count > 0 || C::ALWAYS.contains(name))
    };
    let mut line = String::with_capacity(1024);
    let at_ms = invocation.at_ms;
    push(
        &mut line,
        format_args!(r#"{{"_aws":{{"Timestamp":{at_ms},"CloudWatchMetrics":[{{"Namespace":"{NAMESPACE}","#),
    );
    push(&mut line, format_args!(r#""Dimensions":[["{DIMENSION}"]],"Metrics":["#));
    let mut separator = "";
    for (name, _) in counts() {
        push(&mut line, format_args!(r#"{separator}{{"Name":"{name}","Unit":"Count"}}"#));
        separator = ",";
    }
    if !metrics.processing_ms.is_empty() {
        push(&mut line, format_args!(r#"{separator}{{"Name":"{PROCESSING_MILLISECONDS}","Unit":"Milliseconds"}}"#));
        separator = ",";
    }
    let oldest_record_ms = invocation.oldest_record_ms.filter(|oldest_ms| *oldest_ms >= OLDEST_RECORD_SENT_FROM_MS);
    if oldest_record_ms.is_some() {
        push(&mut line, format_args!(r#"{separator}{{"Name":"{OLDEST_RECORD_MILLISECONDS}","Unit":"Milliseconds"}}"#));
    }
    push(&mut line, format_args!(r#"]}}]}},"{DIMENSION}":{}"#, quoted(invocation.function)));
    for (name, count) in counts() {
        push(&mut line, format_args!(r#","{name}":{count}"#));
    }
    if !metrics.processing_ms.is_empty() {
        let values = thinned(&metrics.processing_ms);
        push(&mut line, format_args!(r#","{PROCESSING_MILLISECONDS}":{values:?}"#));
    }
    if let Some(oldest_ms) = oldest_record_ms {
        push(&mut line, format_args!(r#","{OLDEST_RECORD_MILLISECONDS}":{oldest_ms}"#));
    }
    push_fields(&mut line, invocation, &metrics.stages);
    line.push('}');
    line
}

fn push_fields(line: &mut String, invocation: &Invocation<'_>, stages: &[(&str, u64)]) {
    let Invocation { request_id, init_us, total_us, .. } = invocation;
    push(line, format_args!(r#","request_id":{},"cold":{}"#, quoted(request_id), init_us.is_some()));
    let init = init_us.iter().map(|init_us| ("init_us", *init_us));
    for (name, micros) in init.chain(stages.iter().copied()).chain([("total_us", *total_us)]) {
        push(line, format_args!(r#","{name}":{micros}"#));
    }
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

    crate::counts! {
        struct Scored {
            decided: always "Decided",
            conflicts: "Conflicts",
            records: always "BatchRecords",
        }
    }

    fn parsed(invocation: &Invocation<'_>, metrics: &Metrics<Scored>) -> Value {
        serde_json::from_str(&line(invocation, metrics)).unwrap()
    }

    fn declared(line: &Value) -> Vec<&str> {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_declared_metric_has_a_value_and_its_dimension() {
        let counts = Scored { decided: 3, conflicts: 4, records: 3 };
        let metrics = Metrics { counts, processing_ms: vec![5, 9], stages: Vec::new() };
        let line =
            parsed(&Invocation { function: "score", request_id: "r\"1", at_ms: 7, ..Invocation::default() }, &metrics);
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
        let line = parsed(&Invocation::default(), &Metrics::default());
        assert_eq!(declared(&line), ["Decided", "BatchRecords"]);
        assert_eq!(line["cold"], false);
    }

    #[test]
    fn more_latencies_than_the_format_takes_keep_their_percentiles() {
        let processing_ms: Vec<u32> = (0..10_000).rev().collect();
        let line = parsed(&Invocation::default(), &Metrics { processing_ms, ..Metrics::default() });
        let sent = line["ProcessingMilliseconds"].as_array().unwrap();
        assert_eq!(sent.len(), 100);
        assert_eq!(sent[0], 0);
        assert_eq!(sent[99], 9_999);
        let median = sent[50].as_u64().unwrap();
        assert!((4_900..=5_150).contains(&median), "{median}");
    }

    #[test]
    fn a_cold_start_is_told_once_with_its_duration() {
        let line = parsed(&Invocation { init_us: Some(81_000), ..Invocation::default() }, &Metrics::default());
        assert_eq!(line["cold"], true);
        assert_eq!(line["init_us"], 81_000);
    }

    #[test]
    fn the_oldest_record_is_told_when_it_is_old() {
        let of = |oldest_ms| {
            let invocation = Invocation { oldest_record_ms: oldest_ms, ..Invocation::default() };
            parsed(&invocation, &Metrics::default())["OldestRecordMilliseconds"].clone()
        };
        assert_eq!([None, Some(999), Some(31_000)].map(of), [Value::Null, Value::Null, json!(31_000)]);
    }

    #[test]
    fn the_fields_of_a_line_have_their_order() {
        let invocation = Invocation {
            function: "f",
            request_id: "r",
            at_ms: 7,
            total_us: 9,
            init_us: Some(8),
            oldest_record_ms: Some(1_000),
        };
        let stages = vec![("read_us", 2), ("decide_us", 3)];
        let metrics = Metrics { counts: Scored { decided: 1, ..Scored::default() }, processing_ms: vec![4], stages };
        assert_eq!(
            line(&invocation, &metrics),
            r#"{"_aws":{"Timestamp":7,"CloudWatchMetrics":[{"Namespace":"Centinela","Dimensions":[["Function"]],"Metrics":[{"Name":"Decided","Unit":"Count"},{"Name":"BatchRecords","Unit":"Count"},{"Name":"ProcessingMilliseconds","Unit":"Milliseconds"},{"Name":"OldestRecordMilliseconds","Unit":"Milliseconds"}]}]},"Function":"f","Decided":1,"BatchRecords":0,"ProcessingMilliseconds":[4],"OldestRecordMilliseconds":1000,"request_id":"r","cold":true,"init_us":8,"read_us":2,"decide_us":3,"total_us":9}"#
        );
    }
}
