//! Who is erased, and which rows are theirs.

use std::collections::BTreeSet;

use centinela_domain::Millis;
use sha2::{Digest, Sha256};

use crate::keys::{ERASURES, erased_name, hex};
use crate::row::{Cell, Row};
use crate::store::{ObjectStore, StoreError};
use crate::table::Table;

const USER: &str = "user_id";

/// Users who are erased, by the names of their objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    names: BTreeSet<String>,
    digest: String,
}

impl Erased {
    /// Users by name, see [`erased_name`].
    pub fn of(names: impl IntoIterator<Item = String>) -> Self {
        let names: BTreeSet<String> = names.into_iter().collect();
        let mut hasher = Sha256::new();
        names.iter().for_each(|name| hasher.update(name.as_bytes()));
        let digest = if names.is_empty() { String::new() } else { hex(&hasher.finalize()[..8]) };
        Self { names, digest }
    }

    /// Everybody who is listed in the store.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn listed(store: &impl ObjectStore, deadline: Millis) -> Result<Self, StoreError> {
        let listed = store.list(ERASURES, deadline).await?;
        let name = |key: &str| Some(key.strip_prefix(ERASURES)?.strip_suffix(".json")?.to_owned());
        Ok(Self::of(listed.iter().filter_map(|object| name(&object.key))))
    }

    /// Names this set of users; empty for nobody.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether nobody is erased.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether a row is an erased user's. Where the columns do not say whose it is, the value that could not be read is asked.
    pub fn holds(&self, table: Table, row: &Row) -> bool {
        if self.names.is_empty() {
            return false;
        }
        let original = match row.cell(table, "original") {
            Some(Cell::Bytes(original)) => Some(original),
            _ => row.value.as_ref(),
        };
        match (row.cell(table, USER), original) {
            (Some(Cell::Bytes(user)), _) => self.names.contains(&erased_name(&String::from_utf8_lossy(user))),
            (_, Some(original)) => user_in(original).is_some_and(|user| self.names.contains(&erased_name(&user))),
            _ => false,
        }
    }
}

/// The user whom a broken payload names, as far as that can be told.
fn user_in(value: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        user_id: String,
    }
    if let Ok(Named { user_id }) = serde_json::from_slice(value) {
        return Some(user_id);
    }
    // Not JSON as a whole: the text after the name of the field.
    let text = String::from_utf8_lossy(value);
    let (_, rest) = text.split_once("\"user_id\"")?;
    let (user, _) = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Place;
    use bytes::Bytes;

    #[test]
    fn a_row_is_an_erased_user_s_by_its_column_or_by_the_value_that_could_not_be_read() {
        let erased = Erased::of([erased_name("ana")]);
        let place = Place { partition: 0, offset: 0 };
        let with = |table, value: &str| {
            Row::unreadable(table, place, 0, "odd".to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
        };
        for value in [r#"{"user_id":"ana","amount":-1}"#, r#"{"x":1, "user_id" : "ana", "amount"#] {
            assert!(erased.holds(Table::Transactions, &with(Table::Transactions, value)), "{value}");
        }
        assert!(!erased.holds(Table::Transactions, &with(Table::Transactions, r#"{"user_id":"ben"}"#)));
        let mut row = with(Table::Events, "{}");
        row.cells[3] = "ana".into();
        assert!(erased.holds(Table::Events, &row));
        assert!(!Erased::default().holds(Table::Events, &row));
        let mut letter = with(Table::DeadLetters, "");
        letter.cells[6] = r#"{"user_id":"ana"}"#.into();
        assert!(erased.holds(Table::DeadLetters, &letter));
    }
}
