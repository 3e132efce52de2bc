//! `PutRecords`. <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>

use std::fmt::Display;
use std::io::Write as _;

use centinela_contracts::json::{Reader, push_base64, push_text};

use crate::client::{Client, Service};
use crate::failure::{CallError, Malformed};
use crate::json::{elements, members, optional_text};

/// The service, for [`Client::new`]. An answer has some 150 bytes for each of at most 500 records.
pub const SERVICE: Service =
    Service { name: "kinesis", content_type: "application/x-amz-json-1.1", answer_bytes_max: 1 << 20 };

const PUT_RECORDS: &str = "Kinesis_20131202.PutRecords";

/// A record on its way to a stream.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a, K> {
    /// What its shard is chosen by. Written as it shows itself, so it must need no escape in JSON.
    pub partition_key: K,
    /// Its bytes.
    pub data: &'a [u8],
}

/// Puts records, and returns for each the code with which it was refused; none of one that was taken.
///
/// # Errors
/// When the call as a whole has no answer, or another number of them.
pub async fn put_records<K: Display>(
    client: &Client,
    stream: &str,
    entries: &[Entry<'_, K>],
) -> Result<Vec<Option<String>>, CallError> {
    client.call(PUT_RECORDS, |out| write(out, stream, entries), |answer| read(answer, entries.len())).await
}

fn write<K: Display>(out: &mut Vec<u8>, stream: &str, entries: &[Entry<'_, K>]) {
    out.extend_from_slice(b"{\"Records\":[");
    for (index, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"Data\":" } else { b",{\"Data\":" });
        push_base64(out, Some(entry.data));
        // Writing to a vector cannot fail.
        write!(out, ",\"PartitionKey\":\"{}\"}}", entry.partition_key).unwrap_or_default();
    }
    out.extend_from_slice(b"],\"StreamName\":");
    push_text(out, stream);
    out.push(b'}');
}

fn read(answer: &[u8], expected: usize) -> Result<Vec<Option<String>>, Malformed> {
    let mut reader = Reader::new(answer);
    let mut codes = Vec::with_capacity(expected);
    members(&mut reader, |reader, name| {
        if !name.is("Records") {
            reader.skip()?;
            return Ok(());
        }
        elements(reader, |reader| {
            if codes.len() == expected {
                return Err(Malformed::Unexpected("more records than were sent"));
            }
            let mut code = None;
            members(reader, |reader, name| {
                if name.is("ErrorCode") {
                    code = optional_text(reader, "an error code")?;
                } else {
                    reader.skip()?;
                }
                Ok(())
            })?;
            codes.push(code);
            Ok(())
        })
    })?;
    reader.end()?;
    if codes.len() == expected { Ok(codes) } else { Err(Malformed::Unexpected("fewer records than were sent")) }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;
    use aws_sdk_kinesis::types::PutRecordsRequestEntry;
    use proptest::prelude::*;

    use super::*;
    use crate::dynamodb::captured::{Capture, runtime};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_request_is_the_sdks_byte_for_byte(
            stream in "[a-zA-Z0-9_.-]{1,60}",
            entries in prop::collection::vec(("[0-9a-f]{32}", prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        ) {
            let mut ours = Vec::new();
            let plain: Vec<_> =
                entries.iter().map(|(key, data)| Entry { partition_key: key.as_str(), data }).collect();
            write(&mut ours, &stream, &plain);
            let capture = Capture::default();
            let client = aws_sdk_kinesis::Client::from_conf(
                aws_sdk_kinesis::Config::builder()
                    .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
                    .region(aws_sdk_kinesis::config::Region::new("us-east-1"))
                    .credentials_provider(aws_sdk_kinesis::config::Credentials::new("a", "b", None, None, "test"))
                    .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
                    .interceptor(capture.clone())
                    .build(),
            );
            let entry = |(key, data): &(String, Vec<u8>)| {
                PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data.clone())).build().unwrap()
            };
            let call = client.put_records().stream_name(&stream).set_records(Some(entries.iter().map(entry).collect()));
            assert!(runtime().block_on(call.send()).is_err(), "it is captured and goes nowhere");
            let theirs = capture.taken();
            prop_assert_eq!(&theirs.target, PUT_RECORDS);
            prop_assert_eq!(&theirs.content_type, SERVICE.content_type);
            prop_assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(theirs.body).unwrap());
        }
    }

    #[test]
    fn every_record_is_answered_in_its_place() {
        let answer = r#"{"FailedRecordCount":1,"EncryptionType":"KMS","Records":[{"SequenceNumber":"1","ShardId":"s"},
            {"ErrorMessage":"slow","ErrorCode":"ProvisionedThroughputExceededException"},{"ErrorCode":null}]}"#;
        let codes = read(answer.as_bytes(), 3).unwrap();
        assert_eq!(codes, [None, Some("ProvisionedThroughputExceededException".to_owned()), None]);
        for (wrong, expected) in [(answer, 2), (answer, 4), ("{}", 1), ("[]", 0), ("{\"Records\":[7]}", 1), ("{} x", 0)]
        {
            assert!(read(wrong.as_bytes(), expected).is_err(), "{wrong} for {expected}");
        }
    }
}
