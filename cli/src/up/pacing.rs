//! What a file that is sent as fast as it goes waits for.

use std::sync::Arc;
use std::time::Instant;

use centinela_audit::tracker::Tracker;
use centinela_local::mapping::KafkaMapping;

use crate::traffic::Message;
use crate::traffic::producer::Observer;

/// Waits for decisions, and for a file's labels: transactions that overtake what was known of earlier ones would be decided without it.
pub struct Both {
    pub tracker: Arc<Tracker>,
    /// The mapping of the labels, where they count.
    pub labels: Option<Arc<KafkaMapping>>,
}

impl Observer for Both {
    fn sending(&self, message: &Message, at: Instant) {
        Observer::sending(&*self.tracker, message, at);
    }

    fn undecided(&self) -> u64 {
        let waiting = self.labels.as_ref().map_or(0, |labels| labels.stats().lag);
        Observer::undecided(&*self.tracker).max(waiting)
    }
}
