//! The two calls of a batch, `BatchGetItem` and `BatchExecuteStatement`, answered from items in memory as the engine would answer them, at a
//! fraction of what its database takes for it. Everything else is the engine's: it is given the items that such a call is about before, and
//! they are taken back from it afterwards.
//!
//! A table is served here when it has a partition key of text and nothing else: no sort key, indexes or stream. A statement is served from
//! its second time on: the first time the engine says that it is one. What is not exactly of a known form goes to the engine, which
//! refuses as it refuses. `tests.rs` asks both ways and compares.

mod item;
mod items;
mod request;
mod statement;
#[cfg(test)]
mod tests;
mod touched;

use std::collections::HashMap;

use bytes::Bytes;
use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::actions::describe_time_to_live::DescribeTimeToLiveRequest;
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::types::{
    KeyType, MAX_ITEM_SIZE, ScalarAttributeType, read_capacity_units_with_consistency, table_write_capacity_units,
};
use dynoxide::{AttributeValue, Database, DynoxideError, ImportOptions};
use serde::Deserialize;

use self::item::{Item, Value, push_text};
use self::items::Items;
use self::request::{BatchExecuteStatement, BatchGetItem, OnFailure};
use self::statement::{Form, meets};
pub(super) use self::touched::Touched;
use crate::proxy::{Charge, Direction};

/// Items of a table that are read from the engine, or given to it, at a time.
const PAGE_ITEMS: usize = 1_000;
/// Statements of a call, keys of a call and bytes of a key, by the limits of DynamoDB; above them the engine refuses.
const STATEMENTS_MAX: usize = 25;
const KEYS_MAX: usize = 100;
const KEY_BYTES_MAX: usize = 2_048;
/// Items of an answer together; the engine says what becomes of the others.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Statements whose form is remembered.
const FORMS_MAX: usize = 1_000;
/// What is made room for in an answer.
const ANSWER_BYTES: usize = 4_096;
/// Code and message.
const CONDITION_FAILED: (&str, &str) = ("ConditionalCheckFailed", "The conditional request failed");
const DUPLICATE: (&str, &str) = ("DuplicateItem", "Duplicate primary key exists in table");

type Outcome<T> = Result<T, DynoxideError>;

/// The items of the tables that are served here.
pub(super) struct Quick {
    database: Database,
    /// By name; none of a table that is left to the engine.
    tables: HashMap<String, Option<Table>>,
    /// The statements that the engine has taken for one.
    forms: HashMap<String, Form>,
}

#[derive(Default)]
struct Table {
    /// The name of the partition key.
    key: String,
    /// The attribute with the second after which an item expires.
    expires: Option<String>,
    /// No item expires before this second.
    none_expires_before: i64,
    items: Items,
    /// The keys of items that are newer than the engine's.
    newer: Vec<Box<str>>,
}

struct Slot {
    /// None where only the engine can hold it.
    item: Option<Item>,
    is_newer: bool,
}

/// A statement that is to be carried out.
struct Planned<'a> {
    form: &'a Form,
    key: &'a str,
    values: Vec<Value>,
    /// Whether the item is wanted that does not meet the condition.
    wants_item: bool,
}

/// What the statements on a table come to.
struct Tally<'a> {
    table: &'a str,
    is_any_done: bool,
    units: f64,
    failed: u64,
    failed_units: f64,
}

impl Quick {
    pub(super) fn new(database: Database) -> Self {
        Self { database, tables: HashMap::new(), forms: HashMap::new() }
    }

    /// The answer to a call, and what it costs; none to what is the engine's to answer.
    pub(super) fn answer(&mut self, operation: &str, body: &[u8]) -> Option<(Bytes, Vec<Charge>)> {
        match operation {
            "BatchGetItem" => self.get(&serde_json::from_slice(body).ok()?),
            "BatchExecuteStatement" => self.execute(&serde_json::from_slice(body).ok()?),
            _ => None,
        }
    }

    fn get(&mut self, request: &BatchGetItem<'_>) -> Option<(Bytes, Vec<Charge>)> {
        let asked = &request.request_items.0;
        let count: usize = asked.iter().map(|(_, wanted)| wanted.keys.len()).sum();
        if asked.iter().any(|(_, wanted)| wanted.keys.is_empty()) || !(1..=KEYS_MAX).contains(&count) {
            return None;
        }
        let (mut json, mut charges, mut bytes) = (Vec::with_capacity(ANSWER_BYTES), Vec::new(), 0);
        json.extend_from_slice(b"{\"Responses\":{");
        for (index, (name, wanted)) in asked.iter().enumerate() {
            let (projection, table) = (wanted.projection()?, self.table(name)?);
            if index > 0 {
                json.push(b',');
            }
            push_text(&mut json, name);
            json.extend_from_slice(b":[");
            let (mut units, mut is_first, mut keys) = (0.0, true, Vec::with_capacity(wanted.keys.len()));
            for pairs in &wanted.keys {
                let [(attribute, request::Value::S(key))] = &pairs.0[..] else { return None };
                if *attribute != *table.key || !is_key(key) || keys.contains(&key) {
                    return None;
                }
                keys.push(key);
                let item = match table.items.get(key) {
                    None => None,
                    Some(slot) => Some(slot.item.as_ref()?),
                };
                let size = item.map_or(0, Item::size);
                units += read_capacity_units_with_consistency(size, wanted.consistent_read);
                bytes += size;
                if let Some(item) = item {
                    if !std::mem::take(&mut is_first) {
                        json.push(b',');
                    }
                    item.push_json(&mut json, projection.as_deref());
                }
            }
            json.push(b']');
            charges.push(Charge { table: (**name).to_owned(), direction: Direction::Read, units, failed: 0 });
        }
        json.extend_from_slice(b"},\"UnprocessedKeys\":{}}");
        (bytes <= ANSWER_BYTES_MAX).then(|| (json.into(), charges))
    }

    fn execute(&mut self, request: &BatchExecuteStatement<'_>) -> Option<(Bytes, Vec<Charge>)> {
        if !(1..=STATEMENTS_MAX).contains(&request.statements.len()) {
            return None;
        }
        for asked in &request.statements {
            let table = self.forms.get(&*asked.statement)?.table();
            if !self.tables.contains_key(table) {
                let table = table.to_owned();
                self.load(&table);
            }
        }
        let Self { tables, forms, .. } = self;
        // Everything that may leave the call to the engine is looked at before anything is done.
        let mut plan: Vec<Planned<'_>> = Vec::with_capacity(request.statements.len());
        for asked in &request.statements {
            let planned = Planned::of(asked, forms, tables)?;
            let is_same = |other: &Planned<'_>| other.key == planned.key && other.form.table() == planned.form.table();
            if plan.iter().any(is_same) {
                return None;
            }
            plan.push(planned);
        }
        let (mut json, mut tallies) = (Vec::with_capacity(ANSWER_BYTES), Vec::new());
        json.extend_from_slice(b"{\"Responses\":[");
        for (index, planned) in plan.into_iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            let name = planned.form.table();
            let table = tables.get_mut(name)?.as_mut()?;
            planned.carry_out(table, tally_of(&mut tallies, name), &mut json);
        }
        json.extend_from_slice(b"]}");
        Some((json.into(), charges(&tallies)))
    }

    /// The name of the key of a table that is served here.
    fn key_of(&self, table: &str) -> Option<&str> {
        self.tables.get(table)?.as_ref().map(|table| table.key.as_str())
    }

    /// A table that is served here.
    fn table(&mut self, name: &str) -> Option<&mut Table> {
        if !self.tables.contains_key(name) {
            self.load(name);
        }
        self.tables.get_mut(name)?.as_mut()
    }

    /// Takes a table from the engine, or notes that it is left there. Of one that is not there nothing is noted: it may come.
    pub(super) fn load(&mut self, name: &str) {
        if let Ok(table) = self.read(name) {
            self.tables.insert(name.to_owned(), table);
        }
    }

    fn read(&self, name: &str) -> Outcome<Option<Table>> {
        let described = self.database.describe_table(DescribeTableRequest { table_name: name.to_owned() })?.table;
        let [key] = &described.key_schema[..] else { return Ok(None) };
        let is_text = described.attribute_definitions.iter().any(|attribute| {
            attribute.attribute_name == key.attribute_name && attribute.attribute_type == ScalarAttributeType::S
        });
        let has_more = described.global_secondary_indexes.is_some()
            || described.local_secondary_indexes.is_some()
            || described.vector_indexes.is_some()
            || described.stream_specification.is_some();
        if key.key_type != KeyType::HASH || !is_text || has_more {
            return Ok(None);
        }
        let asked = DescribeTimeToLiveRequest { table_name: name.to_owned() };
        let expires = self.database.describe_time_to_live(asked)?.time_to_live_description.attribute_name;
        let key = key.attribute_name.clone();
        let mut table = Table { key, expires, none_expires_before: i64::MAX, ..Table::default() };
        let mut from = None;
        loop {
            let request = ScanRequest {
                table_name: name.to_owned(),
                limit: Some(PAGE_ITEMS),
                exclusive_start_key: from,
                ..ScanRequest::default()
            };
            let page = self.database.scan(request)?;
            page.items.unwrap_or_default().iter().for_each(|item| table.take(item));
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(Some(table));
            }
        }
    }

    /// Gives the engine what a request is about, as it is now.
    pub(super) fn lend(&mut self, touched: &Touched) -> Outcome<()> {
        for (name, key) in touched.items(|name| self.key_of(name)) {
            if let Some(Some(table)) = self.tables.get_mut(&name) {
                table.give(&self.database, &name, [key.into()])?;
            }
        }
        let read: Vec<String> = self.tables.keys().filter(|name| touched.reads(name)).cloned().collect();
        read.iter().try_for_each(|name| self.settle(name))
    }

    /// Gives the engine everything that is newer here.
    pub(super) fn settle(&mut self, name: &str) -> Outcome<()> {
        let Some(Some(table)) = self.tables.get_mut(name) else { return Ok(()) };
        let newer = std::mem::take(&mut table.newer);
        table.give(&self.database, name, newer)
    }

    /// Takes back what a request was about; `answer` is the engine's, where it was carried out.
    pub(super) fn take_back(&mut self, touched: &Touched, answer: Option<&[u8]>) {
        for name in touched.left() {
            self.tables.insert(name.clone(), None);
        }
        for name in touched.redefined() {
            self.tables.remove(name);
        }
        if !touched.is_written() {
            return;
        }
        // No item has another key, and the engine refuses to look for it.
        for (name, key) in touched.items(|name| self.key_of(name)).into_iter().filter(|(_, key)| is_key(key)) {
            let Some(Some(table)) = self.tables.get_mut(&name) else { continue };
            let asked = HashMap::from([(table.key.clone(), AttributeValue::S(key.clone()))]);
            let request = GetItemRequest { table_name: name.clone(), key: asked, ..GetItemRequest::default() };
            match self.database.get_item(request) {
                Ok(found) => {
                    table.items.remove(&key);
                    found.item.iter().for_each(|item| table.take(item));
                }
                // Nobody knows what the engine holds: it is given the rest, and keeps the table.
                Err(error) => {
                    tracing::warn!(table = name, %error, "an item cannot be taken back from the engine");
                    if let Err(error) = self.settle(&name) {
                        tracing::error!(table = name, %error, "items are lost that the engine would not take");
                    }
                    self.tables.insert(name, None);
                }
            }
        }
        if let Some(answer) = answer {
            self.learn(touched, answer);
        }
    }

    /// Notes the statements that the engine has understood.
    fn learn(&mut self, touched: &Touched, answer: &[u8]) {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "Responses")]
            responses: Vec<Response>,
        }
        #[derive(Deserialize)]
        struct Response {
            #[serde(rename = "Error")]
            error: Option<Refusal>,
        }
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(rename = "Code")]
            code: String,
        }
        if touched.batch().all(|text| self.forms.contains_key(text)) || self.forms.len() >= FORMS_MAX {
            return;
        }
        let Ok(Answer { responses }) = serde_json::from_slice(answer) else { return };
        for (text, response) in touched.batch().zip(responses) {
            let is_understood =
                response.error.is_none_or(|error| ["ConditionalCheckFailed", "DuplicateItem"].contains(&&*error.code));
            if let Some(form) = Form::read(text).filter(|_| is_understood) {
                self.forms.insert(text.to_owned(), form);
            }
        }
    }

    /// Forgets a table, which somebody else has changed; what is newer here is lost.
    pub(super) fn forget(&mut self, name: &str) {
        self.tables.remove(name);
    }

    /// An item of a table that is served here.
    pub(super) fn item(&self, name: &str, like: &dynoxide::Item) -> Option<Option<dynoxide::Item>> {
        let table = self.tables.get(name)?.as_ref()?;
        let Some(AttributeValue::S(key)) = like.get(&table.key) else { return None };
        match table.items.get(key) {
            None => Some(None),
            Some(slot) => slot.item.as_ref().map(|item| Some(item.for_engine())),
        }
    }

    /// Every item of a table that is served here and holds nothing that only the engine can; none of another table.
    pub(super) fn items(&self, name: &str) -> Option<Vec<dynoxide::Item>> {
        let table = self.tables.get(name)?.as_ref()?;
        table.items.iter().map(|(_, slot)| slot.item.as_ref().map(Item::for_engine)).collect()
    }

    /// Lets go of what has expired by this second; the engine's sweep deletes it where it is newer there than here.
    pub(super) fn expire(&mut self, now_s: i64) -> Outcome<()> {
        for (name, table) in &mut self.tables {
            let Some(table) = table.as_mut().filter(|table| table.none_expires_before < now_s) else { continue };
            let (mut gone, mut next) = (Vec::new(), i64::MAX);
            for (key, slot) in table.items.iter() {
                match slot.item.as_ref().and_then(|item| table.expiry(item)) {
                    Some(second) if second < now_s => gone.push(Box::from(key)),
                    Some(second) => next = next.min(second),
                    None => {}
                }
            }
            table.none_expires_before = next;
            table.give(&self.database, name, gone.clone())?;
            gone.iter().for_each(|key| table.items.remove(key));
        }
        Ok(())
    }
}

impl Table {
    /// Takes an item of the engine.
    fn take(&mut self, item: &dynoxide::Item) {
        let Some(AttributeValue::S(key)) = item.get(&self.key) else { return };
        let item = Item::of_engine(item);
        if let Some(item) = &item {
            self.note_expiry(item);
        }
        self.items.insert(key, Slot { item, is_newer: false });
    }

    /// Puts an item that is newer than the engine's.
    fn put(&mut self, key: &str, item: Item) {
        self.note_expiry(&item);
        let was_newer = self.items.insert(key, Slot { item: Some(item), is_newer: true });
        if !was_newer.is_some_and(|slot| slot.is_newer) {
            self.newer.push(key.into());
        }
    }

    /// The second after which an item expires.
    fn expiry(&self, item: &Item) -> Option<i64> {
        item.number(self.expires.as_deref()?).filter(|second| *second >= 0)
    }

    fn note_expiry(&mut self, item: &Item) {
        if let Some(second) = self.expiry(item) {
            self.none_expires_before = self.none_expires_before.min(second);
        }
    }

    /// Gives the engine those of these items that are newer here.
    fn give(&mut self, database: &Database, name: &str, keys: impl IntoIterator<Item = Box<str>>) -> Outcome<()> {
        let mut items = Vec::new();
        let import = |items: &mut Vec<dynoxide::Item>| match items.is_empty() {
            true => Ok(()),
            false => database.import_items(name, std::mem::take(items), ImportOptions::default()).map(drop),
        };
        for key in keys {
            let Some(slot) = self.items.get_mut(&key).filter(|slot| slot.is_newer) else { continue };
            slot.is_newer = false;
            items.extend(slot.item.as_ref().map(Item::for_engine));
            if items.len() == PAGE_ITEMS {
                import(&mut items)?;
            }
        }
        import(&mut items)
    }
}

impl<'a> Planned<'a> {
    /// None of what the engine has to look at.
    fn of(
        asked: &'a request::Statement<'_>,
        forms: &'a HashMap<String, Form>,
        tables: &HashMap<String, Option<Table>>,
    ) -> Option<Self> {
        let form = forms.get(&*asked.statement)?;
        let table = tables.get(form.table())?.as_ref()?;
        let request::Value::S(key) = asked.parameters.get(form.key_at(&table.key)?)? else { return None };
        let slot = table.items.get(key);
        let is_foreign = slot.is_some_and(|slot| slot.item.is_none());
        if is_foreign || !is_key(key) || asked.parameters.len() != form.parameters() {
            return None;
        }
        let values = asked.parameters.iter().map(request::Value::kept).collect::<Option<Vec<_>>>()?;
        let sent: usize = form.names().iter().zip(&values).map(|(name, value)| name.len() + value.size()).sum();
        let held = slot.and_then(|slot| slot.item.as_ref()).map_or(0, Item::size);
        let wants_item = asked.return_values_on_condition_check_failure == OnFailure::Item;
        (held + sent <= MAX_ITEM_SIZE).then_some(Self { form, key, values, wants_item })
    }

    fn carry_out(self, table: &mut Table, tally: &mut Tally<'_>, json: &mut Vec<u8>) {
        let Self { form, key, values, wants_item } = self;
        let existing = table.items.get(key).and_then(|slot| slot.item.as_ref());
        let size = existing.map(Item::size);
        let written = match form {
            Form::Insert { names, .. } => {
                let item = Item::with(None, names, &values);
                if existing.is_some() {
                    tally.failed += 1;
                    tally.failed_units += table_write_capacity_units(size, Some(item.size()));
                    return push_refusal(json, DUPLICATE, None, form.table());
                }
                item
            }
            Form::Update { names, tests, .. } => match existing {
                Some(item) if meets(item, tests, &values[names.len()..]) => Item::with(existing, names, &values),
                _ => {
                    tally.failed += 1;
                    tally.failed_units += table_write_capacity_units(size, None);
                    return push_refusal(json, CONDITION_FAILED, existing.filter(|_| wants_item), form.table());
                }
            },
        };
        tally.is_any_done = true;
        tally.units += table_write_capacity_units(size, Some(written.size()));
        table.put(key, written);
        json.extend_from_slice(b"{\"TableName\":");
        push_text(json, form.table());
        json.push(b'}');
    }
}

fn push_refusal(json: &mut Vec<u8>, (code, message): (&str, &str), item: Option<&Item>, table: &str) {
    json.extend_from_slice(b"{\"Error\":{\"Code\":");
    push_text(json, code);
    json.extend_from_slice(b",\"Message\":");
    push_text(json, message);
    if let Some(item) = item {
        json.extend_from_slice(b",\"Item\":");
        item.push_json(json, None);
    }
    json.extend_from_slice(b"},\"TableName\":");
    push_text(json, table);
    json.push(b'}');
}

fn tally_of<'a, 'b>(tallies: &'b mut Vec<Tally<'a>>, table: &'a str) -> &'b mut Tally<'a> {
    let known = tallies.iter().position(|tally| tally.table == table);
    let index = known.unwrap_or_else(|| {
        tallies.push(Tally { table, is_any_done: false, units: 0.0, failed: 0, failed_units: 0.0 });
        tallies.len() - 1
    });
    &mut tallies[index]
}

/// What failed is charged with what was done on the same table, or where nothing at all was done: as AWS reports it, and as the proxy counts
/// what AWS does not report.
fn charges(tallies: &[Tally<'_>]) -> Vec<Charge> {
    let is_none_done = tallies.iter().all(|tally| !tally.is_any_done);
    let charge = |tally: &Tally<'_>| {
        let failed = if tally.is_any_done || is_none_done { tally.failed_units } else { 0.0 };
        let (table, units) = (tally.table.to_owned(), tally.units + failed);
        Charge { table, direction: Direction::Write, units, failed: tally.failed }
    };
    tallies.iter().map(charge).collect()
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
}
