//! One case: a file that holds an input exactly, or a short recipe of a large one, and what must become of it.
//! `tests/bad-input/README.md` is the description for people.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

/// What must become of an input.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// These decisions, by user id and transaction id, and no others. Whether they approve is left open.
    Decided(Vec<(String, String)>),
    /// On `dead-letters` under this reason code, with the original bytes.
    Parked(String),
    /// The whole invocation fails with this error type; the mapping delivers the batch again.
    Error(String),
    /// The record is listed in the response, to be delivered again; nothing is published.
    Unsettled,
}

impl Fate {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Decided(_) => "decided",
            Self::Parked(_) => "parked",
            Self::Error(_) => "error",
            Self::Unsettled => "unsettled",
        }
    }
}

/// Bytes of an input.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// As they stand there, in UTF-8.
    Text(String),
    /// Any bytes.
    Base64 {
        /// Standard alphabet with padding.
        base64: String,
    },
    /// Parts, one behind the other.
    MadeOf(Vec<Part>),
}

/// A part of a large input.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Part {
    Text(String),
    Repeated {
        repeat: String,
        times: usize,
    },
    /// `#` stands for 0, 1, 2, ...
    Counted {
        counted: String,
        times: usize,
    },
}

impl Input {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64 { base64 } => decoded(base64),
            Self::MadeOf(parts) => parts.iter().flat_map(Part::bytes).collect(),
        }
    }
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Repeated { repeat, times } => repeat.repeat(*times).into_bytes(),
            Self::Counted { counted, times } => {
                (0..*times).map(|n| counted.replace('#', &n.to_string())).collect::<String>().into_bytes()
            }
        }
    }
}

/// An attribute of a stored item, as the DynamoDB API writes it.
#[derive(Clone, Debug, Deserialize)]
pub enum Attribute {
    S(String),
    N(String),
    B(String),
    #[serde(rename = "BOOL")]
    Bool(bool),
    #[serde(rename = "NULL")]
    Null(bool),
    L(Vec<Attribute>),
}

impl Attribute {
    fn value(&self) -> AttributeValue {
        match self {
            Self::S(text) => AttributeValue::S(text.clone()),
            Self::N(number) => AttributeValue::N(number.clone()),
            Self::B(base64) => AttributeValue::B(Blob::new(decoded(base64))),
            Self::Bool(value) => AttributeValue::Bool(*value),
            Self::Null(value) => AttributeValue::Null(*value),
            Self::L(list) => AttributeValue::L(list.iter().map(Self::value).collect()),
        }
    }
}

/// An item that is stored before the record of the case arrives. Its key is the user's, the device's or the partition's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub table: String,
    pub attributes: BTreeMap<String, Attribute>,
    /// One user for each length of `s` below the full one, each with its own record.
    #[serde(default)]
    pub cut_everywhere: bool,
}

impl Item {
    /// The attributes without the key.
    pub fn values(&self) -> BTreeMap<String, AttributeValue> {
        self.attributes.iter().map(|(name, attribute)| (name.clone(), attribute.value())).collect()
    }

    /// How many bytes `s` has.
    pub fn content_bytes(&self) -> usize {
        match self.attributes.get("s") {
            Some(Attribute::B(base64)) => decoded(base64).len(),
            _ => 0,
        }
    }

    /// The attributes with only the first bytes of `s`.
    pub fn cut(&self, length: usize) -> BTreeMap<String, AttributeValue> {
        let mut values = self.values();
        if let Some(AttributeValue::B(content)) = values.get_mut("s") {
            *content = Blob::new(&content.as_ref()[..length]);
        }
        values
    }
}

/// A case as it stands in its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Folder and name, such as `transaction/amount-negative`.
    #[serde(skip)]
    pub path: String,
    /// One sentence for people.
    pub about: String,
    /// Values of records.
    #[serde(default)]
    pub values: Vec<Input>,
    /// Every beginning of the first value as a value of its own, the whole excepted.
    #[serde(default)]
    pub cut_everywhere: bool,
    /// The description of one record in the event.
    pub record: Option<Input>,
    /// A whole event.
    pub event: Option<Input>,
    /// Items that are there already; the record is an ordinary transaction.
    #[serde(default)]
    pub items: Vec<Item>,
    pub fate: Fate,
    /// The decisions say that they were made without the device.
    #[serde(default)]
    pub degraded: bool,
    /// Why the last value is dead-lettered although the first is decided.
    #[serde(default)]
    pub last_parked: Option<String>,
    /// Texts that no log line of the function may hold.
    #[serde(default)]
    pub never_logged: Vec<String>,
}

impl Case {
    /// The file's name without its ending.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The user that the case's transactions name unless they say otherwise.
    pub fn user(&self) -> String {
        format!("user-{}", self.name())
    }
}

/// Reads every case below a folder, in the order of their paths.
pub fn read_all(root: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for folder in ["envelope", "transaction", "stored-user"] {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(folder))
            .unwrap_or_else(|error| panic!("{folder}: {error}"))
            .map(|entry| entry.expect("a readable folder").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        paths.sort();
        for path in paths {
            let text = std::fs::read(&path).expect("a readable file");
            let mut case: Case =
                serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            case.path = format!("{folder}/{stem}");
            let inputs = usize::from(!case.values.is_empty())
                + usize::from(case.record.is_some())
                + usize::from(case.event.is_some())
                + usize::from(!case.items.is_empty());
            assert!(inputs == 1, "{} has {inputs} inputs instead of one", case.path);
            cases.push(case);
        }
    }
    cases
}

fn decoded(base64: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(base64).unwrap_or_else(|_| panic!("`{base64}` is not base64"))
}
