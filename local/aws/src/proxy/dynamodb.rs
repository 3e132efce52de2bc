//! One request to DynamoDB: its fault taken out of it, and what it cost.
//!
//! A server is always asked for the consumed capacity and for the item that did not meet a condition; a client that did not ask sees
//! neither. What is reported is believed. What is not, because AWS does not report it (lost conditions, cancelled transactions,
//! batches in which every statement failed) or because an emulator reports less, is counted from request and answer: there an
//! `UPDATE` counts as an item that it sets as a whole, and other writes as the least.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynoxide::Item;
use dynoxide::types::{item_size, read_capacity_units_with_consistency, write_capacity_units};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::meter::{Direction, Meter, lost_condition_units};
use super::object::{Object, put_back, set_aside};
use super::sent::{ON_FAILURE, Sent, Stored};
use crate::fault::Fault;

const CAPACITY: &str = "ReturnConsumedCapacity";
const CONSUMED: &str = "ConsumedCapacity";
/// An action of a cancelled transaction costs this at least; the sizes are not reported with it.
const CANCELLED_UNITS: f64 = 2.0;

/// Where the units of an operation are found.
enum Form<'a> {
    /// `BatchGetItem`, with the keys that a fault leaves undone.
    Keys(Map<String, Value>),
    /// `BatchExecuteStatement`.
    Statements(Vec<Sent<'a>>),
    /// `ExecuteStatement`.
    Statement(Sent<'a>),
    /// A write of one item with a condition.
    Conditional { table: String, wants_item: bool },
    /// Writes to these tables that happen together or not at all.
    Transaction(Vec<String>),
    /// Reported by the server, or not known.
    Reported,
}

/// A request on the way to the server and back.
pub(super) struct Exchange<'a> {
    request: Object<'a>,
    form: Form<'a>,
    direction: Direction,
    wants_capacity: bool,
    undone: Vec<usize>,
    is_empty: bool,
    /// A transaction that a fault cancels: which of its actions are in conflict.
    conflicts: Vec<bool>,
}

impl<'a> Exchange<'a> {
    /// None for an operation that costs no units.
    pub(super) fn new(operation: &str, body: &'a [u8], fault: Fault) -> Option<Self> {
        let direction = match operation {
            "BatchGetItem" | "GetItem" | "Query" | "Scan" | "TransactGetItems" => Direction::Read,
            "BatchExecuteStatement"
            | "ExecuteStatement"
            | "ExecuteTransaction"
            | "UpdateItem"
            | "PutItem"
            | "DeleteItem"
            | "BatchWriteItem"
            | "TransactWriteItems" => Direction::Write,
            _ => return None,
        };
        let mut request = Object::read(body)?;
        let wants_capacity = request.ask_for(CAPACITY, "TOTAL");
        let (undone, conflicts) = (Vec::new(), Vec::new());
        let form = Form::Reported;
        let mut exchange = Self { request, form, direction, wants_capacity, undone, is_empty: false, conflicts };
        match operation {
            "BatchGetItem" => exchange.set_keys_aside(fault),
            "BatchExecuteStatement" => exchange.read_statements(fault),
            "ExecuteStatement" => {
                let sent = Sent::of(exchange.request);
                exchange.request = sent.entry.clone();
                exchange.direction = sent.direction();
                exchange.form = Form::Statement(sent);
            }
            "UpdateItem" | "PutItem" | "DeleteItem" => {
                let table = exchange.request.text("TableName");
                exchange.form =
                    Form::Conditional { table, wants_item: exchange.request.ask_for(ON_FAILURE, "ALL_OLD") };
            }
            "TransactWriteItems" | "ExecuteTransaction" => exchange.read_transaction(fault),
            _ => {}
        }
        Some(exchange)
    }

    fn set_keys_aside(&mut self, fault: Fault) {
        let mut aside = Map::new();
        if matches!(fault, Fault::Partial { .. })
            && let Some(mut tables) = self.request.get::<Map<String, Value>>("RequestItems")
        {
            let mut index = 0;
            for (table, wanted) in &mut tables {
                let Some(Value::Array(keys)) = wanted.get_mut("Keys").map(Value::take) else { continue };
                let (undone, kept): (Vec<Value>, Vec<Value>) = keys.into_iter().partition(|_| {
                    index += 1;
                    fault.leaves_undone(index - 1)
                });
                self.undone.extend(std::iter::repeat_n(0, undone.len()));
                if !undone.is_empty() {
                    let mut entry = wanted.clone();
                    entry["Keys"] = Value::Array(undone);
                    aside.insert(table.clone(), entry);
                }
                wanted["Keys"] = Value::Array(kept);
            }
            tables.retain(|_, wanted| wanted["Keys"].as_array().is_none_or(|keys| !keys.is_empty()));
            self.is_empty = tables.is_empty() && !aside.is_empty();
            self.request.set("RequestItems", &tables);
        }
        self.form = Form::Keys(aside);
    }

    fn read_statements(&mut self, fault: Fault) {
        let Some(mut statements) = self.request.get_as_it_came::<Vec<Object<'a>>>("Statements") else { return };
        self.undone = set_aside(&mut statements, fault);
        self.is_empty = statements.is_empty() && !self.undone.is_empty();
        let sent: Vec<Sent<'_>> = statements.into_iter().map(Sent::of).collect();
        if !self.undone.is_empty() || sent.iter().any(|sent| !sent.wants_item) {
            self.request.set("Statements", &sent.iter().map(|sent| &sent.entry).collect::<Vec<_>>());
        }
        self.direction = sent.first().map_or(Direction::Write, Sent::direction);
        self.form = Form::Statements(sent);
    }

    fn read_transaction(&mut self, fault: Fault) {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Action {
            table_name: String,
        }
        let actions = self.request.get::<Vec<BTreeMap<String, Action>>>("TransactItems").into_iter().flatten();
        let mut tables: Vec<String> =
            actions.filter_map(|action| Some(action.into_values().next()?.table_name)).collect();
        for statement in self.request.get_as_it_came::<Vec<Object<'a>>>("TransactStatements").into_iter().flatten() {
            let sent = Sent::of(statement);
            self.direction = sent.direction();
            tables.push(sent.table);
        }
        let conflicts: Vec<bool> = (0..tables.len()).map(|index| fault.leaves_undone(index)).collect();
        if conflicts.contains(&true) {
            (self.conflicts, self.is_empty) = (conflicts, true);
        }
        self.form = Form::Transaction(tables);
    }

    /// What is answered when nothing goes on: an empty answer, or the cancellation of a transaction.
    pub(super) fn instead(&self) -> (StatusCode, Bytes) {
        if self.conflicts.is_empty() {
            return (StatusCode::OK, Bytes::from_static(b"{}"));
        }
        let code = |conflicts: &bool| if *conflicts { "TransactionConflict" } else { "None" };
        let codes: Vec<&str> = self.conflicts.iter().map(code).collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        let reasons: Vec<Value> = codes.iter().map(|code| json!({ "Code": code })).collect();
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let body = json!({ "__type": kind, "Message": message, "CancellationReasons": reasons });
        (StatusCode::BAD_REQUEST, Bytes::from(body.to_string()))
    }

    /// What goes on; none when nothing is left.
    pub(super) fn forwarded(&self) -> Option<Bytes> {
        if self.is_empty { None } else { self.request.json() }
    }

    /// Counts, and gives back the answer that the client asked for.
    pub(super) fn finish(mut self, status: StatusCode, answer: Bytes, meter: &mut Meter, stored: Stored<'_>) -> Bytes {
        meter.throttled(self.undone.len());
        let Some(mut json) = Object::read(&answer) else { return answer };
        if !status.is_success() {
            let is_changed = self.count_refusal(&mut json, meter, stored);
            return is_changed.then(|| json.json()).flatten().unwrap_or_else(|| answer.clone());
        }
        let reports = reports(&json);
        for report in reports.iter().flatten() {
            meter.charge(&report.table_name, self.direction, report.capacity_units);
        }
        if !self.wants_capacity {
            json.remove(CONSUMED);
        }
        let is_reported = reports.is_some();
        match std::mem::replace(&mut self.form, Form::Reported) {
            Form::Statements(sent) => self.finish_statements(&mut json, &sent, is_reported, meter, stored),
            Form::Keys(aside) => {
                if !is_reported {
                    self.count_keys(&json, meter);
                }
                finish_keys(&mut json, aside);
            }
            Form::Statement(sent) if !is_reported => sent.count_done(None, meter),
            Form::Conditional { .. } | Form::Reported if !is_reported => self.count_one(&json, meter),
            _ => {}
        }
        json.json().unwrap_or_else(|| answer.clone())
    }

    /// For emulators that report nothing: what was read costs its size, and what was not found the least.
    fn count_keys(&self, json: &Object<'_>, meter: &mut Meter) {
        type Found = BTreeMap<String, Vec<Item>>;
        let mut found: Found = json.get("Responses").unwrap_or_default();
        let unprocessed: Map<String, Value> = json.get("UnprocessedKeys").unwrap_or_default();
        let keys = |wanted: Option<&Value>| wanted.and_then(|wanted| wanted["Keys"].as_array()).map_or(0, Vec::len);
        for (table, wanted) in &self.request.get::<Map<String, Value>>("RequestItems").unwrap_or_default() {
            let is_consistent = wanted["ConsistentRead"].as_bool().unwrap_or(false);
            let units = |bytes| read_capacity_units_with_consistency(bytes, is_consistent);
            let items = found.remove(table).unwrap_or_default();
            let asked = keys(Some(wanted)) - keys(unprocessed.get(table));
            let absent = asked.saturating_sub(items.len());
            let charged = items.iter().map(item_size).chain(std::iter::repeat_n(0, absent)).map(units).sum();
            meter.charge(table, Direction::Read, charged);
        }
    }

    /// The same for an operation on one item.
    fn count_one(&self, json: &Object<'_>, meter: &mut Meter) {
        let units = match self.direction {
            Direction::Read => {
                let bytes = json.get::<Item>("Item").as_ref().map_or(0, item_size);
                read_capacity_units_with_consistency(bytes, self.request.get("ConsistentRead").unwrap_or(false))
            }
            Direction::Write => write_capacity_units(0),
        };
        meter.charge(&self.request.text("TableName"), self.direction, units);
    }

    fn finish_statements(
        &self,
        json: &mut Object<'_>,
        sent: &[Sent<'_>],
        is_reported: bool,
        meter: &mut Meter,
        stored: Stored<'_>,
    ) {
        let mut answers: Vec<Object<'_>> = json.get_as_it_came("Responses").unwrap_or_default();
        let mut is_changed = !self.undone.is_empty();
        for (answer, sent) in answers.iter_mut().zip(sent) {
            match answer.get_as_it_came::<Object<'_>>("Error") {
                None if is_reported => {}
                None => sent.count_done(answer.get("Item").as_ref(), meter),
                Some(mut error) => {
                    sent.count_lost(&error.text("Code"), error.get("Item").as_ref(), is_reported, meter, stored);
                    if !sent.wants_item && error.remove("Item") {
                        answer.set("Error", &error);
                        is_changed = true;
                    }
                }
            }
        }
        if is_changed {
            let mut throttled = Object::default();
            throttled.set(
                "Error",
                &json!({
                    "Code": "ProvisionedThroughputExceeded",
                    "Message": "The level of configured provisioned throughput for the table was exceeded.",
                }),
            );
            put_back(&mut answers, &self.undone, &throttled);
            json.set("Responses", &answers);
        }
    }

    /// Returns whether the answer was changed: it may hold an item that the client did not ask for.
    fn count_refusal(&self, json: &mut Object<'_>, meter: &mut Meter, stored: Stored<'_>) -> bool {
        let kind = json.text("__type");
        let code = kind.rsplit('#').next().unwrap_or_default().trim_end_matches("Exception");
        if matches!(code, "ProvisionedThroughputExceeded" | "Throttling") {
            meter.throttled(1);
            return false;
        }
        let wants_item = match &self.form {
            Form::Conditional { table, wants_item } if code == "ConditionalCheckFailed" => {
                meter.condition_failed(table);
                meter.charge(table, Direction::Write, lost_condition_units(json.get("Item").as_ref()));
                *wants_item
            }
            Form::Statement(sent) => {
                sent.count_lost(code, json.get("Item").as_ref(), false, meter, stored);
                sent.wants_item
            }
            Form::Transaction(tables) if code == "TransactionCanceled" && self.direction == Direction::Write => {
                count_cancelled(tables, json, meter);
                true
            }
            _ => true,
        };
        !wants_item && json.remove("Item")
    }
}

/// What a server says of a table's units.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    table_name: String,
    capacity_units: f64,
}

/// A list of reports, or a single one; none where a server reports nothing.
fn reports(json: &Object<'_>) -> Option<Vec<Report>> {
    let reports = json.get(CONSUMED).or_else(|| json.get(CONSUMED).map(|report| vec![report]));
    reports.filter(|reports: &Vec<Report>| !reports.is_empty())
}

fn finish_keys(json: &mut Object<'_>, aside: Map<String, Value>) {
    if aside.is_empty() {
        return;
    }
    let mut unprocessed: Map<String, Value> = json.get("UnprocessedKeys").unwrap_or_default();
    for (table, mut entry) in aside {
        match unprocessed.get_mut(&table).and_then(|already| already["Keys"].as_array_mut()) {
            Some(already) => already.append(entry["Keys"].as_array_mut().unwrap_or(&mut Vec::new())),
            None => drop(unprocessed.insert(table, entry)),
        }
    }
    json.set("UnprocessedKeys", &unprocessed);
    if json.get::<Object<'_>>("Responses").is_none() {
        json.set("Responses", &json!({}));
    }
}

fn count_cancelled(tables: &[String], json: &Object<'_>, meter: &mut Meter) {
    let reasons: Vec<Object<'_>> = json.get("CancellationReasons").unwrap_or_default();
    for (table, reason) in tables.iter().zip(reasons) {
        meter.charge(table, Direction::Write, CANCELLED_UNITS);
        if matches!(&*reason.text("Code"), "ConditionalCheckFailed" | "DuplicateItem") {
            meter.condition_failed(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_by_size_where_a_server_reports_nothing() {
        let key = |name: &str| json!({ "pk": { "S": name } });
        let request =
            json!({ "RequestItems": { "t": { "Keys": [key("small"), key("large"), key("nobody")] } } }).to_string();
        let large = json!({ "pk": { "S": "large" }, "s": { "S": "x".repeat(5_000) } });
        let answer = json!({ "Responses": { "t": [key("small"), large] }, "UnprocessedKeys": {} });
        let mut meter = Meter::default();
        let exchange = Exchange::new("BatchGetItem", request.as_bytes(), Fault::None);
        let exchange = exchange.expect("it costs units");
        exchange.finish(StatusCode::OK, answer.to_string().into(), &mut meter, &|_, _| None);
        // Half a unit for each started 4 KB, and half a one for what is not there.
        assert!((meter.snapshot().read_units - (0.5 + 1.0 + 0.5)).abs() < 1e-9, "{:?}", meter.snapshot());
    }

    #[test]
    fn statements_are_counted_by_size_where_a_server_reports_nothing() {
        let insert = |key: &str, bytes: usize| {
            json!({
                "Statement": r#"INSERT INTO "t" VALUE {'pk':?,'v':?,'s':?}"#,
                "Parameters": [{ "S": key }, { "N": "1" }, { "S": "x".repeat(bytes) }],
            })
        };
        let update = json!({
            "Statement": r#"UPDATE "t" SET v=? SET s=? WHERE pk=? AND v=?"#,
            "Parameters": [{ "N": "2" }, { "S": "x".repeat(2_100) }, { "S": "u" }, { "N": "1" }],
        });
        let statements = [insert("a", 10), insert("b", 1_500), update, insert("a", 10)];
        let request = json!({ "Statements": statements }).to_string();
        let refused = json!({ "Error": { "Code": "DuplicateItem" } });
        for nothing in [json!(null), json!([])] {
            let answer = json!({ "Responses": [{}, {}, {}, refused], "ConsumedCapacity": nothing });
            let mut meter = Meter::default();
            let exchange = Exchange::new("BatchExecuteStatement", request.as_bytes(), Fault::None);
            let exchange = exchange.expect("it costs units");
            exchange.finish(StatusCode::OK, answer.to_string().into(), &mut meter, &|_, _| None);
            let counted = meter.snapshot();
            // A unit for each started KB, and one for the condition that did not hold.
            assert!((counted.write_units - (1.0 + 2.0 + 3.0 + 1.0)).abs() < 1e-9, "{counted:?}");
            assert_eq!(counted.failed_conditions, 1);
        }
    }
}
