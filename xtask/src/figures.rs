//! From accounts to tables: which figure stands where in an account, medians over repetitions, Markdown.

use serde_json::Value;

use crate::cases::Kind;

/// A column: its head and its figures, joined by a slash.
struct Column {
    head: &'static str,
    figures: &'static [Figure],
}

/// A figure: the first of these places of a run that holds a number, and its decimals.
struct Figure {
    at: &'static [&'static str],
    decimals: usize,
}

/// A table and the rows that belong into it.
struct Table {
    title: &'static str,
    kinds: &'static [Kind],
    columns: &'static [Column],
}

macro_rules! column {
    ($head:literal, $decimals:literal, $($at:literal),+) => {
        Column { head: $head, figures: &[Figure { at: &[$($at),+], decimals: $decimals }] }
    };
}

macro_rules! stage {
    ($head:literal, $p50:literal, $p99:literal) => {
        Column { head: $head, figures: &[Figure { at: &[$p50], decimals: 1 }, Figure { at: &[$p99], decimals: 1 }] }
    };
}

const TABLES: &[Table] = &[
    Table {
        title: "End to end, in ms from the intended send time to a consumer that has the decision",
        kinds: &[Kind::Load, Kind::Burst],
        columns: &[
            column!("tx/s", 0, "/account/rate_tx_s"),
            column!("p50", 1, "/account/latency_ms/p50"),
            column!("p99", 1, "/account/latency_ms/p99"),
            column!("p99.9", 1, "/account/latency_ms/p999"),
            column!("max", 0, "/account/latency_ms/max"),
            column!("records a batch (median)", 0, "/account/function/score-transactions/batch_p50"),
            column!("producer behind (max)", 0, "/account/producer/behind_ms_max"),
        ],
    },
    Table {
        title: "By stage, p50 / p99 in ms; `wait` is from the broker's time to the decision",
        kinds: &[Kind::Load],
        columns: &[
            stage!("wait", "/account/stages_ms/wait/p50", "/account/stages_ms/wait/p99"),
            stage!("decode", "/account/stages_ms/decode/p50", "/account/stages_ms/decode/p99"),
            stage!("read", "/account/stages_ms/read/p50", "/account/stages_ms/read/p99"),
            stage!("decide", "/account/stages_ms/decide/p50", "/account/stages_ms/decide/p99"),
            stage!("commit", "/account/stages_ms/commit/p50", "/account/stages_ms/commit/p99"),
            stage!("publish", "/account/stages_ms/publish/p50", "/account/stages_ms/publish/p99"),
            stage!("invocation", "/account/stages_ms/invocation/p50", "/account/stages_ms/invocation/p99"),
        ],
    },
    Table {
        title: "A transaction's share of the database",
        kinds: &[Kind::Load, Kind::Backlog],
        columns: &[
            column!("write units", 3, "/account/dynamodb/write_units_per_tx"),
            column!("read units", 3, "/account/dynamodb/read_units_per_tx"),
            column!("calls", 3, "/account/dynamodb/calls_per_tx"),
            column!("lost conditions (all)", 0, "/account/dynamodb/failed_conditions"),
        ],
    },
    Table {
        title: "CPU in µs per transaction, and memory in MB at most",
        kinds: &[Kind::Load, Kind::Backlog],
        columns: &[
            column!("function", 0, "/account/function/score-transactions/cpu_us_per_tx"),
            column!("broker", 0, "/account/process/cpu_us_per_tx/broker", "/servers/kafka/cpu_us_per_tx"),
            column!(
                "DynamoDB, Kinesis, S3",
                0,
                "/account/process/cpu_us_per_tx/aws_stand_ins",
                "/servers/dynamodb/cpu_us_per_tx"
            ),
            column!("Kafka clients", 0, "/account/process/cpu_us_per_tx/kafka_clients"),
            column!("platform", 0, "/account/process/cpu_us_per_tx/platform"),
            column!("memory of a function", 0, "/account/function/score-transactions/rss_mb_max"),
            column!("memory of the rest", 0, "/account/process/rss_mb_max"),
        ],
    },
    Table {
        title: "A backlog, from 30 to 100 % of its records",
        kinds: &[Kind::Backlog],
        columns: &[
            column!("waiting", 0, "/account/backlog/waiting"),
            column!("tx/s", 0, "/account/backlog/steady/tx_s"),
            column!("function µs CPU/tx", 0, "/account/backlog/steady/function_cpu_us_per_tx"),
            column!("broker", 0, "/account/backlog/steady/cpu_us_per_tx/broker"),
            column!("AWS emulators", 0, "/account/backlog/steady/cpu_us_per_tx/aws_stand_ins"),
            column!("Kafka clients", 0, "/account/backlog/steady/cpu_us_per_tx/kafka_clients"),
            column!("platform", 0, "/account/backlog/steady/cpu_us_per_tx/platform"),
            column!("records a batch (median)", 0, "/account/function/score-transactions/batch_p50"),
        ],
    },
    Table {
        title: "A burst, while the usual rate goes on",
        kinds: &[Kind::Burst],
        columns: &[
            column!("times the rate", 0, "/account/burst/factor"),
            column!("for, s", 0, "/account/burst/seconds"),
            column!("undecided before", 0, "/account/burst/undecided_before"),
            column!("undecided at most", 0, "/account/burst/undecided_max"),
            column!("worked off after, s", 1, "/account/burst/caught_up_s"),
            column!("records a batch (median)", 0, "/account/function/score-transactions/batch_p50"),
        ],
    },
    Table {
        title: "Starts, in ms from the start of the process",
        kinds: &[Kind::Starts],
        columns: &[
            column!("starts", 0, "/account/function/score-transactions/cold_starts"),
            column!("asks for work, median", 0, "/account/function/score-transactions/init_ms"),
            column!("p90", 0, "/account/function/score-transactions/init_ms_p90"),
            column!("first decision, median", 0, "/account/function/score-transactions/first_decision_ms"),
            column!("p90", 0, "/account/function/score-transactions/first_decision_ms_p90"),
        ],
    },
];

/// A measured row: its table and its runs, each with `account` and, on real servers, `servers`.
pub struct Row<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its table.
    pub kind: Kind,
    /// What was measured, once per repetition.
    pub runs: Vec<&'a Value>,
}

/// All tables that have a row.
pub fn markdown(rows: &[Row<'_>]) -> String {
    let mut out = String::new();
    for table in TABLES {
        let rows: Vec<&Row<'_>> = rows.iter().filter(|row| table.kinds.contains(&row.kind)).collect();
        if rows.is_empty() {
            continue;
        }
        out += &format!("\n### {}\n\n", table.title);
        let heads = table.columns.iter().map(|column| column.head.to_owned());
        out += &line("row", heads);
        out += &line("---", table.columns.iter().map(|_| "---:".to_owned()));
        for row in rows {
            out += &line(row.name, table.columns.iter().map(|column| cell(column, &row.runs)));
        }
    }
    out
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = std::iter::once(first.to_owned()).chain(cells).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn cell(column: &Column, runs: &[&Value]) -> String {
    let figures = column.figures.iter().map(|figure| match figure.median(runs) {
        Some(value) => format!("{value:.*}", figure.decimals),
        None => "–".to_owned(),
    });
    figures.collect::<Vec<_>>().join(" / ")
}

impl Figure {
    fn median(&self, runs: &[&Value]) -> Option<f64> {
        let mut values: Vec<f64> = runs.iter().filter_map(|run| self.of(run)).collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            even if even % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
            _ => Some(values[middle]),
        }
    }

    fn of(&self, run: &Value) -> Option<f64> {
        self.at.iter().find_map(|pointer| run.pointer(pointer)?.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    fn run(p50: f64) -> Value {
        json!({ "account": { "latency_ms": { "p50": p50 } }, "servers": { "kafka": { "cpu_us_per_tx": 70.4 } } })
    }

    #[test]
    fn a_row_is_the_median_of_its_runs_and_what_was_not_measured_is_a_dash() {
        let runs = [run(30.0), run(90.0), run(31.04)];
        let rows = [Row { name: "e2e", kind: Kind::Load, runs: runs.iter().collect() }];
        let text = markdown(&rows);
        assert!(text.contains("| e2e | – | 31.0 | – |"), "{text}");
        assert!(text.contains("| e2e | – | 70 | – |"), "the broker's process on real servers: {text}");
        assert!(!text.contains("Starts"), "a table without rows: {text}");
        let two = [&runs[0], &runs[1]];
        let figure = Figure { at: &["/account/latency_ms/p50"], decimals: 1 };
        assert_eq!(figure.median(&two), Some(60.0));
    }

    /// A renamed field of the account must not turn a column into dashes.
    #[test]
    fn every_figure_is_found_in_the_account_of_a_real_run() {
        let directory = std::env::current_exe().expect("a test is a program");
        let directory =
            directory.parent().and_then(std::path::Path::parent).expect("tests are built below the binaries");
        let (centinela, function) = (directory.join("centinela"), directory.join("score-transactions"));
        if !centinela.exists() || !function.exists() {
            crate::terminal::note("skipped: build `centinela` and `score-transactions` first (cargo build --release)");
            return;
        }
        let files = tempfile::tempdir().expect("a directory for the account");
        for (kind, arguments) in
            [(Kind::Load, ["--rate", "200", "--for", "2s"].as_slice()), (Kind::Backlog, &["--backlog", "2000"])]
        {
            let summary = files.path().join("report.json");
            let mut command = Command::new(&centinela);
            command.args(["up", "--quiet", "--summary"]).arg(&summary).args(arguments);
            assert!(command.status().expect("the command runs").success(), "{kind:?}");
            let account: Value =
                serde_json::from_slice(&std::fs::read(&summary).expect("an account")).expect("an account is JSON");
            let run = json!({ "account": account });
            let tables = TABLES.iter().filter(|table| table.kinds.contains(&kind));
            for figure in tables.flat_map(|table| table.columns).flat_map(|column| column.figures) {
                assert!(figure.of(&run).is_some(), "{:?} is not in {run}", figure.at);
            }
        }
    }
}
