//! The two requests of a batch as they come, read without a copy. What is not of this form is left to the engine.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::item;

/// `BatchExecuteStatement`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct BatchExecuteStatement<'a> {
    #[serde(borrow)]
    pub(super) statements: Vec<Statement<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Statement<'a> {
    #[serde(borrow)]
    pub(super) statement: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) parameters: Vec<Value<'a>>,
    #[serde(default)]
    pub(super) return_values_on_condition_check_failure: OnFailure,
}

/// What a client wants of an item that does not meet a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum OnFailure {
    #[default]
    #[serde(rename = "NONE")]
    Nothing,
    #[serde(rename = "ALL_OLD")]
    Item,
}

#[derive(Debug, Deserialize)]
pub(super) enum Value<'a> {
    S(#[serde(borrow)] Cow<'a, str>),
    N(#[serde(borrow)] Cow<'a, str>),
    B(#[serde(borrow)] Cow<'a, str>),
}

impl Value<'_> {
    /// As it is kept; none where the engine may have more to say about it.
    pub(super) fn kept(&self) -> Option<item::Value> {
        match self {
            Self::S(text) => Some(item::Value::text(text)),
            Self::N(number) => item::Value::number(number),
            Self::B(base64) => item::Value::bytes(base64),
        }
    }
}

/// `BatchGetItem`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct BatchGetItem<'a> {
    #[serde(borrow)]
    pub(super) request_items: Pairs<'a, Keys<'a>>,
}

/// What is read of a table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Keys<'a> {
    #[serde(borrow)]
    pub(super) keys: Vec<Pairs<'a, Value<'a>>>,
    #[serde(default)]
    pub(super) consistent_read: bool,
    #[serde(borrow, default)]
    projection_expression: Option<Text<'a>>,
    #[serde(borrow, default)]
    expression_attribute_names: Option<Pairs<'a, Text<'a>>>,
}

impl Keys<'_> {
    /// The attributes that are wanted; `Some(None)` for all, none where it is not said in the form of one placeholder for each.
    pub(super) fn projection(&self) -> Option<Option<Vec<&str>>> {
        let (expression, names) = match (&self.projection_expression, &self.expression_attribute_names) {
            (None, None) => return Some(None),
            (Some(Text(expression)), Some(Pairs(names))) => (expression, names),
            _ => return None,
        };
        let named =
            |placeholder: &str| names.iter().find(|(known, _)| *known == placeholder).map(|(_, Text(name))| &**name);
        let wanted =
            expression.split(',').map(|placeholder| named(placeholder.trim())).collect::<Option<Vec<&str>>>()?;
        let is_plain = |(placeholder, Text(name)): &(Cow<'_, str>, Text<'_>)| {
            let letters = placeholder.strip_prefix('#').unwrap_or_default();
            let is_sound = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_sound(letters) && !name.is_empty()
        };
        let mut once = wanted.clone();
        once.sort_unstable();
        once.dedup();
        let is_sound = names.iter().all(is_plain) && once.len() == names.len() && wanted.len() == names.len();
        is_sound.then_some(Some(wanted))
    }
}

/// A text that is not copied where nothing in it is escaped.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object, in the order of its names, each of which it has once.
#[derive(Debug)]
pub(super) struct Pairs<'a, T>(pub(super) Vec<(Cow<'a, str>, T)>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Pairs<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<'a, T>(PhantomData<Pairs<'a, T>>);
        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Object<'a, T> {
            type Value = Pairs<'a, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'a, T>, A::Error> {
                let mut pairs: Vec<(Cow<'a, str>, T)> = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'a>, T>()? {
                    if pairs.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a name comes twice"));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}
