//! JSON of which most passes unread.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::fault::Fault;

/// A JSON object whose values stay text, where they were read, until they are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    pub(super) fn read(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    fn find(&self, name: &str) -> Option<&Cow<'a, RawValue>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A field in the form that is wanted; none when it is absent or has another one.
    pub(super) fn get<'b, T: Deserialize<'b>>(&'b self, name: &str) -> Option<T> {
        serde_json::from_str(self.find(name)?.get()).ok()
    }

    /// The same of a field as it came, which lives as long as the text.
    pub(super) fn get_as_it_came<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        match self.find(name)? {
            Cow::Borrowed(value) => serde_json::from_str(value.get()).ok(),
            Cow::Owned(_) => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    pub(super) fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.remove(name);
        if let Ok(value) = to_raw_value(value) {
            self.0.push((Cow::Owned(name.to_owned()), Cow::Owned(value)));
        }
    }

    /// Takes a field away; says whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != name);
        self.0.len() < before
    }

    /// Sees to it that a field asks for something; says whether the client had asked for it.
    pub(super) fn ask_for(&mut self, name: &str, value: &str) -> bool {
        let asked = self.find(name).is_some_and(|asked| !matches!(asked.get(), "null" | "\"NONE\""));
        if !asked {
            self.set(name, value);
        }
        asked
    }

    pub(super) fn json(&self) -> Option<Bytes> {
        let bytes = self.0.iter().map(|(name, value)| name.len() + value.get().len() + "\"\":,".len()).sum::<usize>();
        let mut json = Vec::with_capacity(bytes + "{}".len());
        serde_json::to_writer(&mut json, self).ok()?;
        Some(json.into())
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, &**value)))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, Cow::Borrowed(value)));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
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
pub(super) fn put_back<'a>(answers: &mut Vec<Object<'a>>, undone: &[usize], answer: &Object<'a>) {
    for index in undone {
        answers.insert((*index).min(answers.len()), answer.clone());
    }
}
