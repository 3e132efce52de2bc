//! The payload of topic `transactions`, version 1.
//!
//! Unknown fields are passed over. The amount is read from its digits, never through a float; one that the currency cannot
//! express is refused, not rounded.

use std::borrow::Cow;
use std::net::IpAddr;

use centinela_domain::identity::hash32;
use centinela_domain::transaction::{InvalidTransaction, USER_AGENT_BYTES_MAX, network_hash};
use centinela_domain::{
    AmountMinor, Currency, DeviceId, DeviceType, MerchantId, Millis, Transaction, TransactionId, UserId,
};

use crate::excerpt::Excerpt;
use crate::json::{Decimal, Kind, Misfit, Object, Reader, push_decimal};
use crate::payload::{Fields, PayloadProblem, required, syntax_first};

/// Why a value is not a transaction.
pub type TransactionProblem = PayloadProblem;

/// Largest accepted value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

const NAMES: &[&str] = &[
    "version",
    "transaction_id",
    "timestamp",
    "user_id",
    "amount",
    "currency",
    "device_type",
    "device_id",
    "ip",
    "user_agent",
    "merchant_id",
];

/// Reads a transaction. Bytes that are not JSON at all are reported as that, whatever is wrong before the place where it breaks: a number
/// that was cut off must not be called a wrong number.
pub fn parse(value: &[u8]) -> Result<Transaction, TransactionProblem> {
    parse_in(value, Currency::DEFAULT)
}

/// The same, where a missing currency is `default`.
pub fn parse_in(value: &[u8], default: Currency) -> Result<Transaction, TransactionProblem> {
    read(value, default)
        .map_err(|problem| if value.len() > VALUE_BYTES_MAX { problem } else { syntax_first(value, problem) })
}

fn read(value: &[u8], default: Currency) -> Result<Transaction, TransactionProblem> {
    let mut fields = Fields::begin(value, VALUE_BYTES_MAX, NAMES)?;
    let (mut id, mut occurred_at, mut user_id, mut amount) = (None, None, None, None);
    let (mut currency, mut device) = (default, 0);
    let (mut device_type, mut device_id, mut network, mut agent, mut merchant_id) = (None, None, None, None, None);
    while let Some(index) = fields.next()? {
        let field = NAMES[index];
        match field {
            "version" => fields.version()?,
            "transaction_id" => id = Some(TransactionId::new(fields.text(field)?)?),
            "timestamp" => occurred_at = Some(fields.time(field)?),
            "user_id" => user_id = Some(UserId::new(fields.text(field)?)?),
            "amount" => amount = Some(amount_text(&mut fields)?),
            "currency" => currency = Currency::new(&fields.text(field)?)?,
            "device_type" => device_type = Some(DeviceType::parse(&fields.text(field)?)?),
            "device_id" => {
                let id = DeviceId::new(fields.text(field)?)?;
                device = id.hash32();
                device_id = Some(id);
            }
            "ip" => network = Some(network_of(&fields.text(field)?)?),
            "user_agent" => agent = Some(agent_of(&fields.text(field)?)?),
            _ => merchant_id = Some(MerchantId::new(fields.text(field)?)?),
        }
    }
    Ok(Transaction {
        id: required(id, "transaction_id")?,
        user_id: required(user_id, "user_id")?,
        occurred_at: required(occurred_at, "timestamp")?,
        amount: amount_in(&required(amount, "amount")?, currency)?,
        currency,
        device_type: required(device_type, "device_type")?,
        device_id: required(device_id, "device_id")?,
        device,
        network: required(network, "ip")?,
        agent: required(agent, "user_agent")?,
        merchant_id,
    })
}

/// The digits of the amount; the currency may come later.
fn amount_text<'a>(fields: &mut Fields<'a>) -> Result<Cow<'a, [u8]>, PayloadProblem> {
    const WRONG: PayloadProblem = PayloadProblem::WrongType {
        field: "amount",
        expected: "a number, or a string that holds one such as \"12.34\"",
    };
    match fields.reader().peek()? {
        Kind::Number => Ok(Cow::Borrowed(fields.reader().number()?)),
        Kind::Text => {
            let text = fields.text("amount")?;
            let mut inner = Reader::new(text.as_bytes());
            let is_number = inner.position() == 0 && inner.number().is_ok() && inner.since(0).len() == text.len();
            if !is_number {
                return Err(WRONG);
            }
            Ok(match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            })
        }
        _ => Err(WRONG),
    }
}

pub(crate) fn amount_in(text: &[u8], currency: Currency) -> Result<AmountMinor, PayloadProblem> {
    let found = || Excerpt::of_figure(text);
    let too_large = || PayloadProblem::AmountTooLarge { found: found(), currency, limit: currency.amount_max() };
    let decimal = Decimal::of(text);
    let decimals = currency.decimals();
    match decimal.magnitude(decimals) {
        _ if decimal.negative => Err(PayloadProblem::AmountNegative { found: found() }),
        Ok(minor) => currency.amount(minor).map_err(|_| too_large()),
        Err(Misfit::TooFine) => Err(PayloadProblem::AmountTooFine { found: found(), currency, decimals }),
        Err(Misfit::TooLarge) => Err(too_large()),
    }
}

fn network_of(text: &str) -> Result<u32, PayloadProblem> {
    let address: IpAddr =
        text.parse().map_err(|_| PayloadProblem::WrongType { field: "ip", expected: "an IPv4 or IPv6 address" })?;
    Ok(network_hash(address))
}

fn agent_of(text: &str) -> Result<u32, PayloadProblem> {
    if text.len() > USER_AGENT_BYTES_MAX {
        return Err(InvalidTransaction::UserAgentTooLong(text.len()).into());
    }
    Ok(hash32(text.as_bytes()))
}

/// A transaction as a producer writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the payload")]
pub struct TransactionV1<'a> {
    pub transaction_id: &'a str,
    pub timestamp: Millis,
    pub user_id: &'a str,
    pub amount: AmountMinor,
    pub currency: Currency,
    pub device_type: DeviceType,
    pub device_id: &'a str,
    pub ip: IpAddr,
    pub user_agent: &'a str,
    pub merchant_id: Option<&'a str>,
}

/// Writes a transaction. The identifiers are written as they are: [`parse`] is what checks them.
pub fn encode(transaction: &TransactionV1<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(384);
    let mut object = Object::begin(&mut bytes);
    object.number("version", 1);
    object.text("transaction_id", transaction.transaction_id);
    object.number("timestamp", transaction.timestamp.0);
    object.text("user_id", transaction.user_id);
    push_decimal(object.name("amount"), transaction.amount.minor(), transaction.currency.decimals());
    object.text("currency", transaction.currency.as_str());
    object.text("device_type", transaction.device_type.as_str());
    object.text("device_id", transaction.device_id);
    object.text("ip", &transaction.ip.to_string());
    object.text("user_agent", transaction.user_agent);
    object.optional_text("merchant_id", transaction.merchant_id);
    object.end();
    bytes
}
