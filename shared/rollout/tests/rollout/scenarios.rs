//! One thing goes wrong at a time.

use std::collections::BTreeSet;

use centinela_rollout::{Deployed, Outcome, Stopped, deploy, destroy, kept, plan, ship};

use crate::world::World;
use crate::{Person, code, deployment, deployment_of, options, sources};

const ZONES: [&str; 3] = ["use1-az1", "use1-az2", "use1-az4"];

fn zones() -> Vec<String> {
    ZONES.map(str::to_owned).to_vec()
}

fn run(world: &World, person: &Person, release: &str) -> Result<Deployed, Stopped> {
    deploy(world, person, &deployment(), &code(release), &zones(), &options())
}

fn stands() -> World {
    let world = World::new(1);
    run(&world, &Person::default(), "a").expect("a first deploy");
    world.writes.borrow_mut().clear();
    world
}

fn text<T: std::fmt::Debug>(outcome: Result<T, Stopped>) -> String {
    outcome.expect_err("it must not succeed").to_string()
}

#[test]
fn the_first_deploy_makes_everything_in_order_and_the_second_changes_nothing() {
    let world = World::new(1);
    let deployed = run(&world, &Person::default(), "a").expect("a deploy");
    let stacks = ["10-foundation", "20-streaming", "30-data", "40-count-events", "40-echo-events", "50-ops"];
    let names = stacks.map(|stack| format!("dev-centinela-{stack}"));
    assert_eq!(deployed.changed, names);
    let outcomes: Vec<_> = deployed.functions.iter().map(|(_, outcome)| outcome.clone()).collect();
    assert_eq!(outcomes, [Outcome::Answers("1".into()), Outcome::Answers("1".into())]);
    let stacks = world.stacks.borrow();
    let network = &stacks["dev-centinela-10-foundation"].parameters;
    assert_eq!(["ZoneA", "ZoneB", "ZoneC"].map(|zone| network[zone].as_str()), ZONES);
    drop(stacks);
    assert_eq!(world.parameters.borrow()["/dev-centinela/kafka-bootstrap"], "b-1:9098,b-2:9098");

    world.writes.borrow_mut().clear();
    // Other zones to choose from are nothing that a network that stands is changed for.
    let again = deploy(&world, &Person::default(), &deployment(), &code("a"), &[], &options()).expect("a deploy");
    assert_eq!((again.changed, again.unchanged), (Vec::new(), names.to_vec()));
    assert_eq!(again.functions[0].1, Outcome::Unchanged("1".into()));
    let writes = world.writes.borrow();
    let only = ["propose", "discard", "publish"];
    assert!(writes.iter().all(|write| only.iter().any(|word| write.starts_with(word))), "{writes:?}");
}

#[test]
fn a_changed_function_is_tried_before_it_is_live() {
    let world = stands();
    let deployed = run(&world, &Person::default(), "b").expect("a deploy");
    assert_eq!(deployed.functions[1], ("dev-echo-events".to_owned(), Outcome::Live("2".into())));
    let functions = world.functions.borrow();
    let led: Vec<_> =
        functions.led.iter().filter(|(name, _)| name == "dev-echo-events").map(|(_, live)| live).collect();
    assert_eq!(led[0].share, Some(("2".to_owned(), 0.1)));
    assert_eq!((led[1].version.as_str(), &led[1].share, led.len()), ("2", &None, 2));
    assert!(world.waited.get().as_secs() >= 120, "each was watched for a minute");
}

#[test]
fn a_configuration_of_a_function_is_live_only_through_a_version() {
    let world = stands();
    let mut sources = sources();
    sources.parameters =
        sources.parameters.replace("\"EchoEventsMemoryMb\": \"256\"", "\"EchoEventsMemoryMb\": \"512\"");
    let deployment = deployment_of(&sources);
    let deployed = deploy(&world, &Person::default(), &deployment, &code("a"), &[], &options()).expect("a deploy");
    assert_eq!(deployed.changed, ["dev-centinela-40-echo-events"]);
    assert_eq!(deployed.functions[1].1, Outcome::Live("2".into()));
    assert_eq!(world.functions.borrow().live_code("dev-echo-events"), Some(&("echo-events-a".to_owned(), 1)));
}

#[test]
fn code_alone_is_shipped_without_a_look_at_other_functions() {
    let world = stands();
    let only = ["echo-events".to_owned()];
    let deployed = ship(&world, &Person::default(), &deployment(), &only, &code("b"), &options()).expect("shipped");
    assert_eq!(deployed.functions, [("dev-echo-events".to_owned(), Outcome::Live("2".into()))]);
    let writes = world.writes.borrow();
    assert!(writes.iter().all(|write| write.contains("echo-events")), "{writes:?}");
    let empty = World::new(1);
    let refused = text(ship(&empty, &Person::default(), &deployment(), &[], &code("b"), &options()));
    assert!(refused.contains("deploy all stacks first"), "{refused}");
}

#[test]
fn a_version_that_does_not_answer_is_never_live() {
    let world = stands();
    world.functions.borrow_mut().broken.insert("count-events-b".into());
    let stopped = text(run(&world, &Person::default(), "b"));
    assert!(
        stopped.contains("version 2 of dev-count-events does not do") && stopped.contains("Version 1 is live"),
        "{stopped}"
    );
    assert!(world.functions.borrow().led.is_empty(), "the alias was never moved");
    // The mended one goes through, though the broken code is still what the function is.
    let mended = run(&world, &Person::default(), "c").expect("a deploy");
    assert_eq!(mended.functions[0].1, Outcome::Live("3".into()));
}

#[test]
fn a_version_that_answers_one_event_and_no_second_is_never_live() {
    let world = stands();
    world.functions.borrow_mut().spent_after_one.insert("count-events-b".into());
    let stopped = text(run(&world, &Person::default(), "b"));
    assert!(stopped.contains("event 2 of 2") && stopped.contains("Version 1 is live"), "{stopped}");
    assert!(world.functions.borrow().led.is_empty(), "the alias was never moved");
}

#[test]
fn a_version_that_fails_on_real_events_is_taken_back() {
    let world = stands();
    world.functions.borrow_mut().failing.insert("count-events-b".into());
    let stopped = run(&world, &Person::default(), "b");
    assert!(
        matches!(&stopped, Err(Stopped::TakenBack(why)) if why.contains("3 of its invocations failed")),
        "{stopped:?}"
    );
    let functions = world.functions.borrow();
    let live = &functions.get("dev-count-events").expect("the function").live;
    assert_eq!((live.version.as_str(), &live.share), ("1", &None));
}

#[test]
fn a_version_that_fails_only_behind_the_alias_is_taken_back() {
    let world = stands();
    world.functions.borrow_mut().broken_behind_alias.insert("count-events-b".into());
    assert!(matches!(run(&world, &Person::default(), "b"), Err(Stopped::TakenBack(_))));
    let functions = world.functions.borrow();
    let led: Vec<_> = functions.led.iter().map(|(_, live)| (live.version.as_str(), live.share.is_some())).collect();
    assert_eq!(led, [("1", true), ("2", false), ("1", false)]);
}

#[test]
fn an_alarm_that_begins_to_speak_takes_a_version_back_and_an_older_one_does_not() {
    let world = stands();
    world.speaking.borrow_mut().push("dev-centinela-lag".to_owned());
    world.speaking.borrow_mut().push("other-centinela-lag".to_owned());
    run(&world, &Person::default(), "b").expect("what spoke before is not its doing");

    struct Speaks<'a>(&'a World, Person);
    impl centinela_rollout::Desk for Speaks<'_> {
        fn say(&self, line: &str) {
            if line.contains("go to version") {
                self.0.speaking.borrow_mut().push("dev-centinela-errors".to_owned());
            }
            self.1.say(line);
        }
        fn agrees(&self, _: &str) -> bool {
            true
        }
        fn is_interrupted(&self) -> bool {
            false
        }
    }
    let desk = Speaks(&world, Person::default());
    let stopped = deploy(&world, &desk, &deployment(), &code("c"), &[], &options());
    assert!(
        matches!(&stopped, Err(Stopped::TakenBack(why)) if why.contains("dev-centinela-errors speaks")),
        "{stopped:?}"
    );
}

#[test]
fn ctrl_c_while_a_version_is_tried_takes_it_back() {
    for patience in 0..400 {
        let world = stands();
        let person = Person::default();
        person.patience.set(Some(patience));
        let ended = run(&world, &person, "b");
        let functions = world.functions.borrow();
        for name in ["dev-count-events", "dev-echo-events"] {
            assert_eq!(functions.get(name).expect("a function").live.share, None, "{name} after {patience} looks");
        }
        match ended {
            Ok(_) => return,
            Err(Stopped::Interrupted(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("a deploy does not end in 400 looks");
}

#[test]
fn a_create_that_fails_in_the_middle_is_cleared_and_succeeds_at_the_second_try() {
    let world = World::new(1);
    world.endings.borrow_mut().push(("dev-centinela-30-data".into(), "ROLLBACK_COMPLETE"));
    let failed = text(run(&world, &Person::default(), "a"));
    let expected = "stack dev-centinela-30-data ended as ROLLBACK_COMPLETE: Thing: dev-centinela-30-data hit a limit";
    assert!(failed.starts_with(expected) && failed.contains("run it again"), "{failed}");

    let declines = Person::default();
    declines.declines.set(true);
    assert!(matches!(run(&world, &declines, "a"), Err(Stopped::Declined(_))));
    assert_eq!(world.stacks.borrow()["dev-centinela-30-data"].word, "ROLLBACK_COMPLETE");

    let person = Person::default();
    let deployed = run(&world, &person, "a").expect("the second try");
    assert!(person.heard("delete what is left of dev-centinela-30-data"));
    assert_eq!(deployed.unchanged, ["dev-centinela-10-foundation", "dev-centinela-20-streaming"]);
    assert_eq!(deployed.changed.len(), 4);
}

#[test]
fn an_update_that_is_rolled_back_is_no_success_and_leaves_what_was() {
    let world = stands();
    world.endings.borrow_mut().push(("dev-centinela-30-data".into(), "UPDATE_ROLLBACK_COMPLETE"));
    let mut sources = sources();
    sources.parameters = sources.parameters.replace("\"EchoUnitsMax\": \"200\"", "\"EchoUnitsMax\": \"300\"");
    let deployment = deployment_of(&sources);
    let again = || deploy(&world, &Person::default(), &deployment, &code("a"), &[], &options());
    let failed = text(again());
    assert!(failed.contains("UPDATE_ROLLBACK_COMPLETE") && failed.contains("as it was before"), "{failed}");
    assert_eq!(world.stacks.borrow()["dev-centinela-30-data"].parameters["EchoUnitsMax"], "200");
    assert_eq!(again().expect("the second try").changed, ["dev-centinela-30-data"]);
    assert_eq!(world.stacks.borrow()["dev-centinela-30-data"].parameters["EchoUnitsMax"], "300");
}

#[test]
fn a_rollback_that_is_stuck_goes_on_first() {
    let world = stands();
    world.endings.borrow_mut().push(("dev-centinela-50-ops".into(), "UPDATE_ROLLBACK_FAILED"));
    let mut sources = sources();
    let ops = sources.stacks.iter_mut().find(|(file, _)| file == "50-ops.yaml").expect("a stack");
    ops.1 = ops.1.replace("Threshold: 0", "Threshold: 1");
    let deployment = deployment_of(&sources);
    let again = || deploy(&world, &Person::default(), &deployment, &code("a"), &[], &options());
    assert!(text(again()).contains("lets the rollback go on first"));
    assert_eq!(again().expect("the second try").changed, ["dev-centinela-50-ops"]);
    assert!(world.writes.borrow().contains(&"unstick dev-centinela-50-ops".to_owned()));
}

#[test]
fn a_change_that_loses_data_is_refused_until_its_resource_is_named() {
    let world = stands();
    let mut sources = sources();
    let data = sources.stacks.iter_mut().find(|(file, _)| file == "30-data.yaml").expect("a stack");
    data.1 = data
        .1
        .replace("KeySchema: [", "KeySchema: [{AttributeName: sk, KeyType: RANGE}, ")
        .replace("AttributeDefinitions: [", "AttributeDefinitions: [{AttributeName: sk, AttributeType: S}, ");
    let deployment = deployment_of(&sources);
    let refused = text(deploy(&world, &Person::default(), &deployment, &code("a"), &[], &options()));
    assert!(refused.contains("would lose the data of Thing") && refused.contains("--may-lose"), "{refused}");
    assert!(!world.writes.borrow().iter().any(|write| write.starts_with("execute")));
    let mut options = options();
    options.may_lose = BTreeSet::from(["Thing".to_owned()]);
    deploy(&world, &Person::default(), &deployment, &code("a"), &[], &options).expect("it was named");
}

#[test]
fn what_is_made_is_protected_from_deletion_only_when_it_stands() {
    let mut sources = sources();
    let data = sources.stacks.iter_mut().find(|(file, _)| file == "30-data.yaml").expect("a stack");
    data.1 = data.1.replace("Resources:\n", "  TableDeletionProtection: {Type: String, Default: 'true'}\nResources:\n");
    let (world, deployment) = (World::new(1), deployment_of(&sources));
    world.endings.borrow_mut().push(("dev-centinela-30-data".into(), "ROLLBACK_COMPLETE"));
    let again = || deploy(&world, &Person::default(), &deployment, &code("a"), &[], &options());
    let protection = || {
        let stacks = world.stacks.borrow();
        stacks["dev-centinela-30-data"].parameters.get("TableDeletionProtection").cloned()
    };
    assert!(again().is_err() && protection().is_none());
    again().expect("the second try");
    assert_eq!(protection().as_deref(), Some("true"));
    let of_data = |write: &&String| *write == "execute dev-centinela-30-data";
    assert_eq!(world.writes.borrow().iter().filter(of_data).count(), 3, "failed, made, protected");
    assert_eq!(again().expect("a third").changed, Vec::<String>::new());
}

#[test]
fn what_is_not_agreed_to_leaves_no_trace() {
    let (world, person) = (World::new(1), Person::default());
    person.declines.set(true);
    assert!(matches!(run(&world, &person, "a"), Err(Stopped::Declined(_))));
    assert!(world.stacks.borrow().is_empty(), "not even the shell of a stack");
    assert!(person.heard("+ make Thing"));
}

#[test]
fn a_plan_shows_changes_and_makes_none() {
    let (world, person) = (World::new(1), Person::default());
    plan(&world, &person, &deployment(), &options()).expect("a plan");
    assert!(person.heard("dev-centinela-10-foundation (to be made): 3 resources"));
    assert!(world.writes.borrow().is_empty());

    let (world, person) = (stands(), Person::default());
    let mut sources = sources();
    sources.parameters = sources.parameters.replace("\"EchoUnitsMax\": \"200\"", "\"EchoUnitsMax\": \"300\"");
    plan(&world, &person, &deployment_of(&sources), &options()).expect("a plan");
    assert!(person.heard("dev-centinela-30-data (to be changed, 1 changes)"));
    assert!(person.heard("dev-centinela-50-ops (up to date)"));
    let writes = world.writes.borrow();
    assert!(writes.iter().all(|write| write.starts_with("propose") || write.starts_with("discard")), "{writes:?}");
}

#[test]
fn a_plan_goes_on_behind_a_stack_that_cannot_be_changed_and_says_so_at_the_end() {
    let (world, person) = (stands(), Person::default());
    world.endings.borrow_mut().push(("dev-centinela-30-data".into(), "FAILED"));
    let refused = text(plan(&world, &person, &deployment(), &options()));
    assert!(refused.contains("dev-centinela-30-data: no change set could be made"), "{refused}");
    assert!(person.heard("No export named") && person.heard("dev-centinela-50-ops (up to date)"));
}

#[test]
fn destroy_goes_backwards_names_what_it_keeps_and_can_be_done_again() {
    let world = stands();
    let would_keep = kept(&world, &deployment()).expect("what is kept").kept;
    world.endings.borrow_mut().push(("dev-centinela-30-data".into(), "DELETE_FAILED"));
    let person = Person::default();
    let failed = text(destroy(&world, &person, &deployment(), &options()));
    assert!(
        failed.contains("dev-centinela-30-data cannot be deleted: Thing: dev-centinela-30-data hit a limit"),
        "{failed}"
    );
    let destroyed = destroy(&world, &person, &deployment(), &options()).expect("the second try");
    let foundation = "dev-centinela-10-foundation";
    assert_eq!(destroyed.deleted, ["dev-centinela-30-data", "dev-centinela-20-streaming", foundation]);
    assert!(world.stacks.borrow().is_empty() && world.parameters.borrow().is_empty());
    let kinds: Vec<_> = destroyed.kept.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["AWS::DynamoDB::Table", "AWS::MSK::Cluster", "AWS::S3::Bucket"]);
    assert_eq!(would_keep, destroyed.kept);
}
