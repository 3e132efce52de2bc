//! Goal: no fault loses or doubles a decision, whatever the order of events.
//! Method: real engines on faulty fakes, interleaved and crashed at any await from a seed; then the account.

use centinela_testkit::world::{Account, Happened, World};

/// Seeds of an ordinary run; `CENTINELA_SEEDS` asks for more.
const SEEDS: u64 = 3_000;
const EVENTS: usize = 700;

#[test]
#[expect(clippy::print_stdout, reason = "says what the faults led to")]
fn no_seed_loses_or_doubles_a_decision() {
    let mut total = Happened::default();
    let seeds =
        std::env::var("CENTINELA_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("CENTINELA_SEEDS is a number"));
    for seed in 0..seeds {
        let (account, happened) = World::seeded(seed).run(EVENTS);
        assert_eq!(account, Account::default(), "seed {seed}");
        total.answered += happened.answered;
        total.crashed += happened.crashed;
        total.unsettled += happened.unsettled;
        total.replayed += happened.replayed;
        total.stale += happened.stale;
        total.conflicts += happened.conflicts;
        total.tripped += happened.tripped;
        total.holds_settled += happened.holds_settled;
        total.republished += happened.republished;
    }
    println!("{seeds} seeds: {total:?}");
    // A run without its faults would prove nothing.
    for (name, count) in [
        ("crashes", total.crashed),
        ("unsettled records", total.unsettled),
        ("replays", total.replayed),
        ("lost races", total.conflicts),
        ("tripwires", total.tripped),
        ("holds settled by asking", total.holds_settled),
        ("republications", total.republished),
    ] {
        assert!(count > 100, "only {count} {name}");
    }
}
