//! What the two calls to DynamoDB cost their caller without the transport: the request is built, signed and serialised, answered at once in
//! this process, and the answer is read. By the lean client, as the function makes them, and for comparison by AWS's own, which it has with
//! `WIRE_CLIENT` `sdk`. With sockets both are measured by `cargo run --release --example call_cost`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use centinela_adapters::aws::WireClient;
use centinela_adapters::{DynamoConfig, DynamoLimits, DynamoStateStore, SystemClock, Tables};
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::transaction_v1;
use centinela_delivery::Clock as _;
use centinela_domain::{Millis, UserId};
use centinela_scoring::ports::{Commit, DecisionState as _, ReadRequest, StateReader as _, Write};
use centinela_wire::{Access, Client as Lean, TlsSettings, dynamodb};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::world::World;

const REGION: &str = "us-east-1";
const USER_TABLE: &str = "user_state";
const DEVICE_TABLE: &str = "device_state";
const MARKS_TABLE: &str = "settled_offsets";
/// No call here waits for anybody.
const PATIENCE_MS: i64 = 3_600_000;

/// A server in this process that has one answer, for AWS's own client.
#[derive(Clone, Debug)]
struct OneAnswer(Arc<str>);

impl HttpConnector for OneAnswer {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        black_box(request);
        let status = StatusCode::try_from(200).expect("200 is a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(self.0.to_string()))))
    }
}

impl HttpClient for OneAnswer {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// The function's state store before that server.
struct Caller {
    runtime: Runtime,
    store: DynamoStateStore,
}

fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("measured", "measured", None, None, "bench"))
}

fn lean(answer: &str) -> Lean {
    let length = answer.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n{answer}"
    );
    let access = Access::new(REGION, credentials(), TlsSettings::default()).expect("a region");
    Lean::canned(access, dynamodb::SERVICE, answer.as_bytes()).expect("no application has a name here")
}

fn sdk(answer: String) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url("http://127.0.0.1:1")
        .credentials_provider(credentials())
        .retry_config(RetryConfig::disabled())
        .http_client(OneAnswer(answer.into()))
        .build();
    Client::from_conf(config)
}

impl Caller {
    fn new(by: WireClient, answer: &Value) -> Self {
        let answer = answer.to_string();
        let tables = match by {
            WireClient::Lean => Tables::from(lean(&answer)),
            WireClient::Sdk => Tables::from(sdk(answer)),
        };
        let store = DynamoStateStore::new(
            tables,
            DynamoConfig {
                user_table: USER_TABLE.to_owned(),
                device_table: DEVICE_TABLE.to_owned(),
                marks_table: MARKS_TABLE.to_owned(),
                consumer_group: "score-transactions".to_owned(),
                transactions_topic: super::world::TOPIC.to_owned(),
                name_for_logs: Arc::new(|_| "a person".to_owned()),
                limits: DynamoLimits::default(),
            },
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { runtime: runtime.expect("the operating system gives a poller"), store }
    }

    fn deadline() -> Millis {
        Millis(SystemClock.now().0 + PATIENCE_MS)
    }
}

/// `BatchExecuteStatement`: conditional writes of this many users.
pub fn commit(by: WireClient, world: &World, users: usize) -> impl FnMut() + use<> {
    let stored: Vec<(UserId, StoredUser)> = world.users(world.payloads.len()).into_iter().take(users).collect();
    assert_eq!(stored.len(), users, "the world has enough users");
    let answers: Vec<Value> = stored.iter().map(|_| json!({ "TableName": USER_TABLE })).collect();
    let caller = Caller::new(by, &json!({ "Responses": answers }));
    move || {
        let write =
            |(key, item): &(UserId, StoredUser)| Write { key: key.clone(), expected: Some(7), item: item.clone() };
        let writes = stored.iter().map(write).collect();
        let commits = caller.runtime.block_on(caller.store.commit_users(writes, Caller::deadline()));
        assert!(commits.iter().all(|commit| matches!(commit, Commit::Done)), "{commits:?}");
    }
}

/// `BatchGetItem`: this many users and the devices that they are on.
pub fn read(world: &World, users: usize) -> impl FnMut() + use<> {
    let (request, answer) = asked_and_answered(world, users);
    let caller = Caller::new(WireClient::Lean, &answer);
    move || {
        let read = caller.runtime.block_on(caller.store.read(request.clone(), Caller::deadline()));
        assert!(read.problem.is_none() && read.users.len() == users, "{:?}", read.problem);
        black_box(read);
    }
}

fn asked_and_answered(world: &World, users: usize) -> (ReadRequest, Value) {
    let items = world.tables.items();
    let base64 = |bytes: &[u8]| json!({ "B": base64_simd::STANDARD.encode_to_string(bytes) });
    let (mut wanted, mut rows) = (HashMap::new(), Vec::new());
    let (mut devices, mut device_rows) = (HashMap::new(), Vec::new());
    for payload in &world.payloads {
        let transaction = transaction_v1::parse(payload).expect("it was decided as one");
        if wanted.len() == users {
            break;
        }
        let (user, device) = (transaction.user_id, transaction.device_id);
        let Some(item) = items.users.get(&user).filter(|_| !wanted.contains_key(&user)) else { continue };
        let Some((version, state)) = &item.state else { continue };
        let mut row = json!({ "pk": { "S": user.as_str() }, "v": { "N": version.to_string() }, "s": base64(state) });
        for (number, content, bytes) in [("pv", "p", &item.profile), ("rv", "r", &item.risk)] {
            if let Some(bytes) = bytes {
                row[number] = json!({ "N": "3" });
                row[content] = base64(bytes);
            }
        }
        rows.push(row);
        wanted.insert(user, ());
        let found = items.devices.get(&device).filter(|_| !devices.contains_key(&device));
        if let Some((version, state)) = found.and_then(|item| item.state.as_ref()) {
            let (key, version) = (device.as_str(), version.to_string());
            device_rows.push(json!({ "pk": { "S": key }, "v": { "N": version }, "s": base64(state) }));
            devices.insert(device, ());
        }
    }
    assert_eq!(wanted.len(), users, "the world has enough users");
    let request = ReadRequest {
        users: wanted.into_keys().collect(),
        devices: devices.into_keys().collect(),
        partitions: Vec::new(),
    };
    let responses = json!({ USER_TABLE: rows, DEVICE_TABLE: device_rows });
    (request, json!({ "Responses": responses, "UnprocessedKeys": {} }))
}
