//! Where producers send.

use super::Stream;

/// Where each stream goes; none is not sent.
#[derive(Clone, Debug)]
pub struct Topics {
    pub transactions: String,
    pub actions: Option<String>,
    pub labels: Option<String>,
}

impl Topics {
    /// The topic of a stream.
    pub fn of(&self, stream: Stream) -> Option<&str> {
        match stream {
            Stream::Transactions => Some(&self.transactions),
            Stream::Actions => self.actions.as_deref(),
            Stream::Labels => self.labels.as_deref(),
        }
    }

    /// All topics that are sent to.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        Stream::ALL.into_iter().filter_map(|stream| self.of(stream))
    }
}
