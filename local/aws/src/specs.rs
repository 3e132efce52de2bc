//! Tables and streams that must exist.

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttrType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

/// A table that must exist. Billing is on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// The name.
    pub name: String,
    /// Name and type of the partition key.
    pub partition_key: (String, AttrType),
    /// Name and type of the sort key, if the table has one.
    pub sort_key: Option<(String, AttrType)>,
    /// The attribute with the expiry time in seconds since 1970, if items expire.
    pub ttl_attribute: Option<String>,
}

/// A stream that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// The name.
    pub name: String,
    /// The number of shards, at least one.
    pub shards: u16,
}
