//! What a Kafka event source mapping writes to its failure destination about records that it gave up.
//!
//! AWS documents two spellings. A Kafka topic gets one message per record, with `recordInfo` and the record as an event
//! (<https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>). SNS, SQS and S3 get one document per batch, with
//! `recordsInfo` by partition, and S3 the whole event as a text too
//! (<https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html>). The names of the conditions differ as well. Both are read.

use centinela_domain::Millis;

use crate::json::{Kind, Reader};
use crate::kafka_event::{KafkaBatch, PAYLOAD_BYTES_MAX};
use crate::payload::{Fields, PayloadProblem, required};

/// Largest accepted document: an event, whose quotes are escaped in a text, and what is said about it.
pub const VALUE_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_MAX;
/// Most partitions that a document may speak of.
const RANGES_MAX: usize = 10_000;

/// What became of a batch, or of a record, that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureRecord {
    /// Why, in AWS's words: `RetriesExhausted`, `RetryAttemptsExhausted`, `MaximumPayloadSizeExceeded`.
    pub condition: String,
    /// About how often the function was invoked with it.
    pub attempts: Option<u64>,
    /// When it was given up.
    pub given_up_at: Option<Millis>,
    /// Where the records stand, where that is said by partition.
    pub ranges: Vec<FailedRange>,
    /// The records; none where the destination gets no records.
    pub batch: Option<KafkaBatch>,
}

/// Records of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRange {
    /// The topic and the partition, as `transactions-3`.
    pub key: String,
    /// Offset of the first record.
    pub first: u64,
    /// Offset of the last record.
    pub last: u64,
}

const NAMES: &[&str] = &["requestContext", "timestamp", "KafkaBatchInfo", "payload"];

/// Reads a document in either spelling.
pub fn parse(message: &[u8]) -> Result<FailureRecord, PayloadProblem> {
    let mut fields = Fields::begin(message, VALUE_BYTES_MAX, NAMES)?;
    let (mut context, mut given_up_at, mut ranges, mut batch) = (None, None, None, None);
    while let Some(index) = fields.next()? {
        let field = NAMES[index];
        match field {
            "requestContext" => context = Some(context_of(fields.reader().skip()?)?),
            "timestamp" => given_up_at = Some(fields.time(field)?),
            "KafkaBatchInfo" => ranges = Some(ranges_of(fields.reader().skip()?)?),
            _ => batch = Some(batch_of(&mut fields)?),
        }
    }
    let (condition, attempts) = required(context, "requestContext")?;
    Ok(FailureRecord { condition, attempts, given_up_at, ranges: required(ranges, "KafkaBatchInfo")?, batch })
}

fn context_of(text: &[u8]) -> Result<(String, Option<u64>), PayloadProblem> {
    const NAMES: &[&str] = &["condition", "approximateInvokeCount"];
    let mut fields = Fields::begin(text, VALUE_BYTES_MAX, NAMES)?;
    let (mut condition, mut attempts) = (None, None);
    while let Some(index) = fields.next()? {
        match NAMES[index] {
            "condition" => condition = Some(fields.text("condition")?.into_owned()),
            name => attempts = Some(fields.unsigned(name)?),
        }
    }
    Ok((required(condition, "condition")?, attempts))
}

/// The ranges of `recordsInfo`; `recordInfo` says nothing that the record itself does not.
fn ranges_of(text: &[u8]) -> Result<Vec<FailedRange>, PayloadProblem> {
    const NAMES: &[&str] = &["recordInfo", "recordsInfo"];
    let mut fields = Fields::begin(text, VALUE_BYTES_MAX, NAMES)?;
    let mut ranges = None;
    while let Some(index) = fields.next()? {
        let info = fields.reader().skip()?;
        if NAMES[index] == "recordsInfo" {
            ranges = Some(by_partition(info)?);
        } else {
            ranges.get_or_insert_with(Vec::new);
        }
    }
    required(ranges, "recordsInfo")
}

fn by_partition(text: &[u8]) -> Result<Vec<FailedRange>, PayloadProblem> {
    const WRONG: PayloadProblem =
        PayloadProblem::WrongType { field: "recordsInfo", expected: "an object of partitions" };
    let mut reader = Reader::new(text);
    if reader.peek()? != Kind::Object {
        return Err(WRONG);
    }
    let mut ranges = Vec::new();
    let mut partitions = reader.object()?;
    while let Some(name) = reader.member(&mut partitions)? {
        if ranges.len() == RANGES_MAX {
            return Err(WRONG);
        }
        let key = name.decode().map_err(|problem| PayloadProblem::Text { field: "recordsInfo", problem })?.into_owned();
        let (first, last) = offsets_of(reader.skip()?)?;
        ranges.push(FailedRange { key, first, last });
    }
    Ok(ranges)
}

fn offsets_of(text: &[u8]) -> Result<(u64, u64), PayloadProblem> {
    const NAMES: &[&str] = &["firstRecordOffset", "lastRecordOffset"];
    let mut fields = Fields::begin(text, VALUE_BYTES_MAX, NAMES)?;
    let (mut first, mut last) = (None, None);
    while let Some(index) = fields.next()? {
        let offset = Some(offset_of(&mut fields, NAMES[index])?);
        if index == 0 { first = offset } else { last = offset }
    }
    Ok((required(first, "firstRecordOffset")?, required(last, "lastRecordOffset")?))
}

/// Offsets are texts in AWS's examples.
fn offset_of(fields: &mut Fields<'_>, field: &'static str) -> Result<u64, PayloadProblem> {
    if fields.reader().peek()? != Kind::Text {
        return fields.unsigned(field);
    }
    let text = fields.text(field)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(PayloadProblem::WrongType { field, expected: "an offset" })
}

/// An event, or the text of one.
fn batch_of(fields: &mut Fields<'_>) -> Result<KafkaBatch, PayloadProblem> {
    const FIELD: &str = "payload";
    let batch = if fields.reader().peek()? == Kind::Text {
        KafkaBatch::parse(fields.text(FIELD)?.as_bytes())
    } else {
        KafkaBatch::parse(fields.reader().skip()?)
    };
    batch.map_err(|_| PayloadProblem::WrongType { field: FIELD, expected: "the event of a kafka mapping" })
}
