//! Compaction as a model: random raw objects with overlaps, repetitions and late arrivals, half objects, erased users, runs that are cut
//! off after any call, two runs at once. Whoever reads through the manifest must see whole hours, each record once, at any moment.

mod memory;
mod world;

use memory::Fault;
use world::{Run, World};

fn seeds() -> u64 {
    std::env::var("CENTINELA_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(20)
}

/// Goal: no history of arrivals, cuts, crashes and erasures loses, repeats or half shows a record.
/// Method: for every seed a world of some rounds; after each the readers' view is checked, at the end everything is.
#[test]
fn readers_see_whole_hours_and_every_record_once_whatever_happens() {
    for seed in 0..seeds() {
        let mut world = World::new(seed);
        for _ in 0..8 {
            world.arrive();
            let runs = world.some_runs();
            world.run_together(&runs);
            world.check();
            world.pass_time();
        }
        world.end();
    }
}

/// Goal: a crash at any point is harmless.
/// Method: the same world again and again; in each the run is cut off after one call more, once before and once after the call has
/// its effect, and once with an answer that was lost and asked for again.
#[test]
fn a_run_that_is_cut_off_after_any_call_does_no_harm() {
    for fault in [Fault::Before, Fault::After, Fault::AnsweredTwice] {
        for calls in 0.. {
            let mut world = World::new(7);
            world.arrive();
            world.run(&[Run::Whole]);
            world.pass_time();
            world.arrive();
            world.erase_somebody();
            let used = world.run(&[Run::CutOff { calls, fault }]);
            world.check();
            world.run(&[Run::Whole]);
            world.check();
            world.end();
            if used < calls {
                break;
            }
        }
    }
}

/// Goal: two runs at once are as good as one.
/// Method: pairs of runs whose calls interleave by the seed, one of which may be cut off.
#[test]
fn two_runs_at_once_are_as_good_as_one() {
    for seed in 0..seeds() {
        let mut world = World::new(1_000 + seed);
        for round in 0..4 {
            world.arrive();
            let second = match (seed + round) % 3 {
                0 => Run::CutOff { calls: (seed % 23) as usize, fault: Fault::After },
                _ => Run::Whole,
            };
            world.run_together(&[Run::Whole, second, Run::Whole]);
            world.check();
            world.pass_time();
        }
        world.end();
    }
}

/// Goal: what one run has no time for is done by the runs of an hour together, and the hour is shown when the last one has been.
/// Method: a schedule's events at the minutes of its runs; each makes its own share, and afterwards nothing is left to do.
#[test]
fn the_runs_of_a_schedule_share_an_hour() {
    for (slices, shares) in [(6, 6), (4, 2), (12, 4), (3, 6)] {
        let mut world = World::new(11);
        world.divide(slices, shares);
        world.arrive();
        let mut made = 0;
        for run in 0..shares {
            assert_eq!(world.manifest(), None, "{slices} slices, {shares} shares: shown before run {run}");
            let report = world.ask(&format!(r#"{{"time":"2026-11-28T12:{:02}:00Z"}}"#, run * 60 / shares));
            assert_eq!((report.failed, report.unfinished), (0, 0), "{report:?}");
            made += report.slices;
            world.check();
            if made == u64::from(slices) {
                break;
            }
        }
        assert_eq!(made, u64::from(slices), "each slice once");
        assert!(world.manifest().is_some());
        let report = world.report();
        assert_eq!((report.slices, report.incomplete, report.published), (0, 0, 0), "{report:?}");
        // What comes late is the first run's, whichever slice it belongs to.
        world.arrive();
        let report = world.ask(r#"{"time":"2026-11-28T13:59:00Z"}"#);
        assert_eq!((report.slices, report.raw_objects), (0, 0), "{report:?}");
        let report = world.ask(r#"{"time":"2026-11-28T14:00:00Z"}"#);
        assert!(report.slices > 0 && report.published == 1, "{report:?}");
        assert_eq!(world.report().slices, 0);
        world.end();
    }
}

/// Goal: an operator's lost state file costs nothing.
/// Method: delete the state after a run; the next one makes it from the manifest.
#[test]
fn a_state_that_is_gone_is_made_again_from_the_manifest() {
    for seed in 0..10 {
        let mut world = World::new(2_000 + seed);
        world.arrive();
        world.run(&[Run::Whole]);
        world.lose_the_state();
        world.arrive();
        world.run(&[Run::Whole]);
        world.check();
        world.end();
    }
}

/// Goal: an unreadable object that nobody replaces does not keep an hour from its readers for ever, and is not forgotten.
/// Method: one that holds the only copy of a row; before the grace time the hour waits, after it the hour is shown, and counted.
#[test]
fn an_unreadable_object_holds_its_hour_for_the_grace_time_only() {
    let mut world = World::new(3_000);
    world.arrive();
    let key = world.spoil_an_only_copy();
    let report = world.report();
    assert!(report.incomplete > 0, "{report:?}");
    assert!(world.manifest().is_none());
    world.pass_grace();
    let report = world.report();
    assert_eq!((report.unreadable, report.incomplete), (1, 0), "{report:?}");
    assert!(world.manifest().is_some());
    world.pass_grace();
    assert_eq!(world.report().unreadable, 1, "it is counted as long as it is there");
    world.mend(&key);
    world.end();
}
