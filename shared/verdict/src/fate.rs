//! What became of one transaction.

use centinela_domain::Outcome;

use crate::answer::Answer;

/// What is known of a transaction, whatever was seen first. Sixteen bytes, because there are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Of the answer; 0 while only its outcome is known.
    bytes: u64,
    flags: u8,
    repeats: u8,
}

const SENT: u8 = 1;
const DEAD_LETTERED: u8 = 2;
const DOUBLED: u8 = 4;
/// One of these is set once there is an answer.
const APPROVED: u8 = 8;
const REVIEW: u8 = 16;
const BLOCKED: u8 = 32;
const DECIDED: u8 = APPROVED | REVIEW | BLOCKED;

/// What a message was to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The decision that counts.
    First,
    /// The same decision again.
    Repeated,
    /// Another decision.
    Different,
}

impl Fate {
    /// It is on its topic.
    pub fn sent(&mut self) {
        self.flags |= SENT;
    }

    /// A record of it is among the dead letters.
    pub fn dead_lettered(&mut self) {
        self.flags |= DEAD_LETTERED;
    }

    /// A decision was published.
    pub fn answered(&mut self, answer: Answer) -> Heard {
        let Some(first) = self.answer() else {
            self.bytes = answer.bytes;
            self.flags |= match answer.outcome {
                Outcome::Approved => APPROVED,
                Outcome::Review => REVIEW,
                Outcome::Blocked => BLOCKED,
            };
            return Heard::First;
        };
        if !first.agrees_with(answer) {
            self.flags |= DOUBLED;
            return Heard::Different;
        }
        self.bytes = self.bytes.max(if first.bytes == 0 { answer.bytes } else { 0 });
        self.repeats = self.repeats.saturating_add(1);
        Heard::Repeated
    }

    /// Its decision contradicts itself: it is where those of another outcome are.
    pub fn contradicted(&mut self) {
        self.flags |= DOUBLED;
    }

    /// Its decision, with evidence where any message had it.
    pub fn answer(&self) -> Option<Answer> {
        let outcome = match self.flags & DECIDED {
            APPROVED => Outcome::Approved,
            REVIEW => Outcome::Review,
            BLOCKED => Outcome::Blocked,
            _ => return None,
        };
        Some(Answer { outcome, bytes: self.bytes })
    }

    /// Messages that repeated the decision, up to 255.
    pub fn repeats(&self) -> u64 {
        u64::from(self.repeats)
    }

    /// Whether it is known to be on its topic.
    pub fn is_sent(&self) -> bool {
        self.flags & SENT != 0
    }

    /// Whether it has a decision.
    pub fn is_decided(&self) -> bool {
        self.flags & DECIDED != 0
    }

    /// Whether its decision is to block it.
    pub fn is_blocked(&self) -> bool {
        self.flags & BLOCKED != 0
    }

    /// Whether nothing is left to happen to it.
    pub fn is_complete(&self) -> bool {
        self.flags & (DECIDED | DEAD_LETTERED) != 0
    }

    /// Sent, and neither decided nor dead-lettered.
    pub fn is_lost(&self) -> bool {
        self.is_sent() && !self.is_complete()
    }

    /// With two different decisions.
    pub fn is_doubled(&self) -> bool {
        self.flags & DOUBLED != 0
    }

    /// Decided, and nobody sent it.
    pub fn is_invented(&self) -> bool {
        self.is_decided() && !self.is_sent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answers: &[Answer]) -> (Fate, Vec<Heard>) {
        let mut fate = Fate::default();
        let heard = answers.iter().map(|answer| fate.answered(*answer)).collect();
        (fate, heard)
    }

    #[test]
    fn a_transaction_is_lost_until_it_is_decided_or_dead_lettered() {
        let mut fate = Fate::default();
        assert!(!fate.is_lost());
        fate.sent();
        assert!(fate.is_lost());
        let mut dead = fate;
        dead.dead_lettered();
        fate.answered(Answer::new(Outcome::Review, true, b"x"));
        assert!(!fate.is_lost() && !dead.is_lost() && fate.is_decided() && !dead.is_decided());
        let (unsent, _) = answered(&[Answer::new(Outcome::Review, true, b"x")]);
        assert!(unsent.is_invented() && !fate.is_invented());
    }

    #[test]
    fn a_second_decision_is_found_in_whatever_order_what_remains_of_the_first_comes() {
        let of = |outcome, has_evidence, payload: &[u8]| Answer::new(outcome, has_evidence, payload);
        let (first, other) = (of(Outcome::Blocked, true, b"first"), of(Outcome::Blocked, true, b"other"));
        let (reduced, opposite) = (of(Outcome::Blocked, false, b"less"), of(Outcome::Approved, false, b"less"));
        let (fate, heard) = answered(&[reduced, first, reduced, first]);
        assert_eq!(heard, [Heard::First, Heard::Repeated, Heard::Repeated, Heard::Repeated]);
        assert!(!fate.is_doubled() && fate.is_blocked() && fate.repeats() == 3);
        for doubled in [[first, other], [first, opposite], [reduced, opposite]] {
            assert!(answered(&doubled).0.is_doubled(), "{doubled:?}");
        }
        assert!(answered(&[reduced, first, other]).0.is_doubled());
    }
}
