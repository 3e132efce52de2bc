//! Rules of the guard: what any stream may do to it, and what the two streams do that no model should answer wholesale.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use centinela_domain::guard::{GUARD_USERS_MAX, Ruling, WINDOW_MAX_MS};
use centinela_domain::{Band, Fallback, Guard, Millis, Outcome, Policy};
use proptest::prelude::*;

const T: i64 = 1_790_000_000_000;
const WINDOW_MS: i64 = 60_000;

fn policy() -> Policy {
    Policy::new(0.8, None).unwrap()
}

/// At most one of ten users, of twenty at least.
fn band(fallback: Fallback) -> Band {
    Band::new(WINDOW_MS, 20, 0.1, fallback).unwrap()
}

fn blocked(rulings: &[Ruling]) -> usize {
    rulings.iter().filter(|ruling| ruling.outcome == Outcome::Blocked).count()
}

/// User, hundredths of a score, milliseconds after the last one.
fn streams() -> impl Strategy<Value = Vec<(u32, u8, u16)>> {
    let score = prop_oneof![3 => 0u8..=100, 2 => 81u8..=100, 1 => Just(90u8)];
    prop::collection::vec((0u32..120, score, 0u16..2_000), 1..400)
}

fn ruled(guard: &mut Guard, stream: &[(u32, u8, u16)]) -> Vec<Ruling> {
    let mut now = T;
    let mut rule = |&(user, score, pause): &(u32, u8, u16)| {
        now += i64::from(pause);
        guard.rule(&policy(), user, f32::from(score) / 100.0, Millis(now))
    };
    stream.iter().map(&mut rule).collect()
}

proptest! {
    #[test]
    fn no_stream_is_blocked_more_than_its_band_allows(stream in streams()) {
        let rulings = ruled(&mut Guard::new(band(Fallback::MostSuspicious)), &stream);
        let guarded: Vec<Ruling> = rulings.into_iter().filter(|ruling| ruling.guarded).collect();
        // One of ten, and once two: one of ten of the twenty that are the minimum.
        prop_assert!(blocked(&guarded) <= stream.len() / 10 + 2);
    }

    #[test]
    fn an_answer_is_never_harder_than_the_models_and_within_the_band_it_is_the_models(
        stream in streams(),
        fallback in prop::sample::select(&Fallback::ALL[..]),
    ) {
        let rulings = ruled(&mut Guard::new(band(fallback)), &stream);
        for (ruling, (_, score, _)) in rulings.iter().zip(&stream) {
            let own = policy().decide(f32::from(*score) / 100.0);
            prop_assert!(ruling.outcome <= own);
            prop_assert!(ruling.guarded || ruling.outcome == own);
        }
    }

    #[test]
    fn it_counts_the_newest_answer_of_each_user_of_the_window(stream in streams()) {
        let mut guard = Guard::new(band(Fallback::Approve));
        // Users with the time of their entrance and their newest score.
        let mut window: Vec<(u32, i64, u8)> = Vec::new();
        let mut now = T;
        for (user, score, pause) in stream {
            now += i64::from(pause);
            window.retain(|(_, since, _)| now - since <= WINDOW_MS);
            match window.iter_mut().find(|(known, ..)| *known == user) {
                Some(known) => known.2 = score,
                None => window.push((user, now, score)),
            }
            let ruling = guard.rule(&policy(), user, f32::from(score) / 100.0, Millis(now));
            let wanted = window.iter().filter(|(.., score)| f32::from(*score) / 100.0 > 0.8).count();
            prop_assert_eq!(guard.counted(), (window.len(), wanted));
            prop_assert_eq!(ruling.guarded, wanted > window.len().max(20) / 10);
        }
    }

    #[test]
    fn one_user_never_leaves_the_band_however_often_they_buy(scores in prop::collection::vec(0u8..=100, 1..500)) {
        let stream: Vec<_> = scores.into_iter().map(|score| (7, score, 1)).collect();
        prop_assert!(ruled(&mut Guard::new(band(Fallback::Approve)), &stream).iter().all(|ruling| !ruling.guarded));
    }

    #[test]
    fn what_is_tried_again_is_answered_within_the_same_band(stream in streams(), user in 0u32..120, score in 0u8..=100) {
        let mut guard = Guard::new(band(Fallback::Review));
        ruled(&mut guard, &stream);
        let again = |guard: &mut Guard| guard.rule(&policy(), user, f32::from(score) / 100.0, Millis(T + 5_000_000));
        let (first, second) = (again(&mut guard), again(&mut guard));
        prop_assert_eq!(first, second);
    }
}

#[test]
fn it_comes_back_by_itself_when_the_models_own_rate_does() {
    let mut guard = Guard::new(band(Fallback::Approve));
    let strange: Vec<_> = (0..50).map(|user| (user, 95, 10)).collect();
    let rulings = ruled(&mut guard, &strange);
    assert_eq!(blocked(&rulings), 2, "what the band allows of its minimum");
    assert!(rulings[2..].iter().all(|ruling| ruling.guarded && ruling.outcome == Outcome::Approved));
    // The same users with usual scores, then a thief among them.
    let usual: Vec<_> = (0..50).map(|user| (user, 3, 10)).collect();
    ruled(&mut guard, &usual);
    assert!(!guard.is_outside());
    let ruling = guard.rule(&policy(), 3, 0.9, Millis(T + 1_000));
    assert_eq!(ruling, Ruling { outcome: Outcome::Blocked, guarded: false });
}

#[test]
fn it_comes_back_when_the_strange_users_have_left_the_window() {
    let mut guard = Guard::new(band(Fallback::Approve));
    ruled(&mut guard, &(0..50).map(|user| (user, 95, 10)).collect::<Vec<_>>());
    let ruling = guard.rule(&policy(), 999, 0.9, Millis(T + WINDOW_MS + 1_000));
    assert_eq!(ruling, Ruling { outcome: Outcome::Blocked, guarded: false });
    assert_eq!(guard.counted(), (1, 1));
}

#[test]
fn a_flood_does_not_let_a_more_suspicious_transaction_pass() {
    let mut guard = Guard::new(Band::new(WINDOW_MS, 100, 0.1, Fallback::MostSuspicious).unwrap());
    let flood: Vec<_> = (0..1_000).map(|user| (user, 85, 1)).collect();
    let rulings = ruled(&mut guard, &flood);
    let share = blocked(&rulings);
    // Ten before it was outside, a tenth from then on, and half of the credit.
    assert!((100..=115).contains(&share), "the flood itself is still blocked up to the edge: {share}");
    for thief in 0..4 {
        let ruling = guard.rule(&policy(), 5_000 + thief, 0.99, Millis(T + 2_000));
        assert_eq!(ruling, Ruling { outcome: Outcome::Blocked, guarded: true });
    }
}

#[test]
fn the_edge_is_no_cliff() {
    // Just outside of the band the fallback blocks what the model would block, but for what is above the edge.
    let mut guard = Guard::new(Band::new(WINDOW_MS, 100, 0.1, Fallback::MostSuspicious).unwrap());
    let stream: Vec<_> = (0..1_000).map(|user| (user, if user % 9 == 0 { 95 } else { 5 }, 10)).collect();
    let rulings = ruled(&mut guard, &stream);
    assert!(blocked(&rulings) >= 95, "{} of 112 that the model would block", blocked(&rulings));
}

#[test]
fn review_and_approve_do_what_they_say() {
    for (fallback, outcome) in [(Fallback::Review, Outcome::Review), (Fallback::Approve, Outcome::Approved)] {
        let mut guard = Guard::new(band(fallback));
        let rulings = ruled(&mut guard, &(0..50).map(|user| (user, 95, 10)).collect::<Vec<_>>());
        assert!(rulings[2..].iter().all(|ruling| *ruling == Ruling { outcome, guarded: true }), "{fallback:?}");
    }
    let with_review = Policy::new(0.8, Some(0.5)).unwrap();
    let mut guard = Guard::new(band(Fallback::MostSuspicious));
    let rulings: Vec<_> = (0..50).map(|user| guard.rule(&with_review, user, 0.9, Millis(T))).collect();
    assert_eq!(
        rulings.last().map(|ruling| ruling.outcome),
        Some(Outcome::Review),
        "a person looks where there is a band for it"
    );
}

#[test]
fn its_memory_is_bounded_and_the_newest_users_count() {
    let mut guard = Guard::new(Band::new(WINDOW_MAX_MS, 20, 0.1, Fallback::Approve).unwrap());
    for user in 0..20_000 {
        guard.rule(&policy(), user, if user < 10_000 { 0.9 } else { 0.1 }, Millis(T));
    }
    assert_eq!(guard.counted(), (GUARD_USERS_MAX, 0));
}

#[test]
fn a_band_that_makes_no_sense_is_refused() {
    for (window_ms, users_min, rate) in [
        (0, 20, 0.1),
        (WINDOW_MAX_MS + 1, 20, 0.1),
        (WINDOW_MS, 0, 0.1),
        (WINDOW_MS, GUARD_USERS_MAX + 1, 0.1),
        (WINDOW_MS, 20, 0.0),
        (WINDOW_MS, 20, 1.1),
        (WINDOW_MS, 20, f64::NAN),
        (WINDOW_MS, 20, 0.01),
    ] {
        assert!(Band::new(window_ms, users_min, rate, Fallback::Approve).is_err(), "{window_ms} {users_min} {rate}");
    }
}
