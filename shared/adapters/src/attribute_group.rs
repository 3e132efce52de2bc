//! State has owners: of an item each function writes only its own attributes, with a version of their own.
//!
//! An owner's first write is conditional on its *version* being absent, not on the item being absent: another owner may have created
//! the item, which then simply has no state of this one.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_user::StoredProblem;
use centinela_scoring::ports::Versioned;
use centinela_wire::dynamodb::{Item, Stored};

pub(crate) const KEY: &str = "pk";

/// Every attribute that is read anywhere here: the owners' groups, and what labels and the index of decisions keep. The others of an item
/// are passed over.
pub(crate) const ATTRIBUTES: &[&str] = &[KEY, "v", "s", "pv", "p", "rv", "r", "o", "d"];

/// Versions count writes and stay far below; a later one is not ours, and there would be none to follow it.
const VERSION_MAX: u64 = 1 << 53;

/// What was read of an item.
pub(crate) type Attributes = Item;

/// The attributes of an item that one owner writes. It never touches the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeGroup {
    /// The number of the owner's writes.
    version: &'static str,
    /// The owner's state, as bytes.
    content: &'static str,
}

/// Why an item cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ItemProblem {
    /// It lacks one attribute of the group, or the attribute has another type.
    #[error("attribute {0} is missing or has the wrong type")]
    Attribute(&'static str),
    /// It was written more often than any item is.
    #[error("attribute {name} is {found}, above {VERSION_MAX}, and no write could follow it; set it lower")]
    Version { name: &'static str, found: u64 },
    /// Its content is not what this version writes.
    #[error(transparent)]
    Content(#[from] StoredProblem),
}

impl AttributeGroup {
    /// What `score-transactions` writes: a user's aggregates, ring and eviction floors; who was seen on a device; a partition's marks.
    pub const DECISIONS: Self = Self { version: "v", content: "s" };
    /// What `track-user-actions` writes: a user's profile.
    pub const PROFILE: Self = Self { version: "pv", content: "p" };
    /// What `apply-labels` writes: the risk of a user and of a device that labels show.
    pub const RISK: Self = Self { version: "rv", content: "r" };

    /// The owner's state; none in an item that only other owners have written. An item with half of the group is damaged, and a first
    /// write over it would lose what the other half says.
    pub(crate) fn read(self, attributes: &mut Attributes) -> Result<Option<Versioned<Vec<u8>>>, ItemProblem> {
        if attributes.get(self.version).is_none() && attributes.get(self.content).is_none() {
            return Ok(None);
        }
        let version = match attributes.get(self.version) {
            Some(Stored::Number(number)) => number.parse().ok(),
            _ => None,
        };
        let version = version.ok_or(ItemProblem::Attribute(self.version))?;
        if version > VERSION_MAX {
            return Err(ItemProblem::Version { name: self.version, found: version });
        }
        match attributes.take(self.content) {
            Some(Stored::Bytes(item)) => Ok(Some(Versioned { version, item })),
            _ => Err(ItemProblem::Attribute(self.content)),
        }
    }

    /// Both attributes' names.
    pub(crate) fn attributes(self) -> Vec<&'static str> {
        vec![self.version, self.content]
    }

    /// Parameters: key, version, content.
    pub(crate) fn insert(self, table: &str) -> String {
        let Self { version, content } = self;
        format!(r#"INSERT INTO "{table}" VALUE {{'{KEY}':?,'{version}':?,'{content}':?}}"#)
    }

    /// Parameters: version, content, key; applied to an item that exists and has no state of this owner.
    pub(crate) fn take_over(self, table: &str) -> String {
        format!("{} IS MISSING AND {} IS MISSING", self.set(table), self.content)
    }

    /// Parameters: version, content, key, the version that was read.
    pub(crate) fn update(self, table: &str) -> String {
        format!("{}=?", self.set(table))
    }

    fn set(self, table: &str) -> String {
        let Self { version, content } = self;
        format!(r#"UPDATE "{table}" SET {version}=? SET {content}=? WHERE {KEY}=? AND {version}"#)
    }

    /// The condition of a single write: `#v` is the version, `:expected` the one that was read.
    pub(crate) fn condition(expected: Option<u64>) -> &'static str {
        if expected.is_some() { "#v = :expected" } else { "attribute_not_exists(#v) AND attribute_not_exists(#s)" }
    }

    /// What stands behind `#v` and `#s`.
    pub(crate) fn names(self) -> [(&'static str, &'static str); 2] {
        [("#v", self.version), ("#s", self.content)]
    }
}

pub(crate) fn key_of(key: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([(KEY.to_owned(), AttributeValue::S(key.to_owned()))])
}

pub(crate) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_owner_reads_is_read() {
        for group in [AttributeGroup::DECISIONS, AttributeGroup::PROFILE, AttributeGroup::RISK] {
            assert!(group.attributes().iter().all(|name| ATTRIBUTES.contains(name)), "{group:?}");
        }
    }
}
