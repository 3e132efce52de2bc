//! What a message says of its transaction, as far as two of them are compared.

use std::hash::{DefaultHasher, Hasher as _};

use centinela_domain::Outcome;

/// Bits of a hash that a [`Seal`] keeps.
const SEAL_BITS: u32 = 14;

/// A published decision: its outcome, and a hash of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub(crate) outcome: Outcome,
    /// 0 where only the outcome remains of the decision.
    pub(crate) bytes: u64,
}

impl Answer {
    /// A message with its evidence, or what remains of a decision whose evidence is gone.
    pub fn new(outcome: Outcome, has_evidence: bool, payload: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        Self { outcome, bytes: if has_evidence { hasher.finish().max(1) } else { 0 } }
    }

    /// Whether two messages give the same decision: the same bytes, or the same outcome where only that remains of one of them.
    pub fn agrees_with(self, other: Self) -> bool {
        self.outcome == other.outcome && (self.bytes == other.bytes || self.bytes == 0 || other.bytes == 0)
    }

    /// The answer in two bytes: of 16,384 other ones, one is taken for it.
    pub fn sealed(self) -> Seal {
        let outcome = match self.outcome {
            Outcome::Approved => 0,
            Outcome::Review => 1,
            Outcome::Blocked => 2,
        };
        let start = u16::try_from(self.bytes >> (u64::BITS - SEAL_BITS)).unwrap_or(u16::MAX);
        Seal(outcome << SEAL_BITS | if self.bytes == 0 { 0 } else { start.max(1) })
    }
}

/// An [`Answer`] in two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal(u16);

impl Seal {
    /// As [`Answer::agrees_with`].
    pub fn agrees_with(self, other: Self) -> bool {
        let bytes = |seal: Self| seal.0 & ((1 << SEAL_BITS) - 1);
        self.0 >> SEAL_BITS == other.0 >> SEAL_BITS && (self == other || bytes(self) == 0 || bytes(other) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_agree_sealed_as_they_do_whole() {
        let answers = [
            Answer::new(Outcome::Approved, true, b"first"),
            Answer::new(Outcome::Approved, true, b"other"),
            Answer::new(Outcome::Approved, false, b"reduced"),
            Answer::new(Outcome::Review, false, b"reduced"),
            Answer::new(Outcome::Blocked, true, b"first"),
        ];
        for (a, b) in answers.iter().flat_map(|a| answers.iter().map(move |b| (*a, *b))) {
            assert_eq!(a.agrees_with(b), a.sealed().agrees_with(b.sealed()), "{a:?} {b:?}");
        }
        let [first, other, reduced, review, blocked] = answers;
        assert!(first.agrees_with(first) && first.agrees_with(reduced) && reduced.agrees_with(other));
        assert!(!first.agrees_with(other) && !first.agrees_with(review) && !first.agrees_with(blocked));
    }
}
