//! Metrics as text, for whoever collects them: OpenMetrics 1.0, and the older text format of Prometheus for those that do not know it.
//!
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/> and <https://prometheus.io/docs/instrumenting/exposition_formats/>. Names begin
//! with `centinela_`, times are in seconds. Labels are names of functions, topics, tables and alarms, never of people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Everything begins with it.
const PREFIX: &str = "centinela_";

/// What kind of metric a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values were at most how large.
    Histogram,
    /// Which of some states something is in.
    States,
    /// Texts that hardly ever change.
    Info,
}

/// In which form it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    suffix: &'static str,
    labels: Vec<(String, String)>,
    value: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Family {
    kind: Kind,
    help: String,
    samples: Vec<Sample>,
}

/// Metrics to be written: families by name, each with its samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition(BTreeMap<String, Family>);

/// Labels of a sample.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// A counter; `name` without prefix and `_total`.
    pub fn counter(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        self.sample(name, Kind::Counter, help, "_total", labels, value);
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        self.sample(name, Kind::Gauge, help, "", labels, value);
    }

    /// Which state something is in, of all that there are.
    pub fn states(&mut self, name: &str, help: &str, labels: Labels<'_>, states: &[(&str, bool)]) {
        let own = format!("{PREFIX}{name}");
        for (state, is_it) in states {
            let mut labels = labels.to_vec();
            labels.push((own.as_str(), *state));
            self.sample(name, Kind::States, help, "", &labels, f64::from(u8::from(*is_it)));
        }
    }

    /// Texts; `name` without `_info`.
    pub fn info(&mut self, name: &str, help: &str, labels: Labels<'_>) {
        self.sample(name, Kind::Info, help, "_info", labels, 1.0);
    }

    /// A distribution: per bound, how many of `count` values were at most that.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
        buckets: &[(f64, u64)],
        count: u64,
        sum: f64,
    ) {
        let bounds = buckets.iter().map(|(bound, at_most)| (number(*bound), *at_most));
        for (bound, at_most) in bounds.chain([("+Inf".to_owned(), count)]) {
            let mut labels = labels.to_vec();
            labels.push(("le", bound.as_str()));
            self.sample(name, Kind::Histogram, help, "_bucket", &labels, as_f64(at_most));
        }
        self.sample(name, Kind::Histogram, help, "_count", labels, as_f64(count));
        self.sample(name, Kind::Histogram, help, "_sum", labels, sum);
    }

    /// A name that is taken by another kind keeps that kind, and the sample is left out: two types of one name are not valid.
    fn sample(&mut self, name: &str, kind: Kind, help: &str, suffix: &'static str, labels: Labels<'_>, value: f64) {
        let family = self.0.entry(format!("{PREFIX}{name}"));
        let family = family.or_insert_with(|| Family { kind, help: help.to_owned(), samples: Vec::new() });
        if family.kind == kind {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            family.samples.push(Sample { suffix, labels, value });
        }
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self, form: Form) -> String {
        let mut text = String::with_capacity(32 * 1024);
        for (name, family) in &self.0 {
            let shown = match (form, family.kind) {
                (Form::Text, Kind::Counter) => format!("{name}_total"),
                (Form::Text, Kind::Info) => format!("{name}_info"),
                _ => name.clone(),
            };
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            let help = if form == Form::OpenMetrics { help.replace('"', "\\\"") } else { help };
            push(&mut text, format_args!("# HELP {shown} {help}\n# TYPE {shown} {}\n", kind_of(family.kind, form)));
            for Sample { suffix, labels, value } in &family.samples {
                push(&mut text, format_args!("{name}{suffix}"));
                for (index, (label, value)) in labels.iter().enumerate() {
                    let (open, value) = (if index == 0 { '{' } else { ',' }, escaped(value));
                    push(&mut text, format_args!("{open}{label}=\"{value}\""));
                }
                text.push_str(if labels.is_empty() { "" } else { "}" });
                push(&mut text, format_args!(" {}\n", number(*value)));
            }
        }
        if form == Form::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

fn kind_of(kind: Kind, form: Form) -> &'static str {
    match (kind, form) {
        (Kind::Counter, _) => "counter",
        (Kind::Histogram, _) => "histogram",
        (Kind::States, Form::OpenMetrics) => "stateset",
        (Kind::Info, Form::OpenMetrics) => "info",
        (Kind::Gauge | Kind::States | Kind::Info, _) => "gauge",
    }
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    text.write_fmt(piece).unwrap_or_default();
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// `BatchRecords` as `batch_records`; what is not a letter or a digit becomes an underscore.
#[must_use]
pub fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        match letter {
            'A'..='Z' => {
                if !snake.is_empty() && !snake.ends_with('_') {
                    snake.push('_');
                }
                snake.push(letter.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' => snake.push(letter),
            _ => snake.push('_'),
        }
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposition() -> Exposition {
        let mut exposition = Exposition::default();
        exposition.counter("decided", "new decisions", &[("function", "a\"b\\c\nd")], 3.0);
        exposition.gauge("lag_records", "what waits", &[], 0.5);
        exposition.states("alarm", "how it stands", &[("alarm", "lag")], &[("OK", false), ("ALARM", true)]);
        exposition.info("build", "what runs", &[("version", "1")]);
        exposition.histogram("processing_seconds", "how long", &[("function", "f")], &[(0.5, 2)], 3, 1.75);
        exposition
    }

    #[test]
    fn openmetrics_is_written_as_it_is_specified() {
        assert_eq!(
            exposition().text(Form::OpenMetrics),
            r#"# HELP centinela_alarm how it stands
# TYPE centinela_alarm stateset
centinela_alarm{alarm="lag",centinela_alarm="OK"} 0
centinela_alarm{alarm="lag",centinela_alarm="ALARM"} 1
# HELP centinela_build what runs
# TYPE centinela_build info
centinela_build_info{version="1"} 1
# HELP centinela_decided new decisions
# TYPE centinela_decided counter
centinela_decided_total{function="a\"b\\c\nd"} 3
# HELP centinela_lag_records what waits
# TYPE centinela_lag_records gauge
centinela_lag_records 0.5
# HELP centinela_processing_seconds how long
# TYPE centinela_processing_seconds histogram
centinela_processing_seconds_bucket{function="f",le="0.5"} 2
centinela_processing_seconds_bucket{function="f",le="+Inf"} 3
centinela_processing_seconds_count{function="f"} 3
centinela_processing_seconds_sum{function="f"} 1.75
# EOF
"#
        );
    }

    #[test]
    fn the_older_format_names_a_counter_by_its_sample() {
        let text = exposition().text(Form::Text);
        assert!(text.contains("# TYPE centinela_decided_total counter\ncentinela_decided_total{"), "{text}");
        assert!(text.contains("# TYPE centinela_alarm gauge\n") && !text.contains("EOF"), "{text}");
        assert!(text.contains("# TYPE centinela_build_info gauge\ncentinela_build_info{"), "{text}");
    }

    #[test]
    fn a_name_has_one_type() {
        let mut exposition = exposition();
        exposition.gauge("decided", "something else", &[], 1.0);
        assert_eq!(exposition, self::exposition());
    }

    #[test]
    fn names_are_in_small_letters() {
        let names = ["BatchRecords", "OnFailure4xx", "a-b c", "ID"].map(snake);
        assert_eq!(names, ["batch_records", "on_failure4xx", "a_b_c", "i_d"]);
    }
}
