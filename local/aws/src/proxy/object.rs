//! JSON of which most passes unread.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::fault::Fault;

/// A JSON object whose values stay text until they are asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Object(BTreeMap<String, Box<RawValue>>);

impl Object {
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// A field in the form that is wanted; none when it is absent or has another one.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    pub(super) fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        if let Ok(raw) = to_raw_value(value) {
            self.0.insert(name.to_owned(), raw);
        }
    }

    /// Takes a field away; says whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Sees to it that a field asks for something; says whether the client had asked for it.
    pub(super) fn ask_for(&mut self, name: &str, value: &str) -> bool {
        let asked = self.0.get(name).is_some_and(|asked| !matches!(asked.get(), "null" | "\"NONE\""));
        if !asked {
            self.set(name, value);
        }
        asked
    }

    pub(super) fn json(&self) -> Option<Bytes> {
        serde_json::to_vec(self).ok().map(Bytes::from)
    }
}

/// Takes the entries out of a batch that a fault leaves undone; says where they were.
pub(super) fn set_aside<T>(entries: &mut Vec<T>, fault: Fault) -> Vec<usize> {
    let undone: Vec<usize> = (0..entries.len()).filter(|index| fault.leaves_undone(*index)).collect();
    let mut index = 0;
    entries.retain(|_| {
        index += 1;
        !fault.leaves_undone(index - 1)
    });
    undone
}

/// Puts an answer for each undone entry back to its place.
pub(super) fn put_back(answers: &mut Vec<Object>, undone: &[usize], answer: &Object) {
    for index in undone {
        answers.insert((*index).min(answers.len()), answer.clone());
    }
}
