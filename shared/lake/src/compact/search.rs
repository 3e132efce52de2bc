//! The search of every hour that there ever was for erased users, which may take several runs.

use bytes::Bytes;
use centinela_domain::Millis;
use serde::{Deserialize, Serialize};

use super::erased::Erased;
use crate::hour::Hour;
use crate::keys;
use crate::store::{Condition, ObjectStore, StoreError};
use crate::table::Table;

/// How far it has come. What another run notes meanwhile is overwritten: an hour is searched twice then, at worst.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Search {
    /// Whom it is for, see [`Erased::digest`].
    erasures: String,
    /// Every hour up to this one is done.
    through: String,
    /// All hours are done that were there.
    complete: bool,
}

impl Search {
    /// How far it is with these users. What cannot be read begins anew.
    pub(super) async fn load(
        store: &impl ObjectStore,
        table: Table,
        erased: &Erased,
        deadline: Millis,
    ) -> Result<Self, StoreError> {
        let noted = store.get(&keys::search(table), deadline).await?;
        let noted: Option<Self> = noted.and_then(|object| serde_json::from_slice(&object.body).ok());
        let same = noted.filter(|noted| noted.erasures == erased.digest());
        Ok(same.unwrap_or_else(|| Self { erasures: erased.digest().to_owned(), ..Self::default() }))
    }

    /// Whether there is nothing to do.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether an hour is done.
    pub(super) fn is_behind(&self, hour: Hour) -> bool {
        Hour::parse(&self.through).is_some_and(|through| hour <= through)
    }

    /// Notes how far it has come: `done` is the last hour before the first that failed.
    pub(super) async fn note(
        mut self,
        store: &impl ObjectStore,
        table: Table,
        done: Option<Hour>,
        complete: bool,
        deadline: Millis,
    ) -> Result<(), StoreError> {
        if let Some(done) = done.filter(|done| !self.is_behind(*done)) {
            self.through = done.to_string();
        }
        self.complete = complete;
        let body = serde_json::to_vec(&self).map(Bytes::from).unwrap_or_default();
        store.put(&keys::search(table), body, Condition::None, deadline).await.map(drop)
    }
}
