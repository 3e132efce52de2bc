//! The lake's current files: those that the manifests of its hours name, and no others. A manifest is put when everything of its hour is
//! there, so nobody sees half an hour.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use super::bucket::{Bucket, BucketError};
use super::moment::Moment;
use super::tables::Table;

/// The file of an hour that lists its files, one `s3://BUCKET/KEY` a line.
pub(super) const MANIFEST: &str = "symlink.txt";
/// Files that are fetched at the same time.
const AT_ONCE: usize = 16;
/// Times that an hour is asked for whose files were replaced meanwhile.
const ATTEMPTS: u32 = 3;

/// Where the lake is.
#[derive(Clone, Debug)]
pub(super) enum Lake {
    /// A copy of the bucket in a directory, read where it is.
    Directory(PathBuf),
    /// A bucket, whose files are fetched.
    Bucket(Bucket),
}

/// Why the lake cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LakeError {
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error("{manifest} names `{line}`, which is no s3://BUCKET/KEY; compact its hour again")]
    Line { manifest: String, line: String },
    #[error("{manifest} names {key}, which is not there; copy the lake again, or compact its hour again")]
    Missing { manifest: String, key: String },
    #[error("it would fetch more than {0} GB; narrow it with --since, ask Athena, or raise --fetch-max")]
    TooMuch(u64),
}

/// How much is fetched at most, and how much was.
#[derive(Debug)]
pub(super) struct Budget {
    /// In GB, as it was asked for.
    pub(super) gigabytes: u64,
    /// Bytes so far.
    pub(super) spent: AtomicU64,
}

impl Budget {
    fn spend(&self, bytes: u64) -> Result<(), LakeError> {
        let spent = self.spent.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if spent > self.gigabytes.saturating_mul(1_000_000_000) {
            return Err(LakeError::TooMuch(self.gigabytes));
        }
        Ok(())
    }
}

impl Lake {
    /// The table's current files of every hour from that of `since` on, as files on this machine; what must be fetched is put below
    /// `into`, under its own key.
    ///
    /// # Errors
    /// When the lake cannot be read or is not whole, or `into` cannot be written.
    pub(super) async fn files(
        &self,
        table: &Table,
        since: Option<Moment>,
        into: &Path,
        budget: &Arc<Budget>,
    ) -> Result<Vec<PathBuf>, LakeError> {
        let prefix = format!("manifests/{}/", table.topic());
        let from = since.map(|since| format!("{prefix}{}", since.hour())).unwrap_or_default();
        let manifests = match self {
            Self::Directory(directory) => below(directory, &prefix)?,
            Self::Bucket(bucket) => bucket.list(&prefix).await?,
        };
        let is_read = |key: &String| key.ends_with(&format!("/{MANIFEST}")) && *key >= from;
        let mut waiting = manifests.into_iter().filter(is_read).collect::<Vec<_>>();
        // Backwards, because they are taken from the end.
        waiting.sort_by(|a, b| b.cmp(a));
        let (mut files, mut at_work) = (Vec::new(), JoinSet::new());
        loop {
            while at_work.len() < AT_ONCE
                && let Some(manifest) = waiting.pop()
            {
                let (lake, into, budget) = (self.clone(), into.to_owned(), Arc::clone(budget));
                at_work.spawn(async move { Box::pin(lake.hour(manifest, &into, &budget)).await });
            }
            match at_work.join_next().await {
                None => break,
                Some(Ok(hour)) => files.extend(hour?),
                Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
        files.sort();
        Ok(files)
    }

    /// The files of one hour. Between its manifest and its files somebody may have put a newer one; then it is that one's.
    async fn hour(&self, manifest: String, into: &Path, budget: &Budget) -> Result<Vec<PathBuf>, LakeError> {
        let mut missing = String::new();
        for _ in 0..ATTEMPTS {
            let Some(text) = self.text(&manifest).await? else { return Ok(Vec::new()) };
            match self.local(&keys(&manifest, &text)?, into, budget).await? {
                Ok(files) => return Ok(files),
                Err(key) => missing = key,
            }
        }
        Err(LakeError::Missing { manifest, key: missing })
    }

    async fn text(&self, key: &str) -> Result<Option<String>, LakeError> {
        let bytes: Option<bytes::Bytes> = match self {
            Self::Directory(directory) => Some(read(&directory.join(key))?.into()),
            Self::Bucket(bucket) => bucket.get(key).await?,
        };
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The files of these keys on this machine, or the first that is not there.
    async fn local(
        &self,
        keys: &[String],
        into: &Path,
        budget: &Budget,
    ) -> Result<Result<Vec<PathBuf>, String>, LakeError> {
        let mut files = Vec::with_capacity(keys.len());
        for key in keys {
            let file = match self {
                Self::Directory(directory) => Some(directory.join(key)).filter(|file| file.is_file()),
                Self::Bucket(bucket) => fetched(bucket, key, into, budget).await?,
            };
            let Some(file) = file else { return Ok(Err(key.clone())) };
            files.push(file);
        }
        Ok(Ok(files))
    }
}

/// The keys that a manifest lists. They become paths here, so one that leads elsewhere is refused.
fn keys(manifest: &str, text: &str) -> Result<Vec<String>, LakeError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let key = |line: &str| {
        let key = line.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).map(|(_, key)| key);
        let is_plain = |key: &&str| Path::new(key).components().all(|part| matches!(part, Component::Normal(_)));
        let refused = || LakeError::Line { manifest: manifest.to_owned(), line: line.to_owned() };
        key.filter(is_plain).filter(|key| !key.is_empty()).map(str::to_owned).ok_or_else(refused)
    };
    lines.map(key).collect()
}

async fn fetched(bucket: &Bucket, key: &str, into: &Path, budget: &Budget) -> Result<Option<PathBuf>, LakeError> {
    let file = into.join(key);
    let unwritable = |source| LakeError::Write { path: file.clone(), source };
    let Some(body) = bucket.get(key).await? else { return Ok(None) };
    budget.spend(body.len() as u64)?;
    if let Some(directory) = file.parent() {
        tokio::fs::create_dir_all(directory).await.map_err(unwritable)?;
    }
    tokio::fs::write(&file, &body).await.map_err(unwritable)?;
    Ok(Some(file))
}

fn read(path: &Path) -> Result<Vec<u8>, LakeError> {
    std::fs::read(path).map_err(|source| LakeError::Read { path: path.to_owned(), source })
}

/// Keys of the manifests below a directory: `prefix`, `dt=…`, `hour=…`.
fn below(directory: &Path, prefix: &str) -> Result<Vec<String>, LakeError> {
    let mut found = vec![prefix.trim_end_matches('/').to_owned()];
    for _ in ["dt", "hour"] {
        let mut deeper = Vec::new();
        for key in found {
            let path = directory.join(&key);
            if !path.is_dir() {
                continue;
            }
            let unreadable = |source| LakeError::Read { path: path.clone(), source };
            for entry in std::fs::read_dir(&path).map_err(unreadable)? {
                let name = entry.map_err(unreadable)?.file_name();
                deeper.push(format!("{key}/{}", name.to_string_lossy()));
            }
        }
        found = deeper;
    }
    let manifests = found.into_iter().map(|hour| format!("{hour}/{MANIFEST}"));
    Ok(manifests.filter(|key| directory.join(key).is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_lists_keys_and_nothing_that_leads_elsewhere() {
        let read = |text| keys("m", text).map_err(|error| error.to_string());
        assert_eq!(read("s3://lake/lake/events/a.parquet\n\ns3://lake/b\n").unwrap(), ["lake/events/a.parquet", "b"]);
        assert_eq!(read("").unwrap(), [""; 0]);
        for wrong in [
            "lake/a.parquet",
            "s3://lake",
            "s3://lake/",
            "s3://lake/../../etc/passwd",
            "s3://lake//etc/passwd",
            "{\"files\":[]}",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
