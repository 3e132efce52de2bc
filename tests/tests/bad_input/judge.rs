//! Compares what happened with what each case says. Everything that differs is told at once.

use std::collections::{BTreeMap, BTreeSet};

use centinela_contracts::dead_letter_v1::{ORIGINAL_VALUE_BYTES_MAX, ReceivedDeadLetter};
use centinela_local::lambda::{FunctionStats, InvokeError};
use centinela_verdict::{Totals, compare};
use serde_json::{Value, json};

use crate::Prepared;
use crate::case::{Case, Fate};
use centinela_e2e::hosted::{Hosted, Published};

/// What no line may hold, whatever the case.
const NEVER_LOGGED: [&str; 4] = ["jane.doe@example.com", "4111111111111111", "4111 1111 1111 1111", "203.0.113.9"];

#[derive(Default)]
pub struct Verdicts {
    differences: Vec<String>,
    /// User and transaction of everything that was to be decided.
    sent: BTreeSet<(String, String)>,
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
        // A batch that fails as a whole may have published what it completed; the next delivery answers that from memory.
        let may_be_undecided = matches!(case.fate, Fate::Error(_));
        for (user, transaction) in &prepared.good {
            self.decided_once(case, user, transaction, may_be_undecided, published);
        }
        if let Fate::Decided(decisions) = &case.fate {
            for (user, transaction) in decisions {
                self.decided_once(case, user, transaction, false, published);
            }
            let of_case = |decision: &&Value| decisions.iter().any(|(user, _)| decision["user_id"] == *user);
            let degraded = published.decisions.iter().filter(of_case).all(|it| it["degraded"] == case.degraded);
            self.check(case, degraded, || format!("degraded is not {}", case.degraded));
        }
        self.dead_lettered(case, prepared, published);
    }

    fn decided_once(&mut self, case: &Case, user: &str, transaction: &str, may_be_undecided: bool, of: &Published) {
        let key = (user.to_owned(), transaction.to_owned());
        let mut fate = of.fates.get(&key).copied().unwrap_or_default();
        fate.sent();
        let is_once = !fate.is_doubled() && fate.repeats() == 0 && (may_be_undecided || !fate.is_lost());
        self.check(case, is_once, || format!("{transaction} of {user} is not decided once: {fate:?}"));
        self.sent.insert(key);
    }

    /// Every decision is on a transaction that some case names; all cases must have been judged.
    pub fn nothing_is_invented(&mut self, published: &Published) {
        let invented = published.fates.keys().filter(|key| !self.sent.contains(*key));
        self.differences.extend(invented.map(|(user, transaction)| format!("{transaction} of {user} is decided")));
    }

    fn dead_lettered(&mut self, case: &Case, prepared: &Prepared, published: &Published) {
        let dead_letters: Vec<&ReceivedDeadLetter> =
            published.dead_letters.iter().filter(|stored| stored.letter.partition == prepared.partition).collect();
        if let Some(reason) = &case.last_parked {
            let (values, last) = (dead_letters.iter().map(|stored| stored.letter.value.as_deref()), case.values.last());
            let is_last = values.eq(last.map(|value| Some(value.bytes())).as_ref().map(|value| value.as_deref()));
            let codes: Vec<&str> = dead_letters.iter().map(|stored| stored.letter.reason_code.as_str()).collect();
            return self.check(case, is_last && codes == [reason], || {
                format!("dead-lettered as {codes:?} instead of {reason}")
            });
        }
        let Fate::Parked(reason) = &case.fate else {
            return self
                .check(case, dead_letters.is_empty(), || format!("{} records are dead-lettered", dead_letters.len()));
        };
        self.check(case, dead_letters.len() == prepared.bad.len(), || {
            format!("{} records are dead-lettered instead of {}", dead_letters.len(), prepared.bad.len())
        });
        for stored in dead_letters {
            let code = stored.letter.reason_code.as_str();
            self.check(case, code == reason, || format!("dead-lettered as {code}: {}", stored.letter.reason));
            let kept = prepared.bad.iter().any(|(_, original)| keeps(stored, original.as_deref()));
            self.check(case, kept, || "the original bytes are not kept".to_owned());
            for secret in secrets(case) {
                let told = stored.letter.reason.contains(&secret);
                self.check(case, !told, || format!("the reason tells `{secret}`"));
            }
        }
    }

    /// The users' items count each transaction once; what one costs is not said.
    pub async fn counted(&mut self, case: &Case, decisions: &[(String, String)], world: &Hosted) {
        let (mut added, mut stored) = (BTreeMap::<&str, Totals>::new(), BTreeMap::new());
        decisions.iter().for_each(|(user, _)| added.entry(user).or_default().add(0));
        for (user, added) in &mut added {
            let totals = world.totals_of(user).await;
            added.amount_minor = totals.amount_minor;
            stored.insert(*user, Some(totals));
        }
        for (user, wanted, found) in compare(&added, &stored, &BTreeMap::new()).users {
            self.check(case, false, || format!("{user}'s item counts {found:?} instead of {wanted:?}"));
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
