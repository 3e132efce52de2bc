//! A topic, a mapping and several environments under faults, from one seed; and what was wrong at the end.
//!
//! The mapping is as unkind as the documentation allows: one batch per partition in flight, but crashed, cut and partly failed
//! batches come again in any of three readings of AWS's text, a paused poller wakes up with an old batch, an invocation may
//! go on while its batch is already delivered elsewhere, and records are given up and driven again by an operator. Producers send
//! duplicates, other transactions under a used id, forged headers, and times from the future; brokers' clocks step back.

mod findings;
mod happened;
mod mapping;
mod operator;
mod producers;
mod state;

use rand::RngExt;

use crate::fakes::Faults;
use state::STEPS_TO_REST;

pub use findings::Findings;
pub use happened::Happened;
pub use state::World;

/// Steps after which a world that is not at rest never will be.
const STEPS_MAX: usize = 50_000;

impl World {
    /// Runs `events` random events, then lets everything come to an end without faults, and says what is wrong.
    pub fn run(mut self, events: usize) -> (Findings, Happened) {
        for _ in 0..events {
            self.event();
        }
        self.end_of_faults();
        self.rest(STEPS_TO_REST);
        self.everything_gets_too_old();
        self.rest(STEPS_MAX);
        // A healthy mapping goes on, and must find its way out of what the faults left behind.
        for round in 0..5 {
            if round == 3 {
                self.proved_before = self.fakes.shared().now;
            }
            (0..self.partitions.len()).for_each(|index| self.produce_good(index));
            self.rest(STEPS_MAX);
        }
        let findings = self.findings();
        (findings, self.happened)
    }

    fn event(&mut self) {
        match self.rng.random_range(0..1000) {
            0..180 => self.produce(),
            180..320 => {
                self.deliver();
            }
            320..326 => {
                let mut shared = self.fakes.shared();
                shared.outage = !shared.outage;
            }
            326..334 => self.orphan(),
            334..339 => self.wake_paused_poller(),
            339..341 => self.recreate_partition(),
            341..347 => self.crash(),
            347..350 => self.restart_environment(),
            350..356 => self.redrive(),
            356..359 => self.break_or_repair_an_item(),
            359..361 => self.step_back(),
            _ => self.step(),
        }
    }

    fn end_of_faults(&mut self) {
        let mut shared = self.fakes.shared();
        shared.faults = Faults::default();
        shared.outage = false;
        shared.unreadable.clear();
    }

    /// Delivers until nothing is left, for so many steps.
    fn rest(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.invocations.is_empty() {
                self.step();
            } else if !self.deliver() {
                self.look_through_parked();
                if self.given_up.is_empty() && self.looking.is_none() {
                    return;
                }
                self.redrive();
            }
        }
    }
}
