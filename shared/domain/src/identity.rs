//! Identifiers, and the digests that stand for them where only equality matters.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::transaction::InvalidTransaction;

/// Longest accepted identifier, in bytes.
pub const ID_BYTES_MAX: usize = 128;

fn checked(field: &'static str, value: &str) -> Result<Arc<str>, InvalidTransaction> {
    if value.is_empty() {
        return Err(InvalidTransaction::EmptyId { field });
    }
    if value.len() > ID_BYTES_MAX {
        return Err(InvalidTransaction::IdTooLong { field, bytes: value.len() });
    }
    // Nearly every identifier is ASCII, and no early exit makes it a few vector compares.
    let is_control = match value.is_ascii() {
        true => value.bytes().fold(false, |found, byte| found | byte.is_ascii_control()),
        false => value.chars().any(char::is_control),
    };
    if is_control { Err(InvalidTransaction::ControlCharacter { field }) } else { Ok(value.into()) }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 128 bytes of UTF-8 without control characters, compared byte by byte. Copies share them.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the length and the characters.
            pub fn new(value: impl AsRef<str>) -> Result<Self, InvalidTransaction> {
                checked($field, value.as_ref()).map(Self)
            }

            /// The identifier as the producer wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// 32 bits that stand for the identifier where a rare collision only blurs a feature. A digest is made each time.
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
pub struct EventId(Arc<str>);

impl EventId {
    /// Checks the length and the characters; `field` names it in the problem.
    pub fn new(field: &'static str, id: impl AsRef<str>) -> Result<Self, InvalidTransaction> {
        checked(field, id.as_ref()).map(Self)
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

/// Of 16 bytes at most; the formatter is asked once.
fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    f.write_str(std::str::from_utf8(&text[..2 * bytes.len()]).unwrap_or_default())
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
