//! Committed marks as the deciding function stores them.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_partition;
use centinela_domain::Coordinates;
use centinela_redrive::PortError;

/// The table of the marks, and whose they are.
#[derive(Clone, Debug)]
pub struct Marks {
    /// How the table is asked.
    pub client: Client,
    /// Its name.
    pub table: String,
    /// The consumer group of the mapping.
    pub group: String,
}

impl Marks {
    /// Of a topic with so many partitions.
    pub(crate) async fn read(&self, topic: &str, partitions: u32) -> Result<BTreeMap<u32, Coordinates>, PortError> {
        let mut marks = BTreeMap::new();
        for partition in 0..partitions {
            let key = AttributeValue::S(stored_partition::key(&self.group, topic, partition));
            let call = self.client.get_item().table_name(&self.table).key("pk", key).consistent_read(true);
            let reading = || format!("reading the mark of partition {partition} in table {}", self.table);
            let answer = Box::pin(call.send()).await.map_err(|error| PortError::new(reading(), error))?;
            let Some(item) = answer.item else { continue };
            let content = item.get("s").and_then(|content| content.as_b().ok());
            let content = content.ok_or_else(|| PortError::new(reading(), "attribute s is missing"))?;
            let stored =
                stored_partition::decode(content.as_ref()).map_err(|error| PortError::new(reading(), error))?;
            if let Some(mark) = stored.mark {
                marks.insert(partition, Coordinates { partition, offset: mark.offset, timestamp: mark.timestamp });
            }
        }
        Ok(marks)
    }
}
