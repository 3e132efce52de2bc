//! A request, written once into a buffer that is used again.

use std::io::Write as _;

use crate::signature::{Signed, SigningKey};

/// Kept free before a body, so that its head can stand before it without moving it. A session token has about a kilobyte.
const HEAD_ROOM: usize = 4_096;
/// A larger buffer is given back after its request.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Who asks, besides what is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) user_agent: &'a str,
}

/// The buffer of a connection. It shows itself nowhere: a token stands in it, and what is written.
#[derive(Default)]
pub(crate) struct RequestBuffer {
    /// Room for the head, then the body.
    bytes: Vec<u8>,
    head: Vec<u8>,
    starts_at: usize,
}

impl RequestBuffer {
    /// Where a new body is written: at the end of what is there.
    pub(crate) fn new_body(&mut self) -> &mut Vec<u8> {
        // What stands in the room from an earlier request does no harm.
        self.bytes.resize(HEAD_ROOM, 0);
        &mut self.bytes
    }

    /// Where a whole request is written that nobody signs: behind those that wait to be sent with it.
    pub(crate) fn unsigned(&mut self) -> &mut Vec<u8> {
        self.starts_at = 0;
        &mut self.bytes
    }

    /// After unsigned requests were sent.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Signs the body and puts the head before it.
    pub(crate) fn finish(&mut self, key: &SigningKey, signed: &Signed<'_>, asker: Asker<'_>) {
        let body = self.bytes.get(HEAD_ROOM..).unwrap_or_default();
        let signature = key.sign(signed, body);
        self.head.clear();
        write_head(&mut self.head, signed, asker, &signature, body.len());
        match HEAD_ROOM.checked_sub(self.head.len()) {
            Some(starts_at) => {
                self.bytes[starts_at..HEAD_ROOM].copy_from_slice(&self.head);
                self.starts_at = starts_at;
            }
            None => {
                self.bytes.splice(..HEAD_ROOM, self.head.iter().copied());
                self.starts_at = 0;
            }
        }
    }

    /// The whole request.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.starts_at..]
    }

    /// After the request: a buffer that had to be large is not kept.
    pub(crate) fn give_back(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}

fn write_head(head: &mut Vec<u8>, signed: &Signed<'_>, asker: Asker<'_>, signature: &[u8; 64], body_bytes: usize) {
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    let (date, moment) = (signed.moment.date(), signed.moment.text());
    put(&[b"POST / HTTP/1.1\r\nhost: ", signed.authority.as_bytes()]);
    put(&[b"\r\ncontent-type: ", signed.content_type.as_bytes(), b"\r\nx-amz-target: ", signed.target.as_bytes()]);
    put(&[b"\r\nx-amz-date: ", moment]);
    if let Some(token) = signed.session_token {
        put(&[b"\r\nx-amz-security-token: ", token.as_bytes()]);
    }
    put(&[b"\r\nauthorization: AWS4-HMAC-SHA256 Credential=", asker.access_key_id.as_bytes(), b"/", &date, b"/"]);
    put(&[signed.region.as_bytes(), b"/", signed.service.as_bytes(), b"/aws4_request, SignedHeaders="]);
    put(&[signed.names().as_bytes(), b", Signature=", signature]);
    // Not signed: proxies may add to it.
    put(&[b"\r\nuser-agent: ", asker.user_agent.as_bytes(), b"\r\ncontent-length: "]);
    // Writing to a vector cannot fail.
    write!(head, "{body_bytes}\r\n\r\n").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    fn request(buffer: &mut RequestBuffer, token: Option<&str>, body: &[u8]) -> String {
        let moment = Moment::of(784_111_777);
        let signed = Signed {
            authority: "localhost:8000",
            content_type: "application/x-amz-json-1.0",
            target: "DynamoDB_20120810.BatchGetItem",
            session_token: token,
            moment: &moment,
            region: "eu-west-1",
            service: "dynamodb",
        };
        let key = SigningKey::derive("secret", moment.date(), "eu-west-1", "dynamodb");
        buffer.new_body().extend_from_slice(body);
        buffer.finish(&key, &signed, Asker { access_key_id: "AKID", user_agent: "centinela/1 app/f" });
        String::from_utf8(buffer.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_head_stands_before_its_body_and_says_how_long_that_is() {
        let mut buffer = RequestBuffer::default();
        for body in ["{\"a\":1}", "", "{}"] {
            let text = request(&mut buffer, None, body.as_bytes());
            let (head, rest) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(rest, body);
            let mut lines = head.split("\r\n");
            assert_eq!(lines.next(), Some("POST / HTTP/1.1"));
            let lines: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
            let named = |name: &str| lines.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
            assert_eq!(named("content-length"), Some(body.len().to_string().as_str()));
            assert_eq!(named("x-amz-date"), Some("19941106T084937Z"));
            assert_eq!(named("x-amz-security-token"), None);
            let authorization = named("authorization").unwrap();
            let begins = "AWS4-HMAC-SHA256 Credential=AKID/19941106/eu-west-1/dynamodb/aws4_request, \
                          SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=";
            assert_eq!(authorization.strip_prefix(begins).map(str::len), Some(64), "{authorization}");
        }
    }

    #[test]
    fn a_token_longer_than_the_room_moves_the_body_and_the_next_request_is_right_again() {
        let mut buffer = RequestBuffer::default();
        let token = "t".repeat(3 * HEAD_ROOM);
        let text = request(&mut buffer, Some(&token), b"{}");
        assert!(text.starts_with("POST / ") && text.ends_with("\r\n\r\n{}") && text.contains(&token));
        let text = request(&mut buffer, None, b"[1]");
        assert!(text.starts_with("POST / ") && text.ends_with("\r\n\r\n[1]") && !text.contains("ttt"));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut buffer = RequestBuffer::default();
        request(&mut buffer, None, &vec![b'x'; 2 * KEPT_BYTES_MAX]);
        buffer.give_back();
        assert!(buffer.bytes.capacity() <= KEPT_BYTES_MAX);
    }
}
