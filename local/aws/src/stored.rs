//! Items as functions store them: opaque groups of bytes, each with a version beside it.

use std::collections::BTreeMap;

/// An item of a table whose key is `pk`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredItem {
    /// Its `pk`.
    pub key: String,
    /// Its binary attributes by name, one for each owner that has written.
    pub groups: BTreeMap<String, Vec<u8>>,
}

impl StoredItem {
    /// An item with one group.
    #[must_use]
    pub fn new(key: &str, group: &str, bytes: Vec<u8>) -> Self {
        Self { key: key.to_owned(), groups: BTreeMap::from([(group.to_owned(), bytes)]) }
    }

    /// The bytes of a group, if its owner has written any.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&[u8]> {
        self.groups.get(name).map(Vec::as_slice)
    }
}

/// The attribute with the version of a group: the first owner's is `v`, the others have the group's name before it.
pub(crate) fn version_of(group: &str) -> String {
    if group == "s" { "v".to_owned() } else { format!("{group}v") }
}
