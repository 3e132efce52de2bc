//! The brake over a Lambda in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use centinela_brake::{Alerts, Brake, Control, ControlError, MainJob, Mapping, Outcome, Plans, Report, Request};
use centinela_domain::Millis;
use centinela_testkit::schedule::run;

const PLANS: &str = r#"[
  {"alarm":"p-brake-writes","kind":"cost","steps":[
    {"function":"side","mappings":"off"},
    {"function":"main","mappings":"off"},
    {"function":"lake","concurrency":1,"released":30}]},
  {"alarm":"p-brake-flood","kind":"runaway","steps":[
    {"function":"side","mappings":"off","source":"actions"},
    {"function":"main","mappings":"off"},
    {"function":"gone","mappings":"off"}]}]"#;

/// What runs, and what was said.
#[derive(Debug, Default)]
struct World {
    mappings: Mutex<BTreeMap<String, (String, Mapping)>>,
    concurrency: Mutex<BTreeMap<String, Option<u32>>>,
    said: Mutex<Vec<String>>,
    changes: Mutex<usize>,
    is_down: bool,
    is_mute: bool,
}

impl World {
    fn new() -> Self {
        let world = Self::default();
        for (function, source) in [("side", "actions"), ("side", "events"), ("main", "transactions")] {
            let id = format!("{function}-{source}");
            let mapping = Mapping { id: id.clone(), source: source.to_owned(), state: "Enabled".to_owned() };
            world.mappings.lock().expect("a lock").insert(id, (function.to_owned(), mapping));
        }
        world.concurrency.lock().expect("a lock").insert("lake".to_owned(), Some(30));
        world
    }

    /// Which mappings are off, and the lake's concurrency.
    fn state(&self) -> (Vec<String>, Option<u32>) {
        let mappings = self.mappings.lock().expect("a lock");
        let off = mappings.values().filter(|(_, mapping)| !mapping.is_on()).map(|(_, mapping)| mapping.id.clone());
        (off.collect(), self.concurrency.lock().expect("a lock")["lake"])
    }

    fn changes(&self) -> usize {
        *self.changes.lock().expect("a lock")
    }
}

impl Control for World {
    async fn mappings(&self, function: &str, _deadline: Millis) -> Result<Vec<Mapping>, ControlError> {
        if self.is_down {
            return Err(ControlError::Unavailable("nobody there".into()));
        }
        let mappings = self.mappings.lock().expect("a lock");
        Ok(mappings.values().filter(|(of, _)| of == function).map(|(_, mapping)| mapping.clone()).collect())
    }

    async fn set_mapping(&self, id: &str, is_on: bool, _deadline: Millis) -> Result<(), ControlError> {
        *self.changes.lock().expect("a lock") += 1;
        let mut mappings = self.mappings.lock().expect("a lock");
        let (_, mapping) = mappings.get_mut(id).ok_or(ControlError::Missing("no mapping".into()))?;
        mapping.state = if is_on { "Enabling" } else { "Disabling" }.to_owned();
        Ok(())
    }

    async fn concurrency(&self, function: &str, _deadline: Millis) -> Result<Option<u32>, ControlError> {
        let known = self.concurrency.lock().expect("a lock");
        known.get(function).copied().ok_or(ControlError::Missing("no function".into()))
    }

    async fn set_concurrency(&self, function: &str, to: Option<u32>, _deadline: Millis) -> Result<(), ControlError> {
        *self.changes.lock().expect("a lock") += 1;
        self.concurrency.lock().expect("a lock").insert(function.to_owned(), to);
        Ok(())
    }
}

impl Alerts for World {
    async fn publish(&self, subject: &str, message: &str, _deadline: Millis) -> Result<(), ControlError> {
        assert!(subject.len() <= 100 && subject.is_ascii(), "{subject}");
        if self.is_mute {
            return Err(ControlError::Refused("no grant".into()));
        }
        self.said.lock().expect("a lock").push(message.to_owned());
        Ok(())
    }
}

fn brake(main_job: MainJob) -> Brake {
    let plans = Plans::parse(PLANS).expect("plans");
    Brake { plans, main_function: "main".to_owned(), main_job, only_says: false }
}

fn ask(brake: &Brake, request: &Request, world: &World) -> Report {
    run(brake.carry_out(request, world, world, Millis(0))).expect("it names a plan")
}

fn alarm(name: &str) -> Request {
    Request::Alarm { name: name.to_owned(), reason: "threshold crossed".to_owned() }
}

fn release(alarm: Option<&str>) -> Request {
    Request::Release { alarm: alarm.map(str::to_owned), dry_run: false, main_job: false }
}

#[test]
fn an_alarm_of_cost_brakes_everything_but_the_main_job_and_one_word_takes_it_back() {
    let (world, brake) = (World::new(), brake(MainJob::Runaway));
    let report = ask(&brake, &alarm("p-brake-writes"), &world);
    assert_eq!(world.state(), (vec!["side-actions".to_owned(), "side-events".to_owned()], Some(1)));
    assert_eq!((report.count(Outcome::Done), report.count(Outcome::Kept), report.alerted), (3, 1, true));
    let said = world.said.lock().expect("a lock").join("\n");
    for word in
        ["threshold crossed", "p-brake-writes", "mapping of actions", "30 -> 1", "it is the main job", "release"]
    {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    let report = ask(&brake, &release(None), &world);
    assert_eq!(world.state(), (Vec::new(), Some(30)));
    assert!(report.alerted && report.count(Outcome::Failed) == 0, "{report:?}");
}

#[test]
fn an_alarm_that_is_delivered_twice_changes_nothing_the_second_time() {
    let (world, brake) = (World::new(), brake(MainJob::Never));
    ask(&brake, &alarm("p-brake-writes"), &world);
    let changes = world.changes();
    let again = ask(&brake, &alarm("p-brake-writes"), &world);
    assert_eq!((world.changes(), again.count(Outcome::Already), again.count(Outcome::Done)), (changes, 3, 0));
}

#[test]
fn the_main_job_is_stopped_only_where_it_was_told_so() {
    let stopped = |main_job, name: &str| {
        let world = World::new();
        ask(&brake(main_job), &alarm(name), &world);
        world.state().0.contains(&"main-transactions".to_owned())
    };
    for (main_job, at_cost, at_runaway) in
        [(MainJob::Never, false, false), (MainJob::Runaway, false, true), (MainJob::Always, true, true)]
    {
        assert_eq!(
            (stopped(main_job, "p-brake-writes"), stopped(main_job, "p-brake-flood")),
            (at_cost, at_runaway),
            "{main_job:?}"
        );
    }
    let world = World::new();
    let told = Request::Fire { alarm: "writes".to_owned(), dry_run: false, main_job: true };
    ask(&brake(MainJob::Never), &told, &world);
    assert!(world.state().0.contains(&"main-transactions".to_owned()), "an operator's word counts");
    // What it may not stop it does not start either: somebody else has stopped it.
    ask(&brake(MainJob::Never), &release(None), &world);
    assert_eq!(world.state().0, ["main-transactions"]);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let world = World::new();
    let dry = Request::Fire { alarm: "flood".to_owned(), dry_run: true, main_job: true };
    let report = ask(&brake(MainJob::Never), &dry, &world);
    assert_eq!((report.count(Outcome::Would), report.count(Outcome::Missing), world.changes()), (2, 1, 0));
    assert!(!report.alerted && world.said.lock().expect("a lock").is_empty());
    let only_says = Brake { only_says: true, ..brake(MainJob::Always) };
    let report = ask(&only_says, &alarm("p-brake-flood"), &world);
    assert_eq!((report.count(Outcome::Would), world.changes(), report.alerted), (2, 0, true));
    assert!(world.said.lock().expect("a lock")[0].contains("dry run"));
}

#[test]
fn what_is_shown_is_how_things_stand_and_nothing_changes() {
    let (world, brake) = (World::new(), brake(MainJob::Never));
    ask(&brake, &alarm("p-brake-flood"), &world);
    let changes = world.changes();
    let shown = ask(&brake, &Request::Show, &world);
    assert_eq!((shown.count(Outcome::Braked), shown.count(Outcome::Missing), world.changes()), (2, 1, changes));
    assert!(!shown.alerted);
}

/// An operator may type it again; an alarm may not.
#[test]
fn an_operator_who_names_no_plan_is_refused_and_nothing_is_done() {
    let (world, brake) = (World::new(), brake(MainJob::Always));
    let fire = |alarm: &str| Request::Fire { alarm: alarm.to_owned(), dry_run: false, main_job: true };
    for request in [fire("wirtes"), fire(""), release(Some("wirtes"))] {
        let refused = run(brake.carry_out(&request, &world, &world, Millis(0))).expect_err("no plan has this name");
        assert!(refused.to_string().contains("p-brake-writes, p-brake-flood"), "{refused}");
    }
    assert_eq!((world.changes(), world.said.lock().expect("a lock").len()), (0, 0));
}

#[test]
fn what_has_no_plan_is_said_and_what_fails_is_in_the_report() {
    let world = World::new();
    let report = ask(&brake(MainJob::Always), &alarm("another"), &world);
    assert_eq!((report.action, report.alerted, world.changes()), ("nothing", true, 0));
    let down = World { is_down: true, ..World::new() };
    let report = ask(&brake(MainJob::Always), &alarm("p-brake-writes"), &down);
    assert_eq!((report.count(Outcome::Failed), report.count(Outcome::Done)), (2, 1), "the other steps are taken");
    let mute = World { is_mute: true, ..World::new() };
    let report = ask(&brake(MainJob::Never), &alarm("p-brake-writes"), &mute);
    assert!(!report.alerted && report.unsaid.is_some_and(|why| why.contains("no grant")));
    assert_eq!(mute.state().1, Some(1), "it brakes although nobody hears of it");
}
