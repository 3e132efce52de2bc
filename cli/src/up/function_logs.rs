//! What the functions print: their metric lines for the report, and every line into a file on request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use centinela_audit::metrics::FunctionMetrics;
use centinela_local::lambda::LogLine;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Reads the lines of one function until its host ends, and writes each into `file`.
pub async fn collect(metrics: FunctionMetrics, mut lines: mpsc::Receiver<Arc<LogLine>>, file: Option<SharedFile>) {
    while let Some(line) = lines.recv().await {
        metrics.take(&line.text);
        if let Some(file) = &file {
            file.write(&line.text).await;
        }
    }
}

/// A file that several functions' lines go into.
#[derive(Clone)]
pub struct SharedFile(Arc<tokio::sync::Mutex<OpenFile>>);

struct OpenFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// Why nothing more is written.
    failure: Option<String>,
}

impl OpenFile {
    fn note(&mut self, outcome: std::io::Result<()>) {
        if let Err(error) = outcome {
            self.failure = Some(format!("the logs cannot be written to {}: {error}", self.path.display()));
        }
    }
}

impl SharedFile {
    /// Creates the file that is asked for, if one is.
    ///
    /// # Errors
    /// [`Failure::Usage`] with what the operating system says.
    pub async fn open(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let file = File::create(path).await;
        let file = file.map_err(|error| Failure::Usage(format!("{} cannot be written: {error}", path.display())))?;
        let open = OpenFile { path: path.to_owned(), file: BufWriter::new(file), failure: None };
        Ok(Some(Self(Arc::new(tokio::sync::Mutex::new(open)))))
    }

    async fn write(&self, line: &str) {
        let mut open = self.0.lock().await;
        if open.failure.is_some() {
            return;
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let outcome = open.file.write_all(&bytes).await;
        open.note(outcome);
    }

    /// Writes what is still in memory; says why not everything could be written.
    pub async fn finish(&self) -> Option<String> {
        let mut open = self.0.lock().await;
        if open.failure.is_none() {
            let outcome = open.file.flush().await;
            open.note(outcome);
        }
        open.failure.clone()
    }
}
