//! The HTTP front with a real function behind it: who may call, how often, how much, and how slowly.

use std::time::{Duration, Instant};

use centinela_e2e::built;
use centinela_e2e::fixture::Fixture;
use centinela_e2e::http::{self, Answer};
use centinela_local::http_front::{ApiSpec, Authorizer, CorsSpec, Credentials, HttpFront, Issuer, Limits, RouteSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const AUDIENCE: &str = "centinela";
/// The origin whose pages may call.
const PAGE: &str = "https://desk.example";
const PATIENCE: Duration = Duration::from_secs(30);

struct Front {
    front: HttpFront,
    issuer: Issuer,
    _fixture: Fixture,
}

impl Front {
    /// With a route of each kind, behind which the function gives back its event.
    async fn start(limits: Limits) -> Self {
        let _directory = built(&["fixture-function"]);
        let fixture = Fixture::start(Duration::from_secs(10), 2).await;
        let route = |key: &str, authorizer: Authorizer, scopes: &[&str]| RouteSpec {
            key: key.to_owned(),
            authorizer,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            rate: None,
            burst: None,
            function: std::sync::Arc::clone(&fixture.host),
        };
        let jwt = || Authorizer::Jwt { audience: vec![AUDIENCE.to_owned()] };
        let rare = RouteSpec { rate: Some(0.001), burst: Some(2), ..route("GET /rare", Authorizer::None, &[]) };
        let people = vec![
            route("GET /open", Authorizer::None, &[]),
            route("POST /open", Authorizer::None, &[]),
            route("GET /users/{user_id}", jwt(), &["read"]),
            route("GET /closed", Authorizer::Closed, &[]),
            route("OPTIONS /open", Authorizer::None, &[]),
            route("OPTIONS /closed", jwt(), &[]),
            rare,
        ];
        let machines = vec![route("GET /users/{user_id}", Authorizer::Iam, &[])];
        let pages = CorsSpec { origins: vec![PAGE.to_owned()], methods: vec!["GET".to_owned()], ..CorsSpec::default() };
        let api = |id: &str, routes| ApiSpec { id: id.to_owned(), routes, cors: Some(pages.clone()) };
        let text = str::to_owned;
        let credentials = Credentials {
            account: text("000000000000"),
            region: text("us-east-1"),
            access_key_id: text("local"),
            secret_access_key: text("local"),
        };
        let issuer = Issuer::start(AUDIENCE.to_owned()).await.expect("an issuer");
        let apis = vec![api("machines", machines), api("people", people)];
        let front = HttpFront::start(None, apis, credentials, &issuer, limits).await.expect("a front");
        Self { front, issuer, _fixture: fixture }
    }

    async fn connect(&self) -> TcpStream {
        http::connect(&self.front.url()).await
    }

    /// Sends this as it is and reads the answer.
    async fn say(&self, text: &str) -> Answer {
        http::say(&self.front.url(), text).await
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        http::send(&self.front.url(), &format!("GET {path}"), headers, "").await
    }

    async fn token(&self, scopes: &str) -> String {
        http::token(&self.issuer.url(), scopes).await
    }

    async fn end(self) {
        self.front.shutdown().await.expect("an end in order");
        self.issuer.shutdown().await.expect("an end in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_who_the_authoriser_says_and_nobody_else_gets_through() {
    let front = Front::start(Limits::default()).await;
    let open = front.get("/open?x=1", "").await;
    let event = open.json();
    assert_eq!((open.status, &event["routeKey"], &event["rawQueryString"]), (200, &"GET /open".into(), &"x=1".into()));
    assert!(open.head.contains("apigw-requestid:"), "{}", open.head);

    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let token = front.token("read label").await;
    let known = front.get("/users/a%20b", &bearer(&token)).await;
    let event = known.json();
    assert_eq!(event["pathParameters"]["user_id"], "a b");
    let jwt = &event["requestContext"]["authorizer"]["jwt"];
    assert_eq!((&jwt["claims"]["sub"], &jwt["scopes"][0]), (&"ana".into(), &"read".into()));

    let nobody = front.get("/users/ana", "").await;
    assert_eq!((nobody.status, nobody.text().as_str()), (401, r#"{"message":"Unauthorized"}"#));
    assert_eq!(front.get("/users/ana", &bearer("a.b.c")).await.status, 401);
    let other = front.get("/users/ana", &bearer(&front.token("label").await)).await;
    assert!(other.status == 403 && other.head.contains("insufficient_scope"), "{}", other.head);
    let unsigned = "authorization: AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/execute-api/aws4_request, \
                    SignedHeaders=host;x-amz-date, Signature=00\r\nx-amz-date: 20260101T000000Z\r\n";
    assert_eq!(front.get("/users/ana", unsigned).await.status, 403);
    assert_eq!(front.get("/closed", "").await.status, 403);
    assert_eq!(front.get("/nowhere", "").await.status, 404);
    front.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_answered_only_where_nobody_wants_credentials() {
    let front = Front::start(Limits::default()).await;
    let ask = async |path: &str| {
        let headers = format!("origin: {PAGE}\r\naccess-control-request-method: GET\r\n");
        http::send(&front.front.url(), &format!("OPTIONS {path}"), &headers, "").await
    };
    let open = ask("/open").await;
    assert_eq!(open.status, 204, "{}", open.head);
    assert!(open.head.contains(&format!("access-control-allow-origin: {PAGE}")), "{}", open.head);
    assert_eq!(ask("/closed").await.status, 401);
    front.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_throttle_lets_through_is_refused() {
    let front = Front::start(Limits::default()).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(front.get("/rare", "").await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(front.get("/open", "").await.status, 200, "another route has a throttle of its own");
    front.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let front = Front::start(Limits::default()).await;
    let large = front.say("POST /open HTTP/1.1\r\nhost: front\r\ncontent-length: 50000000\r\n\r\nx").await;
    assert_eq!((large.status, large.text().as_str()), (413, r#"{"message":"Request Entity Too Large"}"#));
    let header = format!("x-long: {}\r\n", "x".repeat(11_000));
    assert_eq!(front.get("/open", &header).await.status, 431);

    let mut endless = front.connect().await;
    let head = "POST /open HTTP/1.1\r\nhost: front\r\ntransfer-encoding: chunked\r\n\r\n";
    endless.write_all(head.as_bytes()).await.expect("it is sent");
    let (mut reading, mut writing) = endless.into_split();
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(0x10_0000));
    let sent = async { while writing.write_all(chunk.as_bytes()).await.is_ok() {} };
    let stopped = tokio::time::timeout(PATIENCE, sent).await;
    assert!(stopped.is_ok(), "nobody stops it");
    // Where the kernel has not thrown the answer away with the rest of the connection, it is this one.
    let mut status = [0; 12];
    if reading.read_exact(&mut status).await.is_ok() {
        assert_eq!(&status, b"HTTP/1.1 413");
    }
    front.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_not_waited_for() {
    let short = Duration::from_millis(300);
    let front = Front::start(Limits { header_time: short, body_time: short, ..Limits::default() }).await;
    let began = Instant::now();
    let half = "POST /open HTTP/1.1\r\nhost: front\r\ncontent-length: 10\r\n\r\nhalf";
    let (body, head, idle) = tokio::join!(front.say(half), front.say("GET /open HTTP/1.1\r\nho"), front.say(""));
    assert_eq!(body.status, 408);
    assert_eq!(idle.head, "", "an idle connection is closed without a word");
    assert_ne!(head.status, 200);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(front.get("/open", "").await.status, 200);
    front.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_together_take_no_more_than_there_is() {
    let limits = Limits {
        connections: 3,
        bodies_bytes: 64 * 1024,
        body_bytes: 60 * 1024,
        header_time: 2 * PATIENCE,
        body_time: 2 * PATIENCE,
        ..Limits::default()
    };
    let front = Front::start(limits).await;
    // One body holds most of the room, half-sent.
    let mut holder = front.connect().await;
    let half = format!("POST /open HTTP/1.1\r\nhost: front\r\ncontent-length: 50000\r\n\r\n{}", "x".repeat(49_000));
    holder.write_all(half.as_bytes()).await.expect("it is sent");
    let deadline = Instant::now() + PATIENCE;
    // Two bodies that come at the same time and do not fit together may both be refused.
    while front.front.bodies_bytes() < 49_000 {
        assert!(Instant::now() < deadline, "{} bytes have come", front.front.bodies_bytes());
        tokio::task::yield_now().await;
    }
    let other = format!(
        "POST /open HTTP/1.1\r\nhost: front\r\nconnection: close\r\ncontent-length: 40000\r\n\r\n{}",
        "x".repeat(40_000)
    );
    assert_eq!(front.say(&other).await.status, 503, "the room has an end");
    // Idle connections fill the two places beside the holder's, so of three one finds none.
    let mut idle = [front.connect().await, front.connect().await, front.connect().await];
    let heard = futures::future::select_all(idle.iter_mut().map(|one| Box::pin(http::answer(one))));
    let (refused, _, _) = tokio::time::timeout(PATIENCE, heard).await.expect("one is refused");
    assert_eq!(refused.status, 503);
    // The holder is served once it has sent the rest.
    holder.write_all("x".repeat(1_000).as_bytes()).await.expect("it is sent");
    let mut status = [0; 12];
    holder.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    front.end().await;
}
