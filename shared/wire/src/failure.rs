//! What can go wrong with a call.

use std::error::Error;
use std::{fmt, io};

use centinela_contracts::json::{Kind, Reader, Syntax};

/// An error of any kind.
pub type Cause = Box<dyn Error + Send + Sync>;

/// The longest message of a service that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// A service cannot be asked as configured. Nothing to wait for: a person has to change something.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ConnectError {
    #[error("there is no region: set AWS_REGION")]
    NoRegion,
    #[error("there are no credentials: set them as for any AWS client")]
    NoCredentials,
    #[error(transparent)]
    Address(#[from] crate::AddressProblem),
    #[error("none of the machine's certificates can be used; SSL_CERT_FILE names a file of them")]
    Certificates(#[source] Cause),
    #[error("`{host}` is no name that a certificate could have")]
    Name { host: String },
    #[error("the {what} has a character that no header may have")]
    Header { what: &'static str },
}

/// An answer that is not what the service documents.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Malformed {
    #[error(transparent)]
    Json(#[from] Syntax),
    #[error("{0} of an answer is no text")]
    Text(&'static str),
    #[error("{0} of an answer is no base64")]
    Base64(&'static str),
    #[error("an answer has {0} where it should not")]
    Unexpected(&'static str),
}

/// What a service said instead of an answer.
#[derive(Clone, thiserror::Error)]
#[error("{code} ({status}): {message}")]
pub struct ServiceError {
    /// The HTTP status.
    pub status: u16,
    /// The error's name without its namespace, such as `ThrottlingException`; empty where none was given.
    pub code: String,
    /// What a person may read, at most 1 KB of it.
    pub message: String,
    /// The whole answer: some errors carry more.
    pub body: Vec<u8>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CallError {
    #[error("no credentials could be had")]
    Credentials(#[source] Cause),
    #[error("no connection to {host}")]
    Connect {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("no connection to {host} within {waited_ms} ms")]
    ConnectTimeout { host: String, waited_ms: u128 },
    /// Whether the request was carried out is not known.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// Whether the request was carried out is not known.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    #[error("the answer is not HTTP/1.1: {0}")]
    Http(&'static str),
    #[error("the answer has {bytes} bytes or more, of at most {limit}")]
    TooLarge { bytes: u64, limit: usize },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Service(Box<ServiceError>),
    /// The clock was wrong, or the credentials were; both are known better now.
    #[error("the signature was refused, and is made anew with what is known now")]
    SignatureOutdated(#[source] Box<ServiceError>),
}

/// Without the body, which may hold an item.
impl fmt::Debug for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceError")
            .field("status", &self.status)
            .field("code", &self.code)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl ServiceError {
    /// Reads an error in the form of the JSON protocols: the code from the body, or from the header `x-amzn-errortype`.
    /// <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html#operation-error-serialization>
    pub(crate) fn read(status: u16, header: Option<&str>, body: &[u8]) -> Self {
        let (mut code, mut message) = (header.map(short).filter(|code| !code.is_empty()), None);
        // A proxy's page is no JSON: then the status has to do.
        if let Ok((in_body, said)) = members(body) {
            code = code.or(in_body);
            message = said;
        }
        let mut message = message.unwrap_or_default();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { status, code: code.unwrap_or_default(), message, body: body.to_vec() }
    }
}

/// `__type` or `code`, and the message.
fn members(body: &[u8]) -> Result<(Option<String>, Option<String>), Syntax> {
    let mut reader = Reader::new(body);
    let (mut code, mut message) = (None, None);
    let mut object = reader.object()?;
    while let Some(name) = reader.member(&mut object)? {
        let is_text = reader.peek()? == Kind::Text;
        if is_text && (name.is("__type") || (name.is("code") && code.is_none())) {
            code = reader.text()?.decode().ok().map(|text| short(&text));
        } else if is_text && (name.is("message") || name.is("Message") || name.is("errorMessage")) {
            message = reader.text()?.decode().ok().map(std::borrow::Cow::into_owned);
        } else {
            reader.skip()?;
        }
    }
    Ok((code, message))
}

/// The name of an error without the namespace before it and without what may follow it.
fn short(code: &str) -> String {
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    code.split(':').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>, body: &str) -> (String, String) {
        let error = ServiceError::read(400, header, body.as_bytes());
        (error.code, error.message)
    }

    fn both(code: &str, message: &str) -> (String, String) {
        (code.to_owned(), message.to_owned())
    }

    #[test]
    fn an_error_has_its_name_wherever_the_service_puts_it() {
        let dynamo = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow down"}"#;
        assert_eq!(read(None, dynamo), both("ThrottlingException", "slow down"));
        assert_eq!(read(None, r#"{"code":"A","__type":"B","Message":"m"}"#), both("B", "m"));
        assert_eq!(read(None, r#"{"__type":"B","code":"A"}"#), both("B", ""));
        assert_eq!(read(Some("InternalFailure:http://x"), dynamo), both("InternalFailure", "slow down"));
        assert_eq!(read(Some(""), dynamo), both("ThrottlingException", "slow down"));
        for page in ["<html>502</html>", "", "[]", "{\"__type\":", "null", r#"{"__type":7,"message":null}"#] {
            assert_eq!(read(None, page), both("", ""), "{page}");
        }
    }

    #[test]
    fn a_long_message_is_cut_where_a_letter_ends() {
        let (_, message) = read(None, &format!(r#"{{"message":"{}"}}"#, "é".repeat(2_000)));
        assert_eq!(message, "é".repeat(512));
    }
}
