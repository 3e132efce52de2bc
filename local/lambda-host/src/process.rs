//! What the operating system knows about a function's process: its CPU time, its memory and its end.
//!
//! CPU time and memory come from procfs; elsewhere than on Linux they read as zero.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// Clock ticks a second in `/proc/<pid>/stat`: `USER_HZ`, fixed at 100 by every Linux ABI that Lambda or a laptop uses.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of all threads so far. Readable until the process is reaped.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_cpu_time(&stat)
}

/// Fields are counted after the command name, which is in parentheses and may itself contain spaces and parentheses.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user_ticks: u64 = fields.next()?.parse().ok()?;
    let system_ticks: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user_ticks + system_ticks) * 1_000 / TICKS_PER_SECOND))
}

/// Highest resident memory so far, in MB (rounded up). Gone as soon as the process has ended.
pub(super) fn rss_mb_max(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes: u32 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes.div_ceil(1024))
}

/// Lets other processes go first. Threads that the process has not started yet take it over.
pub(super) fn step_back(pid: u32, nice: i32) {
    let process = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if nice == 0 || process.is_none() {
        return;
    }
    if let Err(error) = rustix::process::setpriority_process(process, nice) {
        tracing::warn!(pid, nice, %error, "a function's process does not step back; it competes with the others");
    }
}

/// Sends a signal to the process and everything it started. The caller makes sure that it was not reaped yet.
pub(super) fn signal_group(pid: u32, signal: Signal) {
    let Ok(group) = i32::try_from(pid) else { return };
    if let Err(error) = killpg(Pid::from_raw(group), signal)
        && error != nix::errno::Errno::ESRCH
    {
        tracing::warn!(pid, %signal, %error, "cannot signal a function's process");
    }
}

/// Waits until the process has ended and leaves it unreaped, so that its accounts can still be read.
#[cfg(target_os = "linux")]
pub(super) async fn ended(pid: u32) {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let Ok(raw) = i32::try_from(pid) else { return };
    // A plain thread and not the runtime's blocking pool: the pool would hold up the end of the runtime until the child ends.
    let thread = std::thread::Builder::new().name(format!("await-{pid}")).stack_size(64 * 1024).spawn(move || {
        let waited = loop {
            match waitid(Id::Pid(Pid::from_raw(raw)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other,
            }
        };
        if let Err(error) = waited {
            tracing::warn!(pid, %error, "cannot wait for a function's process; its last CPU time is not counted");
        }
        drop(sender);
    });
    match thread {
        // The sender is only ever dropped, so the error is the message.
        Ok(_) => drop(receiver.await),
        Err(error) => tracing::warn!(pid, %error, "no thread to wait for a process; its last CPU time is not counted"),
    }
}

/// Without procfs there is nothing to read between the end and the reaping.
#[cfg(not(target_os = "linux"))]
pub(super) async fn ended(_pid: u32) {}

/// Takes the process off the system's table.
pub(super) async fn reap(child: &mut Child, pid: u32) -> Option<ExitStatus> {
    match child.wait().await {
        Ok(status) => Some(status),
        Err(error) => {
            tracing::warn!(pid, %error, "the exit status of a function's process is lost");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_command_name_with_parentheses_and_spaces() {
        let stat = "77 (a ) b) S 1 77 77 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(460)));
    }
}
