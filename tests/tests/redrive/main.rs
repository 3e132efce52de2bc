//! Goal: what became a dead letter is decided after all, once, whatever is killed meanwhile and whatever its user did since.
//! Method: the real functions on the embedded services, the real command as an operator types it, and the topics read back.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use centinela_e2e::built;
use centinela_e2e::command::{assert_one_line, centinela};
use serde_json::{Value, json};

use world::{World, bad, good};

const LETTERS: usize = 1_000;
/// At a rate of as many a second.
const ONE_GO: usize = 100;

#[test]
fn what_cannot_be_carried_out_is_one_line() {
    let _directory = built(&["centinela"]);
    let command = |arguments: &[&str]| {
        let mut command = centinela(&["dead-letters"]);
        command.args(arguments).env_remove("PSEUDONYM_KEY");
        command
    };
    let kafka = ["--kafka", "127.0.0.1:1"];
    for (arguments, named) in [
        (&["redrive"][..], &["PSEUDONYM_KEY", "is not set"][..]),
        (&["drop"], &["say which"]),
        (&["list", "17"], &["`17`", "PARTITION-OFFSET"]),
        (&["redrive", "--rate", "0"], &["from 0.001"]),
        (&["redrive", "--rate", "1e-300"], &["from 0.001"]),
        (&["redrive", "--repairs", "/nowhere"], &["--repairs /nowhere"]),
        (&["list", "--default-currency", "EURO"], &["--default-currency"]),
    ] {
        assert_one_line(&mut command(&[arguments, &kafka].concat()), 2, named);
    }
    assert_one_line(&mut command(&["list"]), 2, &["--kafka"]);
    assert_one_line(&mut command(&["list", "--endpoints", "/nowhere"]), 2, &["--endpoints /nowhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_dead_letters_of_six_reasons_are_repaired_and_decided_once_under_kills() {
    let mut world = World::start(|_| {}).await;
    world.produce((0..LETTERS).map(|number| (format!("redrive-{number}"), bad(number))));
    world.until("all are dead-lettered", |world| world.count("dead-letters") == LETTERS).await;

    let listed = world.command(&["list", "--json", "--limit", "5000"]);
    let letters: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    letters.iter().for_each(|letter| *reasons.entry(letter["reason_code"].as_str().unwrap()).or_default() += 1);
    let expected =
        ["not_json", "missing_field", "wrong_type", "invalid_value", "unsupported_version", "duplicate_field"];
    assert_eq!(reasons.keys().copied().collect::<BTreeSet<_>>(), expected.into_iter().collect(), "{reasons:?}");
    assert_eq!(reasons.values().sum::<usize>(), LETTERS);
    assert_eq!(
        world.command(&["list", "--json", "--reason", "not_json"]).lines().count(),
        100,
        "and no more by default"
    );

    // As they are they would only come back.
    let left = world.report_of_some(&["redrive", "--yes", "--grace", "10ms"]);
    assert_eq!((&left["needs_repair"], &left["sent"]), (&json!(LETTERS), &json!(0)), "{left}");

    let shown = world.command(&["show", "--json", "--limit", "5000"]);
    let repairs: String = shown.lines().map(repaired).collect();
    let file = world.file("repairs.jsonl", &repairs);
    let dry = world.report(&["redrive", "--repairs", &file]);
    assert_eq!((&dry["dry_run"], &dry["sent"]), (&json!(true), &json!(LETTERS)), "{dry}");
    let redrive = ["redrive", "--repairs", &file, "--grace", "10ms", "--limit", "5000", "--yes", "--rate"];
    for _ in 0..4 {
        // More than goes in one go: the first are noted, and of the others nobody knows.
        let before = world.count("transactions");
        let is_sending = |world: &World| world.count("transactions") > before + ONE_GO;
        world.killed_when(&[&redrive[..], &["100"]].concat(), is_sending).await;
        world.platform().kill_functions();
    }
    let reasons = expected.join(",");
    let open = world.command(&["list", "--json", "--limit", "5000", "--reason", &reasons]).lines().count();
    assert!(open > 0 && open <= LETTERS - 4 * ONE_GO, "the killed ones have sent some and noted that: {open} are open");
    let last = world.report(&[&redrive[..], &["400"]].concat());
    assert_eq!((&last["failed"], &last["needs_repair"], &last["unfinished"]), (&json!(0), &json!(0), &json!(false)));
    // What came back, because its user's ring had gone on or forgotten a copy, goes again or is found to be done.
    world.redrive_until_nothing_is_open(&["--grace", "10ms"]).await;
    world.assert_each_decided_once(LETTERS).await;
    world.end().await;
}

/// The mapping gave records up although they were decided: its answer was lost, say, for hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_only_the_lake_still_has_is_found() {
    const COUNT: usize = 10;
    let mut world = World::start(|_| {}).await;
    world.produce((0..COUNT).map(|number| (format!("key-{number}"), good(number))));
    world.until("all are decided", |world| world.decisions().len() == COUNT).await;
    world.give_up_all();
    let dry = world.report(&["redrive"]);
    assert_eq!((&dry["letters"], &dry["found"], &dry["sent"]), (&json!(COUNT), &json!(COUNT), &json!(0)), "{dry}");

    world.archive_decisions().await;
    world.forget_decisions().await;
    assert_eq!(world.count("approved") + world.count("blocked"), 0);
    let report = world.report(&["redrive", "--grace", "10ms", "--yes"]);
    assert_eq!((&report["found"], &report["sent"]), (&json!(COUNT), &json!(0)), "{report}");
    world.redrive_until_nothing_is_open(&[]).await;
    world.end().await;
}

/// The line of a repair of a letter, from what `show` prints of it.
fn repaired(line: &str) -> String {
    let letter: Value = serde_json::from_str(line).unwrap();
    let value = letter["records"][0]["value"].as_str().unwrap();
    let (_, number) = value.split_once("redrive-").unwrap();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    format!("{}\n", json!({ "letter": letter["letter"], "value": good(digits.parse().unwrap()) }))
}

/// Seven hours in production; here the mapping gives up after two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_that_outlasts_the_mapping_everything_is_decided_once_although_its_users_went_on() {
    const USERS: usize = 10;
    let mut world = World::start(|infrastructure| {
        let mapping = infrastructure.mappings.iter_mut().find(|mapping| mapping.function == "score-transactions");
        mapping.unwrap().maximum_record_age = Some(Duration::from_secs(2));
    })
    .await;
    let mut sent = 0;
    let mut wave = |world: &World, of_each: usize| {
        let range = sent..sent + USERS * of_each;
        sent = range.end;
        world.produce(range.map(|number| (format!("user-{}", number % USERS), good(number))));
        sent
    };
    for _ in 0..3 {
        let so_far = wave(&world, 8);
        world.until("the first are decided", |world| world.decisions().len() == so_far).await;
    }
    world.outage(true);
    wave(&world, 5);
    world.until("the mapping gives them up", |world| world.count("dead-letters") == USERS * 5).await;
    world.outage(false);
    for _ in 0..8 {
        let so_far = wave(&world, 8) - USERS * 5;
        world.until("their users go on", |world| world.decisions().len() == so_far).await;
    }

    // Nobody can tell any more; without a look-up they come back.
    let plain = world.report_of_some(&["redrive", "--no-look-up", "--limit", "20", "--yes"]);
    assert_eq!((&plain["sent"], &plain["verified"]), (&json!(20), &json!(0)), "{plain}");
    world.until("they come back", |world| world.count("dead-letters") == USERS * 5 + 20).await;
    let decided = world.decisions().len();

    // With one each is decided, while its user goes on: some by the function, the others by the command.
    let answer = world.invoke(&json!({ "action": "redrive", "dry_run": false, "limit": 10 })).await;
    assert_eq!((&answer["sent"], &answer["verified"], &answer["unfinished"]), (&json!(10), &json!(10), &json!(true)));
    let so_far = wave(&world, 1);
    let report = world.report(&["redrive", "--grace", "1s", "--yes"]);
    // Those that come back meanwhile are letters too.
    assert!(report["sent"].as_u64() >= Some(40) && report["verified"] == report["sent"], "{report}");
    wave(&world, 1);
    world.until("most are decided", |world| world.decisions().len() > decided + USERS * 2).await;
    world.redrive_until_nothing_is_open(&["--grace", "1s"]).await;
    world.assert_each_decided_once(so_far + USERS).await;

    // What is done is found to be done, by the function as by the command.
    let answer = world.invoke(&json!({ "action": "list" })).await;
    assert_eq!(answer, json!({ "letters": [], "unfinished": false }));
    world.end().await;
}
