//! A model that would block more than its band allows: what becomes of decisions, their bytes and their answers.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use centinela_contracts::decision_v1;
use centinela_contracts::kafka_event::Record;
use centinela_domain::{Band, Decision, Fallback, Outcome};
use centinela_testkit::bench::{Bench, distinct};
use centinela_testkit::builders::transaction;

/// An environment whose model blocks one of five at random, where one of fifty is allowed.
fn strange(fallback: Fallback) -> Bench {
    let mut bench = Bench::new();
    bench.fakes.shared().band = Some(Band::new(600_000, 50, 0.02, fallback).unwrap());
    bench.engine = bench.fakes.engine();
    bench
}

fn records(from: u64, count: u64) -> Vec<Record> {
    (from..from + count).map(|offset| transaction(0, offset, &format!("u{offset}"), &format!("t{offset}"))).collect()
}

fn decisions(bench: &Bench) -> Vec<Decision> {
    let published = bench.published();
    published.iter().map(|out| decision_v1::parse(&out.payload).unwrap().evidence.unwrap()).collect()
}

#[test]
fn outside_of_the_band_decisions_follow_the_fallback_and_say_so() {
    let bench = strange(Fallback::Approve);
    let report = bench.deliver(records(0, 400));
    let decisions = decisions(&bench);
    assert_eq!((report.decided, decisions.len()), (400, 400));
    let first = decisions.iter().position(|decision| decision.guarded).unwrap();
    assert!(first < 50, "the minimum is what a few blocked users are measured by, not what is waited for: {first}");
    assert_eq!(report.guarded, decisions.iter().filter(|decision| decision.guarded).count());
    assert!(report.guarded > 340, "{}", report.guarded);
    for decision in &decisions {
        let own = if decision.score > 0.8 { Outcome::Blocked } else { Outcome::Approved };
        assert_eq!(decision.outcome, if decision.guarded { Outcome::Approved } else { own });
    }
    let above = decisions.iter().filter(|decision| decision.guarded && decision.score > 0.8).count();
    assert!(above > 40, "scores are what the model says: {above} of them would block");
}

#[test]
fn the_most_suspicious_are_still_blocked_up_to_the_bands_edge() {
    let bench = strange(Fallback::MostSuspicious);
    let report = bench.deliver(records(0, 2_000));
    let decisions = decisions(&bench);
    let (blocked, spared): (Vec<&Decision>, Vec<&Decision>) = decisions
        .iter()
        .filter(|decision| decision.guarded && decision.score > 0.8)
        .partition(|decision| decision.outcome == Outcome::Blocked);
    assert!((20..=41).contains(&report.blocked), "{} of 2,000, where 2 % are allowed", report.blocked);
    let mean = |of: &[&Decision]| of.iter().map(|decision| f64::from(decision.score)).sum::<f64>() / of.len() as f64;
    assert!(mean(&blocked) > 0.97 && mean(&spared) < 0.91, "{} {}", mean(&blocked), mean(&spared));
}

#[test]
fn a_replay_of_a_guarded_decision_has_the_same_bytes_and_the_guard_does_not_count_it() {
    let bench = strange(Fallback::Approve);
    let batch = records(0, 200);
    bench.deliver(batch.clone());
    let before = distinct(&bench.published());
    let guarded = decisions(&bench).iter().filter(|decision| decision.guarded).count();
    assert!(guarded > 100);
    // An environment that was never outside of its band answers with what is stored.
    bench.fakes.shared().band = None;
    let other = Bench { engine: bench.fakes.engine(), fakes: bench.fakes.clone() };
    let report = other.deliver(batch);
    assert_eq!((report.replayed, report.decided, report.guarded), (200, 0, 0));
    assert_eq!(distinct(&bench.published()), before);
}

#[test]
fn a_model_within_its_band_decides_alone() {
    let mut bench = Bench::new();
    bench.fakes.shared().band = Some(Band::new(600_000, 50, 0.5, Fallback::Approve).unwrap());
    bench.engine = bench.fakes.engine();
    let report = bench.deliver(records(0, 400));
    assert_eq!((report.decided, report.guarded), (400, 0));
    assert!((40..160).contains(&report.blocked), "{}", report.blocked);
    assert!(decisions(&bench).iter().all(|decision| !decision.guarded));
}
