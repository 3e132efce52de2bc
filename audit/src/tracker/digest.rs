//! Tables by what is the start of a hash already.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use centinela_domain::DecisionId;

/// A decision id is the start of a SHA-256 already.
#[derive(Default)]
pub(super) struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        // A table takes some bits from above and some from below; short ids have none above.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// By the place of a decision.
pub(super) type ByDigest<T> = HashMap<u64, T, BuildHasherDefault<Digest>>;

/// The key of a decision: among all of a run's the 48 bits of a user's ledger would not do.
pub(super) fn place(id: DecisionId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// 48 bits of a decision's id.
pub(super) type ShortId = [u8; 6];

/// The start of an id.
pub(super) fn short(id: DecisionId) -> ShortId {
    let [a, b, c, d, e, f, ..] = id.0;
    [a, b, c, d, e, f]
}
