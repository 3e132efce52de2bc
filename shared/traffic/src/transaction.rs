//! What the world produces: transactions with their truth, beside what users do and labels that arrive later.

use std::net::IpAddr;
use std::sync::Arc;

use crate::actions::SentAction;
use crate::labels::Label;
use centinela_contracts::transaction_v1::{self, TransactionV1};
use centinela_domain::transaction::{event_time, network_hash};
use centinela_domain::{
    AmountMinor, Currency, DeviceId, DeviceType, InvalidTransaction, MerchantId, Millis, Transaction, TransactionId,
    UserId, identity,
};

/// The fields of a transaction as a producer would send them.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the payload")]
pub struct TransactionFields {
    pub transaction_id: Arc<str>,
    pub timestamp: Millis,
    pub user_id: Arc<str>,
    pub amount: AmountMinor,
    pub currency: Currency,
    pub device_type: DeviceType,
    pub device_id: Arc<str>,
    pub ip: IpAddr,
    pub user_agent: Arc<str>,
    pub merchant_id: Arc<str>,
}

impl TransactionFields {
    /// The payload of version 1, as it goes onto the topic.
    pub fn to_json(&self) -> Vec<u8> {
        transaction_v1::encode(&TransactionV1 {
            transaction_id: &self.transaction_id,
            timestamp: self.timestamp,
            user_id: &self.user_id,
            amount: self.amount,
            currency: self.currency,
            device_type: self.device_type,
            device_id: &self.device_id,
            ip: self.ip,
            user_agent: &self.user_agent,
            merchant_id: Some(&self.merchant_id),
        })
    }

    /// The transaction that the payload means, without the way through JSON.
    pub fn to_transaction(&self) -> Result<Transaction, InvalidTransaction> {
        let device_id = DeviceId::new(&*self.device_id)?;
        Ok(Transaction {
            id: TransactionId::new(&*self.transaction_id)?,
            user_id: UserId::new(&*self.user_id)?,
            occurred_at: event_time(self.timestamp.0)?,
            amount: self.amount,
            currency: self.currency,
            device_type: self.device_type,
            device: device_id.hash32(),
            device_id,
            network: network_hash(self.ip),
            agent: identity::hash32(self.user_agent.as_bytes()),
            merchant_id: Some(MerchantId::new(&*self.merchant_id)?),
        })
    }
}

/// What a transaction really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The customer bought something.
    Genuine,
    /// A burst of tiny amounts that tries a stolen card, then a large one.
    CardTesting,
    /// Somebody else acts in the customer's account for hours or days.
    AccountTakeover,
    /// One device acts for many users, some of them freshly registered.
    DeviceRing,
    /// One large purchase out of nowhere.
    Drop,
    /// Over days, purchases at a multiple of what the customer spends, among the customer's own.
    LeakedCard,
}

impl Kind {
    /// All kinds of fraud.
    pub const FRAUDS: [Kind; 5] =
        [Self::CardTesting, Self::AccountTakeover, Self::DeviceRing, Self::Drop, Self::LeakedCard];

    /// Whether it is fraud.
    pub fn is_fraud(self) -> bool {
        self != Self::Genuine
    }

    /// A name for tables and files, at most 16 bytes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Genuine => "genuine",
            Self::CardTesting => "card_testing",
            Self::AccountTakeover => "account_takeover",
            Self::DeviceRing => "device_ring",
            Self::Drop => "drop",
            Self::LeakedCard => "leaked_card",
        }
    }
}

/// A transaction as it arrives, with the truth about it, which no producer would know.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledTransaction {
    /// What is sent.
    pub fields: TransactionFields,
    /// What it is.
    pub kind: Kind,
    /// Simulated time of arrival; event time for most, later for some. Never earlier.
    pub arrived_at: Millis,
    /// When the user registered.
    pub registered_at: Millis,
    /// The producer sent the same bytes before.
    pub duplicate: bool,
}

impl LabelledTransaction {
    /// Whether it is fraud.
    pub fn is_fraud(&self) -> bool {
        self.kind.is_fraud()
    }
}

/// Something that arrives.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    Transaction(LabelledTransaction),
    Action(SentAction),
    Label(Label),
}

impl Event {
    /// When it arrives, in simulated time.
    pub fn arrived_at(&self) -> Millis {
        match self {
            Self::Transaction(transaction) => transaction.arrived_at,
            Self::Action(action) => action.arrived_at,
            Self::Label(label) => label.arrived_at,
        }
    }

    /// The transaction, if it was sent before.
    pub(crate) fn duplicate(&self) -> Option<&LabelledTransaction> {
        match self {
            Self::Transaction(transaction) if transaction.duplicate => Some(transaction),
            Self::Transaction(_) | Self::Action(_) | Self::Label(_) => None,
        }
    }
}
