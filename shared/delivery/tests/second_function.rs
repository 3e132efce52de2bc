//! A delivery serves a function that decides nothing: it counts each user's log-ins.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::user_action_v1::{self, ActionKind, UserAction};
use centinela_delivery::{Batch, Delivery, Outcome, Rejection, Settings, UseCase};
use centinela_domain::{Coordinates, Millis, UserId};
use centinela_testkit::bench::FOREVER;
use centinela_testkit::builders::{self, EPOCH_MS, batch, record};
use centinela_testkit::fakes::{Fakes, Faults};
use centinela_testkit::schedule::run;

/// Counts log-ins in memory; a user whose name begins with `busy` cannot be written now.
#[derive(Default)]
struct CountLogins(Mutex<BTreeMap<UserId, u32>>);

impl UseCase for CountLogins {
    type Content = UserAction;
    type Handled = usize;
    type Report = usize;
    type Error = Infallible;

    fn decode(&self, value: &[u8], _source: Coordinates) -> Result<UserAction, Rejection> {
        Ok(user_action_v1::parse(value)?)
    }

    async fn handle(&self, batch: &mut Batch<UserAction>) -> Result<usize, Infallible> {
        let users = batch.by_key(|action| &action.user_id);
        for (user, records) in &users {
            if user.as_str().starts_with("busy") {
                batch.fail(records.iter().copied());
                continue;
            }
            let logins = records.iter().filter(|&&index| batch.records[index].content.kind == ActionKind::LoggedIn);
            *self.0.lock().unwrap().entry(user.clone()).or_default() += logins.count() as u32;
        }
        Ok(users.len())
    }

    async fn complete(&self, _batch: &mut Batch<UserAction>, users: usize) -> Result<usize, Infallible> {
        Ok(users)
    }
}

fn action(user: &str, offset: u64) -> Vec<u8> {
    format!(r#"{{"version":1,"action_id":"a{offset}","timestamp":{EPOCH_MS},"user_id":"{user}","action":"logged_in"}}"#)
        .into_bytes()
}

fn deliver(logins: &CountLogins, fakes: &Fakes, event: KafkaBatch) -> Outcome<usize> {
    let delivery = Delivery::new(fakes.clone(), fakes.clone(), Settings::new(builders::key()));
    run(delivery.deliver(logins, event, FOREVER)).unwrap()
}

#[test]
fn records_are_handled_by_key_dead_lettered_or_named_in_the_answer() {
    let (logins, fakes) = (CountLogins::default(), Fakes::new(1, Millis(EPOCH_MS)));
    let values = [action("ana", 0), b"nonsense".to_vec(), action("busy-ben", 2), action("ana", 3)];
    let records = values.into_iter().zip(0..).map(|(value, offset)| record(0, offset, value));
    let outcome = deliver(&logins, &fakes, batch(records));
    assert_eq!((outcome.records, outcome.dead_lettered, outcome.report), (4, 1, 2));
    assert_eq!(outcome.response.failures, [("transactions-0".to_owned(), 2)]);
    assert_eq!(logins.0.lock().unwrap().values().copied().collect::<Vec<_>>(), [2]);
    assert_eq!(fakes.shared().dead_letters[0].reason_code, DeadLetterReason::NotJson);
}

#[test]
fn what_cannot_be_dead_lettered_is_named_in_the_answer_and_comes_again() {
    let (logins, fakes) = (CountLogins::default(), Fakes::new(1, Millis(EPOCH_MS)));
    let event = || batch([record(0, 0, b"nonsense".to_vec()), record(0, 1, action("ana", 1))]);
    fakes.shared().faults = Faults { dead_letter_failed: 1.0, ..Faults::default() };
    assert_eq!(deliver(&logins, &fakes, event()).response.failures, [("transactions-0".to_owned(), 0)]);
    fakes.shared().faults = Faults::default();
    assert_eq!(deliver(&logins, &fakes, event()).response.failures, []);
    assert_eq!(fakes.shared().dead_letters.len(), 1);
}
