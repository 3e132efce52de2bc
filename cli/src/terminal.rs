//! The only place that writes to the terminal: results to standard output, notes about the work to standard error.
//!
//! A terminal that has gone away is no reason to stop a run or to leave its report unwritten, so a failed write is dropped.

use std::io::{IsTerminal, Result, Write, stderr, stdout};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is drawn at the end of the terminal, and is drawn over next.
static DRAWN: Mutex<String> = Mutex::new(String::new());

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

/// A result. What was drawn before stays above it.
pub fn print(text: &str) {
    let mut drawn = drawn();
    drawn.clear();
    write(text);
}

/// Draws over what was drawn last.
pub fn draw(text: &str) {
    let mut drawn = drawn();
    write(&format!("{}{}", erasing(&drawn), unwrapped(text)));
    text.clone_into(&mut drawn);
}

/// A note about what is happening or went wrong.
pub fn note(text: &str) {
    drop(writeln!(Beside, "centinela: {text}"));
}

/// Standard error. What is said there while something is drawn on the same terminal goes above the drawing: the next one would wipe it out,
/// and leave rows of the last.
pub struct Beside;

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        // Anything else may be what nobody reads, and nobody waits for it who wants to draw.
        if !stderr().is_terminal() {
            return stderr().write_all(bytes);
        }
        let drawn = drawn();
        write(&erasing(&drawn));
        let written = stderr().write_all(bytes);
        if !drawn.is_empty() {
            write(&unwrapped(&drawn));
        }
        written
    }

    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> Result<()> {
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> Result<()> {
        stderr().flush()
    }
}

fn drawn() -> MutexGuard<'static, String> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes to where a text begins that was drawn, and clears from there.
fn erasing(drawn: &str) -> String {
    match drawn.lines().count() {
        0 => String::new(),
        rows => format!("\x1b[{rows}A\x1b[J"),
    }
}

/// Without wrapping: a terminal that is too narrow must not make more rows of it.
fn unwrapped(text: &str) -> String {
    format!("\x1b[?7l{text}\x1b[?7h")
}

fn write(text: &str) {
    if !text.is_empty() {
        let mut out = stdout().lock();
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}
