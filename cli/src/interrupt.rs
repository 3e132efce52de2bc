//! Ctrl-C: the first asks to finish, the second to stop at once. SIGTERM counts as Ctrl-C.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::terminal;

/// What a person asked for so far.
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// Finish what is in progress, account for it, end.
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
        let asked = Self { finish: CancellationToken::new(), stop: CancellationToken::new() };
        let Self { finish, stop } = asked.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                if finish.is_cancelled() {
                    stop.cancel();
                } else {
                    terminal::note("finishing; Ctrl-C again stops at once");
                    finish.cancel();
                }
            }
        });
        Ok(asked)
    }
}
