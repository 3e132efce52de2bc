//! The only place that writes to the terminal: results to standard output, notes about the work to standard error.
//!
//! A terminal that has gone away is no reason to stop a run or to leave its report unwritten, so a failed write is dropped.

use std::io::{IsTerminal, Write, stderr, stdout};

/// Whether somebody is looking at standard output.
pub fn is_watched() -> bool {
    stdout().is_terminal()
}

/// Whether what was printed to standard output can be drawn over.
pub fn redraws() -> bool {
    is_watched() && std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// Whether logs may be coloured: somebody sees them, and has not asked for none (<https://no-color.org>).
pub fn takes_colours() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|wish| wish.is_empty())
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
