//! Identifiers, and the digests that stand for them where only equality matters.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::transaction::InvalidTransaction;

/// Longest accepted identifier, in bytes.
pub const ID_BYTES_MAX: usize = 128;

fn checked(field: &'static str, value: String) -> Result<Box<str>, InvalidTransaction> {
    if value.is_empty() {
        return Err(InvalidTransaction::EmptyId { field });
    }
    if value.len() > ID_BYTES_MAX {
        return Err(InvalidTransaction::IdTooLong { field, bytes: value.len() });
    }
    if value.chars().any(char::is_control) {
        return Err(InvalidTransaction::ControlCharacter { field });
    }
    Ok(value.into_boxed_str())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 128 bytes of UTF-8 without control characters, compared byte by byte.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the length and the characters.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidTransaction> {
                checked($field, value.into()).map(Self)
            }

            /// The identifier as the producer wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// 32 bits that stand for the identifier where a rare collision only blurs a feature.
            pub fn hash32(&self) -> u32 {
                hash32(self.0.as_bytes())
            }
        }

        // Identifiers may be personal data: they are shown only where code asks for `as_str`.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:08x})"), self.hash32())
            }
        }
    };
}

identifier!(
    /// A transaction, as its producer names it; unique per user.
    TransactionId,
    "transaction_id"
);
identifier!(
    /// The customer.
    UserId,
    "user_id"
);
identifier!(
    /// The device that the customer used.
    DeviceId,
    "device_id"
);
identifier!(
    /// The shop or seller.
    MerchantId,
    "merchant_id"
);

/// The producer's name for an event or an action: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Box<str>);

impl EventId {
    /// Checks the length and the characters; `field` names it in the problem.
    pub fn new(field: &'static str, id: impl Into<String>) -> Result<Self, InvalidTransaction> {
        checked(field, id.into()).map(Self)
    }

    /// The id as the producer wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first 32 bits of SHA-256.
pub fn hash32(bytes: &[u8]) -> u32 {
    let digest = Sha256::digest(bytes);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Names a decision: the first 128 bits of SHA-256 over user id and transaction id, so nobody can silence another user's
/// decision by reusing a transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(pub [u8; 16]);

impl DecisionId {
    /// Derives the id. The user id's length goes first, so no two pairs share their bytes.
    pub fn derive(user: &UserId, transaction: &TransactionId) -> Self {
        let mut hasher = Sha256::new();
        hasher.update((user.as_str().len() as u32).to_be_bytes());
        hasher.update(user.as_str().as_bytes());
        hasher.update(transaction.as_str().as_bytes());
        let digest = hasher.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The first 48 bits: what one user's ledger knows a transaction by.
    pub fn digest(self) -> TransactionDigest {
        let [a, b, c, d, e, f, ..] = self.0;
        TransactionDigest([a, b, c, d, e, f])
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// The beginning of the decision's id, as that is written.
impl fmt::Display for TransactionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// What a user's ledger remembers of a transaction's identity: 48 bits, which with the 16 of its [`ContentDigest`] make 64.
///
/// Among 16 remembered decisions a chance collision comes once in 10^13 transactions, one in three centuries at 100,000 a minute, and
/// is dead-lettered as other content in all but one of 65,536. A provoked one can only harm the user who provokes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionDigest(pub [u8; 6]);

/// What a user's ledger remembers of a transaction's content: 16 bits of a keyed digest, so that an id that comes again with other
/// content is told from a repetition. Who does not know the key has to guess, and each wrong guess is dead-lettered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub u16);
