//! `centinela send`: what producers of each kind send, to Kafka and to an API, and what they say at the end.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use centinela_e2e::command::{assert_one_line, centinela, lines};
use centinela_e2e::running::Running;
use serde_json::Value;

/// A request as it came: path, `authorization`, body.
type Request = (String, String, Value);

/// An API that notes what it is asked; of `/v1/transactions` it does not answer the first request to the point.
struct Api {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Api {
    fn start(refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let noted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || serve(&stream.unwrap(), &noted, refuses));
            }
        });
        Self { url, requests }
    }

    fn requests(&self, path: &str) -> Vec<Request> {
        self.requests.lock().unwrap().iter().filter(|(asked, ..)| asked == path).cloned().collect()
    }

    /// All records that came to a path, requests that were made again not counted twice.
    fn records(&self, path: &str) -> Vec<Value> {
        let mut records = Vec::new();
        for (_, _, body) in self.requests(path) {
            let values = if let Value::Array(values) = body { values } else { vec![body] };
            for value in values {
                if !records.contains(&value) {
                    records.push(value);
                }
            }
        }
        records
    }
}

fn serve(stream: &TcpStream, noted: &Mutex<Vec<Request>>, refuses: bool) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut path, mut authorization, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    value.clone_into(&mut authorization)
                }
                Some(_) => {}
                None => line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path),
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let is_first = {
            let mut noted = noted.lock().unwrap();
            let is_first = path == "/v1/transactions" && noted.iter().all(|(asked, ..)| *asked != path);
            noted.push((path.clone(), authorization, serde_json::from_slice(&body).unwrap()));
            is_first
        };
        let (status, said) = match (refuses, is_first, path.as_str()) {
            (true, ..) => ("403 Forbidden", r#"{"title":"No right","detail":"the right ingest is missing"}"#),
            (_, true, _) => ("503 Service Unavailable", r#"{"message":"come again"}"#),
            (_, _, "/v1/decisions") => ("200 OK", r#"{"outcome":"APPROVED"}"#),
            _ => ("202 Accepted", r#"{"accepted":1}"#),
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn each_kind_of_producer_sends_its_own_to_kafka_and_says_what_was_kept() {
    let running = Running::start();
    let kafka = running.endpoint("kafka");
    for profile in ["web", "mobile", "gateway"] {
        let arguments = ["send", "--kafka", &kafka, "--profile", profile, "--rate", "200", "--count", "60", "--quiet"];
        let sent = centinela(&arguments).args(["--seed", &profile.len().to_string()]).output().unwrap();
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert!(sent.status.success(), "{profile}: {said} {:?}", lines(&sent));
        for word in ["sent 60  acknowledged 60  failed 0", "latency", "p99.9", "transactions", "rate 200 /s, kept "] {
            assert!(said.contains(word), "{profile}: {word} is not in {said}");
        }
        assert_eq!(said.contains("user actions"), profile != "gateway", "{said}");
    }
    let (status, report) = running.end();
    assert!(status.success(), "{report:#}");
    assert_eq!(report["records"]["sent"], 180, "{report:#}");
}

#[test]
fn each_kind_of_producer_sends_through_the_real_api_and_every_record_is_answered_for() {
    let running = Running::start();
    let api = running.endpoint("api");
    let credentials = |name: &str| running.endpoint(name);
    let send = |arguments: &[&str]| {
        let mut command = centinela(&["send", "--api", &api, "--quiet"]);
        command
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", credentials("access_key_id"))
            .env("AWS_SECRET_ACCESS_KEY", credentials("secret_access_key"))
            .env("AWS_DEFAULT_REGION", credentials("region"));
        command
    };
    for (profile, batch, seed) in [("web", "1", "1"), ("mobile", "20", "2"), ("gateway", "500", "3")] {
        let sent =
            send(&["--profile", profile, "--rate", "100", "--count", "60", "--batch", batch, "--seed", seed]).output();
        let sent = sent.unwrap();
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert!(sent.status.success(), "{profile}: {said} {:?}", lines(&sent));
        assert!(said.contains("sent 60  acknowledged 60  failed 0"), "{profile}: {said}");
        assert_eq!(said.contains("user actions"), profile != "gateway", "{said}");
    }
    let arguments = ["--decide", "--rate", "20", "--count", "20", "--seed", "4", "--actions", "0", "--labels", "0"];
    let decided = send(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&decided.stdout).into_owned();
    assert!(
        decided.status.success() && said.contains("sent 20  acknowledged 20  failed 0"),
        "{said} {:?}",
        lines(&decided)
    );
    assert!(said.contains("of 20 answers held the decision"), "{said}");

    let mut wrong = send(&["--count", "1", "--actions", "0", "--labels", "0"]);
    wrong.env("AWS_SECRET_ACCESS_KEY", "another");
    assert_one_line(&mut wrong, 1, &["1 of 1 records could not be sent", "403"]);
    let (status, report) = running.end();
    assert!(status.success(), "{report:#}");
    assert_eq!((&report["clean"], &report["records"]["sent"]), (&true.into(), &200.into()), "{report:#}");
    assert!(report["actions"]["records"].as_u64() > Some(60), "{report:#}");
    assert_eq!(report["records"]["parked"], 0, "{report:#}");
}

#[test]
fn an_api_gets_signed_batches_and_what_it_does_not_answer_is_asked_again() {
    let api = Api::start(false);
    let arguments = ["send", "--api", &api.url, "--rate", "500", "--count", "50", "--batch", "20", "--actions", "2"];
    let sent = centinela(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(sent.status.success(), "{said} {:?}", lines(&sent));
    assert!(said.contains("sent 50  acknowledged 50  failed 0"), "{said}");
    let transactions = api.requests("/v1/transactions");
    // 20, 20 and 10, and the first once more.
    let mut sizes: Vec<usize> = transactions.iter().map(|(_, _, body)| body.as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 20, 20, 20]);
    assert_eq!(api.records("/v1/transactions").len(), 50);
    assert!(transactions.iter().all(|(_, signed, _)| signed.contains("/execute-api/aws4_request")), "{transactions:?}");
    let actions = api.records("/v1/user-actions");
    assert!(actions.len() > 50 && actions.iter().all(|action| action["action"].is_string()), "{}", actions.len());
}

#[test]
fn an_api_is_asked_for_decisions_with_a_token_and_its_refusal_is_one_line() {
    let api = Api::start(false);
    let arguments =
        ["send", "--api", &api.url, "--decide", "--rate", "200", "--count", "20", "--actions", "0", "--labels", "0"];
    let sent = centinela(&arguments).env("CENTINELA_API_TOKEN", "a.b.c").output().unwrap();
    let said = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(sent.status.success() && said.contains("20 of 20 answers held the decision"), "{said}");
    let asked = api.requests("/v1/decisions");
    assert!(asked.len() == 20 && asked.iter().all(|(_, token, body)| token == "Bearer a.b.c" && body.is_object()));

    let api = Api::start(true);
    let arguments =
        ["send", "--api", &api.url, "--rate", "100", "--count", "5", "--actions", "0", "--labels", "0", "--quiet"];
    assert_one_line(
        &mut centinela(&arguments),
        1,
        &["5 of 5 records could not be sent", "403", "the right ingest is missing"],
    );
    assert_one_line(&mut centinela(&["send", "--api", "nowhere", "--count", "1"]), 2, &["nowhere"]);
    assert_one_line(&mut centinela(&["send", "--api", "http://x", "--kafka", "x:1"]), 2, &["--api", "--kafka"]);
}
