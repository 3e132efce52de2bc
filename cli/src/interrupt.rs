//! Ctrl-C: the first asks to finish, the second to stop at once. SIGTERM counts as Ctrl-C, and so does the end of the terminal
//! (SIGHUP), which asks once however often it is said: the kernel and the shell may both say it, and nobody insists.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::terminal;

/// How long a run may take to stop at once. A write to a pipe that nobody reads takes for ever.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// What a shell says of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// What a person asked for so far.
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// Finish what is in progress, report on it, end.
    pub finish: CancellationToken,
    /// End now.
    pub stop: CancellationToken,
}

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the operating system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        // Under `nohup` the end of the terminal is to be ignored, and a handler would undo that.
        let mut hangups = if ignores_hangups() { None } else { Some(signal(SignalKind::hangup())?) };
        let asked = Self { finish: CancellationToken::new(), stop: CancellationToken::new() };
        let Self { finish, stop } = asked.clone();
        tokio::spawn(async move {
            loop {
                let insists = tokio::select! {
                    _ = interrupts.recv() => true,
                    _ = terminations.recv() => true,
                    Some(_) = async { hangups.as_mut()?.recv().await } => false,
                };
                if !finish.is_cancelled() {
                    finish.cancel();
                    // Standard error may be what nobody reads.
                    tokio::task::spawn_blocking(|| terminal::note("finishing; Ctrl-C again stops at once"));
                } else if insists && !stop.is_cancelled() {
                    stop.cancel();
                    thread::spawn(|| {
                        thread::sleep(STOP_LIMIT);
                        process::exit(INTERRUPTED);
                    });
                }
            }
        });
        Ok(asked)
    }
}

/// Whether this process was started with SIGHUP ignored. Known where there is a procfs.
fn ignores_hangups() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status, SignalKind::hangup()))
}

/// Whether a signal is in the mask of the ignored ones. <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn is_ignored(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_its_bit_in_the_mask() {
        let status = "Name:\tcentinela\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(status, SignalKind::hangup()));
        assert!(!is_ignored(status, SignalKind::interrupt()));
        assert!(!is_ignored("Name:\tcentinela\n", SignalKind::hangup()));
    }
}
