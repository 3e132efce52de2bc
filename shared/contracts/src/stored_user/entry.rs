//! One remembered decision: about 20 bytes once it is shrunk, some 150 more while it carries its evidence.

use centinela_domain::ledger::{quantized, score_steps};
use centinela_domain::{
    AmountMinor, ContentDigest, Coordinates, Currency, Decision, DecisionId, Entry, Mark, MissingInputs, ModelStamp,
    Outcome, Reason, ReasonCode, RecordedFeatures, TransactionDigest, TransactionId, UserId,
};

use crate::binary::{Input, Output, StoredProblem};

/// Fewest bytes that an entry takes.
pub(super) const BYTES_MIN: usize = 4;

/// What is known before an entry.
pub(super) struct Context<'a> {
    /// Whose item it is; a writer knows it when any entry has evidence.
    pub(super) user: Option<&'a UserId>,
    /// The position written last.
    pub(super) previous: Mark,
    /// The model of the last entry with evidence.
    pub(super) model: Option<ModelStamp>,
    /// Version and length of the list of features of the last entry with evidence; at the start the one that releases had which did
    /// not write it.
    pub(super) features: (u32, usize),
    /// Whether entries are as releases wrote them that did not know the content and the list of features (formats 1 and 2).
    pub(super) legacy: bool,
}

impl<'a> Context<'a> {
    pub(super) fn begin(user: Option<&'a UserId>, previous: Mark, legacy: bool) -> Self {
        Self { user, previous, model: None, features: (1, 38), legacy }
    }
}

/// Most features that a list may have.
const FEATURES_MAX: u64 = 4096;

// First byte: two bits of outcome, two flags, the number of coordinates, or 7 when a longer number follows, and whether the content's
// digest is known. Legacy entries have no such flag, and four bits for the number.
const FULL: u8 = 1 << 2;
const SHORT_SCORE: u8 = 1 << 3;
const MANY: usize = 7;
const CONTENT: u8 = 1 << 7;
const LEGACY_MANY: usize = 15;

// A decision's flags.
const ID_DERIVED: u8 = 1;
const DIGEST_OF_ID: u8 = 1 << 1;
const SAME_USER: u8 = 1 << 2;
const USUAL_CURRENCY: u8 = 1 << 3;
const SAME_OUTCOME: u8 = 1 << 4;
const LATE: u8 = 1 << 5;
const NO_DEVICE: u8 = 1 << 6;
const SAME_MODEL: u8 = 1 << 7;

// More of them; none in a legacy entry.
const AHEAD: u8 = 1;
const SAME_FEATURES: u8 = 1 << 1;
const GUARDED: u8 = 1 << 2;
const NO_PROFILE: u8 = 1 << 3;
const NO_USER_RISK: u8 = 1 << 4;
const NO_DEVICE_RISK: u8 = 1 << 5;

fn flag(condition: bool, bit: u8) -> u8 {
    if condition { bit } else { 0 }
}

pub(super) fn put(output: &mut Output, entry: &Entry, context: &mut Context<'_>) {
    let short_score = match &entry.decision {
        Some(decision) => decision.score.to_bits() == entry.score.to_bits(),
        None => quantized(entry.score).to_bits() == entry.score.to_bits(),
    };
    let count = entry.coordinates.len();
    let head = entry.outcome as u8
        | flag(entry.decision.is_some(), FULL)
        | flag(short_score, SHORT_SCORE)
        | flag(entry.content.is_some(), CONTENT);
    output.byte(head | (count.min(MANY) as u8) << 4);
    if count >= MANY {
        output.unsigned(count as u64);
    }
    if let Some(ContentDigest(content)) = entry.content {
        output.bytes(&content.to_le_bytes());
    }
    for &at in &entry.coordinates {
        output.unsigned(u64::from(at.partition));
        output.mark(at.into(), &mut context.previous);
    }
    if !short_score {
        output.bytes(&entry.score.to_le_bytes());
    }
    match &entry.decision {
        Some(decision) => put_decision(output, entry, decision, context),
        None => {
            output.bytes(&entry.digest.0);
            if short_score {
                output.bytes(&score_steps(entry.score).to_le_bytes());
            }
        }
    }
}

fn put_decision(output: &mut Output, entry: &Entry, decision: &Decision, context: &mut Context<'_>) {
    // Every field by name: a new one does not compile until it is stored.
    let Decision {
        decision_id,
        transaction_id,
        user_id,
        amount,
        currency,
        outcome,
        score,
        reasons,
        model,
        features: RecordedFeatures { version, values },
        state_version,
        occurred_at,
        ingested_at,
        decided_at,
        late,
        ahead,
        guarded,
        missing: MissingInputs { device, profile, user_risk, device_risk },
    } = decision;
    let derived = DecisionId::derive(user_id, transaction_id) == *decision_id;
    let flags = flag(derived, ID_DERIVED)
        | flag(decision_id.digest() == entry.digest, DIGEST_OF_ID)
        | flag(context.user == Some(user_id), SAME_USER)
        | flag(*currency == Currency::DEFAULT, USUAL_CURRENCY)
        | flag(*outcome == entry.outcome, SAME_OUTCOME)
        | flag(*late, LATE)
        | flag(*device, NO_DEVICE)
        | flag(context.model.as_ref() == Some(model), SAME_MODEL);
    let list = (*version, values.len());
    let more = flag(*ahead, AHEAD)
        | flag(context.features == list, SAME_FEATURES)
        | flag(*guarded, GUARDED)
        | flag(*profile, NO_PROFILE)
        | flag(*user_risk, NO_USER_RISK)
        | flag(*device_risk, NO_DEVICE_RISK);
    output.bytes(&[flags, more]);
    output.text(transaction_id.as_str());
    if flags & SAME_USER == 0 {
        output.text(user_id.as_str());
    }
    if flags & ID_DERIVED == 0 {
        output.bytes(&decision_id.0);
    }
    if flags & DIGEST_OF_ID == 0 {
        output.bytes(&entry.digest.0);
    }
    output.unsigned(amount.minor());
    if flags & USUAL_CURRENCY == 0 {
        output.bytes(currency.as_str().as_bytes());
    }
    if flags & SAME_OUTCOME == 0 {
        output.byte(*outcome as u8);
    }
    output.bytes(&score.to_le_bytes());
    put_reasons(output, reasons);
    if flags & SAME_MODEL == 0 {
        put_model(output, model, context);
    }
    if more & SAME_FEATURES == 0 {
        output.unsigned(u64::from(*version));
        output.unsigned(values.len() as u64);
        context.features = list;
    }
    output.floats(values);
    output.unsigned(*state_version);
    output.time(*ingested_at, context.previous.timestamp);
    output.time(*occurred_at, *ingested_at);
    output.time(*decided_at, *ingested_at);
}

fn put_reasons(output: &mut Output, reasons: &[Reason]) {
    output.unsigned(reasons.len() as u64);
    for reason in reasons {
        output.byte(reason.code as u8);
        output.bytes(&reason.contribution.to_le_bytes());
    }
}

fn put_model(output: &mut Output, model: &ModelStamp, context: &mut Context<'_>) {
    output.text(&model.version);
    output.bytes(&model.digest);
    context.model = Some(model.clone());
}

pub(super) fn take(input: &mut Input<'_>, context: &mut Context<'_>) -> Result<Entry, StoredProblem> {
    let head = input.byte()?;
    let outcome = outcome(head & 3)?;
    let short_score = head & SHORT_SCORE != 0;
    let (count, many) = if context.legacy { (head >> 4, LEGACY_MANY) } else { (head >> 4 & 7, MANY) };
    let coordinates = match usize::from(count) {
        count if count == many => input.count(3, "number of positions")?,
        count => count,
    };
    let content = if context.legacy || head & CONTENT == 0 {
        None
    } else {
        Some(ContentDigest(u16::from_le_bytes(input.array()?)))
    };
    let coordinates = several(coordinates, || take_coordinates(input, context))?;
    let long_score = if short_score { None } else { Some(f32::from_le_bytes(input.array()?)) };
    if head & FULL != 0 {
        let (digest, decision) = take_decision(input, outcome, context)?;
        let score = long_score.unwrap_or(decision.score);
        return Ok(Entry { digest, content, coordinates, outcome, score, decision: Some(Box::new(decision)) });
    }
    let digest = take_digest(input, context.legacy)?;
    let score = match long_score {
        Some(score) => score,
        None => f32::from(u16::from_le_bytes(input.array()?)) / f32::from(u16::MAX),
    };
    Ok(Entry { digest, content, coordinates, outcome, score, decision: None })
}

/// So many, in room for just as many: whoever collects results does not know how many there will be, and most entries have one place.
fn several<T>(count: usize, mut take: impl FnMut() -> Result<T, StoredProblem>) -> Result<Vec<T>, StoredProblem> {
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        taken.push(take()?);
    }
    Ok(taken)
}

fn take_coordinates(input: &mut Input<'_>, context: &mut Context<'_>) -> Result<Coordinates, StoredProblem> {
    let partition = input.at_most(u64::from(u32::MAX), "partition")? as u32;
    let mark = input.mark(&mut context.previous)?;
    Ok(Coordinates { partition, offset: mark.offset, timestamp: mark.timestamp })
}

fn take_decision(
    input: &mut Input<'_>,
    entry_outcome: Outcome,
    context: &mut Context<'_>,
) -> Result<(TransactionDigest, Decision), StoredProblem> {
    let flags = input.byte()?;
    let has = |bit| flags & bit != 0;
    let more = if context.legacy { SAME_FEATURES } else { input.byte()? };
    let transaction_id = TransactionId::new(input.text("transaction id")?);
    let transaction_id = transaction_id.map_err(|_| StoredProblem::Invalid("transaction id"))?;
    let user_id = match context.user {
        Some(user) if has(SAME_USER) => user.clone(),
        _ => UserId::new(input.text("user id")?).map_err(|_| StoredProblem::Invalid("user id"))?,
    };
    let decision_id = match has(ID_DERIVED) {
        true => DecisionId::derive(&user_id, &transaction_id),
        false => DecisionId(input.array()?),
    };
    let digest = match has(DIGEST_OF_ID) {
        true => decision_id.digest(),
        false => take_digest(input, context.legacy)?,
    };
    let amount = AmountMinor::new(input.unsigned()?).map_err(|_| StoredProblem::Invalid("amount"))?;
    let currency = if has(USUAL_CURRENCY) { Currency::DEFAULT } else { take_currency(input)? };
    let outcome = if has(SAME_OUTCOME) { entry_outcome } else { outcome(input.byte()?)? };
    let score = f32::from_le_bytes(input.array()?);
    let reasons = several(input.count(5, "number of reasons")?, || take_reason(input))?;
    let model = take_model(input, has(SAME_MODEL), context)?;
    let features = take_features(input, more & SAME_FEATURES != 0, context)?;
    let state_version = input.unsigned()?;
    let ingested_at = input.time(context.previous.timestamp)?;
    let decision = Decision {
        decision_id,
        transaction_id,
        user_id,
        amount,
        currency,
        outcome,
        score,
        reasons,
        model,
        features,
        state_version,
        occurred_at: input.time(ingested_at)?,
        ingested_at,
        decided_at: input.time(ingested_at)?,
        late: has(LATE),
        ahead: more & AHEAD != 0,
        guarded: more & GUARDED != 0,
        missing: MissingInputs {
            device: has(NO_DEVICE),
            profile: more & NO_PROFILE != 0,
            user_risk: more & NO_USER_RISK != 0,
            device_risk: more & NO_DEVICE_RISK != 0,
        },
    };
    Ok((digest, decision))
}

/// Legacy entries have 64 bits, the last byte first.
fn take_digest(input: &mut Input<'_>, legacy: bool) -> Result<TransactionDigest, StoredProblem> {
    if !legacy {
        return Ok(TransactionDigest(input.array()?));
    }
    let [_, _, f, e, d, c, b, a] = input.array()?;
    Ok(TransactionDigest([a, b, c, d, e, f]))
}

fn outcome(number: u8) -> Result<Outcome, StoredProblem> {
    Outcome::ALL.get(usize::from(number)).copied().ok_or(StoredProblem::Invalid("outcome"))
}

fn take_currency(input: &mut Input<'_>) -> Result<Currency, StoredProblem> {
    let code = std::str::from_utf8(input.bytes(3)?).ok();
    code.and_then(|code| Currency::recorded(code).ok()).ok_or(StoredProblem::Invalid("currency"))
}

fn take_reason(input: &mut Input<'_>) -> Result<Reason, StoredProblem> {
    let code = ReasonCode::ALL.get(usize::from(input.byte()?)).copied().ok_or(StoredProblem::Invalid("reason"))?;
    Ok(Reason { code, contribution: f32::from_le_bytes(input.array()?) })
}

fn take_model(input: &mut Input<'_>, same: bool, context: &mut Context<'_>) -> Result<ModelStamp, StoredProblem> {
    if !same {
        context.model = Some(ModelStamp { version: input.text("model version")?, digest: input.array()? });
    }
    context.model.clone().ok_or(StoredProblem::Invalid("reference to a model"))
}

fn take_features(
    input: &mut Input<'_>,
    same: bool,
    context: &mut Context<'_>,
) -> Result<RecordedFeatures, StoredProblem> {
    if !same {
        let version = input.at_most(u64::from(u32::MAX), "version of features")? as u32;
        context.features = (version, input.at_most(FEATURES_MAX, "number of features")? as usize);
    }
    let (version, width) = context.features;
    let mut values = vec![0.0; width].into_boxed_slice();
    input.floats(&mut values)?;
    Ok(RecordedFeatures { version, values })
}
