//! Goal: no fault loses or doubles a decision, whatever the order of events.
//! Method: real engines on faulty fakes, interleaved and crashed at any await from a seed; then the verdict.

use std::sync::atomic::{AtomicU64, Ordering};

use centinela_testkit::world::{Findings, Happened, World};

/// Seeds of an ordinary run; `CENTINELA_SEEDS` asks for more.
const SEEDS: u64 = 1_500;
const EVENTS: usize = 700;

#[test]
#[expect(clippy::print_stdout, reason = "says what the faults led to")]
fn no_seed_loses_or_doubles_a_decision() {
    let seeds =
        std::env::var("CENTINELA_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("CENTINELA_SEEDS is a number"));
    let next = AtomicU64::new(0);
    let work = || {
        let mut total = Happened::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return total;
            }
            let run = std::panic::catch_unwind(|| World::seeded(seed).run(EVENTS));
            if !matches!(&run, Ok((findings, _)) if *findings == Findings::default()) {
                // The others need not look further.
                next.store(seeds, Ordering::Relaxed);
            }
            let (findings, happened) = run.unwrap_or_else(|_| panic!("seed {seed}: the run itself failed"));
            assert_eq!(findings, Findings::default(), "seed {seed}");
            total.add(&happened);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let total = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut total = Happened::default();
        for worker in workers {
            // The failure of the seed itself, and not that of a thread.
            total.add(&worker.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure)));
        }
        total
    });
    println!("{seeds} seeds: {total:?}");
    // A run without its faults would prove nothing.
    for (name, count) in total.counts() {
        assert!(count > seeds as usize / 100, "only {count} {name} in {seeds} seeds");
    }
}
