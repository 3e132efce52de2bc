//! Reading an event in one pass.

use std::borrow::Cow;

use base64_simd::STANDARD;
use centinela_domain::transaction::TIME_MAX_MS;
use centinela_domain::{Coordinates, Millis};

use super::{
    BadRecord, EnvelopeError, HEADERS_MAX, KafkaBatch, PAYLOAD_BYTES_MAX, PartitionBatch, RECORDS_MAX, Record,
    RecordProblem,
};
use crate::excerpt::Excerpt;
use crate::json::{Kind, Reader, Syntax, Text, integer};

type Headers = Vec<(String, Vec<u8>)>;

impl KafkaBatch {
    /// Reads an event. Memory stays within a small multiple of the payload.
    pub fn parse(payload: &[u8]) -> Result<Self, EnvelopeError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(EnvelopeError::TooLarge(payload.len()));
        }
        let mut reader = Reader::new(payload);
        if reader.peek()? != Kind::Object {
            return Err(EnvelopeError::NotAnObject);
        }
        let mut partitions = None;
        let mut event = reader.object()?;
        while let Some(name) = reader.member(&mut event)? {
            if name.is("records") && reader.peek()? == Kind::Object {
                read_partitions(&mut reader, partitions.get_or_insert_default())?;
            } else if name.is("eventSource") && reader.peek()? == Kind::Text {
                check_source(reader.text()?)?;
            } else {
                reader.skip()?;
            }
        }
        reader.end()?;
        let partitions = partitions.ok_or(EnvelopeError::NoRecords)?;
        Ok(Self { partitions: in_order(partitions) })
    }
}

fn check_source(source: Text<'_>) -> Result<(), EnvelopeError> {
    if source.is("aws:kafka") || source.is("SelfManagedKafka") {
        return Ok(());
    }
    Err(EnvelopeError::Source(Excerpt::of(source.raw())))
}

fn read_partitions(reader: &mut Reader<'_>, partitions: &mut Vec<PartitionBatch>) -> Result<(), EnvelopeError> {
    let mut remaining = RECORDS_MAX.saturating_sub(partitions.iter().map(|known| known.records.len()).sum());
    let mut map = reader.object()?;
    while let Some(name) = reader.member(&mut map)? {
        match reader.peek()? {
            Kind::Null => reader.null()?,
            Kind::Array => {
                let drafts = read_records(reader, &mut remaining)?;
                if !drafts.is_empty() {
                    partitions.push(partition_batch(name, drafts)?);
                }
            }
            _ => return Err(EnvelopeError::NotAList(Excerpt::of(name.raw()))),
        }
    }
    Ok(())
}

fn read_records<'a>(reader: &mut Reader<'a>, remaining: &mut usize) -> Result<Vec<Draft<'a>>, EnvelopeError> {
    let mut drafts = Vec::new();
    let mut list = reader.array()?;
    while reader.element(&mut list)? {
        *remaining = remaining.checked_sub(1).ok_or(EnvelopeError::TooManyRecords)?;
        drafts.push(Draft::read(reader)?);
    }
    Ok(drafts)
}

fn partition_batch(name: Text<'_>, drafts: Vec<Draft<'_>>) -> Result<PartitionBatch, EnvelopeError> {
    let unusable = || EnvelopeError::PartitionKey(Excerpt::of(name.raw()));
    let key = name.decode().map_err(|_| unusable())?.into_owned();
    let named = split_key(&key).map(|(topic, partition)| (topic.to_owned(), partition));
    let (topic, partition) = named.or_else(|| drafts.iter().find_map(Draft::origin)).ok_or_else(unusable)?;
    let mut records: Vec<_> = drafts.into_iter().map(|draft| draft.finish(&topic, partition)).collect();
    if !records.is_sorted_by_key(offset_of) {
        records.sort_by_key(offset_of);
    }
    Ok(PartitionBatch { key, topic, partition, records })
}

/// Topic names may contain hyphens: only the last one separates.
fn split_key(key: &str) -> Option<(&str, u32)> {
    let (topic, digits) = key.rsplit_once('-')?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    let partition = digits.parse().ok().filter(|_| canonical)?;
    (!topic.is_empty()).then_some((topic, partition))
}

fn offset_of(record: &Result<Record, BadRecord>) -> u64 {
    match record {
        Ok(record) => record.coordinates.offset,
        Err(bad) => bad.offset.unwrap_or(u64::MAX),
    }
}

fn in_order(mut partitions: Vec<PartitionBatch>) -> Vec<PartitionBatch> {
    partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    // A key that appears twice is one list.
    partitions.dedup_by(|next, kept| {
        let same = next.key == kept.key;
        if same {
            kept.records.append(&mut next.records);
            kept.records.sort_by_key(offset_of);
        }
        same
    });
    partitions
}

/// What a record said, before it is known which partition it should be from.
struct Draft<'a> {
    raw: &'a [u8],
    topic: Option<Cow<'a, str>>,
    partition: Option<u32>,
    offset: Option<u64>,
    timestamp: Option<Millis>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
    seen: u8,
    problem: Option<RecordProblem>,
}

const FIELDS: [&str; 7] = ["topic", "partition", "offset", "timestamp", "key", "value", "headers"];
const VALUE_SEEN: u8 = 1 << 5;

impl<'a> Draft<'a> {
    /// Reads one element. What is wrong with it is remembered; only broken JSON is an error.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Syntax> {
        let mut draft = Self {
            raw: &[],
            topic: None,
            partition: None,
            offset: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
            seen: 0,
            problem: None,
        };
        let start = reader.position();
        if reader.peek()? != Kind::Object {
            draft.raw = reader.skip()?;
            draft.problem = Some(RecordProblem::NotAnObject);
            return Ok(draft);
        }
        let mut fields = reader.object()?;
        while let Some(name) = reader.member(&mut fields)? {
            let known = match name.plain() {
                Some(raw) => FIELDS.iter().position(|field| field.as_bytes() == raw),
                None => FIELDS.iter().position(|field| name.is(field)),
            };
            match known {
                Some(index) => draft.field(reader, index)?,
                None => drop(reader.skip()?),
            }
        }
        draft.raw = reader.since(start);
        Ok(draft)
    }

    fn field(&mut self, reader: &mut Reader<'a>, index: usize) -> Result<(), Syntax> {
        let field = FIELDS[index];
        let repeated = self.seen & 1 << index != 0;
        self.seen |= 1 << index;
        if repeated {
            self.note(RecordProblem::Duplicate(field));
            reader.skip()?;
            return Ok(());
        }
        if reader.peek()? == Kind::Null {
            return reader.null();
        }
        match field {
            "topic" => self.topic = self.text(reader, field)?,
            "partition" => {
                self.partition = self.unsigned(reader, field, u64::from(u32::MAX))?.map(|number| number as u32)
            }
            "offset" => self.offset = self.unsigned(reader, field, i64::MAX as u64)?,
            "timestamp" => {
                self.timestamp = self.unsigned(reader, field, TIME_MAX_MS as u64)?.map(|number| Millis(number as i64));
            }
            "key" => self.key = self.base64(reader, field)?,
            "value" => self.value = self.base64(reader, field)?,
            _ => self.headers(reader)?,
        }
        Ok(())
    }

    /// The first problem is the one that is told.
    fn note(&mut self, problem: RecordProblem) {
        self.problem.get_or_insert(problem);
    }

    fn wrong<T>(
        &mut self,
        reader: &mut Reader<'a>,
        field: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, Syntax> {
        self.note(RecordProblem::WrongType { field, expected });
        reader.skip()?;
        Ok(None)
    }

    fn text(&mut self, reader: &mut Reader<'a>, field: &'static str) -> Result<Option<Cow<'a, str>>, Syntax> {
        if reader.peek()? != Kind::Text {
            return self.wrong(reader, field, "a string");
        }
        let text = reader.text()?.decode();
        Ok(text.map_err(|problem| self.note(RecordProblem::Text { field, problem })).ok())
    }

    fn unsigned(&mut self, reader: &mut Reader<'a>, field: &'static str, max: u64) -> Result<Option<u64>, Syntax> {
        let expected = match field {
            "timestamp" => "whole milliseconds between 1970 and 2100",
            "offset" => "a whole number of 0 or more",
            _ => "a partition number",
        };
        if reader.peek()? != Kind::Number {
            return self.wrong(reader, field, expected);
        }
        match integer(reader.number()?).map(u64::try_from) {
            Ok(Ok(value)) if value <= max => Ok(Some(value)),
            _ => {
                self.note(RecordProblem::WrongType { field, expected });
                Ok(None)
            }
        }
    }

    fn base64(&mut self, reader: &mut Reader<'a>, field: &'static str) -> Result<Option<Vec<u8>>, Syntax> {
        if reader.peek()? != Kind::Text {
            return self.wrong(reader, field, "a base64 string or null");
        }
        let text = reader.text()?;
        let decoded = match text.plain() {
            Some(raw) => STANDARD.decode_to_vec(raw).ok(),
            // Some encoders escape the slash of the alphabet.
            None => text.decode().ok().and_then(|text| STANDARD.decode_to_vec(text.as_bytes()).ok()),
        };
        if decoded.is_none() {
            self.note(RecordProblem::Base64(field));
        }
        Ok(decoded)
    }

    fn headers(&mut self, reader: &mut Reader<'a>) -> Result<(), Syntax> {
        const EXPECTED: &str = "a list of objects with lists of byte numbers";
        if reader.peek()? != Kind::Array {
            return self.wrong::<()>(reader, "headers", EXPECTED).map(drop);
        }
        let mut list = reader.array()?;
        while reader.element(&mut list)? {
            if reader.peek()? != Kind::Object {
                self.wrong::<()>(reader, "headers", EXPECTED)?;
                continue;
            }
            let mut header = reader.object()?;
            while let Some(name) = reader.member(&mut header)? {
                if self.headers.len() == HEADERS_MAX {
                    self.note(RecordProblem::TooManyHeaders);
                    reader.skip()?;
                    continue;
                }
                let bytes = match reader.peek()? {
                    Kind::Null => reader.null().map(|()| Some(Vec::new()))?,
                    Kind::Array => self.header_bytes(reader)?,
                    _ => self.wrong(reader, "headers", EXPECTED)?,
                };
                match (name.decode(), bytes) {
                    (Ok(name), Some(bytes)) => self.headers.push((name.into_owned(), bytes)),
                    (Err(problem), _) => self.note(RecordProblem::Text { field: "headers", problem }),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Bytes as numbers: Lambda writes them signed, other sources unsigned.
    fn header_bytes(&mut self, reader: &mut Reader<'a>) -> Result<Option<Vec<u8>>, Syntax> {
        const EXPECTED: &str = "lists of byte numbers between -128 and 255";
        let mut bytes = Vec::new();
        let mut readable = true;
        let mut list = reader.array()?;
        while reader.element(&mut list)? {
            if reader.peek()? != Kind::Number {
                self.wrong::<()>(reader, "headers", EXPECTED)?;
                readable = false;
                continue;
            }
            match integer(reader.number()?) {
                Ok(number @ -128..=255) => bytes.push(number as u8),
                _ => {
                    self.note(RecordProblem::WrongType { field: "headers", expected: EXPECTED });
                    readable = false;
                }
            }
        }
        Ok(readable.then_some(bytes))
    }

    fn origin(&self) -> Option<(String, u32)> {
        Some((self.topic.as_deref()?.to_owned(), self.partition?))
    }

    fn finish(mut self, topic: &str, partition: u32) -> Result<Record, BadRecord> {
        let elsewhere =
            self.topic.as_deref().is_some_and(|own| own != topic) || self.partition.is_some_and(|own| own != partition);
        if elsewhere {
            self.note(RecordProblem::Elsewhere);
        }
        if self.seen & VALUE_SEEN == 0 {
            self.note(RecordProblem::Missing("value"));
        }
        if self.timestamp.is_none() {
            self.note(RecordProblem::Missing("timestamp"));
        }
        if self.offset.is_none() {
            self.note(RecordProblem::Missing("offset"));
        }
        match (self.problem, self.offset, self.timestamp) {
            (None, Some(offset), Some(timestamp)) => Ok(Record {
                coordinates: Coordinates { partition, offset, timestamp },
                key: self.key,
                value: self.value,
                headers: self.headers,
            }),
            (problem, offset, timestamp) => Err(BadRecord {
                offset,
                timestamp,
                raw: self.raw.to_vec(),
                problem: problem.unwrap_or(RecordProblem::NotAnObject),
            }),
        }
    }
}
