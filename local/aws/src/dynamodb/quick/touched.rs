//! What a request to the engine is about.

use serde_json::Value;

use super::statement::Form;
use crate::proxy::statement;

/// What a request reads and writes, as far as it says so.
#[derive(Debug, Default)]
pub(in crate::dynamodb) struct Touched {
    /// By table, what has the key among its attributes.
    keyed: Vec<(String, Value)>,
    /// Statements with their parameters.
    statements: Vec<(String, Vec<Value>)>,
    /// Tables that are read, or all of them.
    read: Vec<String>,
    reads_all: bool,
    /// Tables of which it may write any item.
    left: Vec<String>,
    /// Tables that are made, unmade or made otherwise.
    redefined: Vec<String>,
    is_written: bool,
    /// Whether it is a `BatchExecuteStatement`.
    is_batch: bool,
}

impl Touched {
    /// By an operation and its body. One that is no JSON touches nothing: it is refused.
    pub(in crate::dynamodb) fn by(operation: &str, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let is_written = !["GetItem", "BatchGetItem", "TransactGetItems"].contains(&operation);
        let is_batch = operation == "BatchExecuteStatement";
        let mut touched = Self { is_written, is_batch, ..Self::default() };
        match operation {
            "GetItem" | "UpdateItem" | "DeleteItem" => touched.key(&body, "Key"),
            "PutItem" => touched.key(&body, "Item"),
            "TransactWriteItems" | "TransactGetItems" => {
                for (action, of) in list(&body, "TransactItems").iter().filter_map(Value::as_object).flatten() {
                    touched.key(of, if action == "Put" { "Item" } else { "Key" });
                }
            }
            "BatchGetItem" | "BatchWriteItem" => touched.request_items(&body),
            "BatchExecuteStatement" => list(&body, "Statements").iter().for_each(|one| touched.statement(one)),
            "ExecuteTransaction" => list(&body, "TransactStatements").iter().for_each(|one| touched.statement(one)),
            "ExecuteStatement" => touched.statement(&body),
            "CreateTable" | "DeleteTable" | "UpdateTable" | "UpdateTimeToLive" => {
                touched.redefined.extend(table(&body));
                touched.read.extend(table(&body).filter(|_| operation != "DeleteTable"));
            }
            "Query" | "Scan" | "DescribeTable" => touched.read.extend(table(&body)),
            _ => touched.reads_all = true,
        }
        touched
    }

    fn key(&mut self, of: &Value, name: &str) {
        self.keyed.extend(table(of).zip(of.get(name).cloned()));
    }

    fn request_items(&mut self, body: &Value) {
        for (name, wanted) in body.get("RequestItems").and_then(Value::as_object).into_iter().flatten() {
            let name = name_of(name);
            let mut note = |attributes: &Value| self.keyed.push((name.clone(), attributes.clone()));
            list(wanted, "Keys").iter().for_each(&mut note);
            for request in wanted.as_array().into_iter().flatten().filter_map(Value::as_object).flatten() {
                let (_, request) = request;
                request.get("Item").or_else(|| request.get("Key")).into_iter().for_each(&mut note);
            }
        }
    }

    fn statement(&mut self, one: &Value) {
        let Some(text) = one.get("Statement").and_then(Value::as_str) else { return };
        if Form::read(text).is_none() {
            let table = name_of(statement::table(text));
            match statement::kind(text) {
                statement::Kind::Select => self.read.push(table),
                statement::Kind::Insert | statement::Kind::Conditional => {
                    self.read.push(table.clone());
                    self.left.push(table);
                }
            }
        }
        self.statements.push((text.to_owned(), list(one, "Parameters").to_vec()));
    }

    /// The items, each by its table and its key; `key_of` knows the name of a table's key.
    pub(super) fn items<'a>(&self, key_of: impl Fn(&str) -> Option<&'a str>) -> Vec<(String, String)> {
        let text = |value: &Value| Some(value.get("S")?.as_str()?.to_owned());
        let keyed = self.keyed.iter().filter_map(|(table, attributes)| {
            let key = attributes.get(key_of(table)?).and_then(text)?;
            Some((table.clone(), key))
        });
        let stated = self.statements.iter().filter_map(|(statement, parameters)| {
            let form = Form::read(statement)?;
            let at = form.key_at(key_of(form.table())?)?;
            Some((form.table().to_owned(), parameters.get(at).and_then(text)?))
        });
        keyed.chain(stated).collect()
    }

    /// Whether it may read any item of a table.
    pub(super) fn reads(&self, table: &str) -> bool {
        self.reads_all || self.read.iter().any(|read| read == table)
    }

    pub(super) fn is_written(&self) -> bool {
        self.is_written
    }

    /// Tables of which it may write any item.
    pub(super) fn left(&self) -> &[String] {
        &self.left
    }

    /// Tables that are made, unmade or made otherwise.
    pub(super) fn redefined(&self) -> &[String] {
        &self.redefined
    }

    /// The texts of the statements of a `BatchExecuteStatement`.
    pub(super) fn batch(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().filter(|_| self.is_batch).map(|(text, _)| text.as_str())
    }
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn table(of: &Value) -> Option<String> {
    of.get("TableName")?.as_str().map(name_of)
}

/// A table may be named by its ARN.
fn name_of(table: &str) -> String {
    table.rsplit_once("table/").map_or(table, |(_, name)| name).to_owned()
}
