//! What Centinela costs, beside what others cost: the compute path piece by piece, a floor under it, and the harness that gives every
//! contender the same records on the same Kafka and reads what it answers.
//!
//! Nothing here is part of the product. It decides no transaction of anybody's and judges no decision: whether they are right is what
//! `centinela up` reports.

pub mod compute;
pub mod count;
pub mod floor;
pub mod host;
pub mod measure;
pub mod processes;

use std::io::{Write as _, stderr, stdout};

/// A result, a line of standard output. A reader that has gone away stops nothing.
pub fn print(line: &str) {
    let mut out = stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// A word about the work, on standard error.
pub fn say(line: &str) {
    drop(writeln!(stderr().lock(), "centinela-bench: {line}"));
}
