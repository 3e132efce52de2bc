//! Which decisions the lake has: those of compacted files, and of raw objects that are not compacted yet.

use std::collections::{BTreeMap, BTreeSet};

use centinela_domain::Millis;

use crate::hour::Hour;
use crate::keys;
use crate::manifest::Damaged;
use crate::parquet_read::{self, Unreadable};
use crate::row::Cell;
use crate::store::{ObjectStore, StoreError};
use crate::table::Table;

/// Hours in one question: two years.
const HOURS_MAX: usize = 17_600;
/// Who it is, and what it was for.
const COLUMNS: [&str; 3] = ["decision_id", "amount_minor", "currency"];

/// What decisions were for, in minor units of a currency; none of one of which only the answer is left.
pub type Decided = BTreeMap<String, Option<(u64, String)>>;

/// The first hour and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The first.
    pub from: Hour,
    /// The last.
    pub to: Hour,
}

/// Why the lake cannot tell.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object cannot be read, so nobody can say what is not in it.
    #[error("object {key} cannot be read")]
    Unreadable {
        /// The object.
        key: String,
        /// Why not.
        source: Unreadable,
    },
    /// A manifest names something else than files of the lake.
    #[error("the manifest of hour {hour} cannot be read")]
    Manifest {
        /// The hour.
        hour: Hour,
        /// Why not.
        source: Damaged,
    },
    /// A file that a manifest names is gone.
    #[error("object {0} is named by its manifest and is not there: the hour was compacted meanwhile, ask again")]
    Gone(String),
    /// More than anybody means.
    #[error("the hours from {0} to {1} are more than {HOURS_MAX}")]
    TooMany(Hour, Hour),
}

/// Which of the wanted decisions, by their ids as they are written, stand in these hours of the decision tables.
///
/// # Errors
/// When something cannot be read: what it holds is not known then.
pub async fn find<S: ObjectStore>(
    store: &S,
    bucket: &str,
    wanted: &BTreeSet<String>,
    hours: Hours,
    deadline: Millis,
) -> Result<Decided, LookError> {
    let mut found = Decided::new();
    let mut hour = hours.from;
    let mut seen = 0;
    while hour <= hours.to && found.len() < wanted.len() {
        seen += 1;
        if seen > HOURS_MAX {
            return Err(LookError::TooMany(hours.from, hours.to));
        }
        for table in [Table::Approved, Table::Blocked] {
            // The raw objects first: what is compacted meanwhile stands in the manifest that is read afterwards.
            let raw = store.list(&keys::raw_folder(table, hour), deadline).await?;
            for object in raw {
                // One that is gone was compacted, and deleted after the grace time of its hour.
                if let Some(object_found) = look_into(store, table, &object.key, wanted, deadline).await? {
                    found.extend(object_found);
                }
            }
            let Some(manifest) = store.get(&keys::manifest(table, hour), deadline).await? else { continue };
            let prefix = format!("s3://{bucket}/");
            for line in String::from_utf8_lossy(&manifest.body).lines().filter(|line| !line.is_empty()) {
                let key = line.strip_prefix(&prefix);
                let key = key.ok_or(LookError::Manifest { hour, source: Damaged::Manifest })?;
                let in_file = look_into(store, table, key, wanted, deadline).await?;
                found.extend(in_file.ok_or_else(|| LookError::Gone(key.to_owned()))?);
            }
        }
        let next = hour.next();
        if next == hour {
            break;
        }
        hour = next;
    }
    Ok(found)
}

async fn look_into<S: ObjectStore>(
    store: &S,
    table: Table,
    key: &str,
    wanted: &BTreeSet<String>,
    deadline: Millis,
) -> Result<Option<Decided>, LookError> {
    let Some(object) = store.get(key, deadline).await? else { return Ok(None) };
    let mut found = Decided::new();
    let note = |cells: [&Cell; 3]| {
        let text = |cell: &Cell| match cell {
            Cell::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        let [id, amount, currency] = cells;
        let Some(id) = text(id).filter(|id| wanted.contains(id)) else { return };
        let amount = match amount {
            Cell::Int(amount) => u64::try_from(*amount).ok(),
            _ => None,
        };
        found.insert(id, amount.zip(text(currency)));
    };
    parquet_read::each(table, object.body, COLUMNS, note)
        .map_err(|source| LookError::Unreadable { key: key.to_owned(), source })?;
    Ok(Some(found))
}
