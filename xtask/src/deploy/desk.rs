//! The person at the terminal: what is said, what is asked, and Ctrl-C.

use std::io::{BufRead as _, IsTerminal as _, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use centinela_rollout::Desk;

use crate::failure::Failure;
use crate::terminal;

/// A terminal, or nobody.
pub struct Terminal {
    agrees: bool,
    began: Instant,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signals {
    is_interrupted: AtomicBool,
    /// While somebody is asked nothing is at work, and nobody looks at the flag.
    is_asking: AtomicBool,
}

impl Terminal {
    /// `agrees`: to everything, without being asked.
    pub fn new(agrees: bool) -> Result<Self, Failure> {
        let signals = Arc::new(Signals::default());
        let heard = Arc::clone(&signals);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Failed(format!("Ctrl-C cannot be listened to: {error}")))?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                // Where signals cannot be had, Ctrl-C ends the process at once, as it does everywhere.
                while tokio::signal::ctrl_c().await.is_ok() {
                    let is_second = heard.is_interrupted.swap(true, Ordering::SeqCst);
                    if is_second || heard.is_asking.load(Ordering::SeqCst) {
                        std::process::exit(130);
                    }
                    terminal::note("ends after this step; once more ends it at once");
                }
            });
        });
        Ok(Self { agrees, began: Instant::now(), signals })
    }

    /// What the person answers; nothing where nobody is there.
    fn answer(&self, question: &str) -> Option<String> {
        if !stdin().is_terminal() {
            terminal::note(&format!("{question} There is nobody to ask; --yes agrees to everything"));
            return None;
        }
        terminal::print(question);
        self.signals.is_asking.store(true, Ordering::SeqCst);
        let mut line = String::new();
        let read = stdin().lock().read_line(&mut line);
        self.signals.is_asking.store(false, Ordering::SeqCst);
        read.ok().map(|_| line.trim().to_owned())
    }

    /// Whether the person writes this name: more than a key that is pressed by habit.
    pub fn is_named(&self, name: &str) -> bool {
        self.agrees || self.answer(&format!("write {name} to go on: ")).as_deref() == Some(name)
    }
}

impl Desk for Terminal {
    fn say(&self, line: &str) {
        let seconds = self.began.elapsed().as_secs();
        terminal::print(&format!("[{:3}:{:02}] {line}\n", seconds / 60, seconds % 60));
    }

    fn agrees(&self, question: &str) -> bool {
        self.agrees || self.answer(&format!("{question} [y/N] ")).is_some_and(|answer| answer == "y" || answer == "yes")
    }

    fn is_interrupted(&self) -> bool {
        self.signals.is_interrupted.load(Ordering::SeqCst)
    }
}
