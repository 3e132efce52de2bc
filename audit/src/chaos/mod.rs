//! Faults on a running platform, and a table of what they led to.
//!
//! Those of `--chaos` come from a seed: faults of calls and deliveries are drawn per call (`sources`); faults that take a while follow a
//! plan (`plan`). Those of `--kill` and `--redeliver` come evenly (`schedule`) and with every batch. A driver carries out what has a
//! moment, beside the traffic (`driver`), and what a fault leaves behind is undone before the run is judged.

mod driver;
mod faults;
mod gate;
mod kafka;
mod kafka_process;
mod kinds;
mod plan;
mod processes;
mod schedule;
mod sources;
mod surroundings;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use driver::Moments;

pub use driver::Driver;
pub use faults::Faults;
pub use gate::Gate;
pub use kafka_process::KafkaProcess;
pub use kinds::{Kind, Kinds};
pub use schedule::Course;
pub use sources::Sources;
pub use surroundings::{ChaosError, Surroundings};
pub use tally::{FaultLine, Tally};

/// The faults of a run. They begin when a [`Driver`] runs; batches that come again do so from the start.
#[derive(Clone)]
pub struct Chaos {
    /// How often each happened.
    pub tally: Arc<Tally>,
    /// What services and mappings ask.
    pub sources: Arc<Sources>,
    moments: Moments,
}

impl Chaos {
    /// Faults of these kinds when `seed` says, in a run of this length, if it is known.
    pub fn drawn(kinds: Kinds, seed: u64, length: Option<Duration>) -> Self {
        let tally = Arc::new(Tally::default());
        let sources = Arc::new(Sources::new(seed, kinds.clone(), Arc::clone(&tally)));
        Self { tally, sources, moments: Moments::Drawn { kinds, seed, length } }
    }

    /// So many kills of every function process, evenly over a run, and, if asked, every batch once more after it succeeded.
    pub fn even(kills: u32, course: Course, every_batch_again: bool) -> Self {
        let tally = Arc::new(Tally::default());
        let sources = Arc::new(Sources::even(every_batch_again, Arc::clone(&tally)));
        Self { tally, sources, moments: Moments::Even { kills, course } }
    }

    /// What lets them happen.
    pub fn driver<'a>(&self, surroundings: Surroundings<'a>) -> Driver<'a> {
        Driver::new(surroundings, Arc::clone(&self.sources), self.moments.clone())
    }

    /// Whether anything happens at a moment of its own, which takes a driver.
    pub fn has_moments(&self) -> bool {
        !matches!(self.moments, Moments::Even { kills: 0, .. })
    }

    /// Whether they end with the traffic, so that what waits then is worked off without any.
    pub fn ends_with_traffic(&self) -> bool {
        matches!(self.moments, Moments::Drawn { .. })
    }

    /// What is asked for and has no room in a run of this length.
    pub fn left_out(&self, timeout: Duration) -> Option<String> {
        let Moments::Drawn { kinds, length, .. } = &self.moments else { return None };
        let needs = plan::outage_needs(timeout);
        let too_short = length.is_some_and(|length| length < needs) && kinds.has(Kind::Outage);
        too_short.then(|| {
            format!("the fault outage is left out: it needs a run of at least {:.0} s", needs.as_secs_f64().ceil())
        })
    }

    /// Times at which every function process was killed.
    pub fn kills(&self) -> u64 {
        if self.ends_with_traffic() { 0 } else { self.tally.times(Kind::Kill) }
    }

    /// What happened; none of faults without a seed.
    pub fn table(&self) -> Option<Table> {
        let Moments::Drawn { kinds, seed, .. } = &self.moments else { return None };
        Some(Table { seed: *seed, faults: self.tally.lines(kinds) })
    }
}

/// What happened in a run.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The seed that decided.
    pub seed: u64,
    /// A line for each fault that was asked for.
    pub faults: Vec<FaultLine>,
}
