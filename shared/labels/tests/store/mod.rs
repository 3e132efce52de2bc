//! Labels and risk in memory, encoded as tables keep them. A transaction happens as a whole or not at all, each part on its condition.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use centinela_contracts::{stored_label, stored_risk};
use centinela_delivery::{StoreError, Versioned, Write};
use centinela_domain::{DecisionId, DeviceId, Millis, Risk, UserId};
use centinela_labels::ports::{Applied, Known, LabelRequest, LabelWrite, Labels, Standing};
use centinela_testkit::schedule::yield_once;

/// A label as its item has it.
#[derive(Clone)]
pub struct Item {
    pub standing: Standing,
    order: Vec<u8>,
}

/// All versions of a risk, encoded.
type History = Vec<Vec<u8>>;

#[derive(Default)]
pub struct Tables {
    pub labels: HashMap<DecisionId, Item>,
    users: HashMap<UserId, History>,
    devices: HashMap<DeviceId, History>,
    pub reads: usize,
    /// Transactions that were applied.
    pub transactions: usize,
    /// Counts down: the next reads that may be stale answer as before anything was written.
    pub stale_reads: usize,
    /// Counts down: the next transactions are refused before they have an effect.
    pub refused: usize,
    /// Counts down: the next transactions have their effect, and their reply is lost.
    pub lost_replies: usize,
    /// Counts down: the next reads find nothing in time.
    pub unread: usize,
    pub unreadable_users: HashSet<UserId>,
}

fn newest(history: Option<&History>) -> Option<Versioned<Risk>> {
    let history = history?;
    let item = stored_risk::decode(history.last()?).expect("what was stored can be read");
    Some(Versioned { version: history.len() as u64, item })
}

fn version(history: Option<&History>) -> Option<u64> {
    history.map(|history| history.len() as u64)
}

fn count_down(counter: &mut usize) -> bool {
    let was_there = *counter > 0;
    *counter = counter.saturating_sub(1);
    was_there
}

impl Tables {
    pub fn user(&self, user: &UserId) -> Option<Versioned<Risk>> {
        newest(self.users.get(user))
    }

    pub fn device(&self, device: &DeviceId) -> Option<Versioned<Risk>> {
        newest(self.devices.get(device))
    }

    /// Whether every condition of the transaction holds.
    fn holds(&self, write: &LabelWrite) -> bool {
        let standing = self.labels.get(&write.decision).map(|item| item.order.clone());
        let users = write.user_risk.iter().all(|risk| version(self.users.get(&risk.key)) == risk.expected);
        let devices = write.device_risks.iter().all(|risk| version(self.devices.get(&risk.key)) == risk.expected);
        standing == write.replaces.as_ref().map(stored_label::encode_order) && users && devices
    }

    fn put(&mut self, write: LabelWrite) {
        let LabelWrite { decision, standing, user_risk, device_risks, .. } = write;
        let order = stored_label::encode_order(&standing.label);
        self.labels.insert(decision, Item { standing, order });
        if let Some(Write { key, item, .. }) = user_risk {
            self.users.entry(key).or_default().push(stored_risk::encode(&item));
        }
        for Write { key, item, .. } in device_risks {
            self.devices.entry(key).or_default().push(stored_risk::encode(&item));
        }
        self.transactions += 1;
    }
}

#[derive(Clone, Default)]
pub struct Store(pub Arc<Mutex<Tables>>);

fn failure() -> StoreError {
    StoreError::Unavailable(Box::new(io::Error::other("fault")))
}

impl Labels for Store {
    async fn read(&self, request: LabelRequest, _deadline: Millis) -> (Known, Option<StoreError>) {
        yield_once().await;
        let mut tables = self.0.lock().expect("no test panics while it holds this");
        let (mut known, LabelRequest { decisions, users, devices, consistent }) = (Known::default(), request);
        tables.reads += 1;
        if count_down(&mut tables.unread) {
            known.unread.decisions.extend(decisions);
            known.unread.users.extend(users);
            known.unread.devices.extend(devices);
            return (known, Some(failure()));
        }
        if !consistent && count_down(&mut tables.stale_reads) {
            return (known, None);
        }
        for decision in decisions {
            known.labels.extend(tables.labels.get(&decision).map(|item| (decision, item.standing.clone())));
        }
        for user in users {
            if tables.unreadable_users.contains(&user) {
                known.unreadable.users.insert(user);
            } else {
                known.users.extend(tables.user(&user).map(|risk| (user, risk)));
            }
        }
        for device in devices {
            known.devices.extend(tables.device(&device).map(|risk| (device, risk)));
        }
        (known, None)
    }

    async fn apply(&self, write: LabelWrite, _deadline: Millis) -> Applied {
        yield_once().await;
        let applied = {
            let mut tables = self.0.lock().expect("no test panics while it holds this");
            if count_down(&mut tables.refused) {
                Applied::Failed(failure())
            } else if !tables.holds(&write) {
                Applied::Lost
            } else {
                tables.put(write);
                if count_down(&mut tables.lost_replies) { Applied::Failed(failure()) } else { Applied::Done }
            }
        };
        yield_once().await;
        applied
    }
}
