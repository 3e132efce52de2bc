//! Names for people in logs.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Shortest accepted key, in bytes.
pub const KEY_BYTES_MIN: usize = 16;

/// A key that is too short to keep anything secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pseudonym key has {bytes} bytes, at least {KEY_BYTES_MIN} are needed")]
pub struct WeakKey {
    bytes: usize,
}

/// The secret that turns an identifier into its pseudonym. Cannot be printed.
#[derive(Clone)]
pub struct PseudonymKey(Hmac<Sha256>);

impl PseudonymKey {
    /// Takes a secret of at least `KEY_BYTES_MIN` bytes.
    pub fn new(secret: &str) -> Result<Self, WeakKey> {
        let weak = WeakKey { bytes: secret.len() };
        if secret.len() < KEY_BYTES_MIN {
            return Err(weak);
        }
        Hmac::new_from_slice(secret.as_bytes()).map(Self).map_err(|_| weak)
    }

    /// The pseudonym of an identifier: the same for the same key, and of no use to anyone without the key.
    pub fn pseudonym(&self, identifier: &str) -> Pseudonym {
        let mut mac = self.0.clone();
        mac.update(identifier.as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        Pseudonym(short)
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(..)")
    }
}

/// Stands for a person in logs: 64 bits of HMAC-SHA-256 as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pseudonym([u8; 8]);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn a_pseudonym_depends_on_the_key_and_on_the_person() {
        let key = PseudonymKey::new(SECRET).unwrap();
        let other_key = PseudonymKey::new("0123456789abcdeF").unwrap();
        let ana = key.pseudonym("ana");
        assert_eq!(ana, key.pseudonym("ana"));
        assert_ne!(ana, key.pseudonym("ben"));
        assert_ne!(ana, other_key.pseudonym("ana"));
        assert_eq!(ana.to_string().len(), 16);
    }

    #[test]
    fn the_key_is_never_printed_and_a_short_one_is_refused() {
        let key = PseudonymKey::new(SECRET).unwrap();
        assert_eq!(format!("{key:?}"), "PseudonymKey(..)");
        let problem = PseudonymKey::new("short").unwrap_err().to_string();
        assert_eq!(problem, "the pseudonym key has 5 bytes, at least 16 are needed");
    }
}
