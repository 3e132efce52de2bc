//! A transaction while it is kept whole.

use std::ops::Range;

use super::settled::ShortId;

/// Unit of the stored times.
pub(super) const TICK_US: u64 = 100;
/// Bits of [`Entry::flags`].
pub(super) const SENT: u16 = 1;
pub(super) const DECIDED: u16 = 2;
pub(super) const PARKED: u16 = 4;
pub(super) const BLOCKED: u16 = 8;
pub(super) const DOUBLED: u16 = 16;
pub(super) const FRAUD: u16 = 32;
pub(super) const LABELLED: u16 = 64;
pub(super) const SENT_AGAIN: u16 = 128;
/// The decision is older than its record: it was made and counted for an earlier one, which is forgotten.
pub(super) const OF_OLD: u16 = 256;

/// Incarnation of the topic, partition, offset.
pub(super) type Place = (u32, u32, u64);

/// A transaction.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    /// Hash of the decision's bytes as they came first.
    pub(super) bytes: u64,
    /// Where it stands on its topic.
    pub(super) place: Place,
    /// The broker's time of its record, or of its decision's while that is all that is known.
    pub(super) ingested_ms: i64,
    pub(super) id: ShortId,
    /// When it was meant to be sent, in ticks since the start of the run; 0 when somebody else sent it.
    pub(super) meant_at: u32,
    pub(super) user: u32,
    pub(super) amount_sent: u64,
    pub(super) amount_decided: u64,
    pub(super) score: f32,
    pub(super) flags: u16,
    /// Messages that repeated the decision.
    pub(super) repeats: u8,
}

impl Entry {
    pub(super) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is(DECIDED | PARKED)
    }
}

/// What could not be seen because the brokers' retention took it.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// Partition and offsets that were deleted before the mapping had read them.
    pub unread: Vec<(u32, Range<u64>)>,
}

impl Gone {
    pub(super) fn has(&self, (_, partition, offset): Place) -> bool {
        self.unread.iter().any(|(of, offsets)| *of == partition && offsets.contains(&offset))
    }
}
