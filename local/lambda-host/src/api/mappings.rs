//! Event source mappings: which there are, and whether they are enabled.
//!
//! As in AWS a change takes its time and is answered before it is done: the mapping is `Disabling` until its invocations in flight have
//! ended and what is complete is committed, and whatever else is asked of it meanwhile is refused as in use.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html>

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answers::{json_answer, refusal};
use super::{Answer, asked};
use crate::mapping::stream::StreamMapping;
use crate::mapping::{KafkaMapping, MappingError};

/// <https://docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html>
const PAGE_MAX: usize = 100;
/// Why a mapping is as it is, where a person or a program asked for it.
const ASKED_FOR: &str = "USER_INITIATED";
/// Held for something else.
const UPDATING: &str = "Updating";

/// What can be disabled and enabled while it runs.
pub trait SwitchedMapping: Send + Sync {
    /// Takes nothing any more, and lets what is in flight end.
    fn disable(&self) -> BoxFuture<'_, Result<(), MappingError>>;

    /// Goes on where it stopped.
    fn enable(&self) -> BoxFuture<'_, Result<(), MappingError>>;
}

impl SwitchedMapping for KafkaMapping {
    fn disable(&self) -> BoxFuture<'_, Result<(), MappingError>> {
        Box::pin(KafkaMapping::disable(self))
    }

    fn enable(&self) -> BoxFuture<'_, Result<(), MappingError>> {
        Box::pin(KafkaMapping::enable(self))
    }
}

impl SwitchedMapping for StreamMapping {
    fn disable(&self) -> BoxFuture<'_, Result<(), MappingError>> {
        Box::pin(async {
            StreamMapping::disable(self).await;
            Ok(())
        })
    }

    fn enable(&self) -> BoxFuture<'_, Result<(), MappingError>> {
        StreamMapping::enable(self);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Mappings that nobody else may switch meanwhile: they are in use. Dropping it lets them go, enabled.
pub struct HeldMappings(Vec<Arc<Entry>>);

impl Drop for HeldMappings {
    fn drop(&mut self) {
        self.0.iter().for_each(|entry| entry.becomes("Enabled", ASKED_FOR));
    }
}

/// The mappings of this machine.
#[derive(Default)]
pub struct Mappings(RwLock<Vec<Arc<Entry>>>);

struct Entry {
    id: String,
    function: String,
    source_arn: String,
    /// What never changes, in the API's words.
    details: Map<String, Value>,
    mapping: Arc<dyn SwitchedMapping>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    name: &'static str,
    reason: String,
    modified: SystemTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Change {
    enabled: bool,
    #[serde(default, rename = "FunctionName")]
    _function: Option<String>,
}

impl Mappings {
    /// A mapping has started. `details` is what else is said of it, such as `Topics` and `BatchSize`; from it, the function and the source
    /// comes its identifier, which is the same in every run.
    pub fn add(
        &self,
        function: &str,
        function_arn: &str,
        source_arn: &str,
        details: Value,
        mapping: Arc<dyn SwitchedMapping>,
    ) {
        let mut details = if let Value::Object(details) = details { details } else { Map::new() };
        let id = identifier(&format!("{function}\n{source_arn}\n{}", details.get("Topics").unwrap_or(&Value::Null)));
        details.insert("UUID".to_owned(), id.clone().into());
        details.insert("FunctionArn".to_owned(), function_arn.into());
        details.insert("EventSourceArn".to_owned(), source_arn.into());
        let state = State { name: "Enabled", reason: ASKED_FOR.to_owned(), modified: SystemTime::now() };
        let (function, source_arn) = (function.to_owned(), source_arn.to_owned());
        let entry = Entry { id, function, source_arn, details, mapping, state: Mutex::new(state) };
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(entry));
    }

    /// Functions whose mappings are disabled, or on their way.
    #[must_use]
    pub fn disabled(&self) -> Vec<String> {
        let off = |entry: &&Arc<Entry>| matches!(entry.state().name, "Disabled" | "Disabling");
        self.all().iter().filter(off).map(|entry| entry.function.clone()).collect()
    }

    /// Takes hold of the mappings of a Kafka topic, for what needs them enabled and must switch them itself. None when one of them is
    /// disabled, or on its way: then nothing is held.
    #[must_use]
    pub fn hold(&self, topic: &str) -> Option<HeldMappings> {
        let mut held = HeldMappings(Vec::new());
        let reads = |entry: &Arc<Entry>| entry.details.get("Topics").is_some_and(|topics| topics[0] == topic);
        for entry in self.all().into_iter().filter(reads) {
            if !entry.hold() {
                return None;
            }
            held.0.push(entry);
        }
        Some(held)
    }

    /// A mapping by the name of its function, as calls are noted.
    pub(super) fn of(&self, id: &str) -> String {
        self.named(id).map_or_else(|_| "mapping/?".to_owned(), |entry| format!("mapping/{}", entry.function))
    }

    /// Whether the mapping of this topic for this function is there and enabled.
    #[must_use]
    pub fn is_enabled(&self, function: &str, topic: &str) -> bool {
        let reads = |entry: &Entry| entry.details.get("Topics").and_then(|topics| topics.get(0)) == Some(&topic.into());
        let all = self.all();
        let found = all.iter().find(|entry| entry.function == function && reads(entry));
        found.is_some_and(|entry| matches!(entry.state().name, "Enabled" | "Enabling"))
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn named(&self, id: &str) -> Result<Arc<Entry>, Box<Answer>> {
        let found = self.all().into_iter().find(|entry| entry.id == id);
        found.ok_or_else(|| {
            let what = "the resource you requested does not exist; list the event source mappings for those that do";
            Box::new(refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", what))
        })
    }
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn described(&self) -> Value {
        let State { name, reason, modified } = self.state().clone();
        let mut said = self.details.clone();
        let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        said.insert("State".to_owned(), name.into());
        said.insert("StateTransitionReason".to_owned(), reason.into());
        said.insert("LastModified".to_owned(), json!(since_1970.as_secs_f64()));
        said.into()
    }

    /// Announces a change; false when it is so already, and an error while another change is under way.
    fn begin(&self, is_on: bool) -> Result<bool, &'static str> {
        let mut state = self.state();
        let name = match (state.name, is_on) {
            (name @ ("Enabling" | "Disabling" | UPDATING), _) => return Err(name),
            ("Enabled", true) | ("Disabled", false) => return Ok(false),
            (_, true) => "Enabling",
            (_, false) => "Disabling",
        };
        *state = State { name, reason: ASKED_FOR.to_owned(), modified: SystemTime::now() };
        Ok(true)
    }

    /// Whether it was enabled, and now is in use.
    fn hold(&self) -> bool {
        let mut state = self.state();
        let is_on = state.name == "Enabled";
        if is_on {
            state.name = UPDATING;
        }
        is_on
    }

    fn becomes(&self, name: &'static str, reason: &str) {
        *self.state() = State { name, reason: reason.to_owned(), modified: SystemTime::now() };
    }

    /// Carries a change out, which was announced already.
    async fn change(self: Arc<Self>, is_on: bool) {
        let outcome = if is_on { self.mapping.enable().await } else { self.mapping.disable().await };
        match (outcome, is_on) {
            (Ok(()), true) => self.becomes("Enabled", ASKED_FOR),
            (Ok(()), false) => self.becomes("Disabled", ASKED_FOR),
            (Err(error), _) => {
                tracing::warn!(function = self.function, %error, is_on, "a mapping was not switched in order");
                // Either way it takes nothing: what was not committed comes again.
                self.becomes("Disabled", &error.to_string());
            }
        }
    }
}

pub(super) fn list(mappings: &Mappings, query: &str) -> Answer {
    let function = asked(query, "FunctionName");
    let function = function.as_deref().map(|named| {
        let name = named.rsplit_once("function:").map_or(named, |(_, name)| name);
        name.split(':').next().unwrap_or(name).to_owned()
    });
    let source = asked(query, "EventSourceArn");
    let from: usize = asked(query, "Marker").and_then(|marker| marker.parse().ok()).unwrap_or(0);
    let most = asked(query, "MaxItems").and_then(|most| most.parse().ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let wanted = |entry: &&Arc<Entry>| {
        function.as_ref().is_none_or(|function| entry.function == *function)
            && source.as_ref().is_none_or(|source| entry.source_arn == *source)
    };
    let all = mappings.all();
    let found: Vec<_> = all.iter().filter(wanted).collect();
    let page: Vec<Value> = found.iter().skip(from).take(most).map(|entry| entry.described()).collect();
    let next = from.saturating_add(page.len());
    let next = (next < found.len()).then(|| next.to_string());
    let mut body = json!({ "EventSourceMappings": page });
    if let Some(next) = next {
        body["NextMarker"] = next.into();
    }
    json_answer(StatusCode::OK, &body)
}

pub(super) fn get(mappings: &Mappings, id: &str) -> Answer {
    match mappings.named(id) {
        Ok(entry) => json_answer(StatusCode::OK, &entry.described()),
        Err(refused) => *refused,
    }
}

pub(super) fn update(mappings: &Mappings, id: &str, body: &[u8]) -> Answer {
    let entry = match mappings.named(id) {
        Ok(entry) => entry,
        Err(refused) => return *refused,
    };
    let Change { enabled, .. } = match serde_json::from_slice(body) {
        Ok(change) => change,
        Err(error) => {
            let what = format!("only Enabled, true or false, can be changed here: {error}");
            return refusal(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &what);
        }
    };
    match entry.begin(enabled) {
        Ok(false) => {}
        Ok(true) => drop(tokio::spawn(Arc::clone(&entry).change(enabled))),
        Err(name) => {
            let what = format!("cannot update the event source mapping because it is in use: it is {name}");
            return refusal(StatusCode::CONFLICT, "ResourceInUseException", &what);
        }
    }
    json_answer(StatusCode::ACCEPTED, &entry.described())
}

/// An identifier of AWS's form, the same for the same text.
fn identifier(text: &str) -> String {
    let half = |number: u8| {
        let mut hasher = DefaultHasher::new();
        (number, text).hash(&mut hasher);
        hasher.finish()
    };
    let (high, low) = (half(0), half(1));
    // Version 8 of RFC 9562: made by a rule of one's own.
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}
