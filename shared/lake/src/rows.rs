//! From a topic's records to rows. Every record becomes a row: what cannot be read is kept as it came, with the reason.
//!
//! Personal data: identifiers stand as they come, since analysts ask by them. What could be guessed back from a plain hash (network,
//! program, e-mail, telephone, address) is hashed with the deployment's key, and a name is not kept at all.

use bytes::Bytes;
use centinela_contracts::dead_letter_v1;
use centinela_contracts::decision_v1;
use centinela_contracts::event_v1;
use centinela_contracts::kafka_event::{BadRecord, Record};
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::transaction_v1;
use centinela_contracts::user_action_v1::{self, LoginOutcome, PersonalText};
use centinela_domain::transaction::network_hash;
use centinela_domain::{Currency, Decision, DeviceId, MerchantId, TransactionId, UserId};

use crate::keys::hex;
use crate::row::{Cell, Place, Row};
use crate::table::Table;

/// What reading a record needs beside the record.
#[derive(Clone, Debug)]
pub struct Reading {
    /// For what is hashed.
    pub key: DeploymentKey,
    /// What an amount without a currency is in, as for the function that decides.
    pub default_currency: Currency,
}

/// Problems name fields and limits, and excerpts of no identifier; still a bound.
const PROBLEM_BYTES_MAX: usize = 1024;

impl Reading {
    /// The row of a record.
    pub fn row(&self, table: Table, record: &Record) -> Row {
        let place =
            Place { partition: partition(record.coordinates.partition), offset: offset(record.coordinates.offset) };
        let broker_time = record.coordinates.timestamp.0;
        let Some(value) = &record.value else {
            return Row::unreadable(
                table,
                place,
                broker_time,
                "the record has no value (a tombstone)".to_owned(),
                None,
            );
        };
        let cells = match table {
            Table::Transactions => self.transaction(value),
            Table::UserActions => self.user_action(value),
            Table::Events => event(value),
            Table::Approved | Table::Blocked => decision(value),
            Table::DeadLetters => dead_letter(value),
        };
        match cells {
            Ok(cells) => Row { place, broker_time, problem: None, value: None, cells: cells.into() },
            Err(problem) => {
                Row::unreadable(table, place, broker_time, shortened(&problem), Some(Bytes::copy_from_slice(value)))
            }
        }
    }

    /// The row of a record that the mapping describes wrongly; its value is the description. None without an offset: it stands nowhere.
    pub fn row_of_bad(&self, table: Table, partition_number: u32, bad: &BadRecord) -> Option<Row> {
        let place = Place { partition: partition(partition_number), offset: offset(bad.offset?) };
        // Always the same, or a delivery that is cut otherwise would put the record into another hour.
        let broker_time = bad.timestamp.unwrap_or_default().0;
        let raw = Bytes::copy_from_slice(&bad.raw);
        Some(Row::unreadable(table, place, broker_time, shortened(&bad.problem.to_string()), Some(raw)))
    }

    fn transaction(&self, value: &[u8]) -> Result<Vec<Cell>, String> {
        let read = transaction_v1::parse_in(value, self.default_currency).map_err(|problem| problem.to_string())?;
        Ok(vec![
            read.id.as_str().into(),
            read.user_id.as_str().into(),
            read.occurred_at.0.into(),
            minor(read.amount.minor()),
            read.currency.as_str().into(),
            read.device_type.as_str().into(),
            read.device_id.as_str().into(),
            self.hashed("network", &read.network.to_be_bytes()),
            self.hashed("agent", &read.agent.to_be_bytes()),
            read.merchant_id.as_ref().map(MerchantId::as_str).into(),
        ])
    }

    fn user_action(&self, value: &[u8]) -> Result<Vec<Cell>, String> {
        let read = user_action_v1::parse(value).map_err(|problem| problem.to_string())?;
        Ok(vec![
            read.action_id.as_str().into(),
            read.user_id.as_str().into(),
            read.occurred_at.0.into(),
            read.kind.as_str().into(),
            read.device_id.as_ref().map(DeviceId::as_str).into(),
            read.ip.map_or(Cell::Null, |address| self.hashed("network", &network_hash(address).to_be_bytes())),
            read.outcome.map(LoginOutcome::as_str).into(),
            self.personal("email", read.personal.email.as_ref()),
            self.personal("phone", read.personal.phone.as_ref()),
            self.personal("address", read.personal.address.as_ref()),
        ])
    }

    /// Equal however it was typed: in letters of any size, with spaces around.
    fn personal(&self, what: &'static str, text: Option<&PersonalText>) -> Cell {
        text.map_or(Cell::Null, |text| self.hashed(what, text.expose().trim().to_lowercase().as_bytes()))
    }

    /// Told apart and never guessed back: who does not have the key cannot try values.
    fn hashed(&self, what: &'static str, value: &[u8]) -> Cell {
        hex(&self.key.pseudonym(what, value)).into()
    }
}

fn event(value: &[u8]) -> Result<Vec<Cell>, String> {
    let read = event_v1::parse(value).map_err(|problem| problem.to_string())?;
    Ok(vec![
        read.event_id.as_str().into(),
        read.occurred_at.0.into(),
        read.kind.as_str().into(),
        read.user_id.as_ref().map(UserId::as_str).into(),
        read.transaction_id.as_ref().map(TransactionId::as_str).into(),
        read.device_id.as_ref().map(DeviceId::as_str).into(),
    ])
}

fn decision(value: &[u8]) -> Result<Vec<Cell>, String> {
    let read = decision_v1::parse(value).map_err(|problem| problem.to_string())?;
    let full = read.evidence.as_ref();
    let texts = |names: &[&str]| Cell::Texts(names.iter().map(|name| Box::from(*name)).collect());
    let missing = full.map_or(Cell::Null, |full| texts(&decision_v1::missing_names(full.missing)));
    Ok(vec![
        read.decision_id.to_string().into(),
        read.transaction_id.as_str().into(),
        read.user_id.as_str().into(),
        read.outcome.as_str().into(),
        Cell::Double(decimal(read.score)),
        full.map_or(Cell::Null, |full| minor(full.amount.minor())),
        full.map(|full| full.currency.as_str()).into(),
        full.map_or(Cell::Null, reasons),
        full.map(|full| &*full.model.version).into(),
        full.map(|full| hex(&full.model.digest)).into(),
        full.map(|full| i64::from(full.features.version)).into(),
        full.map_or(Cell::Null, |full| {
            Cell::Doubles(full.features.values.iter().map(|value| present(*value)).collect())
        }),
        full.map(|full| offset(full.state_version)).into(),
        full.map(|full| full.occurred_at.0).into(),
        full.map(|full| full.ingested_at.0).into(),
        full.map(|full| full.decided_at.0).into(),
        full.is_some_and(|full| full.late).into(),
        full.is_some_and(|full| full.ahead).into(),
        full.is_some_and(|full| full.missing.any()).into(),
        full.is_some_and(guarded).into(),
        missing,
        full.is_none().into(),
    ])
}

/// Whether the fallback answered instead of the policy.
fn guarded(decision: &Decision) -> bool {
    decision.guarded
}

fn reasons(decision: &Decision) -> Cell {
    let pairs = decision.reasons.iter().map(|reason| (Box::from(reason.code.as_str()), decimal(reason.contribution)));
    Cell::Reasons(pairs.collect())
}

fn dead_letter(value: &[u8]) -> Result<Vec<Cell>, String> {
    let letter = dead_letter_v1::parse(value).map_err(|problem| problem.to_string())?.letter;
    Ok(vec![
        letter.reason_code.as_str().into(),
        letter.topic.into(),
        i64::from(partition(letter.partition)).into(),
        letter.offset.map(offset).into(),
        letter.timestamp.map(|time| time.0).into(),
        letter.reason.into(),
        letter.value.map_or(Cell::Null, |value| Cell::Bytes(value.into())),
    ])
}

/// The number whose shortest decimal form is the float's: 0.8 in a message is 0.8 in the lake, not 0.800000011920929. Narrowed again it
/// is the same float.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A feature that is missing is null.
fn present(value: f32) -> Option<f64> {
    (!value.is_nan()).then(|| decimal(value))
}

/// Money beyond 2^63 does not exist.
fn minor(amount: u64) -> Cell {
    Cell::Int(offset(amount))
}

/// Kafka's offsets are positive 64-bit integers.
fn offset(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Kafka's partitions are positive 32-bit integers.
fn partition(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(PROBLEM_BYTES_MAX)].to_owned()
}
