//! Results go to standard output, progress to standard error. A reader that has gone away stops nothing.

use std::io::{Write, stderr, stdout};

/// A result.
pub fn print(text: &str) {
    let mut out = stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// A word about the work.
pub fn note(text: &str) {
    let mut out = stderr().lock();
    drop(writeln!(out, "xtask: {text}"));
}
