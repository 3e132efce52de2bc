//! What the functions print, line by line, to whoever listens.
//!
//! A function is never slowed down by a slow listener: a line that finds a listener's queue full is dropped and counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

/// Longest line that is kept in one piece; CloudWatch Logs cuts an event at 256 KB as well.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// Lines that a listener may be behind before lines are dropped.
const QUEUE_LINES_MAX: usize = 16 * 1024;
/// Lines of standard error kept to explain a crash.
const LAST_WORDS_LINES_MAX: usize = 8;

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output: metrics (EMF) and structured logs.
    Stdout,
    /// Standard error: panics and whatever else.
    Stderr,
}

/// One line of a function's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The environment's process.
    pub pid: u32,
    /// Where it was written.
    pub stream: LogStream,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Hands every line to every listener.
#[derive(Default)]
pub(super) struct LogHub {
    listeners: Mutex<Vec<mpsc::Sender<Arc<LogLine>>>>,
    dropped: AtomicU64,
}

impl LogHub {
    pub(super) fn listen(&self) -> mpsc::Receiver<Arc<LogLine>> {
        let (sender, receiver) = mpsc::channel(QUEUE_LINES_MAX);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Lines that a listener missed because it was too far behind.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn publish(&self, line: LogLine) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.is_empty() {
            return;
        }
        let line = Arc::new(line);
        listeners.retain(|listener| match listener.try_send(Arc::clone(&line)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }
}

/// The end of an environment's standard error.
#[derive(Default)]
pub(super) struct LastWords(Mutex<VecDeque<String>>);

impl LastWords {
    fn add(&self, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_WORDS_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(text.chars().take(1024).collect());
    }

    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return "none on standard error".to_owned();
        }
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// Reads one stream of one environment to its end.
pub(super) async fn forward(
    source: impl AsyncRead + Unpin,
    pid: u32,
    stream: LogStream,
    hub: Arc<LogHub>,
    last_words: Arc<LastWords>,
) {
    let mut source = BufReader::with_capacity(16 * 1024, source);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut source).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(pid, ?stream, %error, "the output of an environment cannot be read any more");
                return;
            }
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        if stream == LogStream::Stderr {
            last_words.add(&text);
        }
        hub.publish(LogLine { pid, stream, text });
    }
}
