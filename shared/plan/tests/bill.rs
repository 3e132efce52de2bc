//! The bill: prices with their sources, lines that add up, and amounts that were calculated by hand.

mod sample;

use centinela_plan::bill::flows;
use centinela_plan::limits::limits;
use centinela_plan::live::LiveCost;
use centinela_plan::{Bill, Capacity, Measured, PlanError, Prices, Sizes, Workload, levers, options, peer, svg};
use sample::{measured, prices, sizes, workload};

fn bill(sizes: &Sizes, workload: &Workload) -> Bill {
    Bill::new(sizes, workload, &measured(), &prices()).expect("everything is there")
}

fn line(bill: &Bill, what: &str) -> f64 {
    let lines = bill.services.iter().flat_map(|service| &service.lines);
    let found: Vec<f64> = lines.filter(|line| line.what == what).map(|line| line.usd_month).collect();
    assert!(!found.is_empty(), "no line {what}");
    found.iter().sum()
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= expected.abs() * 1e-6 + 1e-6
}

#[test]
fn every_price_has_a_source_and_a_date() {
    let list = prices();
    assert!(list.all().count() >= 50);
    for price in list.all() {
        assert!(price.source.starts_with("https://") && price.read.len() == 10, "{price:?}");
    }
    let one = |change: &str| {
        let price = r#"{"id":"a","service":"S","item":"i","unit":"u","usd":1.0,"as_of":null,"read":"2026-11-22","source":"https://example.org","confirmed":true}"#;
        let (from, to) = change.split_once('|').expect("from|to");
        let text = price.replace(from, to);
        Prices::from_json(&format!(r#"{{"region":"r","prices":[{text}]}}"#))
    };
    assert!(one("1.0|2.5").is_ok());
    for bad in [
        "https://example.org|",
        "https://example.org|a blog",
        "2026-11-22|yesterday",
        "1.0|-1.0",
        "\"usd\":1.0|\"usd\":null",
    ] {
        assert!(one(bad).is_err(), "{bad}");
    }
    let twice = r#"{"id":"a","service":"S","item":"i","unit":"u","usd":1,"as_of":null,"read":"2026-11-22","source":"https://example.org","confirmed":true}"#;
    let twice = Prices::from_json(&format!(r#"{{"region":"r","prices":[{twice},{twice}]}}"#));
    assert!(matches!(twice, Err(PlanError::Price { problem: "is there twice", .. })), "{twice:?}");
}

#[test]
fn lines_add_up_and_some_were_calculated_by_hand() {
    let bill = bill(&sizes(), &workload(100_000.0));
    let of_lines: f64 = bill.services.iter().flat_map(|service| &service.lines).map(|line| line.usd_month).sum();
    let of_services: f64 = bill.services.iter().map(|service| service.usd_month).sum();
    assert!(near(of_lines, bill.total_usd_month) && near(of_services, bill.total_usd_month));
    assert!(
        near(bill.per_million_usd, bill.total_usd_month / 4_380.0),
        "4.38 billion a month: {}",
        bill.per_million_usd
    );
    assert!(near(line(&bill, "4 shards"), 4.0 * 730.0 * 0.015));
    assert!(near(line(&bill, "payload units"), 4_380.0 * 0.014));
    assert!(near(line(&bill, "3 brokers kafka.m7g.large"), 3.0 * 730.0 * 0.204));
    assert!(near(line(&bill, "disks"), 3.0 * 1_500.0 * 0.1));
    let units = measured().tables["user_state"];
    let hourly = units.write * 100_000.0 / 60.0 / 0.8 * 0.00065;
    assert!(near(line(&bill, "writes of user_state"), hourly * 730.0));
    // A thousand bytes as base64, with 180 for its key and its answer; a tenth of nine terabytes out of Glacier.
    let decision = measured().records["approved"].bytes * 4.0 / 3.0 + 180.0;
    assert!(near(line(&bill, "data through endpoints"), 4.38 * decision * 0.01));
    assert!(near(line(&bill, "queries of cold files"), 900.0 * 0.03));
    assert!(near(line(&bill, "watch of the scaling"), 25.0 * 0.1));
    // Two groups of at most ten pollers.
    assert!(near(line(&bill, "event poller units of decide"), 0.185 * 730.0));
    assert!(near(line(&bill, "event poller units of archive-records"), 0.185 * 730.0));
    // Slots are busy all the time, whatever is in a batch: five of half a gigabyte.
    let slots = 5.0 * 0.5 * 730.0 * 3_600.0 * 0.000_013_333_4;
    let duration = line(&bill, "duration of score-transactions");
    assert!((0.95..1.06).contains(&(duration / slots)), "{duration} of {slots}");
}

#[test]
fn what_is_missing_is_named_and_no_plan_is_made_up() {
    let (workload, sizes) = (workload(100_000.0), sizes());
    let without = sample::PRICES.replace("lambda.request", "lambda.asked");
    let error = Bill::new(&sizes, &workload, &measured(), &Prices::from_json(&without).expect("a list"));
    assert_eq!(error.err(), Some(PlanError::NoPrice("lambda.request".to_owned())));
    let mut units = measured();
    units.records.remove("approved");
    assert!(matches!(Bill::new(&sizes, &workload, &units, &prices()), Err(PlanError::Measured(_))));
    let mut other = sizes.clone();
    other.brokers.kind = "kafka.m9.huge".to_owned();
    assert!(matches!(Bill::new(&other, &workload, &measured(), &prices()), Err(PlanError::NoPrice(_))));
    assert!(matches!(limits(&other, &workload, &measured(), &prices()), Err(PlanError::UnknownBroker(..))));
    other.mappings.clear();
    assert!(matches!(Bill::new(&other, &workload, &measured(), &prices()), Err(PlanError::NoSize(_))));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        assert!(Workload::at(rate).is_err(), "{rate}");
    }
    for bad in ["{}", "[]", "", "{\"about\":1}"] {
        assert!(Measured::from_json(bad).is_err(), "{bad}");
    }
    let mut negative: serde_json::Value = serde_json::from_str(sample::MEASURED).expect("it is JSON");
    negative["invocation"]["base_ms"] = (-5.05).into();
    assert!(matches!(Measured::from_json(&negative.to_string()), Err(PlanError::Unit { .. })));
    let unlabelled = Measured { labels_per_transaction: 0.0, ..measured() };
    assert!(matches!(unlabelled.check(), Err(PlanError::Unit { field, .. }) if field == "labels_per_transaction"));
}

#[test]
fn what_a_deployment_does_not_have_is_not_billed() {
    let mut plain = sizes();
    (plain.network.flow_logs, plain.brokers.logs, plain.lake.access_log_days) = (false, false, 0.0);
    (plain.watch.scaling_alarms, plain.network.endpoint_zones) = (0, 0);
    let (with, without) = (bill(&sizes(), &workload(100_000.0)), bill(&plain, &workload(100_000.0)));
    for what in ["flow logs", "logs of the brokers", "records of requests", "watch of the scaling", "data through"] {
        assert!(with.of_lines(what) > 0.0 && without.of_lines(what) <= 0.0, "{what}");
    }
    let months = |lake_months: f64| bill(&plain, &Workload { lake_months, ..workload(100_000.0) });
    assert!(months(0.5).of_lines("queries of cold files") <= 0.0, "nothing is cold yet");
    let labels = |labels_per_transaction: f64| {
        bill(&plain, &Workload { labels_per_transaction, ..workload(100_000.0) }).of_lines("writes of labels")
    };
    assert!(near(labels(0.02), 2.0 * labels(0.01)));
    // The same units of a run with twice the labels: each takes half.
    let more = Measured { labels_per_transaction: 2.0 * measured().labels_per_transaction, ..measured() };
    let cheaper = Bill::new(&plain, &workload(100_000.0), &more, &prices()).expect("everything is there");
    let now = bill(&plain, &workload(100_000.0)).of_lines("writes of labels");
    assert!(near(2.0 * cheaper.of_lines("writes of labels"), now), "{now}");
}

#[test]
fn more_load_costs_more_and_the_fixed_part_is_shared() {
    let bills: Vec<Bill> = [50_000.0, 100_000.0, 200_000.0].map(|rate| bill(&sizes(), &workload(rate))).into();
    for pair in bills.windows(2) {
        assert!(pair[0].total_usd_month < pair[1].total_usd_month);
        assert!(pair[0].per_million_usd > pair[1].per_million_usd);
    }
}

#[test]
fn compression_retention_and_copies_fill_the_disks() {
    let kept = |change: fn(&mut Sizes)| {
        let mut sizes = sizes();
        change(&mut sizes);
        flows(&sizes, &workload(100_000.0), &measured())
            .expect("measured")
            .iter()
            .map(|flow| flow.kept_bytes)
            .sum::<f64>()
    };
    let now = kept(|_| {});
    let plain = kept(|sizes| sizes.topics[1].zstd = false);
    let longer = kept(|sizes| sizes.topics[3].retention_hours *= 2.0);
    assert!(plain > 1.5 * now, "{plain} without compression, {now} with it");
    assert!(longer > now);
    // Three copies of it must fit into 4,500 GiB, and do, at about 70 %.
    let full = 3.0 * now / (4_500.0 * 1_073_741_824.0);
    assert!((0.5..0.8).contains(&full), "{full}");
}

#[test]
fn what_is_full_first_comes_first_and_a_larger_part_is_full_later() {
    let found = limits(&sizes(), &workload(100_000.0), &measured(), &prices()).expect("everything is there");
    assert!(found.windows(2).all(|pair| pair[0].full_at_per_minute <= pair[1].full_at_per_minute));
    let at = |found: &[centinela_plan::limits::Limit], what: &str| {
        found.iter().find(|limit| limit.what.contains(what)).unwrap_or_else(|| panic!("no {what}")).full_at_per_minute
    };
    assert!(near(at(&found, "shards"), 240_000.0), "four shards of 1,000 a second");
    let mut more = sizes();
    more.shards = 8;
    let later = limits(&more, &workload(100_000.0), &measured(), &prices()).expect("everything is there");
    assert!(near(at(&later, "shards"), 480_000.0));
    // The same whatever rate is asked about.
    let elsewhere = limits(&sizes(), &workload(10_000.0), &measured(), &prices()).expect("everything is there");
    assert!(near(at(&elsewhere, "disks"), at(&found, "disks")));
}

fn full_at(sizes: &Sizes, what: &str) -> f64 {
    let found = limits(sizes, &workload(100_000.0), &measured(), &prices()).expect("everything is there");
    found.iter().find(|limit| limit.what.contains(what)).unwrap_or_else(|| panic!("no {what}")).full_at_per_minute
}

/// Runs of 14 minutes at most, of which one alone has no time for the hours of a million a minute.
#[test]
fn an_hour_of_the_lake_that_one_run_has_no_time_for_is_said_and_shared() {
    let compacted = |shares: u32, concurrency: u32| {
        let mut sizes = sizes();
        (sizes.compaction.shares, sizes.compaction.runs_an_hour) = (shares, shares);
        let function = sizes.functions.iter_mut().find(|function| function.name == "compact-lake");
        function.expect("it is there").concurrency = Some(concurrency);
        full_at(&sizes, "compact-lake an hour")
    };
    assert!((100_000.0..1_000_000.0).contains(&compacted(1, 4)), "{}", compacted(1, 4));
    assert!(compacted(6, 4) > 5.0 * compacted(1, 4), "{}", compacted(6, 4));
    assert!(compacted(60, 20) > 40.0 * compacted(1, 4) && compacted(60, 2) < compacted(60, 20) / 4.0);
    let mut often = sizes();
    (often.compaction.shares, often.compaction.runs_an_hour) = (60, 60);
    let listed = |sizes: &Sizes| line(&bill(sizes, &workload(100_000.0)), "lists of the compaction");
    let more = listed(&often) / listed(&sizes());
    assert!(
        (18.0..25.0).contains(&more),
        "each lists the hour that is not shown yet, and the first one the others: {more}"
    );
}

/// A label is a transaction of its own: before its bytes fill a poller, its invocations do.
#[test]
fn pollers_are_full_by_bytes_or_by_invocations() {
    let with = |function: &str, topic: &str, pollers: u32| {
        let mut sizes = sizes();
        let mapping = sizes.mappings.iter_mut().find(|one| one.function == function && one.topic == topic);
        mapping.expect("it is there").pollers_max = pollers;
        full_at(&sizes, &format!("pollers of {function} on {topic}"))
    };
    let labels = with("apply-labels", "events", 1);
    assert!((1_000_000.0..5_000_000.0).contains(&labels), "{labels}");
    assert!(near(with("apply-labels", "events", 3), 3.0 * labels));
    // 5 MB a second of decisions, of which one of a hundred is blocked.
    let blocked = 5e6 / measured().records["blocked"].bytes;
    assert!(near(with("archive-records", "blocked", 1), blocked * 60.0 * 100.0));
}

#[test]
fn levers_add_up_and_pulling_them_twice_changes_nothing() {
    let (sizes, workload) = (sizes(), workload(100_000.0));
    let table = levers::table(&sizes, &workload, &measured(), &prices()).expect("everything is there");
    let saved: f64 = table.rows.iter().map(|row| row.saves_usd_month).sum();
    assert!(near(table.from_usd_month - saved, table.to_usd_month));
    for row in &table.rows {
        assert!(row.saves_usd_month > 0.0, "{} saves {}", row.name, row.saves_usd_month);
        assert!(!row.costs.is_empty() && !row.changes.is_empty());
    }
    let pulled = levers::pulled(&sizes);
    assert_eq!(levers::pulled(&pulled), pulled);
    assert!(levers::is_pulled(&pulled) && levers::not_pulled(&pulled).is_empty());
    assert!(near(bill(&pulled, &workload).total_usd_month, table.to_usd_month));
    let mut slack = pulled;
    slack.functions[0].memory_mb = 1_769.0;
    assert_eq!(levers::not_pulled(&slack), ["512 MB for the deciding function instead of 1,769"]);
}

#[test]
fn options_have_prices_and_commitments_stay_options() {
    let (sizes, workload) = (sizes(), workload(100_000.0));
    let all = options::all(&sizes, &workload, &measured(), &prices()).expect("everything is there");
    let of =
        |name: &str| all.iter().find(|choice| choice.name.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    // A write unit for each of 4.38 billion, and items of a month.
    let index = of("index by transaction id").usd_month.expect("a price");
    assert!((2_737.0..3_900.0).contains(&index), "{index}");
    assert!(of("the same index, provisioned").usd_month.expect("a price") < index);
    assert!(of("tables on demand").usd_month.expect("a price") > 1_000.0);
    assert!(of("metric lines summed up").usd_month.expect("a price") < 0.0);
    assert_eq!(of("reserved capacity").usd_month, None);
}

#[test]
fn the_live_metric_says_what_the_plan_says_at_the_planned_load() {
    let (mut sizes, workload) = (sizes(), workload(100_000.0));
    for (on_demand, express) in [(false, false), (false, true), (true, false)] {
        // Their storage is none of a table's.
        sizes.brokers.kind = if express { "express.m7g.large" } else { "kafka.m7g.large" }.to_owned();
        if on_demand {
            sizes.tables[0].capacity = Capacity::OnDemand { max_read: 4_000.0, max_write: 4_000.0 };
        }
        let bill = bill(&sizes, &workload);
        let live = LiveCost::of(&bill, &sizes).expect("there are users");
        let per_second = measured().tables["user_state"].write * workload.per_second();
        let units = if on_demand { per_second * 300.0 } else { per_second / 0.8 };
        let busy_ms = bill.deciding.invocations_per_second * bill.deciding.invocation_ms * 300.0;
        let found = live.per_million(units, busy_ms, workload.per_second() * 300.0);
        assert!((found / bill.per_million_usd - 1.0).abs() < 0.01, "{found}, not {}", bill.per_million_usd);
    }
}

#[test]
fn the_usual_stack_has_all_its_parts_and_the_picture_is_whole() {
    let (sizes, workload) = (sizes(), workload(100_000.0));
    let ours = bill(&sizes, &workload);
    let usual = peer::usual(&sizes, &workload, &measured(), &prices(), &ours).expect("everything is there");
    let parts: f64 = usual.parts.iter().map(|part| part.usd_month).sum();
    assert!(near(parts, usual.total_usd_month) && usual.parts.iter().all(|part| part.usd_month > 0.0), "{usual:?}");
    let spark = usual.parts.iter().find(|part| part.what.starts_with("Spark")).expect("it is there");
    assert!(near(spark.usd_month, 4.0 * 0.24 * 730.0), "three executors and a driver: {spark:?}");
    let picture = svg::plan(&ours, &usual, Some(4_000.0));
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
    assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    assert!(picture.contains("limit 4,000") && !picture.contains("NaN"));
}
