//! Many accounts in which anything may go wrong at any time, and what must hold whatever does.

use centinela_rollout::{Stopped, deploy};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::world::{Faults, World};
use crate::{Person, code, deployment, deployment_of, options, sources};

/// Accounts; `CENTINELA_SEEDS` tries more.
const SEEDS: u64 = 300;
/// With faults, a deploy that is run again and again must get through in so many runs.
const RUNS_MAX: u32 = 400;

fn seeds() -> u64 {
    std::env::var("CENTINELA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

/// Runs again and again; whatever ended a run, the next goes on.
fn through(world: &World, rng: &mut ChaCha8Rng, parameters: &str, release: &str) {
    let mut sources = sources();
    sources.parameters = parameters.to_owned();
    let deployment = deployment_of(&sources);
    for _ in 0..RUNS_MAX {
        let person = Person::default();
        person.patience.set(rng.random_bool(0.2).then(|| rng.random_range(0..60)));
        match deploy(world, &person, &deployment, &code(release), &[], &options()) {
            Ok(_) => return,
            Err(Stopped::Declined(why)) => panic!("nobody declined: {why}"),
            Err(_) => {}
        }
    }
    panic!("{RUNS_MAX} runs were not enough");
}

#[test]
fn whatever_goes_wrong_running_it_again_gets_through_and_only_tried_versions_are_ever_live() {
    for seed in 0..seeds() {
        let (world, mut rng) = (World::new(seed), ChaCha8Rng::seed_from_u64(seed));
        world.faults.set(Faults { call: rng.random_range(0.0..0.03), operation: rng.random_range(0.0..0.3) });
        let before = sources().parameters;
        through(&world, &mut rng, &before, "a");
        let after = before.replace("\"EchoEventsMemoryMb\": \"256\"", "\"EchoEventsMemoryMb\": \"512\"");
        through(&world, &mut rng, &after, "b");

        // Without a fault one more run finds nothing to do.
        world.faults.set(Faults::default());
        world.writes.borrow_mut().clear();
        let mut changed = sources();
        changed.parameters = after;
        deploy(&world, &Person::default(), &deployment_of(&changed), &code("b"), &[], &options())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let writes = world.writes.borrow();
        let changing = writes.iter().find(|write| write.starts_with("execute") || write.starts_with("point"));
        assert_eq!(changing, None, "seed {seed}");
        for function in deployment().functions() {
            let functions = world.functions.borrow();
            let live = functions.live_code(&function.name).expect("a live version");
            let now = &functions.get(&function.name).expect("the function").now;
            assert_eq!((live, &live.0), (now, &format!("{}-b", function.package)), "seed {seed}: {}", function.name);
        }
    }
}

#[test]
fn no_deploy_deletes_a_stack_that_stands() {
    for seed in 0..seeds() {
        let (world, mut rng) = (World::new(seed), ChaCha8Rng::seed_from_u64(seed));
        let parameters = sources().parameters;
        through(&world, &mut rng, &parameters, "a");
        world.faults.set(Faults { call: 0.02, operation: 0.3 });
        world.writes.borrow_mut().clear();
        let changed = parameters.replace("\"EchoUnitsMax\": \"200\"", "\"EchoUnitsMax\": \"300\"");
        through(&world, &mut rng, &changed, "b");
        let writes = world.writes.borrow();
        let deleted = writes.iter().find(|write| write.starts_with("delete"));
        assert_eq!(deleted, None, "seed {seed}");
    }
}

#[test]
fn a_broken_release_is_never_left_live_whatever_else_goes_wrong() {
    for seed in 0..seeds() {
        let (world, mut rng) = (World::new(seed), ChaCha8Rng::seed_from_u64(seed));
        let parameters = sources().parameters;
        through(&world, &mut rng, &parameters, "a");
        {
            let mut functions = world.functions.borrow_mut();
            let broken = ["count-events-b".to_owned(), "echo-events-b".to_owned()];
            match seed % 2 {
                0 => functions.broken.extend(broken),
                _ => functions.failing.extend(broken),
            }
        }
        world.faults.set(Faults { call: rng.random_range(0.0..0.1), operation: 0.0 });
        // Where even the way back had no answer, the person is told the command.
        let mut was_told = false;
        for run in 0..20 {
            let person = Person::default();
            let ended = deploy(&world, &person, &deployment(), &code("b"), &[], &options());
            let ended = ended.expect_err("a broken release must not get through").to_string();
            was_told |= ended.contains("update-alias");
            let functions = world.functions.borrow();
            let lives =
                ["dev-count-events", "dev-echo-events"].map(|name| &functions.get(name).expect("a function").live);
            let is_back = lives.iter().all(|live| live.version == "1" && live.share.is_none());
            assert!(is_back || was_told, "seed {seed}, run {run}: {lives:?} after {ended}");
            was_told &= !is_back;
        }
    }
}
