//! What the operating system does for a function's process: its priority, its signals and its end.

use std::process::ExitStatus;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

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
