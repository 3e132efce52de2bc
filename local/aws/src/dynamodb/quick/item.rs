//! Items as they travel: in JSON, the bytes in base64 as they came, with a note of where each attribute stands.

use std::ops::Range;
use std::sync::Arc;

use base64_simd::STANDARD;
use dynoxide::AttributeValue;

/// Most digits of a number that is kept as it was written; the engine says how larger ones are.
const DIGITS_MAX: usize = 19;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A whole number, as DynamoDB writes it.
    Number,
    Bytes,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "S",
            Self::Number => "N",
            Self::Bytes => "B",
        }
    }
}

/// A value of an attribute.
#[derive(Clone, Debug)]
pub(super) struct Value {
    kind: Kind,
    /// A JSON string.
    json: Box<str>,
    /// Bytes that it is charged for.
    size: usize,
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        let mut json = Vec::with_capacity(text.len() + 2);
        push_text(&mut json, text);
        let json = String::from_utf8(json).unwrap_or_default().into();
        Self { kind: Kind::Text, json, size: text.len() }
    }

    /// A number; none when DynamoDB might write it in another way.
    pub(super) fn number(written: &str) -> Option<Self> {
        let digits = written.strip_prefix('-').unwrap_or(written);
        let is_written_so = match digits.as_bytes() {
            b"0" => written == "0",
            [b'1'..=b'9', rest @ ..] => digits.len() <= DIGITS_MAX && rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        let size = || AttributeValue::N(written.to_owned()).size();
        is_written_so.then(|| Self { kind: Kind::Number, json: quoted(written), size: size() })
    }

    /// Bytes in base64; none when it is not written as DynamoDB writes it.
    pub(super) fn bytes(base64: &str) -> Option<Self> {
        STANDARD.check(base64.as_bytes()).ok()?;
        let size = STANDARD.decoded_length(base64.as_bytes()).ok()?;
        Some(Self { kind: Kind::Bytes, json: quoted(base64), size })
    }

    fn of_engine(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::S(text) => Some(Self::text(text)),
            AttributeValue::N(number) => Self::number(number),
            AttributeValue::B(bytes) => Self::bytes(&STANDARD.encode_to_string(bytes)),
            _ => None,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }
}

/// A JSON string of what holds nothing that would have to be escaped.
fn quoted(plain: &str) -> Box<str> {
    ["\"", plain, "\""].concat().into()
}

/// Where an attribute stands in its item.
#[derive(Clone, Debug)]
struct Attribute {
    name: Arc<str>,
    kind: Kind,
    /// The JSON string of its value.
    at: Range<u32>,
    size: u32,
}

/// An item. It is as small as DynamoDB lets it be, so numbers of 32 bits tell all places in it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    json: Box<[u8]>,
    attributes: Box<[Attribute]>,
    /// Bytes that it is charged for.
    size: usize,
}

impl Item {
    /// An item with these attributes, and those of another one that have other names.
    pub(super) fn with(other: Option<&Self>, names: &[Arc<str>], values: &[Value]) -> Self {
        let others = other.map_or(&[][..], |other| &other.attributes);
        let kept = others.iter().filter(|attribute| !names.contains(&attribute.name));
        let kept = kept.map(|attribute| {
            let json = other.map_or("", |other| other.value(attribute));
            (&attribute.name, attribute.kind, json, attribute.size as usize)
        });
        let set = names.iter().zip(values).map(|(name, value)| (name, value.kind, &*value.json, value.size));
        let room =
            other.map_or(0, |other| other.json.len()) + values.iter().map(|value| value.json.len() + 32).sum::<usize>();
        let (mut json, mut attributes) = (Vec::with_capacity(room), Vec::with_capacity(others.len() + names.len()));
        for (name, kind, value, size) in kept.chain(set) {
            json.push(if json.is_empty() { b'{' } else { b',' });
            push_text(&mut json, name);
            json.extend_from_slice(b":{\"");
            json.extend_from_slice(kind.name().as_bytes());
            json.extend_from_slice(b"\":");
            let from = json.len() as u32;
            json.extend_from_slice(value.as_bytes());
            attributes.push(Attribute { name: Arc::clone(name), kind, at: from..json.len() as u32, size: size as u32 });
            json.push(b'}');
        }
        json.push(b'}');
        let size = attributes.iter().map(|attribute| attribute.name.len() + attribute.size as usize).sum();
        Self { json: json.into(), attributes: attributes.into(), size }
    }

    /// An item of the engine; none when it holds other types of values.
    pub(super) fn of_engine(item: &dynoxide::Item) -> Option<Self> {
        let names: Vec<Arc<str>> = item.keys().map(|name| name.as_str().into()).collect();
        let values = item.values().map(Value::of_engine).collect::<Option<Vec<_>>>()?;
        Some(Self::with(None, &names, &values))
    }

    pub(super) fn for_engine(&self) -> dynoxide::Item {
        // It was read or written by the same rules.
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn find(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| *attribute.name == *name)
    }

    /// A value's JSON string.
    fn value(&self, attribute: &Attribute) -> &str {
        let at = attribute.at.start as usize..attribute.at.end as usize;
        self.json.get(at).and_then(|json| std::str::from_utf8(json).ok()).unwrap_or_default()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether an attribute is there with this value.
    pub(super) fn is(&self, name: &str, value: &Value) -> bool {
        let found = self.find(name).filter(|attribute| attribute.kind == value.kind);
        found.is_some_and(|attribute| self.value(attribute) == &*value.json)
    }

    /// A whole number, if an attribute is one.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        let attribute = self.find(name).filter(|attribute| attribute.kind == Kind::Number)?;
        self.value(attribute).trim_matches('"').parse().ok()
    }

    /// The whole item, or only these of its attributes.
    pub(super) fn push_json(&self, json: &mut Vec<u8>, only: Option<&[&str]>) {
        let Some(only) = only else { return json.extend_from_slice(&self.json) };
        json.push(b'{');
        let mut separator: &[u8] = b"";
        for attribute in self.attributes.iter().filter(|attribute| only.contains(&&*attribute.name)) {
            json.extend_from_slice(separator);
            separator = b",";
            push_text(json, &attribute.name);
            json.extend_from_slice(b":{\"");
            json.extend_from_slice(attribute.kind.name().as_bytes());
            json.extend_from_slice(b"\":");
            json.extend_from_slice(self.value(attribute).as_bytes());
            json.push(b'}');
        }
        json.push(b'}');
    }
}

/// A JSON string.
pub(super) fn push_text(json: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail, nor can a text.
    let _written = serde_json::to_writer(json, text);
}
