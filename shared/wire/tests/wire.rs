//! The lean client against a server that answers as it is told, over TCP and over TLS.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use centinela_wire::{Access, CallError, Client, Malformed, Plain, PlainRequest, Service, TlsSettings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

const SERVICE: Service =
    Service { name: "dynamodb", content_type: "application/x-amz-json-1.0", answer_bytes_max: 10_000 };

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    /// Sends these pieces, one after the other.
    Pieces(Vec<Vec<u8>>),
    /// The same, and closes.
    Last(Vec<u8>),
    /// Never answers, and says when the client went away.
    Silence,
}

fn ok(body: &str) -> Reply {
    Reply::Pieces(vec![format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()])
}

/// What was asked: the head in lower case, and the body.
type Asked = (String, String);
type Script = Box<dyn Fn(usize, &Asked) -> Reply + Send + Sync>;

struct Server {
    port: u16,
    connections: AtomicUsize,
    requests: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
    script: Script,
    gone: Notify,
}

impl Server {
    /// Serves every connection; the script is given the number of the request.
    async fn start(tls: bool, script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = Arc::new(Self {
            port: listener.local_addr().expect("an address").port(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            asked: Mutex::default(),
            script: Box::new(script),
            gone: Notify::new(),
        });
        let (serving, acceptor) = (Arc::clone(&server), tls.then(acceptor));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let (serving, acceptor) = (Arc::clone(&serving), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serving.serve(socket).await,
                        // A client that does not trust us has gone by then.
                        Some(acceptor) => match acceptor.accept(socket).await {
                            Ok(socket) => serving.serve(socket).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        server
    }

    /// None when the client has gone.
    async fn serve(&self, socket: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let mut socket = BufReader::new(socket);
        loop {
            let asked = request(&mut socket).await?;
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            let reply = (self.script)(number, &asked);
            self.asked.lock().expect("no test panics while it holds this").push(asked);
            match reply {
                Reply::Pieces(pieces) => {
                    for piece in pieces {
                        socket.write_all(&piece).await.ok()?;
                        socket.flush().await.ok()?;
                        tokio::task::yield_now().await;
                    }
                }
                Reply::Last(bytes) => {
                    socket.write_all(&bytes).await.ok()?;
                    return socket.shutdown().await.ok();
                }
                Reply::Silence => {
                    let rest = socket.read(&mut [0]).await;
                    assert!(matches!(rest, Ok(0) | Err(_)), "a dropped call sends nothing more");
                    self.gone.notify_one();
                    return None;
                }
            }
        }
    }

    fn url(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn header(&self, request: usize, name: &str) -> Option<String> {
        let asked = self.asked.lock().expect("no test panics while it holds this");
        let lines = asked[request].0.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    }
}

async fn request(socket: &mut (impl AsyncBufRead + Unpin)) -> Option<Asked> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

fn trusting() -> TlsSettings {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(include_bytes!("tls/authority.pem")).expect("a certificate");
    roots.add(authority).expect("an authority");
    TlsSettings::trusting(roots).expect("TLS")
}

fn access(token: Option<&str>, tls: TlsSettings) -> Access {
    let credentials = Credentials::new("AKID", "secret", token.map(str::to_owned), None, "test");
    Access::new("us-east-1", SharedCredentialsProvider::new(credentials), tls).expect("a region")
}

fn client(server: &Server) -> Client {
    let url = server.url("http", "127.0.0.1");
    Client::new(access(None, TlsSettings::default()), SERVICE, &url).expect("an address")
}

async fn call(client: &Client, body: &str) -> Result<String, CallError> {
    let write = |out: &mut Vec<u8>| out.extend_from_slice(body.as_bytes());
    let read = |answer: &[u8]| String::from_utf8(answer.to_vec()).map_err(|_| Malformed::Text("an answer"));
    client.call("Test_1.Echo", write, read).await
}

fn echo(_: usize, (_, body): &Asked) -> Reply {
    ok(body)
}

#[tokio::test]
async fn calls_in_turn_share_a_connection_and_calls_at_once_do_not() {
    let server = Server::start(false, echo).await;
    let client = client(&server);
    for body in ["{}", "{\"a\":1}", ""] {
        assert_eq!(call(&client, body).await.unwrap(), body);
    }
    assert_eq!(server.connections(), 1);
    let [first, second] = tokio::join!(call(&client, "1"), call(&client, "2")).into();
    assert_eq!([first.unwrap(), second.unwrap()], ["1", "2"]);
    assert_eq!(server.connections(), 2);
    assert_eq!(call(&client, "3").await.unwrap(), "3");
    assert_eq!(server.connections(), 2);
    assert_eq!(server.header(0, "x-amz-target").as_deref(), Some("test_1.echo"));
    assert_eq!(server.header(0, "host"), Some(format!("127.0.0.1:{}", server.port)));
    assert!(server.header(0, "user-agent").unwrap().starts_with("centinela/"));
}

#[tokio::test]
async fn an_answer_is_read_however_it_is_framed_and_cut() {
    let chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    let early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let replies = [
        Reply::Pieces(chunks.iter().map(|byte| vec![*byte]).collect()),
        Reply::Pieces(early.chunks(7).map(<[u8]>::to_vec).collect()),
        Reply::Last(b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec()),
        Reply::Last(b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()),
        Reply::Pieces(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello and more".to_vec()]),
        ok("hello"),
    ];
    let count = replies.len();
    let server = Server::start(false, move |number, _| replies[number].clone()).await;
    let client = client(&server);
    for number in 0..count {
        assert_eq!(call(&client, "{}").await.unwrap(), "hello", "{number}");
    }
    assert_eq!(server.connections(), 4, "the first three requests share one, and none is used after it said too much");
}

#[tokio::test]
async fn a_connection_that_breaks_costs_one_call_and_one_that_was_closed_costs_none() {
    let server = Server::start(false, |number, _| match number {
        1 => Reply::Last(Vec::new()),
        3 => Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel".to_vec()),
        5 => Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
        _ => ok("ok"),
    })
    .await;
    let client = client(&server);
    for closes in [false, true, false, true, false, false, false] {
        let answer = call(&client, "{}").await;
        if closes {
            assert!(matches!(answer, Err(CallError::Closed | CallError::Broken(_))), "{answer:?}");
        } else {
            assert_eq!(answer.unwrap(), "ok");
        }
        until_heard().await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_takes_only_those_with_it_that_were_closed_too() {
    let server = Server::start(false, |_, (_, body)| match body.as_str() {
        "break" => Reply::Last(Vec::new()),
        "close" => Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
        _ => ok("ok"),
    })
    .await;
    let client = client(&server);
    let at_once = async |bodies: [&'static str; 3]| {
        let calls = tokio::join!(call(&client, bodies[0]), call(&client, bodies[1]), call(&client, bodies[2]));
        until_heard().await;
        [calls.0.is_ok(), calls.1.is_ok(), calls.2.is_ok()]
    };
    assert_eq!(at_once(["", "", ""]).await, [true; 3]);
    assert_eq!(at_once(["break", "", ""]).await, [false, true, true]);
    assert_eq!(server.connections(), 3);
    assert_eq!(at_once(["", "", ""]).await, [true; 3]);
    assert_eq!(server.connections(), 4, "one was opened for the one that broke");
    assert_eq!(at_once(["break", "close", ""]).await, [false, true, true]);
    assert_eq!(at_once(["", "", ""]).await, [true; 3]);
    assert_eq!(server.connections(), 6, "one that was closed with it was not used");
}

/// Lets the runtime look at its sockets, which it does once in 61 polls.
async fn until_heard() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_before_there_is_room_for_it() {
    let server = Server::start(false, |number, _| match number {
        0 => Reply::Pieces(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n".to_vec()]),
        1 => Reply::Pieces(vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n".to_vec()]),
        2 => Reply::Last([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 20_000]].concat()),
        3 => Reply::Pieces(vec![[&b"HTTP/1.1 200 OK\r\na: "[..], &[b'x'; 60_000]].concat()]),
        _ => ok("ok"),
    })
    .await;
    let client = client(&server);
    for number in 0..3 {
        let answer = call(&client, "{}").await;
        assert!(matches!(answer, Err(CallError::TooLarge { limit: 10_000, .. })), "{number}: {answer:?}");
    }
    assert!(matches!(call(&client, "{}").await, Err(CallError::Http(_))));
    assert_eq!(call(&client, "{}").await.unwrap(), "ok");
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let server = Server::start(false, |number, _| if number == 0 { Reply::Silence } else { ok("ok") }).await;
    let client = client(&server);
    assert!(tokio::time::timeout(Duration::from_millis(50), call(&client, "{}")).await.is_err());
    server.gone.notified().await;
    assert_eq!(call(&client, "{}").await.unwrap(), "ok");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_canned_answer_is_read_as_one_that_came_and_again_with_every_call() {
    let body = "x".repeat(SERVICE.answer_bytes_max);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let client = Client::canned(access(None, TlsSettings::default()), SERVICE, answer.as_bytes()).unwrap();
    for _ in 0..3 {
        assert_eq!(call(&client, "{}").await.unwrap(), body);
    }
}

fn refusal(code: &str, date: &str) -> Reply {
    let body = format!(r#"{{"__type":"com.amazon.coral.service#{code}","message":"no"}}"#);
    let head = format!("HTTP/1.1 400 Bad Request\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n", body.len());
    Reply::Pieces(vec![format!("{head}{body}").into_bytes()])
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_what_the_service_says() {
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let server = Server::start(false, |number, _| match number {
        0 | 1 => refusal("InvalidSignatureException", THEN),
        _ => ok("ok"),
    })
    .await;
    let client = client(&server);
    assert!(matches!(call(&client, "{}").await, Err(CallError::SignatureOutdated(_))), "worth another try");
    // The clock is right now by what was said, so that another refusal has another reason.
    let Err(CallError::Service(error)) = call(&client, "{}").await else { panic!("refused for good") };
    assert_eq!((error.status, error.code.as_str(), error.message.as_str()), (400, "InvalidSignatureException", "no"));
    assert_eq!(call(&client, "{}").await.unwrap(), "ok");
    assert_eq!(server.connections(), 1, "an error is an answer");
    let signed_at = server.header(2, "x-amz-date").unwrap();
    assert!(signed_at.starts_with("19941106t08"), "{signed_at}");
    assert!(!server.header(0, "x-amz-date").unwrap().starts_with("1994"));
}

#[tokio::test]
async fn an_error_keeps_what_it_carries_and_a_refused_key_is_an_error() {
    let server = Server::start(false, |number, _| {
        if number == 0 { refusal("ValidationException", "") } else { refusal("UnrecognizedClientException", "") }
    })
    .await;
    let url = server.url("http", "127.0.0.1");
    let client = Client::new(access(Some("TOKEN"), TlsSettings::default()), SERVICE, &url).unwrap();
    let Err(CallError::Service(error)) = call(&client, "{}").await else { panic!("an error") };
    assert!(String::from_utf8(error.body).unwrap().contains("coral.service#ValidationException"));
    let answer = call(&client, "{}").await;
    assert!(
        matches!(answer, Err(CallError::Service(_))),
        "keys fetched just now are not worth another try: {answer:?}"
    );
    assert_eq!(server.header(0, "x-amz-security-token").as_deref(), Some("token"));
    assert!(server.header(0, "authorization").unwrap().contains("x-amz-security-token"));
}

#[tokio::test]
async fn nobody_at_the_address_is_a_connection_that_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(access(None, TlsSettings::default()), SERVICE, &url).unwrap();
    assert!(matches!(call(&client, "{}").await, Err(CallError::Connect { .. })));
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_is_asked_over_tls() {
    let server = Server::start(true, echo).await;
    let client = Client::new(access(None, trusting()), SERVICE, &server.url("https", "localhost")).unwrap();
    let large = "x".repeat(9_000);
    for body in ["{}", &large, "{\"a\":1}"] {
        assert_eq!(call(&client, body).await.unwrap(), body);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_with_another_name_or_another_authority_is_not_told_anything() {
    let server = Server::start(true, echo).await;
    for (tls, host) in [(trusting(), "127.0.0.1"), (TlsSettings::default(), "localhost")] {
        let client = Client::new(access(None, tls), SERVICE, &server.url("https", host)).unwrap();
        assert!(matches!(call(&client, "{}").await, Err(CallError::Connect { .. })), "{host}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

fn plain<'a>(path: &'a str, body: &'a [u8]) -> PlainRequest<'a> {
    PlainRequest { method: "POST", path, headers: &[], body }
}

async fn answer(plain: &mut Plain) -> Result<(u16, String), CallError> {
    let said = plain.answer(&mut |_, _| {}).await?;
    Ok((said.status, String::from_utf8(said.body.to_vec()).expect("text")))
}

#[tokio::test]
async fn requests_that_were_queued_leave_together_and_their_answers_come_in_order_however_they_are_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut api = Plain::new(&listener.local_addr().expect("an address").to_string(), 100).expect("an address");
    let server = tokio::spawn(async move {
        let socket = listener.accept().await.expect("it connects").0;
        socket.set_nodelay(true).expect("every piece leaves at once");
        let mut socket = BufReader::new(socket);
        let answers = ["first", "", "third"]
            .map(|body| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
            .concat();
        for cut in 1..answers.len() {
            // Nothing is answered before all three are there: asked one after the other, the first would wait for ever.
            for expected in ["post /1 http/1.1", "post /2 http/1.1", "post /3 http/1.1"] {
                let (head, body) = request(&mut socket).await.expect("a request");
                assert_eq!((head.lines().next(), body.as_str()), (Some(expected), "body"));
            }
            socket.write_all(&answers.as_bytes()[..cut]).await.expect("it listens");
            tokio::task::yield_now().await;
            socket.write_all(&answers.as_bytes()[cut..]).await.expect("it listens");
        }
        answers.len() - 1
    });
    while !server.is_finished() {
        for (owed, path) in ["/1", "/2", "/3"].into_iter().enumerate() {
            api.queue(&plain(path, b"body")).await.expect("a connection");
            assert_eq!(api.owed(), owed + 1);
        }
        for (left, expected) in ["first", "", "third"].into_iter().enumerate() {
            assert_eq!(answer(&mut api).await.expect("an answer"), (200, expected.to_owned()));
            assert_eq!(api.owed(), 2 - left);
        }
        tokio::task::yield_now().await;
    }
    assert!(server.await.expect("no request was wrong") > 100, "every cut was tried, on one connection");
    assert!(matches!(answer(&mut api).await, Err(CallError::Closed)), "nothing was asked");
}

#[tokio::test]
async fn what_stands_behind_the_last_answer_of_a_server_is_owed_no_more_and_can_be_asked_again() {
    let closing = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno".to_vec();
    let server = Server::start(false, move |number, asked| match number {
        0 => Reply::Last(closing.clone()),
        // One answer too many.
        1 => Reply::Pieces(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_vec()]),
        _ => echo(number, asked),
    })
    .await;
    let mut api = Plain::new(&format!("127.0.0.1:{}", server.port), 100).expect("an address");
    api.queue(&plain("/answer", b"long")).await.expect("a connection");
    api.queue(&plain("/next", b"next")).await.expect("the same");
    assert_eq!(answer(&mut api).await.expect("a refusal"), (413, "no".to_owned()));
    assert_eq!(api.owed(), 0);
    for expected in ["", "next"] {
        api.queue(&plain("/next", b"next")).await.expect("another connection");
        assert_eq!(answer(&mut api).await.expect("an answer"), (200, expected.to_owned()));
    }
    assert_eq!(server.connections(), 3);
}
