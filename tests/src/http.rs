//! HTTP as it goes over the wire, so that a test can also say what no client library would.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status; 0 when the connection was closed without a word.
    pub status: u16,
    /// Status line and headers, in small letters.
    pub head: String,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

/// A connection to a URL without a path.
///
/// # Panics
/// When nobody listens there.
pub async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Sends a text as it is and reads the answer to the end of the connection.
///
/// # Panics
/// When nobody listens, or nobody ends the connection.
pub async fn say(url: &str, text: &str) -> Answer {
    let mut stream = connect(url).await;
    stream.write_all(text.as_bytes()).await.expect("it is sent");
    answer(&mut stream).await
}

/// Sends a request; `headers` are whole lines.
///
/// # Panics
/// The same.
pub async fn send(url: &str, request_line: &str, headers: &str, body: &str) -> Answer {
    let host = url.trim_start_matches("http://");
    let length = body.len();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {length}\r\n") };
    let text = format!("{request_line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{length}{headers}\r\n{body}");
    say(url, &text).await
}

/// A token of the local issuer with these scopes.
///
/// # Panics
/// When it gives none.
pub async fn token(issuer: &str, scopes: &str) -> String {
    let form = format!("grant_type=client_credentials&client_id=ana&scope={}", scopes.replace(' ', "+"));
    let given = send(issuer, "POST /oauth2/token", "content-type: application/x-www-form-urlencoded\r\n", &form).await;
    given.json()["access_token"].as_str().expect("a token").to_owned()
}

/// Reads to the end of the connection.
///
/// # Panics
/// When nobody ends it.
pub async fn answer(stream: &mut TcpStream) -> Answer {
    let mut read = Vec::new();
    let until_end = async {
        // A connection that breaks has said what it says.
        while let Ok(1..) = stream.read_buf(&mut read).await {}
    };
    tokio::time::timeout(PATIENCE, until_end).await.expect("the connection is closed");
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { return Answer::default() };
    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head, body: read.split_off(end + 4) }
}
