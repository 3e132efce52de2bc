//! A producer's duplicates, which go out before too much else of their user.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use centinela_domain::ledger::RingSize;

use crate::transaction::{Event, LabelledTransaction};

/// Transactions of a user between one of them and its duplicate, at most. A producer sends again what was not acknowledged, within
/// seconds; the simulated clock runs thousands of times faster than a wall clock, so in the minutes that it lets pass a very busy user
/// would buy hundreds of times. Half of what the system promises to remember, because partitions do not advance in step.
pub const RESENT_WITHIN: usize = RingSize::DEFAULT.newest / 2;

/// What arrives.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// Something that comes once.
    Only(Event),
    /// A transaction that will come again.
    First(LabelledTransaction),
    /// The same again, unless it had to go out earlier.
    Again(LabelledTransaction),
}

/// Transactions that will come again, and what may go out now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resends {
    /// By user: what will come again, and how much of the same user has gone out since.
    waiting: HashMap<Arc<str>, Vec<(LabelledTransaction, usize)>>,
    ready: VecDeque<Event>,
}

impl Resends {
    /// The next to go out, in the order of arrival.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Takes what arrives; before it goes out whatever of its user cannot wait any longer.
    pub(crate) fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Only(event) => {
                if let Event::Transaction(transaction) = &event {
                    self.make_room(transaction);
                }
                self.ready.push_back(event);
            }
            Arrival::First(transaction) => {
                self.make_room(&transaction);
                let user = transaction.fields.user_id.clone();
                self.waiting.entry(user).or_default().push((transaction.clone(), 0));
                self.ready.push_back(Event::Transaction(transaction));
            }
            Arrival::Again(transaction) => {
                let user = &transaction.fields.user_id;
                let Some(waiting) = self.waiting.get_mut(user) else { return };
                let before = waiting.len();
                waiting.retain(|(first, _)| first.fields.transaction_id != transaction.fields.transaction_id);
                let is_due = waiting.len() < before;
                if waiting.is_empty() {
                    self.waiting.remove(user);
                }
                if is_due {
                    self.ready.push_back(Event::Transaction(transaction));
                }
            }
        }
    }

    /// What of that which has arrived so far will come again.
    pub(crate) fn outstanding(&self) -> impl Iterator<Item = &LabelledTransaction> {
        let waiting = self.waiting.values().flatten().map(|(first, _)| first);
        waiting.chain(self.ready.iter().filter_map(Event::duplicate))
    }

    /// One more of this user goes out.
    fn make_room(&mut self, next: &LabelledTransaction) {
        let Some(waiting) = self.waiting.get_mut(&next.fields.user_id) else { return };
        for (_, since) in &mut *waiting {
            *since += 1;
        }
        let late = waiting.extract_if(.., |(_, since)| *since > RESENT_WITHIN);
        self.ready.extend(late.map(|(first, _)| {
            Event::Transaction(LabelledTransaction { duplicate: true, arrived_at: next.arrived_at, ..first })
        }));
        if waiting.is_empty() {
            self.waiting.remove(&next.fields.user_id);
        }
    }
}
