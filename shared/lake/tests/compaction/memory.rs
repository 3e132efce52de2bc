//! An object store in memory, with a clock, faults, and calls that take turns.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use centinela_domain::Millis;
use centinela_lake::store::{Condition, Listed, Object, ObjectStore, Put, StoreError, Tag};

use crate::world::Chance;

/// What happens to the first call beyond the allowed ones; all later ones fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has no effect.
    Before,
    /// It has its effect, and the caller is gone.
    After,
    /// Its answer is lost and it is asked again: a conditional put meets what it did itself. The run goes on.
    AnsweredTwice,
}

#[derive(Debug)]
struct Stored {
    body: Bytes,
    tag: u64,
    modified: Millis,
}

#[derive(Debug, Default)]
struct Shared {
    objects: BTreeMap<String, Stored>,
    tags: u64,
    now: i64,
}

/// The bucket; every run has a handle of its own.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Shared>>);

impl Memory {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().expect("no panic while locked")
    }

    pub fn now(&self) -> Millis {
        Millis(self.shared().now)
    }

    pub fn set_now(&self, now: Millis) {
        self.shared().now = now.0;
    }

    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.shared().objects.get(key).map(|stored| stored.body.clone())
    }

    pub fn put(&self, key: &str, body: Bytes) -> Tag {
        let mut shared = self.shared();
        shared.tags += 1;
        let (tag, modified) = (shared.tags, Millis(shared.now));
        shared.objects.insert(key.to_owned(), Stored { body, tag, modified });
        Tag(tag.to_string())
    }

    pub fn remove(&self, key: &str) {
        self.shared().objects.remove(key);
    }

    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.shared().objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    fn tag(&self, key: &str) -> Option<Tag> {
        self.shared().objects.get(key).map(|stored| Tag(stored.tag.to_string()))
    }

    fn listed(&self, prefix: &str) -> Vec<Listed> {
        let shared = self.shared();
        let found = shared.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let listed = found.map(|(key, Stored { body, tag, modified })| Listed {
            key: key.clone(),
            tag: Tag(tag.to_string()),
            bytes: body.len() as u64,
            modified: *modified,
        });
        listed.collect()
    }
}

/// What one run sees of the bucket.
pub struct Handle {
    pub memory: Memory,
    /// Calls that are still allowed, and what happens then.
    pub allowed: Mutex<(usize, Option<Fault>)>,
    /// Calls so far.
    pub calls: Mutex<usize>,
    /// Who is next.
    pub chance: Mutex<Chance>,
}

enum Turn {
    Go,
    Fail,
    GoAndFail,
    GoTwice,
}

impl Handle {
    /// Lets others go first, by chance, and says what becomes of the call.
    async fn turn(&self) -> Turn {
        let turns = self.chance.lock().expect("no panic while locked").below(4);
        for _ in 0..turns {
            Yield(false).await;
        }
        *self.calls.lock().expect("no panic while locked") += 1;
        let mut allowed = self.allowed.lock().expect("no panic while locked");
        match *allowed {
            (0, None) => Turn::Fail,
            (0, Some(Fault::Before)) => Turn::Fail,
            (0, Some(Fault::After)) => {
                *allowed = (0, None);
                Turn::GoAndFail
            }
            (0, Some(Fault::AnsweredTwice)) => {
                *allowed = (usize::MAX, None);
                Turn::GoTwice
            }
            (ref mut left, _) => {
                *left -= 1;
                Turn::Go
            }
        }
    }

    async fn call<T>(&self, act: impl Fn(&Memory) -> T) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("the run is cut off".into());
        match self.turn().await {
            Turn::Go => Ok(act(&self.memory)),
            Turn::Fail => Err(gone()),
            Turn::GoAndFail => {
                act(&self.memory);
                Err(gone())
            }
            Turn::GoTwice => {
                act(&self.memory);
                Ok(act(&self.memory))
            }
        }
    }
}

impl ObjectStore for Handle {
    async fn get(&self, key: &str, _: Millis) -> Result<Option<Object>, StoreError> {
        self.call(|memory| Some(Object { body: memory.get(key)?, tag: memory.tag(key)? })).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition, _: Millis) -> Result<Put, StoreError> {
        self.call(|memory| {
            let holds = match (&condition, memory.tag(key)) {
                (Condition::None, _) | (Condition::Absent, None) => true,
                (Condition::Unchanged(wanted), found) => found.as_ref() == Some(wanted),
                (Condition::Absent, Some(_)) => false,
            };
            if holds { Put::Done(memory.put(key, body.clone())) } else { Put::ConditionFailed }
        })
        .await
    }

    async fn list(&self, prefix: &str, _: Millis) -> Result<Vec<Listed>, StoreError> {
        self.call(|memory| memory.listed(prefix)).await
    }

    async fn folders(&self, prefix: &str, _: Millis) -> Result<Vec<String>, StoreError> {
        self.call(|memory| {
            let folder = |key: &String| {
                let rest = key.strip_prefix(prefix)?;
                Some(format!("{prefix}{}", &rest[..=rest.find('/')?]))
            };
            let mut folders: Vec<String> = memory.keys(prefix).iter().filter_map(folder).collect();
            folders.dedup();
            folders
        })
        .await
    }

    async fn delete(&self, keys: &[String], _: Millis) -> Result<(), StoreError> {
        self.call(|memory| keys.iter().for_each(|key| memory.remove(key))).await
    }
}

/// Ready at the second look.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
