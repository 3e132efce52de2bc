//! What only this deployment can write: digests and signatures with its key.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use centinela_domain::{ContentDigest, Coordinates, Transaction};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a signature; half of HMAC-SHA-256, as RFC 2104, section 5, allows.
pub const SIGNATURE_BYTES: usize = 16;

// What begins a text that is signed. An identifier, which the same key turns into a pseudonym, holds no control character.
const CONTENT: &[u8] = b"\0content\0";
const FIRST_DELIVERY: &[u8] = b"\0first delivery\0";
const VERIFIED: &[u8] = b"\0verified\0";
const PSEUDONYM: &[u8] = b"\0pseudonym\0";

/// Bytes of a value's pseudonym.
pub const PSEUDONYM_BYTES: usize = 8;

/// The deployment's key. Cannot be printed.
#[derive(Clone)]
pub struct DeploymentKey {
    mac: Hmac<Sha256>,
    hidden: Arc<Hidden>,
}

/// A key that HMAC does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deployment's key cannot be used")]
pub struct UnusableKey;

impl DeploymentKey {
    /// Takes the secret; how long it must be is the configuration's matter.
    pub fn new(secret: &[u8]) -> Result<Self, UnusableKey> {
        let mac = Hmac::new_from_slice(secret).map_err(|_| UnusableKey)?;
        Ok(Self { mac, hidden: Arc::default() })
    }

    /// What a transaction is about: how much, in what, to whom, and from which device. Not when, and from which network or program:
    /// a producer that tries again may do so a moment later and by another way.
    pub fn content_digest(&self, transaction: &Transaction) -> ContentDigest {
        let mut mac = self.mac.clone();
        mac.update(CONTENT);
        mac.update(&transaction.amount.minor().to_be_bytes());
        mac.update(transaction.currency.as_str().as_bytes());
        mac.update(&[transaction.device_type.number(), u8::from(transaction.merchant_id.is_some())]);
        put_text(&mut mac, transaction.device_id.as_str().as_bytes());
        put_text(&mut mac, transaction.merchant_id.as_ref().map_or("", |id| id.as_str()).as_bytes());
        let digest = mac.finalize().into_bytes();
        ContentDigest(u16::from_be_bytes([digest[0], digest[1]]))
    }

    /// Says that a record with this value was first delivered at this place.
    pub fn sign_first_delivery(&self, topic: &str, first: Coordinates, value: &[u8]) -> [u8; SIGNATURE_BYTES] {
        shortened(self.placed(FIRST_DELIVERY, topic, first, value))
    }

    /// Whether the signature is this deployment's; takes the same time whatever is wrong with it.
    pub fn is_first_delivery(&self, signature: &[u8], topic: &str, first: Coordinates, value: &[u8]) -> bool {
        signature.len() == SIGNATURE_BYTES
            && self.placed(FIRST_DELIVERY, topic, first, value).verify_truncated_left(signature).is_ok()
    }

    /// Says that no decision on the record with this value, first delivered at this place, was published by whoever handled what stands
    /// before `from`.
    pub fn sign_verified(
        &self,
        topic: &str,
        first: Coordinates,
        value: &[u8],
        from: Coordinates,
    ) -> [u8; SIGNATURE_BYTES] {
        shortened(self.verified(topic, first, value, from))
    }

    /// Whether the signature is this deployment's; takes the same time whatever is wrong with it.
    pub fn is_verified(
        &self,
        signature: &[u8],
        topic: &str,
        first: Coordinates,
        value: &[u8],
        from: Coordinates,
    ) -> bool {
        signature.len() == SIGNATURE_BYTES
            && self.verified(topic, first, value, from).verify_truncated_left(signature).is_ok()
    }

    /// What stands for a value where it only has to be told apart, such as an e-mail address; `field` says which kind it is, so that equal
    /// values of two kinds look different. Without the key nobody can try values.
    pub fn pseudonym(&self, field: &str, value: &[u8]) -> [u8; PSEUDONYM_BYTES] {
        let mut mac = self.mac.clone();
        mac.update(PSEUDONYM);
        put_text(&mut mac, field.as_bytes());
        put_text(&mut mac, value);
        let digest = mac.finalize().into_bytes();
        let mut pseudonym = [0; PSEUDONYM_BYTES];
        pseudonym.copy_from_slice(&digest[..PSEUDONYM_BYTES]);
        pseudonym
    }

    /// Puts hashes that only this deployment can compute in the place of those of the network and of the user agent: there are so few of
    /// both that whoever reads an item could try them all. Done twice it gives other hashes.
    pub fn hide_guessable(&self, transaction: &mut Transaction) {
        transaction.network = self.hidden_network(transaction.network);
        transaction.agent = self.hidden_agent(transaction.agent);
    }

    /// What stands for the hash of a network in a user's state.
    pub fn hidden_network(&self, hash: u32) -> u32 {
        self.hidden.networks.of(hash, |hash| self.hide("network", hash))
    }

    /// What stands for the hash of a user agent in a user's state.
    pub fn hidden_agent(&self, hash: u32) -> u32 {
        self.hidden.agents.of(hash, |hash| self.hide("agent", hash))
    }

    fn hide(&self, field: &str, hash: u32) -> u32 {
        let [first, second, third, fourth, ..] = self.pseudonym(field, &hash.to_be_bytes());
        u32::from_be_bytes([first, second, third, fourth])
    }

    fn verified(&self, topic: &str, first: Coordinates, value: &[u8], from: Coordinates) -> Hmac<Sha256> {
        let mut mac = self.placed(VERIFIED, topic, first, value);
        put_place(&mut mac, from);
        mac
    }

    fn placed(&self, what: &[u8], topic: &str, at: Coordinates, value: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(what);
        put_text(&mut mac, topic.as_bytes());
        put_place(&mut mac, at);
        put_text(&mut mac, value);
        mac
    }
}

/// What was hidden lately: programs are few, and a network comes with many users or with one who buys again.
#[derive(Default)]
struct Hidden {
    networks: Lately<4096>,
    agents: Lately<1024>,
}

/// One hash at each place, in the upper half of its word, with what stands for it.
struct Lately<const N: usize>(Box<[AtomicU64]>);

impl<const N: usize> Default for Lately<N> {
    fn default() -> Self {
        Self((0..N).map(|_| AtomicU64::new(0)).collect())
    }
}

impl<const N: usize> Lately<N> {
    fn of(&self, hash: u32, make: impl FnOnce(u32) -> u32) -> u32 {
        let place = &self.0[hash as usize % N];
        let known = place.load(Ordering::Relaxed);
        // A word of 0 is an empty place.
        if known != 0 && (known >> 32) as u32 == hash {
            return known as u32;
        }
        let hidden = make(hash);
        place.store(u64::from(hash) << 32 | u64::from(hidden), Ordering::Relaxed);
        hidden
    }
}

fn shortened(mac: Hmac<Sha256>) -> [u8; SIGNATURE_BYTES] {
    let digest = mac.finalize().into_bytes();
    let mut signature = [0; SIGNATURE_BYTES];
    signature.copy_from_slice(&digest[..SIGNATURE_BYTES]);
    signature
}

fn put_place(mac: &mut Hmac<Sha256>, at: Coordinates) {
    mac.update(&at.partition.to_be_bytes());
    mac.update(&at.offset.to_be_bytes());
    mac.update(&at.timestamp.0.to_be_bytes());
}

/// With its length first, so no two texts share their bytes.
fn put_text(mac: &mut Hmac<Sha256>, text: &[u8]) {
    mac.update(&(text.len() as u64).to_be_bytes());
    mac.update(text);
}

impl fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_hidden_alike_whether_it_was_lately_or_not() {
        let key = DeploymentKey::new(b"a key of 16 bytes").expect("a key");
        // Hashes that share their place drive each other out of it.
        let hashes = [0, 1, 4096, 4097, 1 << 31, u32::MAX, 0, 4096, 1, 4097, 4097, 0, 1 << 31];
        for hash in hashes.into_iter().cycle().take(100) {
            let fresh = DeploymentKey::new(b"a key of 16 bytes").expect("a key");
            assert_eq!(key.hidden_network(hash), fresh.hide("network", hash));
            assert_eq!(key.hidden_agent(hash), fresh.hide("agent", hash));
        }
        let other = DeploymentKey::new(b"another key of more bytes").expect("a key");
        assert_ne!(key.hidden_agent(1), other.hidden_agent(1));
    }
}
