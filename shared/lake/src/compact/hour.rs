//! One hour of a topic.

use std::collections::{BTreeMap, BTreeSet};

use centinela_domain::Millis;
use tracing::{error, warn};

use super::erased::Erased;
use super::merge::{Merge, MergeError, Merged};
use super::{Now, Request, Settings};
use crate::hour::Hour;
use crate::keys::{self, PartName, RawName};
use crate::manifest::{Damaged, Slice, State};
use crate::parquet_read::{FileRows, Unreadable};
use crate::store::{Condition, Listed, ObjectStore, Put, StoreError, Tag};
use crate::table::Table;

/// How often a state or a manifest that somebody else changed meanwhile is tried.
const ATTEMPTS: usize = 5;

/// Why an hour was not compacted. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum HourError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The slice could not be made.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The stored state or manifest cannot be understood.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// A file could not be searched for erased users.
    #[error("the compacted file {key} cannot be searched for erased users")]
    Search {
        /// The file.
        key: String,
        /// Why; none when it is gone.
        #[source]
        source: Option<Unreadable>,
    },
}

/// What happened to an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the report of the run")]
pub struct Outcome {
    pub published: bool,
    pub slices: u64,
    pub rows: u64,
    pub files: u64,
    pub bytes: u64,
    pub raw_objects: u64,
    pub repeated_rows: u64,
    pub erased_rows: u64,
    pub deleted: u64,
    pub unreadable: u64,
    pub conflict: bool,
    pub incomplete: bool,
}

pub(super) struct OneHour<'a, S> {
    pub store: &'a S,
    pub settings: &'a Settings,
    pub table: Table,
    pub hour: Hour,
    /// Which slices, among other things.
    pub request: &'a Request,
    pub erased: &'a Erased,
    pub run: &'a str,
    pub deadline: Millis,
}

/// A state with what it takes to change it.
struct Stored {
    state: State,
    /// None while there is no such object.
    tag: Option<Tag>,
}

/// A slice that was made, and of what.
struct Made {
    number: u32,
    slice: Slice,
    covered: Vec<(String, Tag)>,
    unreadable: Vec<(String, Tag)>,
    before: Option<Slice>,
}

impl<S: ObjectStore> OneHour<'_, S> {
    pub(super) async fn compact(&self, now: &impl Now) -> Result<Outcome, HourError> {
        let mut outcome = Outcome::default();
        let shares = self.settings.shares;
        // What comes to an hour that is shown is little: the first of the runs that share it takes all of it, and the others need not look.
        let is_shown = self.request.is_shared(shares) && self.is_shown().await?;
        let takes = |slice: u32| is_shown || self.request.takes(slice, shares);
        if is_shown && !self.request.takes(0, shares) {
            return Ok(outcome);
        }
        let raw = self.raw().await?;
        let Some(mut stored) = self.load(!raw.is_empty()).await? else { return Ok(outcome) };
        for number in (0..stored.state.slices).filter(|slice| takes(*slice)) {
            let fresh: Vec<_> = raw
                .iter()
                .filter(|(name, listed)| stored.state.slice_of(name.partition) == number && !stored.state.knows(listed))
                .cloned()
                .collect();
            let Some(made) = self.make(&stored.state, number, fresh, now, &mut outcome).await? else { continue };
            match self.commit(stored, &made, now()).await? {
                (after, true) => stored = after,
                (_, false) => {
                    outcome.conflict = true;
                    return Ok(outcome);
                }
            }
            outcome.slices += 1;
            outcome.rows += made.slice.rows;
            outcome.files += made.slice.files.len() as u64;
            outcome.bytes += made.slice.bytes;
            outcome.raw_objects += made.covered.len() as u64;
        }
        let given_up = raw.iter().filter(|(_, object)| stored.state.unreadable.contains_key(&object.key));
        outcome.unreadable += given_up.count() as u64;
        let Some(stored) = self.publish(&mut outcome).await? else {
            outcome.incomplete = true;
            return Ok(outcome);
        };
        // One of the runs that share an hour cleans up after all of them.
        if takes(0) {
            self.clean(stored, &raw, now(), &mut outcome).await?;
        }
        Ok(outcome)
    }

    /// Whether readers are shown the hour.
    async fn is_shown(&self) -> Result<bool, StoreError> {
        let manifest = self.store.get(&keys::manifest(self.table, self.hour), self.deadline).await?;
        Ok(manifest.is_some())
    }

    /// The raw objects of the hour.
    async fn raw(&self) -> Result<Vec<(RawName, Listed)>, StoreError> {
        let folder = keys::raw_folder(self.table, self.hour);
        let listed = self.store.list(&folder, self.deadline).await?;
        let mut raw = Vec::with_capacity(listed.len());
        for object in listed {
            match RawName::parse(self.table, &object.key) {
                Some(name) => raw.push((name, object)),
                None => warn!(key = object.key, "an object among the raw ones has no name of one and is left alone"),
            }
        }
        Ok(raw)
    }

    /// The state, made from the manifest if it is gone; none of an hour that has nothing.
    async fn load(&self, has_raw: bool) -> Result<Option<Stored>, HourError> {
        if let Some(object) = self.store.get(&keys::state(self.table, self.hour), self.deadline).await? {
            return Ok(Some(Stored { state: State::parse(&object.body)?, tag: Some(object.tag) }));
        }
        let manifest = self.store.get(&keys::manifest(self.table, self.hour), self.deadline).await?;
        let state = match manifest {
            Some(manifest) => {
                let text = std::str::from_utf8(&manifest.body).map_err(|_| Damaged::Manifest)?;
                warn!(topic = self.table.topic(), hour = %self.hour, "the state of the hour is gone and is made from its manifest");
                State::recovered(text, self.settings.slices, &self.settings.bucket)?
            }
            None if has_raw => State::new(self.settings.slices),
            None => return Ok(None),
        };
        Ok(Some(Stored { state, tag: None }))
    }

    /// Makes a slice, if there is something to make.
    async fn make(
        &self,
        state: &State,
        number: u32,
        fresh: Vec<(RawName, Listed)>,
        now: &impl Now,
        outcome: &mut Outcome,
    ) -> Result<Option<Made>, HourError> {
        let before = state.done.get(&number).cloned();
        let made = |slice, covered, unreadable| Made { number, slice, covered, unreadable, before: before.clone() };
        if fresh.is_empty() {
            let Some(slice) = &before else {
                let erasures = self.erased.digest().to_owned();
                return Ok(Some(made(Slice { erasures, ..Slice::default() }, Vec::new(), Vec::new())));
            };
            if slice.erasures == self.erased.digest() {
                return Ok(None);
            }
            if !self.has_erased(slice).await? {
                let erasures = self.erased.digest().to_owned();
                return Ok(Some(made(Slice { erasures, ..slice.clone() }, Vec::new(), Vec::new())));
            }
        }
        let files = before.as_ref().map(|slice| slice.files.clone()).unwrap_or_default();
        let objects: Vec<Listed> = fresh.iter().map(|(_, listed)| listed.clone()).collect();
        let merge = Merge {
            store: self.store,
            table: self.table,
            hour: self.hour,
            slice: (number, state.slices),
            run: self.run,
            files: &files,
            raw: fresh,
            erased: self.erased,
            file_bytes_max: self.settings.file_bytes_max,
            deadline: self.deadline,
        };
        let Merged { mut slice, repeated, erased, unreadable } = Box::pin(merge.run()).await?;
        slice.erasures = self.erased.digest().to_owned();
        let Some(lost) = self.lost(&unreadable, now()) else {
            outcome.incomplete = true;
            return Ok(None);
        };
        outcome.repeated_rows += repeated;
        outcome.erased_rows += erased;
        let covered = objects.into_iter().filter(|object| !lost.contains_key(&object.key));
        let covered = covered.map(|object| (object.key, object.tag)).collect();
        Ok(Some(made(slice, covered, lost.into_iter().collect())))
    }

    /// The unreadable objects whose rows no other object has; none while one of them is so young that the archive may still put it
    /// again. On S3 there are no half objects; whatever this one is, the hour does not wait for it for ever.
    fn lost(&self, unreadable: &[(Listed, bool)], now: Millis) -> Option<BTreeMap<String, Tag>> {
        let lost = || unreadable.iter().filter(|(_, elsewhere)| !elsewhere).map(|(object, _)| object);
        if let Some(young) = lost().find(|object| !self.is_over(object.modified.0, now)) {
            warn!(key = young.key, "a raw object cannot be read; the hour waits for it to be put again");
            return None;
        }
        lost().for_each(|object| {
            error!(
                key = object.key,
                "a raw object cannot be read; the hour goes on without it, and takes it in when it is put again"
            );
        });
        Some(lost().map(|object| (object.key.clone(), object.tag.clone())).collect())
    }

    /// Whether the grace time after a moment is over.
    fn is_over(&self, since: i64, now: Millis) -> bool {
        i128::from(now.since(Millis(since))) >= self.settings.grace.as_millis() as i128
    }

    async fn has_erased(&self, slice: &Slice) -> Result<bool, HourError> {
        for key in &slice.files {
            let odd = |source| HourError::Search { key: key.clone(), source };
            let object = self.store.get(key, self.deadline).await?.ok_or_else(|| odd(None))?;
            let mut file = FileRows::open(self.table, object.body).map_err(|source| odd(Some(source)))?;
            while let Some(rows) = file.next_group().map_err(|source| odd(Some(source)))? {
                if rows.iter().any(|row| self.erased.holds(self.table, row)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Stores the state with a slice that was made. When another run changed the state meanwhile, but not this slice, the slice is put
    /// into its state. Returns whether it is stored.
    async fn commit(&self, stored: Stored, made: &Made, now: Millis) -> Result<(Stored, bool), HourError> {
        let mut stored = stored;
        for _ in 0..ATTEMPTS {
            let mut state = stored.state.clone();
            state.done.insert(made.number, made.slice.clone());
            state.cover(made.covered.iter().cloned());
            made.covered.iter().for_each(|(key, _)| drop(state.unreadable.remove(key)));
            state.unreadable.extend(made.unreadable.iter().map(|(key, Tag(tag))| (key.clone(), tag.clone())));
            match self.store_state(state, stored.tag.as_ref(), now).await? {
                Ok(stored) => return Ok((stored, true)),
                Err(state) => {
                    let Some(found) = self.load(true).await? else { continue };
                    if found.state == state {
                        return Ok((found, true));
                    }
                    let is_same = found.state.done.get(&made.number) == made.before.as_ref();
                    let is_covered = |(key, tag): &(String, Tag)| found.state.covered.get(key) == Some(&tag.0);
                    if !is_same || found.state.slices != state.slices || made.covered.iter().any(is_covered) {
                        return Ok((found, false));
                    }
                    stored = found;
                }
            }
        }
        Ok((stored, false))
    }

    /// Puts a state; gives it back when another one is there.
    async fn store_state(
        &self,
        mut state: State,
        tag: Option<&Tag>,
        now: Millis,
    ) -> Result<Result<Stored, State>, HourError> {
        state.generation += 1;
        self.run.clone_into(&mut state.run);
        state.committed_at = now.0;
        let condition = tag.map_or(Condition::Absent, |tag| Condition::Unchanged(tag.clone()));
        let body = state.encode().map_err(Damaged::State)?.into();
        let put = self.store.put(&keys::state(self.table, self.hour), body, condition, self.deadline).await?;
        Ok(match put {
            Put::Done(tag) => Ok(Stored { state, tag: Some(tag) }),
            Put::ConditionFailed => Err(state),
        })
    }

    /// Brings the manifest to what the state says; none while the state is not whole. The manifest is read before the state: so a put
    /// that succeeds follows a state that is not older than the manifest which it replaces.
    async fn publish(&self, outcome: &mut Outcome) -> Result<Option<Stored>, HourError> {
        let key = keys::manifest(self.table, self.hour);
        for _ in 0..ATTEMPTS {
            let shown = self.store.get(&key, self.deadline).await?;
            let Some(stored) = self.load(false).await? else { return Ok(None) };
            if !stored.state.is_whole() || stored.tag.is_none() {
                return Ok(None);
            }
            let wanted = stored.state.manifest(&self.settings.bucket);
            let condition = match shown {
                Some(shown) if shown.body == wanted.as_bytes() => return Ok(Some(stored)),
                Some(shown) => Condition::Unchanged(shown.tag),
                None => Condition::Absent,
            };
            // Read again in any case: an answer may have been lost, and another run may be faster.
            if let Put::Done(_) = self.store.put(&key, wanted.into(), condition, self.deadline).await? {
                outcome.published = true;
            }
        }
        outcome.conflict = true;
        Ok(None)
    }

    /// Deletes what nobody needs any more, once the manifest has stood for the grace time, so that nobody reads by an older one: raw
    /// objects whose rows are in the files, files that were superseded, and files that a run left which did not come to its end.
    async fn clean(
        &self,
        stored: Stored,
        raw: &[(RawName, Listed)],
        now: Millis,
        outcome: &mut Outcome,
    ) -> Result<(), HourError> {
        let Stored { mut state, tag } = stored;
        let shown = self.store.list(&keys::manifest(self.table, self.hour), self.deadline).await?;
        let shown_at = shown.iter().map(|object| object.modified.0).max();
        if !shown_at.is_some_and(|at| self.is_over(at.max(state.committed_at), now)) {
            return Ok(());
        }
        let covered = |object: &Listed| state.covered.get(&object.key) == Some(&object.tag.0);
        let mut gone: Vec<String> =
            raw.iter().filter(|(_, object)| covered(object)).map(|(_, object)| object.key.clone()).collect();
        let files: BTreeSet<&String> = state.files().collect();
        let listed = self.store.list(&keys::part_folder(self.table, self.hour), self.deadline).await?;
        let is_left = |object: &Listed| PartName::parse(&object.key).is_some() && !files.contains(&object.key);
        let left = listed.into_iter().filter(|object| is_left(object) && self.is_over(object.modified.0, now));
        gone.extend(left.map(|object| object.key));
        if !gone.is_empty() {
            self.store.delete(&gone, self.deadline).await?;
            outcome.deleted += gone.len() as u64;
        }
        let before = state.covered.len();
        let gone: BTreeSet<&String> = gone.iter().collect();
        let there: BTreeSet<&String> = raw.iter().map(|(_, object)| &object.key).collect();
        state.covered.retain(|key, _| there.contains(key) && !gone.contains(key));
        if before != state.covered.len() && self.store_state(state, tag.as_ref(), now).await?.is_err() {
            // Another run will do it.
            outcome.conflict = true;
        }
        Ok(())
    }
}
