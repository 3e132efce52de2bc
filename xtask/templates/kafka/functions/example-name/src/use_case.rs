//! What the function does with a record.

use std::convert::Infallible;

use centinela_delivery::{Batch, Rejection, UseCase};
use centinela_domain::Coordinates;
use serde::Deserialize;

/// What a record says.
#[derive(Debug, Deserialize)]
pub struct Content {
    /// Records of one key are handled in their order.
    pub id: String,
}

/// Takes records as they come and does nothing with them yet.
#[derive(Debug)]
pub struct HandleRecords;

impl UseCase for HandleRecords {
    type Content = Content;
    type Handled = usize;
    type Report = usize;
    type Error = Infallible;

    fn decode(&self, value: &[u8], _source: Coordinates) -> Result<Content, Rejection> {
        serde_json::from_slice(value).map_err(|error| Rejection::not_json(&error))
    }

    async fn handle(&self, batch: &mut Batch<Content>) -> Result<usize, Infallible> {
        let groups = batch.by_key(|content| &content.id);
        Ok(groups.iter().map(|(_, records)| records.len()).sum())
    }

    async fn complete(&self, _batch: &mut Batch<Content>, handled: usize) -> Result<usize, Infallible> {
        Ok(handled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_domain::Millis;

    #[test]
    fn what_is_not_json_is_dead_lettered_with_the_reason() {
        let source = Coordinates { partition: 0, offset: 7, timestamp: Millis(0) };
        assert_eq!(HandleRecords.decode(br#"{"id":"ana"}"#, source).unwrap().id, "ana");
        let rejection = HandleRecords.decode(b"nonsense", source).unwrap_err();
        assert!(rejection.reason.contains("line 1 column"), "{rejection:?}");
    }
}
