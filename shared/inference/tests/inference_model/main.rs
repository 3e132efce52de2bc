//! The model as its callers see it: parity with the trainer, refusals, explanations, and tract's faults kept at bay.

#![expect(clippy::unwrap_used, reason = "a test without its fixture has nothing to say")]
#![expect(clippy::print_stdout, reason = "what was measured is for whoever runs the tests")]

mod explanations;
mod foreign;
mod forge;
mod parity;
mod refusals;
mod scorer;
mod sound;
mod tract_faults;
mod training;
mod walk;
