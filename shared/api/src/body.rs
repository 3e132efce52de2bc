//! Bodies: their type and size are looked at before anything is read, and a list is counted while it is read.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::{BODY_BYTES_MAX, RECORDS_MAX};

const JSON: &str = "application/json";

/// The body as text.
pub(crate) fn text(request: &Request) -> Result<&str, Problem> {
    let essence = request.content_type.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(JSON) {
        return Err(Problem::new(Kind::UnsupportedMediaType, "the body must be application/json"));
    }
    let bytes = request.body.len();
    if bytes > BODY_BYTES_MAX {
        return Err(Problem::new(
            Kind::BodyTooLarge,
            format!("the body has {bytes} bytes, the limit is {BODY_BYTES_MAX}"),
        ));
    }
    std::str::from_utf8(&request.body).map_err(|_| Problem::new(Kind::MalformedBody, "the body is not UTF-8"))
}

/// The records in a body: one object, or a list of them; with whether it was a list.
pub(crate) fn records(request: &Request) -> Result<(Vec<&[u8]>, bool), Problem> {
    let text = text(request)?;
    if !text.trim_start().starts_with('[') {
        return Ok((vec![text.as_bytes()], false));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let listed = reader.deserialize_seq(Listed).and_then(|listed| reader.end().map(|()| listed));
    let listed = listed.map_err(|error| Problem::new(Kind::MalformedBody, format!("the body is no list: {error}")))?;
    match listed {
        None => {
            let detail = format!("the list has more than {RECORDS_MAX} records");
            Err(Problem::new(Kind::TooManyRecords, detail))
        }
        Some(records) if records.is_empty() => Err(Problem::new(Kind::MalformedBody, "the list has no record")),
        Some(records) => Ok((records, true)),
    }
}

/// Reads a list; none when it is longer than it may be. Of what is beyond the limit nothing is kept.
struct Listed;

impl<'de> Visitor<'de> for Listed {
    type Value = Option<Vec<&'de [u8]>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        let mut too_many = false;
        while let Some(record) = list.next_element::<&'de RawValue>()? {
            if records.len() == RECORDS_MAX {
                too_many = true;
            } else {
                records.push(record.get().as_bytes());
            }
        }
        Ok((!too_many).then_some(records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Request {
        let content_type = Some("application/json; charset=utf-8".to_owned());
        Request { content_type, body: body.as_bytes().to_vec(), ..Request::default() }
    }

    fn kind(body: &str) -> Kind {
        records(&of(body)).unwrap_err().kind
    }

    #[test]
    fn one_record_or_a_list_of_them_is_read_and_nothing_else() {
        assert_eq!(records(&of(r#"{"a":1}"#)).unwrap(), (vec![&br#"{"a":1}"#[..]], false));
        assert_eq!(records(&of(" [1, {}]")).unwrap(), (vec![&b"1"[..], b"{}"], true));
        assert_eq!(records(&of(&format!("[{}1]", "1,".repeat(499)))).unwrap().0.len(), 500);
        assert_eq!(kind(&format!("[{}1]", "1,".repeat(500))), Kind::TooManyRecords);
        for broken in ["[", "[1,]", "[] x", "[]", "[1] [2]"] {
            assert_eq!(kind(broken), Kind::MalformedBody, "{broken}");
        }
        assert_eq!(kind(&" ".repeat(BODY_BYTES_MAX + 1)), Kind::BodyTooLarge);
        assert_eq!(kind(&"[".repeat(BODY_BYTES_MAX)), Kind::MalformedBody);
    }

    #[test]
    fn another_type_is_refused() {
        let form = Request { content_type: Some("text/plain".to_owned()), ..of("{}") };
        assert_eq!(text(&form).unwrap_err().kind, Kind::UnsupportedMediaType);
        assert_eq!(text(&Request { content_type: None, ..of("{}") }).unwrap_err().kind, Kind::UnsupportedMediaType);
    }
}
