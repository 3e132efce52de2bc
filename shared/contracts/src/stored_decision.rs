//! A look-up item's decisions, attribute `d`: what is said about a transaction when somebody asks by its id.
//!
//! An id is its user's own, so an item may hold the decisions of several users: one entry per decision id, the newest last.

use centinela_domain::decision::REASONS_MAX;
use centinela_domain::{AmountMinor, Currency, Decision, DecisionId, Millis, Outcome, ReasonCode, UserId};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 1;

/// Most entries of one item: with the longest names they take less than a write unit.
pub const ENTRIES_MAX: usize = 4;
/// Longest version of a model that is kept, in bytes; manifests have no longer one.
pub const MODEL_VERSION_BYTES_MAX: usize = 16;

// An entry's flags; the lowest two bits are the outcome.
const LATE: u8 = 1 << 2;
const AHEAD: u8 = 1 << 3;
const DEGRADED: u8 = 1 << 4;
const GUARDED: u8 = 1 << 5;
const USUAL_CURRENCY: u8 = 1 << 6;

/// A decision as it is looked up: the answer and why, without the row of numbers that it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedDecision {
    /// Derived from user and transaction.
    pub decision_id: DecisionId,
    /// The user who pays.
    pub user_id: UserId,
    /// What was answered.
    pub outcome: Outcome,
    /// Calibrated probability of fraud, 0 to 1.
    pub score: f32,
    /// In minor units of `currency`.
    pub amount_minor: AmountMinor,
    /// ISO 4217.
    pub currency: Currency,
    /// Up to four with their share of the score in log-odds, the largest first.
    pub reasons: Vec<(ReasonCode, f32)>,
    /// The model that scored.
    pub model_version: String,
    /// The event's own time, as its producer says.
    pub event_time: Millis,
    /// The function's time.
    pub decided_at: Millis,
    /// The event was further behind the user's newest one than is allowed.
    pub late: bool,
    /// The event was so far ahead of the broker's time that the broker's was taken instead.
    pub ahead: bool,
    /// It was decided without an optional input.
    pub degraded: bool,
    /// It was answered by the model's fallback.
    pub guarded: bool,
}

impl IndexedDecision {
    /// What a look-up keeps of a decision.
    pub fn of(decision: &Decision) -> Self {
        Self {
            decision_id: decision.decision_id,
            user_id: decision.user_id.clone(),
            outcome: decision.outcome,
            score: decision.score,
            amount_minor: decision.amount,
            currency: decision.currency,
            reasons: decision.reasons.iter().take(REASONS_MAX).map(|one| (one.code, one.contribution)).collect(),
            model_version: cut(&decision.model.version).to_owned(),
            event_time: decision.occurred_at,
            decided_at: decision.decided_at,
            late: decision.late,
            ahead: decision.ahead,
            degraded: decision.missing.any(),
            guarded: decision.guarded,
        }
    }
}

/// The beginning of a text, of whole letters.
fn cut(version: &str) -> &str {
    let mut end = version.len().min(MODEL_VERSION_BYTES_MAX);
    while !version.is_char_boundary(end) {
        end -= 1;
    }
    &version[..end]
}

/// Attribute `d` of a look-up item. Of more than [`ENTRIES_MAX`] entries the last ones are written.
pub fn encode(entries: &[IndexedDecision]) -> Vec<u8> {
    let entries = &entries[entries.len().saturating_sub(ENTRIES_MAX)..];
    let mut output = Output::begin(FORMAT, 96 * entries.len() + 2);
    output.unsigned(entries.len() as u64);
    for entry in entries {
        put(&mut output, entry);
    }
    output.end()
}

/// Reads every format that was ever written.
///
/// # Errors
/// When the bytes are not what a release of this system wrote.
pub fn decode(bytes: &[u8]) -> Result<Vec<IndexedDecision>, StoredProblem> {
    let mut input = Input::begin(bytes, FORMAT)?;
    let count = input.at_most(ENTRIES_MAX as u64, "number of decisions")?;
    let entries = (0..count).map(|_| take(&mut input)).collect::<Result<_, _>>()?;
    input.end()?;
    Ok(entries)
}

fn put(output: &mut Output, entry: &IndexedDecision) {
    // Every field by name: a new one does not compile until it is stored.
    let IndexedDecision {
        decision_id,
        user_id,
        outcome,
        score,
        amount_minor,
        currency,
        reasons,
        model_version,
        event_time,
        decided_at,
        late,
        ahead,
        degraded,
        guarded,
    } = entry;
    let flag = |condition: bool, bit: u8| if condition { bit } else { 0 };
    let flags = *outcome as u8
        | flag(*late, LATE)
        | flag(*ahead, AHEAD)
        | flag(*degraded, DEGRADED)
        | flag(*guarded, GUARDED)
        | flag(*currency == Currency::DEFAULT, USUAL_CURRENCY);
    output.byte(flags);
    output.bytes(&decision_id.0);
    output.text(user_id.as_str());
    output.bytes(&score.to_le_bytes());
    output.unsigned(amount_minor.minor());
    if flags & USUAL_CURRENCY == 0 {
        output.bytes(currency.as_str().as_bytes());
    }
    let reasons = &reasons[..reasons.len().min(REASONS_MAX)];
    output.unsigned(reasons.len() as u64);
    for (code, contribution) in reasons {
        output.byte(*code as u8);
        output.bytes(&contribution.to_le_bytes());
    }
    output.text(cut(model_version));
    output.signed(event_time.0);
    output.time(*decided_at, *event_time);
}

fn take(input: &mut Input<'_>) -> Result<IndexedDecision, StoredProblem> {
    let flags = input.byte()?;
    let has = |bit| flags & bit != 0;
    let outcome = Outcome::ALL.get(usize::from(flags & 3)).copied().ok_or(StoredProblem::Invalid("outcome"))?;
    let decision_id = DecisionId(input.array()?);
    let user_id = UserId::new(input.text("user id")?).map_err(|_| StoredProblem::Invalid("user id"))?;
    let score = f32::from_le_bytes(input.array()?);
    let amount_minor = AmountMinor::new(input.unsigned()?).map_err(|_| StoredProblem::Invalid("amount"))?;
    let currency = if has(USUAL_CURRENCY) { Currency::DEFAULT } else { take_currency(input)? };
    let count = input.at_most(REASONS_MAX as u64, "number of reasons")?;
    let reasons = (0..count).map(|_| take_reason(input)).collect::<Result<_, _>>()?;
    let model_version = input.text("model version")?;
    let event_time = Millis(input.signed()?);
    Ok(IndexedDecision {
        decision_id,
        user_id,
        outcome,
        score,
        amount_minor,
        currency,
        reasons,
        model_version,
        event_time,
        decided_at: input.time(event_time)?,
        late: has(LATE),
        ahead: has(AHEAD),
        degraded: has(DEGRADED),
        guarded: has(GUARDED),
    })
}

fn take_currency(input: &mut Input<'_>) -> Result<Currency, StoredProblem> {
    let code = std::str::from_utf8(input.bytes(3)?).ok();
    code.and_then(|code| Currency::recorded(code).ok()).ok_or(StoredProblem::Invalid("currency"))
}

fn take_reason(input: &mut Input<'_>) -> Result<(ReasonCode, f32), StoredProblem> {
    let code = ReasonCode::ALL.get(usize::from(input.byte()?)).copied().ok_or(StoredProblem::Invalid("reason"))?;
    Ok((code, f32::from_le_bytes(input.array()?)))
}
