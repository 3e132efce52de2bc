//! A transaction while it is kept whole.

use std::ops::Range;

use centinela_verdict::Fate;

use super::digest::ShortId;

/// Unit of the stored times.
pub(super) const TICK_US: u64 = 100;
/// Bits of [`Entry::flags`].
pub(super) const FRAUD: u8 = 1;
pub(super) const LABELLED: u8 = 2;
pub(super) const SENT_AGAIN: u8 = 4;
/// The decision is older than its record: it was made and counted for an earlier one, which is forgotten.
pub(super) const OF_OLD: u8 = 8;

/// Incarnation of the topic, partition, offset.
pub(super) type Place = (u32, u32, u64);

/// A transaction.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) fate: Fate,
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
    pub(super) flags: u8,
}

impl Entry {
    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The amount that counts: of several that were sent under one id, the one that was decided.
    pub(super) fn counted_amount(&self, others: Option<&Vec<u64>>) -> u64 {
        let is_another = others.is_some_and(|amounts| amounts.contains(&self.amount_decided));
        if is_another { self.amount_decided } else { self.amount_sent }
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
