//! Items as functions store them: opaque groups of bytes, each with a version beside it.

use std::collections::BTreeMap;

/// An item of a table whose key is `pk`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredItem {
    /// Its `pk`.
    pub key: String,
    /// Its binary attributes by name, one for each owner that has written.
    pub groups: BTreeMap<String, Vec<u8>>,
    /// Its texts by name, its key not among them.
    pub texts: BTreeMap<String, String>,
}

impl StoredItem {
    /// An item with one group.
    #[must_use]
    pub fn new(key: &str, group: &str, bytes: Vec<u8>) -> Self {
        let groups = BTreeMap::from([(group.to_owned(), bytes)]);
        Self { key: key.to_owned(), groups, texts: BTreeMap::new() }
    }

    /// A text, if the item has it.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The bytes of a group, if its owner has written any.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&[u8]> {
        self.groups.get(name).map(Vec::as_slice)
    }
}

/// The attribute with the version of a group that an owner has; other attributes have none.
pub(crate) fn version_of(group: &str) -> Option<&'static str> {
    match group {
        "s" => Some("v"),
        "p" => Some("pv"),
        "r" => Some("rv"),
        _ => None,
    }
}
