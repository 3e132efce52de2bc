//! What an hour consists of: the manifest that readers open, and the state that the next compaction goes by.
//!
//! The state is the truth and the manifest follows it: a manifest is put only for a state that is stored, on the condition that the
//! manifest is still the one that was read *before* the state. So manifests never go back, whoever puts them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::keys::PartName;
use crate::store::{Listed, Tag};

/// The only layout of the state.
const VERSION: u32 = 1;
/// Slices of an hour at most.
pub const SLICES_MAX: u32 = 1000;

/// An hour of a topic, as far as it is compacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Counts its versions.
    pub generation: u64,
    /// The run that wrote this version: whoever lost the answer to a put recognises its own by it.
    pub run: String,
    /// When it was written, milliseconds since 1970.
    pub committed_at: i64,
    /// Into how many slices the hour's partitions are divided: slice = partition modulo this. It stays as the hour began.
    pub slices: u32,
    /// The slices that were compacted, by number.
    pub done: BTreeMap<u32, Slice>,
    /// Raw objects whose rows are in the files, by key with their tags.
    pub covered: BTreeMap<String, String>,
    /// Raw objects that are not readable and were given up on, by key with their tags.
    pub unreadable: BTreeMap<String, String>,
}

/// A compacted slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Its files, in the order of their rows.
    pub files: Vec<String>,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Which erasures they are free of, as [`Erased::digest`](crate::compact::Erased::digest) names them.
    pub erasures: String,
}

/// A stored state or manifest that cannot be understood: a person must look.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// Not JSON of a state.
    #[error("the state of the hour is not readable")]
    State(#[from] serde_json::Error),
    /// Of another release.
    #[error("the state of the hour has version {0}, this release reads version {VERSION}")]
    Version(u32),
    /// Not a number of slices.
    #[error("the state of the hour says to have {0} slices")]
    Slices(u32),
    /// A line that names no file of the lake.
    #[error("the manifest of the hour names a file that is none of the lake's")]
    Manifest,
}

impl State {
    /// An hour of which nothing is compacted.
    pub fn new(slices: u32) -> Self {
        Self {
            version: VERSION,
            generation: 0,
            run: String::new(),
            committed_at: 0,
            slices: slices.clamp(1, SLICES_MAX),
            done: BTreeMap::new(),
            covered: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        }
    }

    /// Reads a state.
    ///
    /// # Errors
    /// When it is none of this release.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        let state: Self = serde_json::from_slice(bytes)?;
        match state {
            State { version, .. } if version != VERSION => Err(Damaged::Version(version)),
            State { slices, .. } if !(1..=SLICES_MAX).contains(&slices) => Err(Damaged::Slices(slices)),
            state => Ok(state),
        }
    }

    /// A state whose object is gone, from what the manifest says: raw objects that are still there are taken in once more.
    ///
    /// # Errors
    /// When the manifest names something else than files of the lake.
    pub fn recovered(manifest: &str, slices: u32, bucket: &str) -> Result<Self, Damaged> {
        let mut state = Self::new(slices);
        for line in manifest.lines().filter(|line| !line.is_empty()) {
            let key = line.strip_prefix(&format!("s3://{bucket}/")).ok_or(Damaged::Manifest)?;
            let part = PartName::parse(key).ok_or(Damaged::Manifest)?;
            state.slices = part.slices.clamp(1, SLICES_MAX);
            state.done.entry(part.slice).or_default().files.push(key.to_owned());
        }
        // It was shown, so it was whole: a slice without files has no rows.
        for slice in 0..state.slices {
            state.done.entry(slice).or_default();
        }
        Ok(state)
    }

    /// Which slice a partition is in.
    pub fn slice_of(&self, partition: i32) -> u32 {
        partition.unsigned_abs() % self.slices
    }

    /// Whether the rows of a raw object are in the files, or are known to be lost.
    pub fn knows(&self, raw: &Listed) -> bool {
        let same = |tags: &BTreeMap<String, String>| tags.get(&raw.key) == Some(&raw.tag.0);
        same(&self.covered) || same(&self.unreadable)
    }

    /// Whether every slice is there, so that the hour may be shown.
    pub fn is_whole(&self) -> bool {
        (0..self.slices).all(|slice| self.done.contains_key(&slice))
    }

    /// Every file, in order.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        self.done.values().flat_map(|slice| &slice.files)
    }

    /// What readers are shown.
    pub fn manifest(&self, bucket: &str) -> String {
        self.files().map(|key| format!("s3://{bucket}/{key}\n")).collect()
    }

    /// Notes that the rows of raw objects are in the files now.
    pub fn cover(&mut self, raw: impl Iterator<Item = (String, Tag)>) {
        self.covered.extend(raw.map(|(key, Tag(tag))| (key, tag)));
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// Never.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_and_another_release_s_is_refused() {
        let mut state = State::new(4);
        let slice = Slice { files: vec!["lake/x".to_owned()], rows: 3, ..Slice::default() };
        state.done.insert(1, slice.clone());
        state.cover([("raw/x".to_owned(), Tag("t".to_owned()))].into_iter());
        let bytes = state.encode().unwrap();
        assert_eq!(State::parse(&bytes).unwrap(), state);
        let other = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(matches!(State::parse(other.as_bytes()), Err(Damaged::Version(2))));
        assert!(State::parse(b"{").is_err());
        assert!(!state.is_whole());
        for slice in [0, 2, 3] {
            state.done.insert(slice, Slice::default());
        }
        assert!(state.is_whole());
        assert_eq!(state.manifest("b"), "s3://b/lake/x\n");
    }

    #[test]
    fn a_lost_state_is_recovered_from_the_manifest() {
        let files = "s3://b/lake/events/dt=2026-11-22/hour=14/part-002of003-0a-0b.parquet\n";
        let state = State::recovered(files, 2, "b").unwrap();
        assert_eq!((state.slices, state.is_whole(), state.manifest("b")), (3, true, files.to_owned()));
        assert!(State::recovered("s3://other/x\n", 2, "b").is_err());
    }
}
