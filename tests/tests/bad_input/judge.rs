//! Compares what happened with what each case says. Everything that differs is told at once.

use std::collections::BTreeSet;

use centinela_contracts::dead_letter_v1::{ORIGINAL_VALUE_BYTES_MAX, ReceivedDeadLetter};
use centinela_local::lambda::{FunctionStats, InvokeError};
use serde_json::{Value, json};

use crate::Prepared;
use crate::case::{Case, Fate};
use centinela_e2e::hosted::{Hosted, Published};

/// What no line may hold, whatever the case.
const NEVER_LOGGED: [&str; 4] = ["jane.doe@example.com", "4111111111111111", "4111 1111 1111 1111", "203.0.113.9"];

#[derive(Default)]
pub struct Verdicts {
    differences: Vec<String>,
}

impl Verdicts {
    fn check(&mut self, case: &Case, as_said: bool, otherwise: impl FnOnce() -> String) {
        if !as_said {
            self.differences.push(format!("{} ({}): {}", case.path, case.about, otherwise()));
        }
    }

    pub fn answer(&mut self, case: &Case, prepared: &Prepared, topic: &str, answer: Result<Value, InvokeError>) {
        let partition = format!("{topic}-{}", prepared.partition);
        let failures: Vec<Value> = match &case.fate {
            Fate::Unsettled => prepared
                .bad
                .iter()
                .map(|(offset, _)| json!({ "itemIdentifier": { "partition": partition, "offset": offset } }))
                .collect(),
            _ => Vec::new(),
        };
        let expected = json!({ "batchItemFailures": failures });
        match (&case.fate, answer) {
            (Fate::Error(wanted), Err(InvokeError::Function { error_type, .. })) => {
                self.check(case, error_type == *wanted, || format!("failed with {error_type}"));
            }
            (Fate::Error(_), Ok(answer)) => self.check(case, false, || format!("answered {answer}")),
            (_, Ok(answer)) => self.check(case, answer == expected, || shortened(&answer.to_string())),
            (_, Err(error)) => self.check(case, false, || format!("no answer: {}", shortened(&error.to_string()))),
        }
    }

    pub fn published(&mut self, case: &Case, prepared: &Prepared, published: &Published) {
        let count = |user: &str, transaction: Option<&str>| {
            let is_it = |decision: &&Value| {
                decision["user_id"] == user && transaction.is_none_or(|id| decision["transaction_id"] == id)
            };
            published.decisions.iter().filter(is_it).count()
        };
        // A batch that fails as a whole may have published what it settled; the next delivery answers that from memory.
        let whole = matches!(case.fate, Fate::Error(_));
        for (user, transaction) in &prepared.good {
            let times = count(user, Some(transaction));
            self.check(case, times == 1 || (whole && times == 0), || format!("{times} decisions for the good {user}"));
        }
        if let Fate::Decided(decisions) = &case.fate {
            for (user, transaction) in decisions {
                let (times, of_user) = (count(user, Some(transaction)), count(user, None));
                let expected = decisions.iter().filter(|(other, _)| other == user).count();
                self.check(case, times == 1 && of_user == expected, || {
                    format!("{times} decisions for {transaction} of {user}, {of_user} for the user")
                });
            }
            let of_case = |decision: &&Value| decisions.iter().any(|(user, _)| decision["user_id"] == *user);
            let degraded = published.decisions.iter().filter(of_case).all(|it| it["degraded"] == case.degraded);
            self.check(case, degraded, || format!("degraded is not {}", case.degraded));
        } else {
            let user = case.user();
            // A case that cuts items has a user for each length.
            let is_it = |id: &str| match id.strip_prefix(&user) {
                Some(rest) => rest.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()),
                None => false,
            };
            let decided = published.decisions.iter().filter(|decision| decision["user_id"].as_str().is_some_and(is_it));
            let decided = decided.count();
            self.check(case, decided == 0, || format!("{decided} decisions for {user}"));
        }
        self.parked(case, prepared, published);
    }

    fn parked(&mut self, case: &Case, prepared: &Prepared, published: &Published) {
        let parked: Vec<&ReceivedDeadLetter> =
            published.parked.iter().filter(|stored| stored.letter.partition == prepared.partition).collect();
        if let Some(reason) = &case.last_parked {
            let (values, last) = (parked.iter().map(|stored| stored.letter.value.as_deref()), case.values.last());
            let is_last = values.eq(last.map(|value| Some(value.bytes())).as_ref().map(|value| value.as_deref()));
            let codes: Vec<&str> = parked.iter().map(|stored| stored.letter.reason_code.as_str()).collect();
            return self
                .check(case, is_last && codes == [reason], || format!("parked as {codes:?} instead of {reason}"));
        }
        let Fate::Parked(reason) = &case.fate else {
            return self.check(case, parked.is_empty(), || format!("{} records are parked", parked.len()));
        };
        self.check(case, parked.len() == prepared.bad.len(), || {
            format!("{} records are parked instead of {}", parked.len(), prepared.bad.len())
        });
        for stored in parked {
            let code = stored.letter.reason_code.as_str();
            self.check(case, code == reason, || format!("parked as {code}: {}", stored.letter.reason));
            let kept = prepared.bad.iter().any(|(_, original)| keeps(stored, original.as_deref()));
            self.check(case, kept, || "the original bytes are not kept".to_owned());
            for secret in secrets(case) {
                let told = stored.letter.reason.contains(&secret);
                self.check(case, !told, || format!("the reason tells `{secret}`"));
            }
        }
    }

    /// The users' items count each transaction once.
    pub async fn counted(&mut self, case: &Case, decisions: &[(String, String)], world: &Hosted) {
        let users: BTreeSet<&String> = decisions.iter().map(|(user, _)| user).collect();
        for user in users {
            let expected = decisions.iter().filter(|(other, _)| other == user).count() as u64;
            let counted = world.transactions_of(user).await;
            self.check(case, counted == expected, || format!("{user}'s item counts {counted} instead of {expected}"));
        }
    }

    pub fn logged(&mut self, cases: &[Case], lines: &[String], stats: &FunctionStats) {
        for case in cases {
            for secret in secrets(case) {
                let line = lines.iter().find(|line| line.contains(&secret));
                self.check(case, line.is_none(), || {
                    format!("`{secret}` is logged: {}", line.map_or("", String::as_str))
                });
            }
        }
        let invocations: u64 = lines.iter().filter(|line| line.contains("_aws")).count() as u64;
        let good = [
            ("crashes", stats.crashes, 0),
            ("timeouts", stats.timeouts, 0),
            ("processes started", stats.cold_starts, 1),
            ("log lines dropped", stats.log_lines_dropped, 0),
            // Without the metric lines the search of the log would prove nothing.
            ("metric lines", invocations, stats.invocations - stats.errors),
        ];
        for (what, found, expected) in good {
            if found != expected {
                self.differences.push(format!("{what}: {found} instead of {expected}"));
            }
        }
    }

    pub fn end(self) {
        let count = self.differences.len();
        assert!(count == 0, "{count} differences:\n{}", self.differences.join("\n"));
    }
}

fn secrets(case: &Case) -> Vec<String> {
    let own = [case.user(), format!("device-{}", case.name())];
    own.into_iter().chain(NEVER_LOGGED.map(str::to_owned)).chain(case.never_logged.iter().cloned()).collect()
}

/// Whether the message holds these bytes, as many as a message may.
fn keeps(stored: &ReceivedDeadLetter, original: Option<&[u8]>) -> bool {
    match (&stored.letter.value, original) {
        (Some(kept), Some(original)) => {
            let expected = &original[..original.len().min(ORIGINAL_VALUE_BYTES_MAX)];
            kept == expected && stored.truncated_bytes == (original.len() - expected.len()) as u64
        }
        (kept, original) => kept.is_none() && original.is_none(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}
