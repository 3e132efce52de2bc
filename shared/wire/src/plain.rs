//! Requests without a signature, one at a time, to a server on the same machine.

use std::fmt;
use std::io::Write as _;

use crate::address::{Address, AddressProblem};
use crate::connection::{Connection, Received, Route};
use crate::failure::CallError;
use crate::identity::is_plain;

/// A server, and the connection to it.
pub struct Plain {
    address: Address,
    connection: Option<Connection>,
    answer_bytes_max: usize,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct PlainRequest<'a> {
    /// Such as `GET`.
    pub method: &'static str,
    /// With its slash, and without white space.
    pub path: &'a str,
    /// Names and values, besides `host` and `content-length`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Empty for a request without one.
    pub body: &'a [u8],
}

/// What the server answered. It stays until the next request.
#[derive(Clone, Copy, Debug)]
pub struct PlainAnswer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

impl Plain {
    /// A server at `host:port`, with answers of at most so many bytes. It connects with the first request.
    ///
    /// # Errors
    /// When that is no address.
    pub fn new(authority: &str, answer_bytes_max: usize) -> Result<Self, AddressProblem> {
        Ok(Self { address: Address::parse(&format!("http://{authority}"))?, connection: None, answer_bytes_max })
    }

    /// Asks once, and waits as long as it takes. `header` is told the headers of the answer.
    ///
    /// # Errors
    /// When there is no answer, or the request cannot be written.
    pub async fn ask(
        &mut self,
        request: &PlainRequest<'_>,
        header: &mut (dyn FnMut(&str, &str) + Send),
    ) -> Result<PlainAnswer<'_>, CallError> {
        // After an error it is not used again: what comes on it next would answer this request.
        let mut connection = match self.connection.take().filter(Connection::is_usable) {
            Some(connection) => connection,
            None => Connection::open(&self.address, &Route::Plain).await?,
        };
        connection.give_back();
        write(connection.request.whole(), &self.address.authority, request)?;
        let Received { head, body } = connection.exchange(self.answer_bytes_max, header).await?;
        if !head.is_kept {
            connection.retire();
        }
        Ok(PlainAnswer { status: head.status, body: self.connection.insert(connection).body(body) })
    }
}

fn write(out: &mut Vec<u8>, authority: &str, request: &PlainRequest<'_>) -> Result<(), CallError> {
    let PlainRequest { method, path, headers, body } = *request;
    let are_plain = headers.iter().all(|(name, value)| is_plain(name) && value.bytes().all(|byte| byte >= b' '));
    if !are_plain || !is_plain(path) {
        return Err(CallError::Http("a request has a character that no head may have"));
    }
    out.extend_from_slice(method.as_bytes());
    for part in [" ", path, " HTTP/1.1\r\nhost: ", authority] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        for part in ["\r\n", name, ": ", value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    // Writing to a vector cannot fail.
    write!(out, "\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap_or_default();
    out.extend_from_slice(body);
    Ok(())
}
