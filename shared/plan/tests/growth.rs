//! Runbooks against the model of what AWS accepts: every one that is made is taken step by step, and every mistake is refused.

mod sample;

use centinela_plan::growth::rules::{Account, Refusal};
use centinela_plan::growth::{Action, Change, Goal, Parameters, Step, parameters_for, runbook};
use centinela_plan::{PlanError, Sizes};
use sample::{measured, prices, sizes, workload};

/// Production's parameters as far as growth is concerned.
fn parameters() -> Parameters {
    [
        ("KafkaVersion", "3.9.x.kraft"),
        ("BrokerInstanceType", "kafka.m7g.large"),
        ("BrokerCount", "3"),
        ("BrokerVolumeGiB", "1500"),
        ("BrokerMonitoring", "PER_BROKER"),
        ("BrokerProperties", "standard"),
        ("TransactionsPartitions", "10"),
        ("UserActionsPartitions", "20"),
        ("EventsPartitions", "5"),
        ("DecisionPartitions", "10"),
        ("DecisionsShards", "4"),
        ("TableBillingMode", "PROVISIONED"),
        ("UserWriteUnitsMin", "1500"),
        ("UserWriteUnitsMax", "6000"),
        ("UserReadUnitsMin", "1500"),
        ("UserReadUnitsMax", "6000"),
        ("DeviceWriteUnitsMax", "1000"),
        ("DeviceReadUnitsMax", "3000"),
        ("ScoreTransactionsPollersMin", "1"),
        ("ScoreTransactionsPollersMax", "2"),
        ("ScoreTransactionsConcurrency", "20"),
        ("TrackUserActionsPollers", "1"),
        ("TrackUserActionsConcurrency", "10"),
        ("ArchiveTransactionsPollers", "2"),
        ("ArchiveUserActionsPollers", "3"),
        ("ArchiveApprovedPollers", "2"),
        ("ArchiveRecordsPollers", "1"),
        ("ArchiveRecordsConcurrency", "50"),
        ("ApplyLabelsConcurrency", "5"),
        ("RollupMetricsConcurrency", "10"),
        ("DecisionsApiConcurrency", "50"),
        ("ApplyLabelsPollers", "1"),
        ("CompactLakeSlices", "1"),
        ("CompactLakeShares", "1"),
        ("CompactLakeSchedule", "cron(15 * * * ? *)"),
        ("CompactLakeConcurrency", "4"),
        ("GuardCostsWriteUnitsMax", "3000000"),
        ("GuardCostsInvocationsMax", "600000"),
        ("GuardCostsPollersMax", "12"),
        ("GuardCostsLagMax", "5000000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The sizes that parameters make, as far as brokers are concerned.
fn with(parameters: &Parameters) -> Sizes {
    let mut sizes = sizes();
    let number = |name: &str| parameters[name].parse::<u32>().expect("a number");
    sizes.brokers.kind.clone_from(&parameters["BrokerInstanceType"]);
    sizes.brokers.count = number("BrokerCount");
    sizes.brokers.volume_gib = number("BrokerVolumeGiB");
    sizes
}

fn grown(base: &Parameters, per_minute: f64) -> Parameters {
    let (sizes, workload, measured, prices) = (with(base), workload(per_minute), measured(), prices());
    let goal = Goal { per_minute, base, sizes: &sizes, workload: &workload, measured: &measured, prices: &prices };
    parameters_for(&goal).unwrap_or_else(|error| panic!("{per_minute}: {error}"))
}

fn number(parameters: &Parameters, name: &str) -> u32 {
    parameters[name].parse().expect("a number")
}

#[test]
fn every_runbook_is_accepted_step_by_step_and_leads_where_it_should() {
    let rates = [100_000.0, 250_000.0, 500_000.0, 1_000_000.0, 3_000_000.0, 10_000_000.0];
    for (place, from) in rates.iter().enumerate() {
        let before = grown(&parameters(), *from);
        for to in &rates[place + 1..] {
            let after = grown(&before, *to);
            let steps = runbook(&before, &after).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
            assert!(!steps.is_empty());
            let mut account = Account::new(before.clone());
            // What was asked for on the way to `from` is granted.
            let quotas = runbook(&parameters(), &before).expect("a runbook");
            for step in quotas.iter().filter(|step| matches!(step.action, Action::Quota { .. })) {
                account.apply(step).expect("a quota is granted");
            }
            for step in &steps {
                account.apply(step).unwrap_or_else(|refusal| panic!("{from} to {to}: {}: {refusal}", step.title));
            }
            assert_eq!(account.parameters(), &after, "{from} to {to}");
            assert!(account.untold().is_empty(), "{from} to {to}: {:?}", account.untold());
        }
    }
}

#[test]
fn a_hundred_thousand_becomes_a_million_and_ten() {
    let million = grown(&parameters(), 1_000_000.0);
    assert!(number(&million, "DecisionsShards") >= 17, "1,000 records a second and shard");
    assert!(number(&million, "UserWriteUnitsMax") > 19_000);
    assert!(number(&million, "TransactionsPartitions") >= 5 * number(&million, "ScoreTransactionsPollersMin"));
    let ten = grown(&million, 10_000_000.0);
    for (name, value) in &million {
        if let (Ok(before), Ok(after)) = (value.parse::<f64>(), ten[name].parse::<f64>()) {
            let is_free = matches!(name.as_str(), "BrokerCount");
            assert!(is_free || after >= before, "{name} from {before} to {after}");
        }
    }
    assert!(number(&ten, "DecisionsShards") >= 167);
    assert!(number(&million, "CompactLakeShares") > 1 && number(&ten, "CompactLakeShares") > 20, "{ten:?}");
    for grown in [&million, &ten] {
        let (shares, slices) = (number(grown, "CompactLakeShares"), number(grown, "CompactLakeSlices"));
        assert_eq!(slices, shares);
        let every = if shares == 60 { "*".to_owned() } else { format!("0/{}", 60 / shares) };
        assert_eq!(grown["CompactLakeSchedule"], format!("cron({every} * * * ? *)"));
    }
    assert!(number(&ten, "ApplyLabelsPollers") > 5, "a poller takes some 300 labels a second");
    assert_eq!(number(&ten, "ArchiveRecordsPollers"), 1, "1.7 MB a second of blocked, of the 5 that a poller takes");
    assert_eq!(runbook(&ten, &ten), Ok(Vec::new()));
}

#[test]
fn all_at_once_is_refused_as_aws_does() {
    let (before, after) = (parameters(), grown(&parameters(), 1_000_000.0));
    let changes = before
        .iter()
        .filter(|(name, from)| after[*name] != **from && name.starts_with("Broker"))
        .map(|(name, from)| Change { name: name.clone(), from: from.clone(), to: after[name].clone() });
    let step = update("20-streaming", changes.collect());
    assert!(step.changes.len() > 1, "{step:?}");
    let refused = Account::new(before).apply(&step);
    assert!(matches!(refused, Err(Refusal::SeveralMskAttributes(_))), "{refused:?}");
}

fn update(stack: &'static str, changes: Vec<Change>) -> Step {
    let (title, action) = ("by hand".to_owned(), Action::Update);
    Step { title, action, stack, changes, wait_for: "", wait_hours: 0, takes: "" }
}

fn change(parameters: &Parameters, name: &str, to: &str) -> Change {
    Change { name: name.to_owned(), from: parameters[name].clone(), to: to.to_owned() }
}

/// Single steps that AWS, or the model of its rules, must refuse: stack, parameter, value, and how the refusal begins.
const REFUSED: [(&str, &str, &str, &str); 15] = [
    ("20-streaming", "DecisionsShards", "9", "a stream goes from 4"),
    ("20-streaming", "DecisionsShards", "1", "a stream goes from 4"),
    ("20-streaming", "TransactionsPartitions", "9", "TransactionsPartitions cannot go from 10 to 9"),
    ("20-streaming", "UserActionsPartitions", "4000", "12"),
    ("20-streaming", "BrokerCount", "4", "4 brokers cannot be spread"),
    ("20-streaming", "BrokerCount", "63", "63 brokers are more"),
    ("20-streaming", "BrokerVolumeGiB", "1000", "BrokerVolumeGiB cannot go from 1500"),
    ("20-streaming", "BrokerVolumeGiB", "20000", "a disk of 20000"),
    ("20-streaming", "BrokerInstanceType", "express.m7g.large", "no update leads"),
    ("20-streaming", "BrokerInstanceType", "kafka.t3.small", "no update leads"),
    ("20-streaming", "KafkaVersion", "3.9.x", "no update leads"),
    ("30-data", "UserWriteUnitsMax", "50000", "UserWriteUnitsMax of 50000 exceeds"),
    ("30-data", "UserWriteUnitsMin", "7000", "7000 is more than 6000"),
    ("40-functions/score-transactions", "ScoreTransactionsPollersMax", "11", "ScoreTransactionsPollersMax of 11"),
    ("40-functions/score-transactions", "ScoreTransactionsConcurrency", "900", "reserved concurrency of"),
];

#[test]
fn mistakes_are_refused_one_by_one_and_change_nothing() {
    let before = parameters();
    for (stack, name, value, begins) in REFUSED {
        let mut account = Account::new(before.clone());
        let refused = account.apply(&update(stack, vec![change(&before, name, value)]));
        let said = refused.expect_err(name).to_string();
        assert!(said.starts_with(begins), "{name} = {value}: {said}");
        assert_eq!(account.parameters(), &before);
    }
    let mut account = Account::new(before.clone());
    let throttled =
        vec![change(&before, "ScoreTransactionsConcurrency", "9"), change(&before, "ScoreTransactionsPollersMax", "4")];
    let refused = account.apply(&update("40-functions/score-transactions", throttled));
    assert_eq!(refused, Err(Refusal::Throttled { concurrency: 9, wanted: 10 }));
    let mut units = before.clone();
    for name in ["UserReadUnitsMax", "DeviceReadUnitsMax"] {
        units.insert(name.to_owned(), "40000".to_owned());
    }
    let refused =
        Account::new(units.clone()).apply(&update("30-data", vec![change(&units, "DeviceWriteUnitsMax", "2000")]));
    assert_eq!(refused, Ok(()), "80,000 read units are what an account has");
    units.insert("MarkReadUnitsMax".to_owned(), "1".to_owned());
    let refused =
        Account::new(units.clone()).apply(&update("30-data", vec![change(&units, "DeviceWriteUnitsMax", "2000")]));
    assert!(matches!(&refused, Err(Refusal::OverQuota { value: 80_001, quota: 80_000, .. })), "{refused:?}");
    let elsewhere = account.apply(&update("30-data", vec![change(&before, "DecisionsShards", "8")]));
    assert!(matches!(elsewhere, Err(Refusal::SeveralStacks(_))), "{elsewhere:?}");
    let stale = Change { name: "DecisionsShards".to_owned(), from: "2".to_owned(), to: "8".to_owned() };
    let stale = account.apply(&update("20-streaming", vec![stale]));
    assert!(matches!(stale, Err(Refusal::NotWhatItIs { .. })), "{stale:?}");
}

/// The index is a table like the others as soon as it is provisioned: its units count, and more of them are asked for in time.
#[test]
fn a_provisioned_index_counts_among_the_units_of_the_account() {
    let with_index = |min: &str| {
        let mut parameters = parameters();
        for (name, value) in [
            ("UserWriteUnitsMax", "40000"),
            ("DeviceWriteUnitsMax", "38000"),
            ("DecisionReadUnitsMax", "1000"),
            ("DecisionWriteUnitsMin", min),
            ("DecisionWriteUnitsMax", "2000"),
            ("GuardCostsIndexWriteUnitsMax", "2000000"),
        ] {
            parameters.insert(name.to_owned(), value.to_owned());
        }
        parameters
    };
    let one_more = |parameters: &Parameters| {
        let step = update("30-data", vec![change(parameters, "DecisionWriteUnitsMax", "2001")]);
        Account::new(parameters.clone()).apply(&step)
    };
    assert_eq!(one_more(&with_index("0")), Ok(()), "on demand it has a quota of its own");
    let refused = one_more(&with_index("100"));
    assert!(matches!(&refused, Err(Refusal::OverQuota { value: 80_001, quota: 80_000, .. })), "{refused:?}");

    let mut sizes = with(&with_index("100"));
    sizes.index_days = 7;
    let (before, workload, measured, prices) = (with_index("100"), workload(1e6), measured(), prices());
    let goal = Goal {
        per_minute: 1e6,
        base: &before,
        sizes: &sizes,
        workload: &workload,
        measured: &measured,
        prices: &prices,
    };
    let after = parameters_for(&goal).expect("a rate that can be planned");
    assert!(number(&after, "DecisionWriteUnitsMin") >= 15_000, "it follows the load: {after:?}");
    let steps = runbook(&before, &after).expect("a runbook");
    let mut account = Account::new(before);
    for step in &steps {
        account.apply(step).unwrap_or_else(|refusal| panic!("{}: {refusal}", step.title));
    }
    assert_eq!(account.parameters(), &after);
}

#[test]
fn disks_and_shards_have_their_pauses() {
    let mut account = Account::new(parameters());
    let grow = |account: &Account, to: &str, wait_hours: u32| Step {
        wait_hours,
        ..update("20-streaming", vec![change(account.parameters(), "BrokerVolumeGiB", to)])
    };
    let step = grow(&account, "2000", 1);
    account.apply(&step).expect("the first time");
    let step = grow(&account, "2500", 0);
    assert_eq!(account.apply(&step), Err(Refusal::DisksTooSoon { hours: 1 }));
    account.apply(&Step { wait_hours: 5, ..update("20-streaming", Vec::new()) }).expect("waiting is no change");
    account.apply(&step).expect("six hours later");

    let mut account = Account::new(parameters());
    let mut refused = Ok(());
    for time in 0..11 {
        let to = if time % 2 == 0 { "8" } else { "4" };
        let step = update("20-streaming", vec![change(account.parameters(), "DecisionsShards", to)]);
        refused = account.apply(&step);
    }
    assert_eq!(refused, Err(Refusal::ShardsTooOften));
}

#[test]
fn express_is_reached_in_place_or_not_at_all() {
    let in_place = |parameters: &Parameters| {
        let action = Action::InPlaceExpress { kind: "express.m7g.large".to_owned(), count: 3 };
        Account::new(parameters.clone()).apply(&Step { action, stack: "", ..update("", Vec::new()) })
    };
    let ready = |changes: &[(&str, &str)]| {
        let mut parameters = parameters();
        parameters.insert("BrokerProperties".to_owned(), "express".to_owned());
        for (name, value) in changes {
            parameters.insert((*name).to_owned(), (*value).to_owned());
        }
        parameters
    };
    assert_eq!(in_place(&ready(&[])), Ok(()));
    for changes in [
        [("KafkaVersion", "3.8.x")],
        [("KafkaVersion", "3.9.x")],
        [("KafkaVersion", "3.8.x.kraft")],
        [("BrokerInstanceType", "kafka.t3.small")],
        [("BrokerInstanceType", "express.m7g.large")],
        [("BrokerProperties", "standard")],
    ] {
        let refused = in_place(&ready(&changes));
        assert!(matches!(refused, Err(Refusal::NotReadyForExpress(_))), "{changes:?}: {refused:?}");
    }
    let complete = Step { action: Action::CompleteExpress, ..update("20-streaming", Vec::new()) };
    let refused = Account::new(ready(&[])).apply(&complete);
    assert!(matches!(refused, Err(Refusal::NotReadyForExpress(_))), "what was not begun: {refused:?}");
}

/// The order of a runbook matters: the same steps backwards, or one left out, are refused somewhere or lead elsewhere.
#[test]
fn a_runbook_backwards_or_with_a_step_missing_does_not_pass() {
    let (before, after) = (parameters(), grown(&parameters(), 10_000_000.0));
    let steps = runbook(&before, &after).expect("a runbook");
    let passes = |steps: &[Step]| {
        let mut account = Account::new(before.clone());
        let is_taken = steps.iter().all(|step| account.apply(step).is_ok());
        is_taken && account.parameters() == &after && account.untold().is_empty()
    };
    assert!(passes(&steps));
    let backwards: Vec<Step> = steps.iter().rev().cloned().collect();
    assert!(!passes(&backwards));
    for missing in 0..steps.len() {
        let mut fewer = steps.clone();
        let left_out = fewer.remove(missing);
        assert!(!passes(&fewer), "without {}", left_out.title);
    }
}

#[test]
fn what_cannot_shrink_is_refused_before_anybody_begins() {
    let before = parameters();
    for name in ["TransactionsPartitions", "BrokerVolumeGiB", "DecisionsShards"] {
        let mut after = before.clone();
        after.insert(name.to_owned(), "1".to_owned());
        let refused = runbook(&before, &after);
        assert!(matches!(&refused, Err(PlanError::Parameter { name: found, .. }) if found == name), "{refused:?}");
    }
}
