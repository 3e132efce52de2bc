//! Requests without a signature, to a server on the same machine.

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
    /// Requests on the connection that have no answer yet.
    owed: usize,
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
        Ok(Self {
            address: Address::parse(&format!("http://{authority}"))?,
            connection: None,
            owed: 0,
            answer_bytes_max,
        })
    }

    /// Puts a request behind those that have no answer yet. It goes out when an answer is waited for, together with what was queued since
    /// the last one: in one write, and the server answers them in their order.
    ///
    /// # Errors
    /// When there is no connection, or the request cannot be written.
    pub async fn queue(&mut self, request: &PlainRequest<'_>) -> Result<(), CallError> {
        if self.owed == 0 {
            // After an error it is not used again: what comes on it next would answer this request.
            let mut connection = match self.connection.take().filter(Connection::is_usable) {
                Some(connection) => connection,
                None => Connection::open(&self.address, &Route::Plain).await?,
            };
            connection.give_back();
            self.connection = Some(connection);
        }
        let connection = self.connection.as_mut().ok_or(CallError::Closed)?;
        write(connection.request.unsigned(), &self.address.authority, request)?;
        self.owed += 1;
        Ok(())
    }

    /// How many requests have no answer yet: none after a server has said that it closes, for it does not take what it has not read.
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// The answer to the oldest request without one, however long that takes. `header` is told its headers.
    ///
    /// # Errors
    /// When there is no answer. Then there is none to the requests behind it either.
    pub async fn answer(&mut self, header: &mut (dyn FnMut(&str, &str) + Send)) -> Result<PlainAnswer<'_>, CallError> {
        let owed = std::mem::take(&mut self.owed);
        let mut connection = self.connection.take().filter(|_| owed > 0).ok_or(CallError::Closed)?;
        connection.send().await?;
        connection.request.clear();
        let Received { head, body } = connection.receive(self.answer_bytes_max, header).await?;
        if !head.is_kept || (owed == 1 && connection.holds_more()) {
            connection.retire();
        } else {
            self.owed = owed - 1;
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
