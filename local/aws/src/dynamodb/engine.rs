//! The `dynoxide` engine behind the proxy: one operation a request, as its own server would answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use centinela_serve::BoxError;
use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use dynoxide::actions::{describe_table, get_item};
use dynoxide::auth_material::{self, AuthMaterial};
use dynoxide::{Database, DynoxideError, Item};
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::quick::{Quick, Touched};
use super::tokens::{Seen, Tokens};
use crate::proxy::{Answer, Charge, Upstream, operation, target};

const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TARGET_PREFIXES: [&str; 2] = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."];
/// A token has 1 to so many characters; what else comes as one is left to the engine to refuse.
const TOKEN_LENGTH_MAX: usize = 36;
const UNKNOWN_OPERATION: &[u8] = br#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;

type Outcome<T> = Result<T, DynoxideError>;

pub(super) struct Engine {
    database: Database,
    /// The engine runs one request at a time behind a blocking lock. Waiting here instead keeps the threads free.
    turn: Semaphore,
    tokens: Mutex<Tokens>,
    quick: Mutex<Quick>,
}

impl Engine {
    pub(super) fn new(database: Database) -> Self {
        let quick = Mutex::new(Quick::new(database.clone()));
        Self { database, turn: Semaphore::new(1), tokens: Mutex::default(), quick }
    }

    /// The items that are served without the engine. Whoever changes the engine's holds this meanwhile.
    pub(super) fn quick(&self) -> MutexGuard<'_, Quick> {
        self.quick.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what has expired; says how much of it the engine held.
    pub(super) fn expire(&self) -> Outcome<usize> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.quick().expire(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))?;
        self.database.sweep_ttl()
    }

    async fn answer(&self, operation: &str, body: &[u8]) -> Answer {
        let _turn = self.turn.acquire().await;
        let touched = Touched::by(operation, body);
        let mut quick = self.quick();
        let outcome = quick.lend(&touched).and_then(|()| match operation {
            "TransactWriteItems" => self.transact(body),
            _ => run(&self.database, operation, body),
        });
        quick.take_back(&touched, outcome.as_deref().ok());
        drop(quick);
        match outcome {
            Ok(json) => (StatusCode::OK, json),
            Err(error) => {
                tracing::debug!(operation, %error, "dynamodb refused a request");
                let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::BAD_REQUEST);
                (status, error.to_json().into())
            }
        }
    }

    /// Whoever asks has the turn, so a token that comes twice at a time is done once.
    fn transact(&self, body: &[u8]) -> Outcome<Bytes> {
        let mut request: TransactWriteItemsRequest = decode(body)?;
        let is_token = |token: &mut String| (1..=TOKEN_LENGTH_MAX).contains(&token.chars().count());
        let token = request.client_request_token.take_if(is_token);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = token.as_ref().map_or(Seen::New, |token| tokens.find(token, body, Instant::now()));
        match seen {
            Seen::New => {}
            Seen::Done(answer) => return Ok(answer),
            Seen::Another => {
                let why = "the token was used within ten minutes for another transaction";
                return Err(DynoxideError::IdempotentParameterMismatchException(why.to_owned()));
            }
        }
        let answer = encode(&self.database.transact_write_items(request)?)?;
        if let Some(token) = token {
            tokens.done(token, body, answer.clone(), Instant::now());
        }
        Ok(answer)
    }
}

impl Upstream for Engine {
    fn admit<'a>(&self, head: &'a Parts) -> Result<&'a str, Answer> {
        if head.method != Method::POST {
            return Err((StatusCode::OK, Bytes::from_static(b"healthy")));
        }
        let target = target(head);
        if !TARGET_PREFIXES.iter().any(|prefix| target.starts_with(prefix)) {
            return Err((StatusCode::BAD_REQUEST, Bytes::from_static(UNKNOWN_OPERATION)));
        }
        match auth_refusal(head) {
            Some(refusal) => Err((StatusCode::BAD_REQUEST, refusal.into())),
            None => Ok(target),
        }
    }

    fn call<'a>(&'a self, target: &'a str, body: Bytes) -> BoxFuture<'a, Result<Answer, BoxError>> {
        Box::pin(async move { Ok(self.answer(operation(target), &body).await) })
    }

    fn at_once(&self, operation: &str, body: &[u8]) -> Option<(Bytes, Vec<Charge>)> {
        self.quick().answer(operation, body)
    }

    fn stored(&self, table: &str, item: &Item) -> Option<Item> {
        if let Some(stored) = self.quick().item(table, item) {
            return stored;
        }
        let asked = describe_table::DescribeTableRequest { table_name: table.to_owned() };
        let described = self.database.describe_table(asked).ok()?.table;
        let key: Item = described
            .key_schema
            .into_iter()
            .map(|part| Some((part.attribute_name.clone(), item.get(&part.attribute_name)?.clone())))
            .collect::<Option<_>>()?;
        let request =
            get_item::GetItemRequest { table_name: table.to_owned(), key, ..get_item::GetItemRequest::default() };
        self.database.get_item(request).ok()?.item
    }
}

/// The engine checks that a request is signed as far as it can without the secret; the signature itself is not verified.
fn auth_refusal(head: &Parts) -> Option<String> {
    auth_material::validate(AuthMaterial {
        authorization: head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()),
        query: head.uri.query().unwrap_or_default(),
        has_date_header: head.headers.contains_key(AMZ_DATE) || head.headers.contains_key(DATE),
    })
}

macro_rules! operations {
    ($($name:literal => $method:ident),+ $(,)?) => {
        /// Answers one request with its JSON body.
        fn run(database: &Database, operation: &str, body: &[u8]) -> Outcome<Bytes> {
            match operation {
                $($name => encode(&database.$method(decode(body)?).map_err(|error| in_its_form(operation, error))?),)+
                _ => Err(DynoxideError::ValidationException(format!("the embedded dynamodb does not serve {operation}"))),
            }
        }
    };
}

operations! {
    "BatchExecuteStatement" => batch_execute_statement,
    "BatchGetItem" => batch_get_item,
    "BatchWriteItem" => batch_write_item,
    "CreateTable" => create_table,
    "DeleteItem" => delete_item,
    "DeleteTable" => delete_table,
    "DescribeStream" => describe_stream,
    "DescribeTable" => describe_table,
    "DescribeTimeToLive" => describe_time_to_live,
    "ExecuteStatement" => execute_statement,
    "ExecuteTransaction" => execute_transaction,
    "GetItem" => get_item,
    "GetRecords" => get_records,
    "GetShardIterator" => get_shard_iterator,
    "ListStreams" => list_streams,
    "ListTables" => list_tables,
    "ListTagsOfResource" => list_tags_of_resource,
    "PutItem" => put_item,
    "Query" => query,
    "Scan" => scan,
    "TagResource" => tag_resource,
    "TransactGetItems" => transact_get_items,
    "UntagResource" => untag_resource,
    "UpdateItem" => update_item,
    "UpdateTable" => update_table,
    "UpdateTimeToLive" => update_time_to_live,
}

/// A statement's lost condition with its item has a form of its own.
fn in_its_form(operation: &str, error: DynoxideError) -> DynoxideError {
    match error {
        DynoxideError::ConditionalCheckFailedException(message, Some(item)) if operation == "ExecuteStatement" => {
            DynoxideError::StatementConditionalCheckFailed(message, item)
        }
        error => error,
    }
}

/// Reads a request as the engine's own server does: its decoders mark the kind of a refusal at the start of the message.
fn decode<T: DeserializeOwned>(body: &[u8]) -> Outcome<T> {
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

fn encode(response: &impl Serialize) -> Outcome<Bytes> {
    serde_json::to_vec(response).map(Bytes::from).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
