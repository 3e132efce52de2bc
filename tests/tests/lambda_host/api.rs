//! The Lambda API of this machine, as the AWS CLI would talk to it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use centinela_local::lambda::{FunctionHost, InvokeError, LambdaApi, PAYLOAD_BYTES_MAX, Served, SwitchedMapping};
use centinela_local::mapping::MappingError;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{host, invoke, spec, until};

async fn post(api: &LambdaApi, path: &str, kind: &str, body: Vec<u8>) -> (String, Value) {
    send(api, "POST", path, kind, body).await
}

/// A request as the AWS CLI would send it; returns the answer's head, in lower case, and its body.
async fn send(api: &LambdaApi, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (String, Value) {
    let address = api.url().trim_start_matches("http://").to_owned();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-amz-invocation-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("the API listens");
        stream.write_all(head.as_bytes()).expect("a request");
        // It may be refused before all of it was read.
        let _refused = stream.write_all(&body);
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answer = asked.await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_invoked_over_http_as_in_aws() {
    const FUNCTION: &str = "/2015-03-31/functions/fixture/invocations";
    let host = host(spec()).await;
    let api = LambdaApi::start(None).await.expect("a port");
    let (head, _) = post(&api, FUNCTION, "RequestResponse", b"{}".to_vec()).await;
    assert!(head.starts_with("http/1.1 503"), "nothing is served yet: {head}");
    api.serve(served(&host));
    let wait = "RequestResponse";

    let (head, said) = post(&api, FUNCTION, wait, br#"{"amount_minor": 1234}"#.to_vec()).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("x-amz-executed-version: $latest"), "{head}");
    assert_eq!(said, json!({ "amount_minor": 1234 }));
    let arn = "/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:fixture:live/invocations";
    assert_eq!(post(&api, arn, wait, b"{}".to_vec()).await.1, json!({}));
    assert_eq!(post(&api, FUNCTION, wait, Vec::new()).await.1, json!({}), "without an event it is an empty object");

    let (head, said) = post(&api, FUNCTION, wait, br#"{"do": "fail"}"#.to_vec()).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("x-amz-function-error: unhandled"), "{head}");
    assert_eq!(said["errorMessage"], "told to fail");
    let (head, said) = post(&api, FUNCTION, wait, br#"{"do": "crash"}"#.to_vec()).await;
    assert!(head.contains("x-amz-function-error: unhandled") && said["errorType"] == "Runtime.ExitError", "{said}");

    let handled = host.stats().invocations;
    let (head, _) = post(&api, FUNCTION, "DryRun", b"{}".to_vec()).await;
    assert!(head.starts_with("http/1.1 204"), "{head}");
    assert_eq!(host.stats().invocations, handled);
    let (head, _) = post(&api, FUNCTION, "Event", b"{}".to_vec()).await;
    assert!(head.starts_with("http/1.1 202"), "{head}");
    until("the event is handled", || host.stats().invocations > handled).await;

    let refused = [
        ("/2015-03-31/functions/nobody/invocations", wait, b"{}".to_vec(), "404", "resourcenotfoundexception"),
        ("/2015-03-31/functions/", wait, b"{}".to_vec(), "404", "unknownoperationexception"),
        (FUNCTION, wait, b"{".to_vec(), "400", "invalidrequestcontentexception"),
        (FUNCTION, "Sometimes", b"{}".to_vec(), "400", "invalidparametervalueexception"),
        (FUNCTION, wait, vec![b' '; PAYLOAD_BYTES_MAX + 1], "413", "requesttoolargeexception"),
    ];
    for (path, kind, body, status, error) in refused {
        let (head, _) = post(&api, path, kind, body).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")) && head.contains(error), "{path} {kind}: {head}");
    }
    api.shutdown().await.expect("it ends");
    host.stop(Duration::from_secs(1)).await;
}

/// What the API serves of one function.
fn served(host: &Arc<FunctionHost>) -> Served {
    let functions = BTreeMap::from([("fixture".to_owned(), Arc::clone(host))]);
    Served { functions, reserved: BTreeMap::from([("fixture".to_owned(), 2)]), ..Served::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_that_is_reserved_over_http_counts_from_the_next_invocation_on() {
    const SET: &str = "/2017-10-31/functions/fixture/concurrency";
    const GET: &str = "/2019-09-30/functions/fixture/concurrency";
    const FUNCTION: &str = "/2015-03-31/functions/fixture/invocations";
    let host = host(spec()).await;
    let api = LambdaApi::start(None).await.expect("a port");
    api.serve(served(&host));
    let reserved = async || send(&api, "GET", GET, "", Vec::new()).await.1["ReservedConcurrentExecutions"].as_u64();
    let set = async |count: u64| {
        let body = json!({ "ReservedConcurrentExecutions": count }).to_string();
        send(&api, "PUT", SET, "", body.into_bytes()).await.0
    };
    assert_eq!(reserved().await, Some(2), "what the stack says");

    let head = set(0).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let (head, _) = post(&api, FUNCTION, "RequestResponse", b"{}".to_vec()).await;
    assert!(head.starts_with("http/1.1 429") && head.contains("toomanyrequestsexception"), "{head}");
    assert!(matches!(invoke(&host, json!({})).await, Err(InvokeError::Throttled)));

    set(1).await;
    assert_eq!((reserved().await, host.allowed()), (Some(1), 1));
    let slow = tokio::spawn({
        let host = Arc::clone(&host);
        async move { invoke(&host, json!({ "do": "burn", "ms": 300 })).await.map(drop) }
    });
    until("the only environment is busy", || host.stats().busy == 1).await;
    assert!(invoke(&host, json!({})).await.is_ok());
    assert!(slow.await.expect("no panic").is_ok());
    assert_eq!(host.stats().environments, 1, "two ran at a time");

    let (head, _) = send(&api, "DELETE", SET, "", Vec::new()).await;
    assert!(head.starts_with("http/1.1 204"), "{head}");
    assert_eq!((reserved().await, host.allowed()), (None, 2));
    for (method, path, body) in [
        ("PUT", SET, "{}"),
        ("PUT", SET, r#"{"ReservedConcurrentExecutions":-1}"#),
        ("PUT", SET, "nonsense"),
        ("GET", "/2019-09-30/functions/nobody/concurrency", ""),
        ("PUT", "/2015-03-31/event-source-mappings/x", r#"{"Enabled":true}"#),
    ] {
        let (head, _) = send(&api, method, path, "", body.as_bytes().to_vec()).await;
        assert!(head.starts_with("http/1.1 40"), "{method} {path}: {head}");
    }
    api.shutdown().await.expect("it ends");
    host.stop(Duration::from_secs(1)).await;
}

/// A mapping whose changes take until somebody lets them happen; the next enabling fails where it is told so.
#[derive(Default)]
struct Slow {
    let_happen: tokio::sync::Notify,
    fails: AtomicBool,
}

impl SwitchedMapping for Slow {
    fn disable(&self) -> BoxFuture<'_, Result<(), MappingError>> {
        Box::pin(async {
            self.let_happen.notified().await;
            Ok(())
        })
    }

    fn enable(&self) -> BoxFuture<'_, Result<(), MappingError>> {
        Box::pin(async {
            self.let_happen.notified().await;
            if self.fails.load(Ordering::SeqCst) { Err(MappingError::Stopped) } else { Ok(()) }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_listed_and_switched_over_http_and_is_in_use_meanwhile() {
    const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
    let (host, slow) = (host(spec()).await, Arc::new(Slow::default()));
    let api = LambdaApi::start(None).await.expect("a port");
    let served = served(&host);
    for topic in ["orders", "refunds", "returns"] {
        let details = json!({ "Topics": [topic], "BatchSize": 100 });
        served.mappings.add("fixture", &host.arn(), "arn:aws:kafka:x:0:cluster/c/1", details, Arc::clone(&slow) as _);
    }
    let mappings = Arc::clone(&served.mappings);
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/prices";
    mappings.add("another", &host.arn(), stream, json!({ "BatchSize": 10 }), Arc::clone(&slow) as _);
    api.serve(served);
    let get = async |path: String| send(&api, "GET", &path, "", Vec::new()).await;
    let first = get(format!("{MAPPINGS}/?FunctionName=fixture&MaxItems=2")).await.1;
    let marker = first["NextMarker"].as_str().expect("there is more").to_owned();
    let second = get(format!("{MAPPINGS}?FunctionName={}&MaxItems=2&Marker={marker}", host.arn())).await.1;
    let listed = |page: &Value| page["EventSourceMappings"].as_array().expect("a list").clone();
    let all = [listed(&first), listed(&second)].concat();
    let topics: Vec<_> = all.iter().map(|mapping| mapping["Topics"][0].as_str().expect("a topic")).collect();
    assert_eq!((topics, second.get("NextMarker")), (vec!["orders", "refunds", "returns"], None));
    assert_eq!(listed(&get(format!("{MAPPINGS}?FunctionName=nobody")).await.1), Vec::<Value>::new());
    assert_eq!(listed(&get(format!("{MAPPINGS}?EventSourceArn={stream}")).await.1)[0]["BatchSize"], 10);

    let path = format!("{MAPPINGS}/{}", all[1]["UUID"].as_str().expect("an identifier"));
    let put = async |enabled: bool| {
        send(&api, "PUT", &path, "", json!({ "Enabled": enabled }).to_string().into_bytes()).await
    };
    let state = async || get(path.clone()).await.1["State"].as_str().expect("a state").to_owned();
    assert_eq!(put(true).await.1["State"], "Enabled", "it is so already");
    let (head, said) = put(false).await;
    assert!(head.starts_with("http/1.1 202") && said["State"] == "Disabling", "{head} {said}");
    assert_eq!(mappings.disabled(), ["fixture"]);
    for enabled in [true, false] {
        let (head, _) = put(enabled).await;
        assert!(head.starts_with("http/1.1 409") && head.contains("resourceinuseexception"), "{head}");
    }
    let switched = async |from: &str| {
        slow.let_happen.notify_one();
        while state().await == from {
            tokio::task::yield_now().await;
        }
        state().await
    };
    assert_eq!(switched("Disabling").await, "Disabled");
    slow.fails.store(true, Ordering::SeqCst);
    assert_eq!(put(true).await.1["State"], "Enabling");
    assert_eq!(switched("Enabling").await, "Disabled", "what cannot begin takes nothing");
    slow.fails.store(false, Ordering::SeqCst);
    put(true).await;
    assert_eq!(switched("Enabling").await, "Enabled");
    assert!(mappings.disabled().is_empty());
    // Who must switch a mapping for something else holds it: nobody else may meanwhile, and one that is disabled is not held.
    let held = mappings.hold("refunds").expect("it is enabled");
    assert_eq!((state().await.as_str(), mappings.hold("refunds").is_none()), ("Updating", true));
    assert!(put(false).await.0.starts_with("http/1.1 409"));
    drop(held);
    assert_eq!(state().await, "Enabled");
    put(false).await;
    assert_eq!(switched("Disabling").await, "Disabled");
    assert!(mappings.hold("refunds").is_none());
    assert_eq!(state().await, "Disabled", "it is left as it was");
    let (head, _) = send(&api, "PUT", &path, "", br#"{"Enabled":true,"BatchSize":7}"#.to_vec()).await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
    api.shutdown().await.expect("it ends");
    host.stop(Duration::from_secs(1)).await;
}
