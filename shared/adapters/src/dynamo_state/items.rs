//! Attributes of a stored item.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_user::StoredProblem;

pub(super) const KEY: &str = "pk";
pub(super) const VERSION: &str = "v";
pub(super) const CONTENT: &str = "s";

/// Versions count writes and stay far below; a later one is not ours, and there would be none to follow it.
const VERSION_MAX: u64 = 1 << 53;

pub(super) type Attributes = HashMap<String, AttributeValue>;

/// An item whose content is still bytes.
#[derive(Debug)]
pub(super) struct RawItem {
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) content: Vec<u8>,
}

/// Why an item cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ItemProblem {
    /// It lacks an attribute, or the attribute has another type.
    #[error("attribute {0} is missing or has the wrong type")]
    Attribute(&'static str),
    /// It was written more often than any item is.
    #[error("attribute {name} is {0}, above {max}, and no write could follow it; set it lower", name = VERSION, max = VERSION_MAX)]
    Version(u64),
    /// Its content is not what this version writes.
    #[error(transparent)]
    Content(#[from] StoredProblem),
}

/// An item that nobody but a person can repair.
#[derive(Debug, thiserror::Error)]
#[error("the stored item of {kind} {name} cannot be read")]
pub(super) struct CorruptItem {
    pub(super) kind: &'static str,
    pub(super) name: String,
    #[source]
    pub(super) problem: ItemProblem,
}

impl RawItem {
    pub(super) fn parse(mut attributes: Attributes) -> Result<Self, ItemProblem> {
        let Some(AttributeValue::S(key)) = attributes.remove(KEY) else { return Err(ItemProblem::Attribute(KEY)) };
        let version = match attributes.get(VERSION) {
            Some(AttributeValue::N(number)) => number.parse().ok(),
            _ => None,
        };
        let version = version.ok_or(ItemProblem::Attribute(VERSION))?;
        if version > VERSION_MAX {
            return Err(ItemProblem::Version(version));
        }
        let Some(AttributeValue::B(content)) = attributes.remove(CONTENT) else {
            return Err(ItemProblem::Attribute(CONTENT));
        };
        Ok(Self { key, version, content: content.into_inner() })
    }
}

pub(super) fn key_of(key: &str) -> Attributes {
    HashMap::from([(KEY.to_owned(), AttributeValue::S(key.to_owned()))])
}
