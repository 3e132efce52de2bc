//! The answer to a Kafka mapping with `ReportBatchItemFailures`
//! (<https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html#kafka-partial-batch-response>): unlike for
//! queues, an item is named by an object.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// Records that must be delivered again; empty when everything was handled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaBatchResponse {
    /// Key in the event's `records` map, and offset. A pair that was not in the event makes the mapping retry the whole batch.
    pub failures: Vec<(String, u64)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    item_identifier: Identifier<'a>,
}

#[derive(Serialize)]
struct Identifier<'a> {
    partition: &'a str,
    offset: u64,
}

impl Serialize for KafkaBatchResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items: Vec<Item<'_>> = self
            .failures
            .iter()
            .map(|(partition, offset)| Item { item_identifier: Identifier { partition, offset: *offset } })
            .collect();
        let mut response = serializer.serialize_struct("KafkaBatchResponse", 1)?;
        response.serialize_field("batchItemFailures", &items)?;
        response.end()
    }
}

impl KafkaBatchResponse {
    /// The JSON that the mapping reads.
    pub fn encode(&self) -> Vec<u8> {
        use crate::json::{Object, push_text};
        let mut bytes = b"{\"batchItemFailures\":[".to_vec();
        for (index, (partition, offset)) in self.failures.iter().enumerate() {
            if index > 0 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(b"{\"itemIdentifier\":");
            let mut identifier = Object::begin(&mut bytes);
            push_text(identifier.name("partition"), partition);
            identifier.number("offset", *offset);
            identifier.end();
            bytes.push(b'}');
        }
        bytes.extend_from_slice(b"]}");
        bytes
    }
}
