//! `centinela plan` as a person and a script use it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn plan(arguments: &[&str]) -> Output {
    // From a directory that has nothing of ours: the stacks, prices and units are in the command.
    let command = Command::new(env!("CARGO_BIN_EXE_centinela"))
        .arg("plan")
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .output();
    command.expect("the command runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(arguments: &[&str]) -> Value {
    let output = plan(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn one_rate_is_an_object_with_its_totals_at_the_top() {
    let plan = json(&["--json", "--levers", "--options"]);
    let total = plan["total_usd_month"].as_f64().expect("a total");
    let services = plan["services"].as_array().expect("services");
    let sum: f64 = services.iter().filter_map(|service| service["usd_month"].as_f64()).sum();
    assert!((total - sum).abs() < 0.01 && total <= 4_000.0, "{total} of {sum}");
    assert!(plan["per_million_usd"].as_f64().is_some_and(|usd| (usd - total / 4_380.0).abs() < 1e-3));
    for service in services {
        for line in service["lines"].as_array().expect("lines") {
            assert!(line["assumption"].as_str().is_some_and(|text| !text.is_empty()), "{line}");
            assert!(line["price"].as_str().is_some_and(|text| text.contains('.')), "{line}");
        }
    }
    let levers = plan["levers"]["rows"].as_array().expect("levers");
    assert!(levers.len() >= 10 && plan["options"].as_array().is_some_and(|options| options.len() >= 10));
    assert!(
        plan["limits"][0]["full_at_per_minute"].as_f64().is_some_and(|rate| rate > 100_000.0),
        "{}",
        plan["limits"]
    );
    assert!(plan["usual_stack"]["total_usd_month"].as_f64().is_some_and(|usd| usd > 1_000.0));
    assert!(plan["live_cost"]["fixed_usd_hour"].as_f64().is_some_and(|usd| usd > 0.5));
}

#[test]
fn three_rates_are_planned_each_with_the_parameters_that_it_needs() {
    let plans = json(&["--json", "--rate", "100k,1M,10M", "--options"]);
    let plans = plans.as_array().expect("three plans");
    let offers = |plan: &Value, name: &str| plan["options"].to_string().contains(name);
    assert!(offers(&plans[0], "Express brokers"));
    assert!(!offers(&plans[2], "Standard brokers"), "none of them carries ten million");
    let totals: Vec<f64> = plans.iter().filter_map(|plan| plan["total_usd_month"].as_f64()).collect();
    assert!(totals.len() == 3 && totals[0] * 5.0 < totals[1] && totals[1] * 5.0 < totals[2], "{totals:?}");
    assert!(plans[0]["parameters_changed"].is_null(), "the stacks carry 100k as they are");
    for plan in &plans[1..] {
        assert!(plan["parameters_changed"].as_array().is_some_and(|changed| changed.len() > 10), "{plan}");
        assert_eq!(plan["deciding"]["keeps_up"], true);
    }
    let text = said(&plan(&["--rate", "100k,1M,10M"]));
    for part in ["10,000,000 transactions a minute", "What is full first", "Kafka, Spark, Redis", "DynamoDB", "budget"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn growth_is_a_list_of_steps() {
    let steps = json(&["--from", "100k", "--to", "1M", "--json"]);
    let steps = steps.as_array().expect("steps");
    let shards: Vec<&Value> = steps
        .iter()
        .flat_map(|step| step["changes"].as_array().into_iter().flatten())
        .filter(|change| change["name"] == "DecisionsShards")
        .collect();
    assert!(shards.len() >= 3, "doubled: {shards:?}");
    let text = said(&plan(&["--from", "100k", "--to", "1M"]));
    assert!(text.contains("wait:") && text.contains("infra/20-streaming.yaml"), "{text}");
    let refused = plan(&["--from", "1M", "--to", "100k"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn requests_that_cannot_be_carried_out_are_one_line_and_exit_code_2() {
    for (arguments, says) in [
        (&["--rate", "0"][..], "between 1 and 100M"),
        (&["--rate", "ten"], "no number"),
        (&["--env", "nowhere"], "nowhere"),
        (&["--set", "NoSuch=1"], "NoSuch"),
        (&["--set", "BrokerInstanceType=kafka.huge"], "kafka.huge"),
        (&["--measured", "/nonexistent/units.json"], "cannot be read"),
        (&["--prices", "/dev/null"], "price list"),
        (&["--from", "100k"], "--to"),
        (&["--measure", "/dev/null"], "--out"),
    ] {
        let output = plan(arguments);
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {line}");
        assert!(line.contains(says) && line.lines().count() == 1, "{arguments:?}: {line}");
    }
}

#[test]
fn the_gate_passes_and_fails_by_its_exit_code() {
    let passes = plan(&["--check"]);
    assert!(passes.status.success() && said(&passes).contains("of 4,000"), "{passes:?}");
    let fails = plan(&["--check", "--set", "TableBillingMode=PAY_PER_REQUEST"]);
    assert_eq!(fails.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&fails.stderr).contains("over the budget"), "{fails:?}");
}

#[test]
fn the_picture_and_measured_units_are_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let text = |path: &Path| std::fs::read_to_string(path).expect("it was written");
    let svg = path("plan.svg");
    assert!(plan(&["--svg", svg.to_str().expect("UTF-8")]).status.success());
    assert!(text(&svg).starts_with("<svg "));

    let report = path("report.json");
    std::fs::write(&report, REPORT).expect("written");
    let (report, out) = (report.to_str().expect("UTF-8").to_owned(), path("units.json"));
    let output = plan(&[
        "--measure",
        &report,
        "--out",
        out.to_str().expect("UTF-8"),
        "--day",
        "2026-11-29",
        "--machine",
        "a test",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let units: Value = serde_json::from_str(&text(&out)).expect("JSON");
    assert_eq!(units["measured_on"], "2026-11-29");
    assert_eq!(units["tables"]["user_state"]["write"], 1.1);
    assert_eq!(units["records"]["transactions"]["bytes"], 345.0);
    assert!(units["tables"]["decisions"].is_null(), "the index is an option");
    assert_eq!((&units["labels_per_transaction"], &units["tables"]["labels"]["write"]), (&json!(0.02), &json!(0.05)));
    // A run without labels leaves what is known of them.
    let without = path("without.json");
    std::fs::write(&without, REPORT.replace("\"labels\": 3992", "\"labels\": 0")).expect("written");
    let (without, kept) = (without.to_str().expect("UTF-8").to_owned(), path("kept.json"));
    let output = plan(&["--measure", &without, "--out", kept.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let units: Value = serde_json::from_str(&text(&kept)).expect("JSON");
    let shipped: Value = serde_json::from_str(include_str!("../../infra/measured.json")).expect("JSON");
    assert_eq!(units["labels_per_transaction"], shipped["labels_per_transaction"]);
    assert_eq!(units["tables"]["labels"], shipped["tables"]["labels"]);
    let model = said(&plan(&["--model", "--measured", out.to_str().expect("UTF-8")]));
    assert!(model.contains("1664") && model.contains("ms a record"), "{model}");
    let planned = json(&["--json", "--measured", out.to_str().expect("UTF-8")]);
    assert!(planned["measured"].as_str().is_some_and(|text| text.contains("a test")));
}

/// The parts of a report that a plan rests on.
const REPORT: &str = r#"{
  "rate_tx_s": 1664.0, "seconds": 120.0, "drawn_ms": [5.0, 12.0],
  "records": {"sent": 200000, "unique": 199600, "decided": 199600},
  "latency_ms": {"p50": 34.3, "p99": 55.5, "p999": 189.8, "max": 423.0},
  "cut": {"ends": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "later": 0},
  "dynamodb": {"write_units": {"user_state": 219560.0, "device_state": 9980.0, "decisions": 199600.0, "settled_offsets": 300.0, "labels": 9980.0},
               "read_units": {"user_state": 200000.0, "device_state": 99800.0, "settled_offsets": 50000.0}},
  "function": {"score-transactions": {"invocations": 27400, "billed_s": 620.0, "cpu_s": 52.0, "cold_starts": 5, "metric_bytes": 19700000},
               "track-user-actions": {"invocations": 400, "billed_s": 20.0, "cpu_s": 5.6, "cold_starts": 2, "metric_bytes": 200000}},
  "topics": {"transactions": {"records": 200000, "bytes": 69000000}},
  "actions": {"records": 400000},
  "labels": {"records": 4100, "labels": 3992},
  "archive": {"topics": {"transactions": {"records": 200000, "bytes": 17000000}}, "put_bytes": 40000000}
}"#;
