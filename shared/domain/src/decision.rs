//! What was decided, and why.

use crate::features::{FeatureVector, RecordedFeatures};
use crate::identity::{DecisionId, TransactionId, UserId};
use crate::money::{AmountMinor, Currency};
use crate::transaction::Millis;

/// The answer. Ordered by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The payment may go on.
    Approved,
    /// A person should look; only when the model's manifest defines the band.
    Review,
    /// The payment must not be made.
    Blocked,
}

impl Outcome {
    /// All of them, by severity.
    pub const ALL: [Outcome; 3] = [Self::Approved, Self::Review, Self::Blocked];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "APPROVED",
            Self::Review => "REVIEW",
            Self::Blocked => "BLOCKED",
        }
    }
}

/// Why a score is high, in words that a person at the shop can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it; `describe` says it in words")]
pub enum ReasonCode {
    AmountUnusual,
    UserVelocity,
    RecentSpikes,
    SmallAmounts,
    NewDevice,
    NewNetwork,
    DeviceShared,
    DeviceHistory,
    UserHistory,
    AccountAge,
    TimeOfDay,
    LoginUnusual,
    AccountChanged,
}

impl ReasonCode {
    /// All of them; the place is the number in a stored item, so new ones go to the end.
    pub const ALL: [ReasonCode; 13] = [
        Self::AmountUnusual,
        Self::UserVelocity,
        Self::RecentSpikes,
        Self::SmallAmounts,
        Self::NewDevice,
        Self::NewNetwork,
        Self::DeviceShared,
        Self::DeviceHistory,
        Self::UserHistory,
        Self::AccountAge,
        Self::TimeOfDay,
        Self::LoginUnusual,
        Self::AccountChanged,
    ];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AmountUnusual => "AMOUNT_UNUSUAL",
            Self::UserVelocity => "USER_VELOCITY",
            Self::RecentSpikes => "RECENT_SPIKES",
            Self::SmallAmounts => "SMALL_AMOUNTS",
            Self::NewDevice => "NEW_DEVICE",
            Self::NewNetwork => "NEW_NETWORK",
            Self::DeviceShared => "DEVICE_SHARED",
            Self::DeviceHistory => "DEVICE_HISTORY",
            Self::UserHistory => "USER_HISTORY",
            Self::AccountAge => "ACCOUNT_AGE",
            Self::TimeOfDay => "TIME_OF_DAY",
            Self::LoginUnusual => "LOGIN_UNUSUAL",
            Self::AccountChanged => "ACCOUNT_CHANGED",
        }
    }

    /// A few words for people, at most 28 letters.
    pub fn describe(self) -> &'static str {
        match self {
            Self::AmountUnusual => "unusual amount",
            Self::UserVelocity => "unusual pace",
            Self::RecentSpikes => "recent large amounts",
            Self::SmallAmounts => "several tiny amounts",
            Self::NewDevice => "new device",
            Self::NewNetwork => "new network or browser",
            Self::DeviceShared => "shared or unknown device",
            Self::DeviceHistory => "earlier fraud on the device",
            Self::UserHistory => "earlier fraud by the user",
            Self::AccountAge => "young account",
            Self::TimeOfDay => "unusual hour",
            Self::LoginUnusual => "unusual log-in",
            Self::AccountChanged => "account changed lately",
        }
    }
}

/// One reason with its share of the score, in log-odds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// What raised the score.
    pub code: ReasonCode,
    /// How much it raised the log-odds of fraud; above 0.
    pub contribution: f32,
}

/// Most reasons that a decision carries.
pub const REASONS_MAX: usize = 4;

/// Groups the contributions of single features by reason code and keeps the largest that raised the score.
///
/// Ties go to the code that stands first in [`ReasonCode::ALL`], so the order is the same everywhere.
pub fn reasons(contributions: &[f32]) -> Vec<Reason> {
    let mut grouped = [0f32; ReasonCode::ALL.len()];
    for (code, contribution) in FeatureVector::REASONS.iter().zip(contributions) {
        grouped[*code as usize] += contribution;
    }
    let mut reasons: Vec<Reason> = ReasonCode::ALL
        .into_iter()
        .zip(grouped)
        .filter(|(_, contribution)| *contribution > 0.0)
        .map(|(code, contribution)| Reason { code, contribution })
        .collect();
    reasons.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    reasons.truncate(REASONS_MAX);
    reasons
}

/// Names the model that scored, exactly enough to find its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStamp {
    /// The manifest's version, at most 16 bytes.
    pub version: String,
    /// The first 8 bytes of the ONNX file's SHA-256.
    pub digest: [u8; 8],
}

/// Optional inputs that could not be had in time. A decision that misses any is `degraded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissingInputs {
    /// The device's item could not be read.
    pub device: bool,
    /// The user's profile could not be read.
    pub profile: bool,
    /// What labels say about the user could not be read.
    pub user_risk: bool,
    /// What labels say about the device could not be read, though the rest of its item could.
    pub device_risk: bool,
}

impl MissingInputs {
    /// Whether anything was missing.
    pub fn any(self) -> bool {
        let Self { device, profile, user_risk, device_risk } = self;
        device || profile || user_risk || device_risk
    }
}

/// A frozen answer: published again it is the same bytes, looked up later the same words.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Derived from user and transaction.
    pub decision_id: DecisionId,
    /// The producer's id of the transaction; unique for its user only.
    pub transaction_id: TransactionId,
    /// The user who pays.
    pub user_id: UserId,
    /// In minor units of `currency`.
    pub amount: AmountMinor,
    /// ISO 4217; the deployment's default where the transaction named none.
    pub currency: Currency,
    /// What the policy makes of the score.
    pub outcome: Outcome,
    /// Calibrated probability of fraud, 0 to 1.
    pub score: f32,
    /// Up to four, the largest first.
    pub reasons: Vec<Reason>,
    /// The model that scored.
    pub model: ModelStamp,
    /// The row of numbers that the model saw.
    pub features: RecordedFeatures,
    /// The version of the user's item that holds this decision.
    pub state_version: u64,
    /// The event's own time, as its producer says.
    pub occurred_at: Millis,
    /// The broker's time of the record.
    pub ingested_at: Millis,
    /// The function's time, milliseconds since 1970 like the two above.
    pub decided_at: Millis,
    /// The event was further behind the user's newest one than the allowed lateness.
    pub late: bool,
    /// The event was so far ahead of the broker's time that the broker's was taken instead.
    pub ahead: bool,
    /// The model would have blocked more than its band allows, so the answer is its fallback's ([`crate::guard`]).
    pub guarded: bool,
    /// What it was decided without.
    pub missing: MissingInputs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_raised_the_score_is_a_reason_and_the_largest_comes_first() {
        let mut contributions = [0f32; crate::FEATURES];
        for (index, code) in FeatureVector::REASONS.iter().enumerate() {
            contributions[index] = match code {
                ReasonCode::NewDevice => 0.7,
                ReasonCode::AmountUnusual => -0.2,
                ReasonCode::TimeOfDay => 0.1,
                _ => 0.0,
            };
        }
        let found: Vec<_> = reasons(&contributions).iter().map(|reason| reason.code).collect();
        assert_eq!(found, [ReasonCode::NewDevice, ReasonCode::TimeOfDay]);
    }

    #[test]
    fn every_reason_has_a_few_words_of_its_own() {
        let words = ReasonCode::ALL.map(ReasonCode::describe);
        for words in words {
            let plain = words.chars().all(|letter| letter.is_ascii_lowercase() || [' ', '-'].contains(&letter));
            assert!(plain && (1..=28).contains(&words.len()), "{words}");
        }
        let different: std::collections::BTreeSet<_> = words.into_iter().collect();
        assert_eq!(different.len(), ReasonCode::ALL.len());
    }

    #[test]
    fn the_number_of_a_reason_is_its_place() {
        for (index, code) in ReasonCode::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index);
        }
    }
}
