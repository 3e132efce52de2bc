//! What the lake needs of an object store.

use std::error::Error;
use std::future::Future;

use bytes::Bytes;
use centinela_domain::Millis;

/// Names what an object was when it was read: S3's entity tag. Another content has another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub String);

/// An object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its bytes.
    pub body: Bytes,
    /// What it is.
    pub tag: Tag,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// What it is. A store may name it here otherwise than when it is read: tags are compared with tags of the same kind of call only.
    pub tag: Tag,
    /// Its size.
    pub bytes: u64,
    /// When it was put, by the store's clock.
    pub modified: Millis,
}

/// What must be so for a put to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// There is no such object.
    Absent,
    /// The object is what was read.
    Unchanged(Tag),
}

/// A put that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is what was put.
    Done(Tag),
    /// It was not as the condition says. After a lost answer that may be because of this very put: read again.
    ConditionFailed,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not in the time that there was; it may have happened. Try again.
    #[error("the object store did not answer in time")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// It never will: a missing grant, a missing bucket.
    #[error("the object store refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Whether it comes at once and will come again: worth waiting before the next try.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// One bucket. Puts are atomic: an object is the whole of what was put or what it was before.
pub trait ObjectStore: Send + Sync {
    /// The object, if there is one.
    fn get(&self, key: &str, deadline: Millis) -> impl Future<Output = Result<Option<Object>, StoreError>> + Send;

    /// Puts an object if the condition holds.
    fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: Condition,
        deadline: Millis,
    ) -> impl Future<Output = Result<Put, StoreError>> + Send;

    /// Every object whose key begins with `prefix`, in the order of the keys.
    fn list(&self, prefix: &str, deadline: Millis) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;

    /// The parts of keys from `prefix`, which ends with a slash, to the next slash, each once and with both slashes.
    fn folders(&self, prefix: &str, deadline: Millis) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

    /// Deletes objects; those that are not there count as deleted.
    fn delete(&self, keys: &[String], deadline: Millis) -> impl Future<Output = Result<(), StoreError>> + Send;
}
