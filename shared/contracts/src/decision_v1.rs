//! The payload of topics `approved` and `blocked` and of stream `decisions`, version 1.
//!
//! The bytes of a decision are part of the contract: published again it is the same message, so order and form of the fields
//! are fixed. A field may join that is left out of every decision that was made without it.

use centinela_domain::{
    Currency, Decision, DecisionId, Millis, MissingInputs, ModelStamp, Outcome, Reason, ReasonCode, RecordedFeatures,
    TransactionId, UserId,
};

use crate::excerpt::Excerpt;
use crate::json::{Kind, Object, Reader, push_decimal, push_f32, push_hex, push_text};
use crate::payload::{Fields, PayloadProblem, required};
use crate::transaction_v1::amount_in;

/// Why a value is not a decision.
pub type DecisionProblem = PayloadProblem;

/// Largest accepted value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

// Inputs that a decision may be made without.
const DEVICE: &str = "device";
const PROFILE: &str = "profile";
const USER_RISK: &str = "user_risk";
const DEVICE_RISK: &str = "device_risk";

/// Writes a decision. The same decision always gives the same bytes. A feature that is missing is `null`.
pub fn encode(decision: &Decision) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1280);
    let mut object = Object::begin(&mut bytes);
    put_answer(
        &mut object,
        decision.decision_id,
        &decision.transaction_id,
        &decision.user_id,
        decision.outcome,
        decision.score,
    );
    let amount = object.name("amount");
    amount.push(b'"');
    push_decimal(amount, decision.amount.minor(), decision.currency.decimals());
    amount.push(b'"');
    object.text("currency", decision.currency.as_str());
    put_list(object.name("reasons"), &decision.reasons, put_reason);
    put_model(object.name("model"), &decision.model);
    object.number("features_version", decision.features.version);
    put_list(object.name("features"), &decision.features.values, |out, feature| push_f32(out, *feature));
    object.number("state_version", decision.state_version);
    object.number("occurred_at", decision.occurred_at.0);
    object.number("ingested_at", decision.ingested_at.0);
    object.number("decided_at", decision.decided_at.0);
    object.bool("late", decision.late);
    // Only where it is so: decisions of earlier releases have no such field, and are published again as they were.
    if decision.ahead {
        object.bool("ahead", true);
    }
    if decision.guarded {
        object.bool("guarded", true);
    }
    object.bool("degraded", decision.missing.any());
    put_list(object.name("missing"), &missing_names(decision.missing), |out, name| push_text(out, name));
    object.end();
    bytes
}

/// Writes what remains of a decision whose evidence is gone: the answer, and that it is reduced.
pub fn encode_reduced(
    decision_id: DecisionId,
    transaction_id: &TransactionId,
    user_id: &UserId,
    outcome: Outcome,
    score: f32,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut object = Object::begin(&mut bytes);
    put_answer(&mut object, decision_id, transaction_id, user_id, outcome, score);
    object.bool("reduced", true);
    object.end();
    bytes
}

fn put_answer(
    object: &mut Object<'_>,
    decision_id: DecisionId,
    transaction_id: &TransactionId,
    user_id: &UserId,
    outcome: Outcome,
    score: f32,
) {
    object.number("version", 1);
    push_hex(object.name("decision_id"), &decision_id.0);
    object.text("transaction_id", transaction_id.as_str());
    object.text("user_id", user_id.as_str());
    object.text("outcome", outcome.as_str());
    push_f32(object.name("score"), score);
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(b']');
}

/// The names of what was missing, as a decision says them.
pub fn missing_names(missing: MissingInputs) -> Vec<&'static str> {
    let MissingInputs { device, profile, user_risk, device_risk } = missing;
    let names = [(device, DEVICE), (profile, PROFILE), (user_risk, USER_RISK), (device_risk, DEVICE_RISK)];
    names.into_iter().filter_map(|(is_missing, name)| is_missing.then_some(name)).collect()
}

fn missing_of(names: &[&[u8]]) -> MissingInputs {
    let has = |name: &str| {
        names
            .iter()
            .any(|found| found.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) == Some(name.as_bytes()))
    };
    MissingInputs {
        device: has(DEVICE),
        profile: has(PROFILE),
        user_risk: has(USER_RISK),
        device_risk: has(DEVICE_RISK),
    }
}

fn put_reason(out: &mut Vec<u8>, reason: &Reason) {
    let mut object = Object::begin(out);
    object.text("code", reason.code.as_str());
    push_f32(object.name("contribution"), reason.contribution);
    object.end();
}

fn put_model(out: &mut Vec<u8>, model: &ModelStamp) {
    let mut object = Object::begin(out);
    object.text("version", &model.version);
    push_hex(object.name("digest"), &model.digest);
    object.end();
}

/// A decision as a consumer reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionV1 {
    /// Consumers drop repetitions by it.
    pub decision_id: DecisionId,
    /// The producer's id of the transaction.
    pub transaction_id: TransactionId,
    /// The user who pays.
    pub user_id: UserId,
    /// APPROVED, REVIEW or BLOCKED.
    pub outcome: Outcome,
    /// Calibrated probability of fraud.
    pub score: f32,
    /// The decision in full, with what it rests on; none when it is reduced.
    pub evidence: Option<Decision>,
}

const NAMES: &[&str] = &[
    "version",
    "decision_id",
    "transaction_id",
    "user_id",
    "outcome",
    "score",
    "reduced",
    "amount",
    "currency",
    "reasons",
    "model",
    "features_version",
    "features",
    "state_version",
    "occurred_at",
    "ingested_at",
    "decided_at",
    "late",
    "ahead",
    "guarded",
    "missing",
];

#[derive(Default)]
struct Draft<'a> {
    decision_id: Option<DecisionId>,
    transaction_id: Option<TransactionId>,
    user_id: Option<UserId>,
    outcome: Option<Outcome>,
    score: Option<f32>,
    reduced: bool,
    amount: Option<std::borrow::Cow<'a, str>>,
    currency: Option<Currency>,
    reasons: Option<Vec<Reason>>,
    model: Option<ModelStamp>,
    features_version: Option<u32>,
    features: Option<Box<[f32]>>,
    state_version: Option<u64>,
    occurred_at: Option<i64>,
    ingested_at: Option<i64>,
    decided_at: Option<i64>,
    late: Option<bool>,
    ahead: bool,
    guarded: bool,
    missing: Option<MissingInputs>,
}

/// Reads a decision.
pub fn parse(value: &[u8]) -> Result<DecisionV1, DecisionProblem> {
    let mut fields = Fields::begin(value, VALUE_BYTES_MAX, NAMES)?;
    let mut draft = Draft::default();
    while let Some(index) = fields.next()? {
        draft.take(&mut fields, NAMES[index])?;
    }
    draft.finish()
}

impl<'a> Draft<'a> {
    fn take(&mut self, fields: &mut Fields<'a>, field: &'static str) -> Result<(), PayloadProblem> {
        match field {
            "version" => fields.version()?,
            "decision_id" => self.decision_id = Some(DecisionId(hexadecimal(fields, field)?)),
            "transaction_id" => self.transaction_id = Some(TransactionId::new(fields.text(field)?)?),
            "user_id" => self.user_id = Some(UserId::new(fields.text(field)?)?),
            "outcome" => self.outcome = Some(outcome_of(&fields.text(field)?)?),
            "score" => self.score = Some(fields.float(field)?),
            "reduced" => self.reduced = fields.bool(field)?,
            "amount" => self.amount = Some(fields.text(field)?),
            "currency" => self.currency = Some(Currency::recorded(&fields.text(field)?)?),
            "reasons" => {
                self.reasons = Some(list(fields, field)?.into_iter().map(reason_of).collect::<Result<_, _>>()?)
            }
            "model" => self.model = Some(model_of(fields.reader().skip()?)?),
            "features_version" => self.features_version = Some(version_of(fields.unsigned(field)?)?),
            "features" => self.features = Some(features_of(&list(fields, field)?)?),
            "state_version" => self.state_version = Some(fields.unsigned(field)?),
            "occurred_at" => self.occurred_at = Some(fields.integer(field)?),
            "ingested_at" => self.ingested_at = Some(fields.integer(field)?),
            "decided_at" => self.decided_at = Some(fields.integer(field)?),
            "late" => self.late = Some(fields.bool(field)?),
            "ahead" => self.ahead = fields.bool(field)?,
            "guarded" => self.guarded = fields.bool(field)?,
            "missing" => {
                self.missing = Some(missing_of(&list(fields, field)?));
            }
            forgotten => unreachable!("`{forgotten}` is among the names and has no place"),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<DecisionV1, PayloadProblem> {
        let mut decision = DecisionV1 {
            decision_id: required(self.decision_id, "decision_id")?,
            transaction_id: required(self.transaction_id.take(), "transaction_id")?,
            user_id: required(self.user_id.take(), "user_id")?,
            outcome: required(self.outcome, "outcome")?,
            score: required(self.score, "score")?,
            evidence: None,
        };
        if !self.reduced {
            decision.evidence = Some(self.in_full(&decision)?);
        }
        Ok(decision)
    }

    fn in_full(self, answer: &DecisionV1) -> Result<Decision, PayloadProblem> {
        let currency = required(self.currency, "currency")?;
        Ok(Decision {
            decision_id: answer.decision_id,
            transaction_id: answer.transaction_id.clone(),
            user_id: answer.user_id.clone(),
            outcome: answer.outcome,
            score: answer.score,
            amount: amount_in(required(self.amount, "amount")?.as_bytes(), currency)?,
            currency,
            reasons: required(self.reasons, "reasons")?,
            model: required(self.model, "model")?,
            features: RecordedFeatures {
                version: required(self.features_version, "features_version")?,
                values: required(self.features, "features")?,
            },
            state_version: required(self.state_version, "state_version")?,
            occurred_at: required(self.occurred_at.map(Millis), "occurred_at")?,
            ingested_at: required(self.ingested_at.map(Millis), "ingested_at")?,
            decided_at: required(self.decided_at.map(Millis), "decided_at")?,
            late: required(self.late, "late")?,
            ahead: self.ahead,
            guarded: self.guarded,
            missing: required(self.missing, "missing")?,
        })
    }
}

fn hexadecimal<const N: usize>(fields: &mut Fields<'_>, field: &'static str) -> Result<[u8; N], PayloadProblem> {
    let text = fields.text(field)?;
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let readable = digits.len() == 2 * N
        && bytes.iter_mut().zip(digits.chunks_exact(2)).all(|(byte, pair)| match (nibble(pair[0]), nibble(pair[1])) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        });
    if readable {
        Ok(bytes)
    } else {
        Err(PayloadProblem::WrongType { field, expected: "hexadecimal digits of full length" })
    }
}

fn outcome_of(name: &str) -> Result<Outcome, PayloadProblem> {
    Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| PayloadProblem::Unexpected {
        field: "outcome",
        expected: "one of APPROVED, REVIEW, BLOCKED",
        found: Excerpt::of(name.as_bytes()),
    })
}

/// The elements of a list, each as its text. Few: the value's size bounds them.
fn list<'a>(fields: &mut Fields<'a>, field: &'static str) -> Result<Vec<&'a [u8]>, PayloadProblem> {
    let reader = fields.reader();
    if reader.peek()? != Kind::Array {
        return Err(PayloadProblem::WrongType { field, expected: "a list" });
    }
    let mut elements = Vec::new();
    let mut within = reader.array()?;
    while reader.element(&mut within)? {
        elements.push(reader.skip()?);
    }
    Ok(elements)
}

fn reason_of(text: &[u8]) -> Result<Reason, PayloadProblem> {
    const NAMES: &[&str] = &["code", "contribution"];
    let mut fields = Fields::begin(text, VALUE_BYTES_MAX, NAMES)?;
    let (mut code, mut contribution) = (None, None);
    while let Some(index) = fields.next()? {
        match NAMES[index] {
            "code" => code = Some(code_of(&fields.text("code")?)?),
            _ => contribution = Some(fields.float("contribution")?),
        }
    }
    Ok(Reason { code: required(code, "code")?, contribution: required(contribution, "contribution")? })
}

fn code_of(name: &str) -> Result<ReasonCode, PayloadProblem> {
    ReasonCode::ALL.into_iter().find(|code| code.as_str() == name).ok_or_else(|| PayloadProblem::Unexpected {
        field: "code",
        expected: "a known reason code",
        found: Excerpt::of(name.as_bytes()),
    })
}

fn model_of(text: &[u8]) -> Result<ModelStamp, PayloadProblem> {
    const NAMES: &[&str] = &["version", "digest"];
    let mut fields = Fields::begin(text, VALUE_BYTES_MAX, NAMES)?;
    let (mut version, mut digest) = (None, None);
    while let Some(index) = fields.next()? {
        match NAMES[index] {
            "version" => version = Some(fields.text("version")?.into_owned()),
            _ => digest = Some(hexadecimal(&mut fields, "digest")?),
        }
    }
    Ok(ModelStamp { version: required(version, "version")?, digest: required(digest, "digest")? })
}

fn version_of(number: u64) -> Result<u32, PayloadProblem> {
    u32::try_from(number).map_err(|_| PayloadProblem::WrongType { field: "features_version", expected: "a version" })
}

fn features_of(elements: &[&[u8]]) -> Result<Box<[f32]>, PayloadProblem> {
    const WRONG: PayloadProblem = PayloadProblem::WrongType { field: "features", expected: "numbers or nulls" };
    let feature = |text: &&[u8]| match Reader::new(text).peek()? {
        Kind::Null => Ok(f32::NAN),
        Kind::Number => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(WRONG),
        _ => Err(WRONG),
    };
    elements.iter().map(feature).collect()
}
