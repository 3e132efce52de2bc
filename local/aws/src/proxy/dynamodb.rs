//! One request to DynamoDB: its fault taken out of it, and what it cost.
//!
//! A server that reports consumed capacity is believed, except for statement batches: DynamoDB Local reports nothing for them, so
//! their units are counted from parameters and answers everywhere, and figures of different servers can be compared. An `UPDATE`
//! counts as an item that it sets as a whole, which is what our functions do; its item before the write is not known.

use bytes::Bytes;
use dynoxide::types::{item_size, read_capacity_units_with_consistency, write_capacity_units};
use dynoxide::{AttributeValue, Item};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{put_back, set_aside};
use crate::dynamodb::statement::{self, Kind};
use crate::dynamodb::units::{Direction, Meter, lost_condition_units};
use crate::fault::Fault;

const CAPACITY: &str = "ReturnConsumedCapacity";
const CONSUMED: &str = "ConsumedCapacity";
const ON_FAILURE: &str = "ReturnValuesOnConditionCheckFailure";

/// Where the units of an operation are found.
enum Form {
    /// `BatchGetItem`, with the keys that a fault leaves undone.
    Keys(Map<String, Value>),
    /// `BatchExecuteStatement`.
    Statements(Vec<Sent>),
    /// A write of one item with a condition, to this table.
    Conditional(String),
    /// Reported by the server, or not known.
    Reported,
}

/// A statement that was forwarded.
struct Sent {
    table: String,
    kind: Kind,
    /// Size of the item that it writes.
    bytes: usize,
    is_consistent: bool,
    /// Whether the client asked for the item that did not meet the condition.
    wants_item: bool,
}

/// A request on the way to the server and back.
pub(super) struct Exchange {
    request: Map<String, Value>,
    form: Form,
    direction: Direction,
    wants_capacity: bool,
    wants_item: bool,
    undone: Vec<usize>,
    is_empty: bool,
}

impl Exchange {
    /// None for an operation that costs no units and knows no part.
    pub(super) fn new(operation: &str, request: Map<String, Value>, fault: Fault) -> Option<Self> {
        let direction = match operation {
            "BatchGetItem" | "GetItem" | "Query" | "Scan" | "TransactGetItems" => Direction::Read,
            "BatchExecuteStatement"
            | "UpdateItem"
            | "PutItem"
            | "DeleteItem"
            | "BatchWriteItem"
            | "TransactWriteItems" => Direction::Write,
            _ => return None,
        };
        let mut exchange = Self {
            request,
            form: Form::Reported,
            direction,
            wants_capacity: true,
            wants_item: true,
            undone: Vec::new(),
            is_empty: false,
        };
        match operation {
            "BatchGetItem" => exchange.set_keys_aside(fault),
            "BatchExecuteStatement" => exchange.read_statements(fault),
            "UpdateItem" | "PutItem" | "DeleteItem" => {
                let table = exchange.request.get("TableName").and_then(Value::as_str).unwrap_or_default().to_owned();
                exchange.form = Form::Conditional(table);
                exchange.wants_item = was_wanted(&mut exchange.request, ON_FAILURE, "ALL_OLD");
            }
            _ => {}
        }
        if !matches!(exchange.form, Form::Statements(_)) {
            exchange.wants_capacity = was_wanted(&mut exchange.request, CAPACITY, "TOTAL");
        }
        Some(exchange)
    }

    fn set_keys_aside(&mut self, fault: Fault) {
        let mut aside = Map::new();
        let mut index = 0;
        if let Some(Value::Object(tables)) = self.request.get_mut("RequestItems") {
            for (table, wanted) in tables.iter_mut() {
                let Some(Value::Array(keys)) = wanted.get_mut("Keys").map(Value::take) else { continue };
                let (mut kept, mut undone) = (Vec::new(), Vec::new());
                for key in keys {
                    if fault.leaves_undone(index) {
                        undone.push(key)
                    } else {
                        kept.push(key)
                    }
                    index += 1;
                }
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
        }
        self.form = Form::Keys(aside);
    }

    fn read_statements(&mut self, fault: Fault) {
        let mut sent = Vec::new();
        if let Some(Value::Array(statements)) = self.request.get_mut("Statements") {
            self.undone = set_aside(statements, fault);
            self.is_empty = statements.is_empty() && !self.undone.is_empty();
            for entry in statements.iter_mut().filter_map(Value::as_object_mut) {
                sent.push(Sent::of(entry));
            }
        }
        if sent.first().is_some_and(|first| first.kind == Kind::Select) {
            self.direction = Direction::Read;
        }
        self.form = Form::Statements(sent);
    }

    /// What goes on; none when nothing is left.
    pub(super) fn forwarded(&self) -> Option<Bytes> {
        if self.is_empty { None } else { serde_json::to_vec(&self.request).ok().map(Bytes::from) }
    }

    /// Counts, and gives back the answer that the client asked for.
    pub(super) fn settle(self, status: StatusCode, answer: Bytes, meter: &mut Meter) -> Bytes {
        let Ok(Value::Object(mut json)) = serde_json::from_slice(&answer) else { return answer };
        if status.is_success() {
            self.charge_reported(&mut json, meter);
        }
        meter.throttled(self.undone.len());
        match &self.form {
            Form::Keys(aside) if status.is_success() => self.settle_keys(&mut json, aside),
            Form::Statements(sent) if status.is_success() => self.settle_statements(&mut json, sent, meter),
            Form::Conditional(table) if !status.is_success() => self.settle_lost(&mut json, table, meter),
            _ => {}
        }
        let is_throttled = json.get("__type").and_then(Value::as_str).is_some_and(|code| {
            code.ends_with("ProvisionedThroughputExceededException") || code.ends_with("ThrottlingException")
        });
        meter.throttled(usize::from(!status.is_success() && is_throttled));
        serde_json::to_vec(&json).map_or(answer, Bytes::from)
    }

    fn charge_reported(&self, json: &mut Map<String, Value>, meter: &mut Meter) {
        let reported = if self.wants_capacity { json.get(CONSUMED).cloned() } else { json.remove(CONSUMED) };
        if matches!(self.form, Form::Statements(_)) {
            return;
        }
        let reports = match reported {
            Some(Value::Array(reports)) => reports,
            Some(report @ Value::Object(_)) => vec![report],
            _ => return self.charge_unreported(json, meter),
        };
        for report in reports {
            let table = report["TableName"].as_str().unwrap_or_default();
            meter.charge(table, self.direction, report["CapacityUnits"].as_f64().unwrap_or(0.0));
        }
    }

    /// For emulators that report nothing: what was read costs its size and what was not found the least; a write costs the least.
    fn charge_unreported(&self, json: &Map<String, Value>, meter: &mut Meter) {
        let is_consistent = |request: &Value| request["ConsistentRead"].as_bool().unwrap_or(false);
        let units = |item: Option<&Value>, is_consistent| {
            let bytes = item.and_then(item_of).as_ref().map_or(0, item_size);
            read_capacity_units_with_consistency(bytes, is_consistent)
        };
        if let Form::Keys(_) = self.form {
            let tables = self.request.get("RequestItems").and_then(Value::as_object);
            for (table, wanted) in tables.into_iter().flatten() {
                let found =
                    json.get("Responses").and_then(|found| found[table].as_array()).cloned().unwrap_or_default();
                let unprocessed = json.get("UnprocessedKeys").and_then(|keys| keys[table]["Keys"].as_array());
                let asked = wanted["Keys"].as_array().map_or(0, Vec::len) - unprocessed.map_or(0, Vec::len);
                let items = found.iter().map(Some).chain(std::iter::repeat_n(None, asked.saturating_sub(found.len())));
                let charged = items.map(|item| units(item, is_consistent(wanted))).sum();
                meter.charge(table, Direction::Read, charged);
            }
            return;
        }
        let table = self.request.get("TableName").and_then(Value::as_str).unwrap_or_default();
        let charged = match self.direction {
            Direction::Read => units(json.get("Item"), self.request.get("ConsistentRead") == Some(&Value::Bool(true))),
            Direction::Write => write_capacity_units(0),
        };
        meter.charge(table, self.direction, charged);
    }

    fn settle_keys(&self, json: &mut Map<String, Value>, aside: &Map<String, Value>) {
        let unprocessed = json.entry("UnprocessedKeys").or_insert_with(|| json!({}));
        for (table, entry) in aside {
            match unprocessed.get_mut(table).and_then(|already| already["Keys"].as_array_mut()) {
                Some(already) => already.extend(entry["Keys"].as_array().cloned().unwrap_or_default()),
                None => unprocessed[table] = entry.clone(),
            }
        }
        json.entry("Responses").or_insert_with(|| json!({}));
    }

    fn settle_statements(&self, json: &mut Map<String, Value>, sent: &[Sent], meter: &mut Meter) {
        let mut answers = match json.remove("Responses") {
            Some(Value::Array(answers)) => answers,
            _ => Vec::new(),
        };
        for (answer, sent) in answers.iter_mut().zip(sent) {
            sent.charge(answer, meter);
            if !sent.wants_item
                && let Some(error) = answer.get_mut("Error").and_then(Value::as_object_mut)
            {
                error.remove("Item");
            }
        }
        let throttled = json!({ "Error": {
            "Code": "ProvisionedThroughputExceeded",
            "Message": "The level of configured provisioned throughput for the table was exceeded.",
        } });
        put_back(&mut answers, &self.undone, &throttled);
        json.insert("Responses".to_owned(), Value::Array(answers));
    }

    fn settle_lost(&self, json: &mut Map<String, Value>, table: &str, meter: &mut Meter) {
        let code = json.get("__type").and_then(Value::as_str).unwrap_or_default();
        if !code.ends_with("ConditionalCheckFailedException") {
            return;
        }
        let item = json.get("Item").and_then(item_of);
        meter.condition_failed(table);
        meter.charge(table, Direction::Write, lost_condition_units(item.as_ref()));
        if !self.wants_item {
            json.remove("Item");
        }
    }
}

impl Sent {
    fn of(entry: &mut Map<String, Value>) -> Self {
        let text = entry.get("Statement").and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = statement::kind(&text);
        let parameters: Vec<AttributeValue> = entry
            .get("Parameters")
            .and_then(|parameters| serde_json::from_value(parameters.clone()).ok())
            .unwrap_or_default();
        let item = match kind {
            Kind::Select => None,
            Kind::Insert => statement::inserted_item(&text, &parameters),
            Kind::Conditional => statement::updated_item(&text, &parameters),
        };
        Self {
            table: statement::table(&text).to_owned(),
            kind,
            bytes: item.as_ref().map_or(0, item_size),
            is_consistent: entry.get("ConsistentRead").and_then(Value::as_bool).unwrap_or(false),
            wants_item: kind != Kind::Conditional || was_wanted(entry, ON_FAILURE, "ALL_OLD"),
        }
    }

    fn charge(&self, answer: &Value, meter: &mut Meter) {
        let Some(error) = answer.get("Error") else {
            if self.kind == Kind::Select {
                let bytes = answer.get("Item").and_then(item_of).as_ref().map_or(0, item_size);
                let units = read_capacity_units_with_consistency(bytes, self.is_consistent);
                meter.charge(&self.table, Direction::Read, units);
            } else {
                meter.charge(&self.table, Direction::Write, write_capacity_units(self.bytes));
            }
            return;
        };
        match error["Code"].as_str() {
            Some("ConditionalCheckFailed") => {
                let existing = error.get("Item").and_then(item_of);
                meter.condition_failed(&self.table);
                meter.charge(&self.table, Direction::Write, lost_condition_units(existing.as_ref()));
            }
            // The item that was there first is not given back; ours stands for it.
            Some("DuplicateItem") => {
                meter.condition_failed(&self.table);
                meter.charge(&self.table, Direction::Write, write_capacity_units(self.bytes));
            }
            Some("ProvisionedThroughputExceeded" | "ThrottlingError" | "RequestLimitExceeded") => meter.throttled(1),
            _ => {}
        }
    }
}

fn item_of(json: &Value) -> Option<Item> {
    serde_json::from_value(json.clone()).ok()
}

/// Asks for something in any case; says whether the client had asked for it.
fn was_wanted(request: &mut Map<String, Value>, name: &str, value: &str) -> bool {
    let asked = request.get(name).and_then(Value::as_str).is_some_and(|asked| asked != "NONE");
    if !asked {
        request.insert(name.to_owned(), json!(value));
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_by_size_where_a_server_reports_nothing() {
        let key = |name: &str| json!({ "pk": { "S": name } });
        let request = json!({ "RequestItems": { "t": { "Keys": [key("small"), key("large"), key("nobody")] } } });
        let Value::Object(request) = request else { unreachable!("it is an object") };
        let large = json!({ "pk": { "S": "large" }, "s": { "S": "x".repeat(5_000) } });
        let answer = json!({ "Responses": { "t": [key("small"), large] }, "UnprocessedKeys": {} });
        let mut meter = Meter::default();
        let exchange = Exchange::new("BatchGetItem", request, Fault::None).expect("it costs units");
        exchange.settle(StatusCode::OK, answer.to_string().into(), &mut meter);
        // Half a unit for each started 4 KB, and half a one for what is not there.
        assert!((meter.snapshot().read_units - (0.5 + 1.0 + 0.5)).abs() < 1e-9, "{:?}", meter.snapshot());
    }
}
