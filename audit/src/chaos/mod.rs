//! `up --chaos`: faults on a running platform, from a seed, and a table of what they led to.
//!
//! Faults of calls and deliveries are drawn per call (`sources`); faults that take a while follow a plan (`plan`), which a driver
//! carries out beside the traffic (`driver`). What a fault leaves behind is undone before the run drains.

mod driver;
mod gate;
mod kinds;
mod plan;
mod sources;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use driver::{Driver, Surroundings};
pub use gate::Gate;
pub use kinds::{Kind, Kinds};
pub use sources::Sources;
pub use tally::{FaultLine, Tally};

/// The faults of a run.
#[derive(Clone)]
pub struct Chaos {
    /// Which ones.
    pub kinds: Kinds,
    /// What decides when.
    pub seed: u64,
    /// The length of the run, if it is known.
    pub length: Option<Duration>,
    /// How often each happened.
    pub tally: Arc<Tally>,
    /// What services and mappings ask.
    pub sources: Arc<Sources>,
}

impl Chaos {
    /// What is asked for and has no room in a run of this length.
    pub fn left_out(&self, timeout: Duration) -> Option<String> {
        let needs = plan::outage_needs(timeout);
        let too_short = self.length.is_some_and(|length| length < needs) && self.kinds.has(Kind::Outage);
        too_short.then(|| {
            format!("the fault outage is left out: it needs a run of at least {:.0} s", needs.as_secs_f64().ceil())
        })
    }

    /// Faults that begin when a [`Driver`] runs.
    pub fn new(kinds: Kinds, seed: u64, length: Option<Duration>) -> Self {
        let tally = Arc::new(Tally::default());
        let sources = Arc::new(Sources::new(seed, kinds.clone(), Arc::clone(&tally)));
        Self { kinds, seed, length, tally, sources }
    }

    /// What happened.
    pub fn table(&self) -> Table {
        Table { seed: self.seed, faults: self.tally.lines(&self.kinds) }
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
