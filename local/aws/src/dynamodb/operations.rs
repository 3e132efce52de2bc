//! Runs one operation on the engine and charges for it.
//!
//! The engine is always asked for the consumed capacity; a client that did not ask does not see it. What the engine does
//! not report, because AWS does not report it either, is charged here: lost conditions, cancelled transactions, and
//! batches in which every statement failed.

use bytes::Bytes;
use dynoxide::actions::batch_execute_statement::{BatchExecuteStatementRequest, BatchExecuteStatementResponse};
use dynoxide::actions::batch_get_item::{BatchGetItemRequest, BatchGetItemResponse};
use dynoxide::actions::{
    batch_write_item, delete_item, describe_table, execute_statement, execute_transaction, get_item, put_item, query,
    scan, transact_get_items, transact_write_items, update_item,
};
use dynoxide::errors::CancellationReason;
use dynoxide::types::{ConsumedCapacity, item_size, table_write_capacity_units};
use dynoxide::{AttributeValue, Database, DynoxideError, Item};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch;
use super::fault::Fault;
use super::front::Shared;
use super::statement::{self, Kind};
use super::units::{Direction, lost_condition_units};

const ALL_OLD: &str = "ALL_OLD";

pub(super) type Outcome<T> = Result<T, DynoxideError>;
/// A statement's text and its parameters.
pub(super) type Statement = (String, Vec<AttributeValue>);

/// A request that can be asked to report its capacity.
pub(super) trait Metered {
    fn capacity_mode(&mut self) -> &mut Option<String>;
}

/// An answer that reports the capacity of each table that it touched.
pub(super) trait Measured {
    fn reports(&self) -> &[ConsumedCapacity];
    fn strip(&mut self);
}

macro_rules! metered {
    ($($request:ty => $response:ty),+ $(,)?) => {$(
        impl Metered for $request {
            fn capacity_mode(&mut self) -> &mut Option<String> {
                &mut self.return_consumed_capacity
            }
        }
        impl Measured for $response {
            fn reports(&self) -> &[ConsumedCapacity] {
                self.consumed_capacity.as_slice()
            }
            fn strip(&mut self) {
                self.consumed_capacity = None;
            }
        }
    )+};
}

macro_rules! metered_by_table {
    ($($request:ty => $response:ty),+ $(,)?) => {$(
        impl Metered for $request {
            fn capacity_mode(&mut self) -> &mut Option<String> {
                &mut self.return_consumed_capacity
            }
        }
        impl Measured for $response {
            fn reports(&self) -> &[ConsumedCapacity] {
                self.consumed_capacity.as_deref().unwrap_or_default()
            }
            fn strip(&mut self) {
                self.consumed_capacity = None;
            }
        }
    )+};
}

metered! {
    get_item::GetItemRequest => get_item::GetItemResponse,
    put_item::PutItemRequest => put_item::PutItemResponse,
    update_item::UpdateItemRequest => update_item::UpdateItemResponse,
    delete_item::DeleteItemRequest => delete_item::DeleteItemResponse,
    query::QueryRequest => query::QueryResponse,
    scan::ScanRequest => scan::ScanResponse,
    execute_statement::ExecuteStatementRequest => execute_statement::ExecuteStatementResponse,
}

metered_by_table! {
    BatchGetItemRequest => BatchGetItemResponse,
    batch_write_item::BatchWriteItemRequest => batch_write_item::BatchWriteItemResponse,
    BatchExecuteStatementRequest => BatchExecuteStatementResponse,
    transact_get_items::TransactGetItemsRequest => transact_get_items::TransactGetItemsResponse,
    transact_write_items::TransactWriteItemsRequest => transact_write_items::TransactWriteItemsResponse,
    execute_transaction::ExecuteTransactionRequest => execute_transaction::ExecuteTransactionResponse,
}

/// Answers one request with its JSON body.
pub(super) async fn run(shared: &Shared, operation: &str, body: &[u8], fault: Fault) -> Outcome<Bytes> {
    use Direction::{Read, Write};
    match operation {
        "BatchGetItem" => batch::get_items(shared, body, fault).await,
        "BatchExecuteStatement" => batch::statements(shared, body, fault).await,
        "UpdateItem" => conditional::<update_item::UpdateItemRequest, _>(shared, body, Database::update_item).await,
        "PutItem" => conditional::<put_item::PutItemRequest, _>(shared, body, Database::put_item).await,
        "DeleteItem" => conditional::<delete_item::DeleteItemRequest, _>(shared, body, Database::delete_item).await,
        "GetItem" => metered(shared, body, Read, Database::get_item).await,
        "Query" => metered(shared, body, Read, Database::query).await,
        "Scan" => metered(shared, body, Read, Database::scan).await,
        "TransactGetItems" => metered(shared, body, Read, Database::transact_get_items).await,
        "BatchWriteItem" => metered(shared, body, Write, Database::batch_write_item).await,
        "TransactWriteItems" => transact_write(shared, body).await,
        "ExecuteStatement" => one_statement(shared, body).await,
        "ExecuteTransaction" => transact_statements(shared, body).await,
        _ => administer(shared, operation, body).await,
    }
}

/// Operations that cost no request units.
async fn administer(shared: &Shared, operation: &str, body: &[u8]) -> Outcome<Bytes> {
    match operation {
        "CreateTable" => plain(shared, body, Database::create_table).await,
        "DeleteTable" => plain(shared, body, Database::delete_table).await,
        "DescribeTable" => plain(shared, body, Database::describe_table).await,
        "UpdateTable" => plain(shared, body, Database::update_table).await,
        "ListTables" => plain(shared, body, Database::list_tables).await,
        "UpdateTimeToLive" => plain(shared, body, Database::update_time_to_live).await,
        "DescribeTimeToLive" => plain(shared, body, Database::describe_time_to_live).await,
        "TagResource" => plain(shared, body, Database::tag_resource).await,
        "UntagResource" => plain(shared, body, Database::untag_resource).await,
        "ListTagsOfResource" => plain(shared, body, Database::list_tags_of_resource).await,
        "ListStreams" => plain(shared, body, Database::list_streams).await,
        "DescribeStream" => plain(shared, body, Database::describe_stream).await,
        "GetShardIterator" => plain(shared, body, Database::get_shard_iterator).await,
        "GetRecords" => plain(shared, body, Database::get_records).await,
        _ => Err(DynoxideError::ValidationException(format!("the embedded dynamodb does not serve {operation}"))),
    }
}

pub(super) async fn engine<Q, R>(
    shared: &Shared,
    request: Q,
    call: impl FnOnce(&Database, Q) -> Outcome<R>,
) -> Outcome<R> {
    let _turn = shared.turn.acquire().await;
    call(&shared.database, request)
}

async fn plain<Q: DeserializeOwned, R: Serialize>(
    shared: &Shared,
    body: &[u8],
    call: impl FnOnce(&Database, Q) -> Outcome<R>,
) -> Outcome<Bytes> {
    encode(&engine(shared, decode(body)?, call).await?)
}

async fn metered<Q: DeserializeOwned + Metered, R: Serialize + Measured>(
    shared: &Shared,
    body: &[u8],
    direction: Direction,
    call: impl FnOnce(&Database, Q) -> Outcome<R>,
) -> Outcome<Bytes> {
    let mut request = decode::<Q>(body)?;
    let asked = ask_for_capacity(&mut request);
    let mut response = engine(shared, request, call).await?;
    charge(shared, direction, &mut response, asked);
    encode(&response)
}

/// Makes the engine report capacity and says whether the client had asked for it.
pub(super) fn ask_for_capacity(request: &mut impl Metered) -> bool {
    let mode = request.capacity_mode();
    match mode.as_deref() {
        None | Some("NONE") => {
            *mode = Some("TOTAL".to_owned());
            false
        }
        Some(_) => true,
    }
}

pub(super) fn charge(shared: &Shared, direction: Direction, response: &mut impl Measured, asked: bool) {
    let mut meter = shared.meter();
    for report in response.reports() {
        meter.charge_reported(direction, report);
    }
    drop(meter);
    if !asked {
        response.strip();
    }
}

/// Asks for the item that a condition fails on, because its size is what the failure costs. Says whether the client had
/// asked for it.
pub(super) fn ask_for_item(wanted: &mut Option<String>) -> bool {
    match wanted.as_deref() {
        None | Some("NONE") => {
            *wanted = Some(ALL_OLD.to_owned());
            false
        }
        Some(_) => true,
    }
}

/// A single-item write with a condition.
trait ConditionalWrite {
    fn table(&self) -> &str;
    fn item_on_failure(&mut self) -> &mut Option<String>;
}

macro_rules! conditional_write {
    ($($request:ty),+) => {$(
        impl ConditionalWrite for $request {
            fn table(&self) -> &str {
                &self.table_name
            }
            fn item_on_failure(&mut self) -> &mut Option<String> {
                &mut self.return_values_on_condition_check_failure
            }
        }
    )+};
}

conditional_write!(put_item::PutItemRequest, update_item::UpdateItemRequest, delete_item::DeleteItemRequest);

async fn conditional<Q, R>(
    shared: &Shared,
    body: &[u8],
    call: impl FnOnce(&Database, Q) -> Outcome<R>,
) -> Outcome<Bytes>
where
    Q: DeserializeOwned + Metered + ConditionalWrite,
    R: Serialize + Measured,
{
    let mut request = decode::<Q>(body)?;
    let asked = ask_for_capacity(&mut request);
    let wants_item = ask_for_item(request.item_on_failure());
    let table = request.table().to_owned();
    match engine(shared, request, call).await {
        Ok(mut response) => {
            charge(shared, Direction::Write, &mut response, asked);
            encode(&response)
        }
        Err(error) => Err(condition_failure(shared, &table, error, wants_item)),
    }
}

/// Charges a lost condition and hides its item from a client that did not ask for it.
fn condition_failure(shared: &Shared, table: &str, error: DynoxideError, wants_item: bool) -> DynoxideError {
    let DynoxideError::ConditionalCheckFailedException(message, item) = error else {
        return error;
    };
    charge_lost(shared, table, lost_condition_units(item.as_ref()));
    DynoxideError::ConditionalCheckFailedException(message, item.filter(|_| wants_item))
}

pub(super) fn charge_lost(shared: &Shared, table: &str, units: f64) {
    let mut meter = shared.meter();
    meter.condition_failed(table);
    meter.charge(table, Direction::Write, units);
}

pub(super) fn direction(statement: &str) -> Direction {
    match statement::kind(statement) {
        Kind::Select => Direction::Read,
        Kind::Insert | Kind::Conditional => Direction::Write,
    }
}

async fn one_statement(shared: &Shared, body: &[u8]) -> Outcome<Bytes> {
    let mut request = decode::<execute_statement::ExecuteStatementRequest>(body)?;
    let asked = ask_for_capacity(&mut request);
    let direction = direction(&request.statement);
    let wants_item = statement::kind(&request.statement) != Kind::Conditional
        || ask_for_item(&mut request.return_values_on_condition_check_failure);
    let text = request.statement.clone();
    let error = match engine(shared, request, Database::execute_statement).await {
        Ok(mut response) => {
            charge(shared, direction, &mut response, asked);
            return encode(&response);
        }
        Err(error) => error,
    };
    let table = statement::table(&text);
    if matches!(error, DynoxideError::DuplicateItemException(_)) {
        let parameters = decode::<execute_statement::ExecuteStatementRequest>(body)?.parameters.unwrap_or_default();
        let units = lost_insert_units(shared, table, &(text.clone(), parameters));
        charge_lost(shared, table, units);
    }
    Err(match condition_failure(shared, table, error, wants_item) {
        DynoxideError::ConditionalCheckFailedException(message, Some(item)) => {
            DynoxideError::StatementConditionalCheckFailed(message, item)
        }
        error => error,
    })
}

async fn transact_write(shared: &Shared, body: &[u8]) -> Outcome<Bytes> {
    let mut request = decode::<transact_write_items::TransactWriteItemsRequest>(body)?;
    let asked = ask_for_capacity(&mut request);
    let tables: Vec<String> = request.transact_items.iter().map(|action| action_table(action).to_owned()).collect();
    match engine(shared, request, Database::transact_write_items).await {
        Ok(mut response) => {
            charge(shared, Direction::Write, &mut response, asked);
            encode(&response)
        }
        Err(error) => {
            charge_cancelled(shared, &tables, &error);
            Err(error)
        }
    }
}

async fn transact_statements(shared: &Shared, body: &[u8]) -> Outcome<Bytes> {
    let mut request = decode::<execute_transaction::ExecuteTransactionRequest>(body)?;
    let asked = ask_for_capacity(&mut request);
    let statements = &request.transact_statements;
    let direction = statements.first().map_or(Direction::Write, |first| direction(&first.statement));
    let tables: Vec<String> = statements.iter().map(|entry| statement::table(&entry.statement).to_owned()).collect();
    match engine(shared, request, Database::execute_transaction).await {
        Ok(mut response) => {
            charge(shared, direction, &mut response, asked);
            encode(&response)
        }
        Err(error) => {
            if direction == Direction::Write {
                charge_cancelled(shared, &tables, &error);
            }
            Err(error)
        }
    }
}

fn action_table(action: &transact_write_items::TransactWriteItem) -> &str {
    let put = action.put.as_ref().map(|put| &put.table_name);
    let update = action.update.as_ref().map(|update| &update.table_name);
    let delete = action.delete.as_ref().map(|delete| &delete.table_name);
    let check = action.condition_check.as_ref().map(|check| &check.table_name);
    put.or(update).or(delete).or(check).map_or("", String::as_str)
}

/// A cancelled transaction is charged the minimum of two units an action: the sizes are not reported with it.
fn charge_cancelled(shared: &Shared, tables: &[String], error: &DynoxideError) {
    const UNITS: f64 = 2.0;
    let DynoxideError::TransactionCanceledException(_, reasons) = error else {
        return;
    };
    let failed = |reason: &CancellationReason| matches!(&*reason.code, "ConditionalCheckFailed" | "DuplicateItem");
    let mut meter = shared.meter();
    for (table, reason) in tables.iter().zip(reasons) {
        meter.charge(table, Direction::Write, UNITS);
        if failed(reason) {
            meter.condition_failed(table);
        }
    }
}

/// The units of an `INSERT` whose key was taken: those of the larger of the two items.
pub(super) fn lost_insert_units(shared: &Shared, table: &str, (text, parameters): &Statement) -> f64 {
    let Some(item) = statement::inserted_item(text, parameters) else {
        return lost_condition_units(None);
    };
    let existing = existing_item(shared, table, &item);
    table_write_capacity_units(existing.as_ref().map(item_size), Some(item_size(&item)))
}

/// The stored item with the key of `item`.
fn existing_item(shared: &Shared, table: &str, item: &Item) -> Option<Item> {
    let asked = describe_table::DescribeTableRequest { table_name: table.to_owned() };
    let described = shared.database.describe_table(asked).ok()?.table;
    let key: Item = described
        .key_schema
        .into_iter()
        .map(|part| Some((part.attribute_name.clone(), item.get(&part.attribute_name)?.clone())))
        .collect::<Option<_>>()?;
    let request = get_item::GetItemRequest { table_name: table.to_owned(), key, ..get_item::GetItemRequest::default() };
    shared.database.get_item(request).ok()?.item
}

/// Reads a request as the engine's own server does: its decoders mark the kind of a refusal at the start of the message.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Outcome<T> {
    const VALIDATION: [&str; 3] = ["VALIDATION_AS_READ:", "VALIDATION_REQUEST:", "VALIDATION:"];
    const SERIALIZATION: [&str; 2] = ["SERIALIZATION_AS_READ:", "SERIALIZATION:"];
    const VALIDATION_SIGNS: [&str; 4] = ["missing field", "unknown variant", "invalid type: null", "AttributeValue"];
    serde_json::from_slice(body).map_err(|error| {
        let whole = error.to_string();
        let text = whole.rsplit_once(" at line ").map_or(&*whole, |(text, _)| text);
        if let Some(text) = VALIDATION.iter().find_map(|mark| text.strip_prefix(mark)) {
            return DynoxideError::ValidationException(text.to_owned());
        }
        if let Some(text) = SERIALIZATION.iter().find_map(|mark| text.strip_prefix(mark)) {
            return DynoxideError::SerializationException(text.to_owned());
        }
        if VALIDATION_SIGNS.iter().any(|sign| text.contains(sign)) {
            return DynoxideError::ValidationException(text.to_owned());
        }
        DynoxideError::SerializationException(text.to_owned())
    })
}

pub(super) fn encode(response: &impl Serialize) -> Outcome<Bytes> {
    serde_json::to_vec(response).map(Bytes::from).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
