//! The only place that writes to the terminal: results to standard output, notes about the work to standard error.
//!
//! A terminal that has gone away is no reason to stop a run or to leave its account unwritten, so a failed write is dropped.

use std::io::{IsTerminal, Write, stderr, stdout};

/// Whether somebody is looking at standard output.
pub fn is_watched() -> bool {
    stdout().is_terminal()
}

/// Whether notes and logs go to a terminal, and may be coloured.
pub fn shows_notes() -> bool {
    stderr().is_terminal()
}

/// A result.
pub fn print(text: &str) {
    let mut out = stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// A note about what is happening or went wrong.
pub fn note(text: &str) {
    let mut out = stderr().lock();
    drop(writeln!(out, "centinela: {text}"));
}
