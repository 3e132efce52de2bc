//! What a roll-up's window has come to so far, as the state that an invocation returns and the next one gets: texts by name.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html>

use std::collections::{BTreeSet, HashMap};

use base64_simd::STANDARD;
use centinela_domain::{DecisionId, Rollup};

pub use crate::binary::StoredProblem;
use crate::stored_rollup;

/// The form of the state, under this name.
const VERSION: (&str, &str) = ("version", "1");
const FIRST: &str = "first";
const ROLLUP: &str = "rollup";
const SEEN: &str = "seen";

/// 64 bits of a decision's id: among the decisions of one window no two share them.
pub type SeenId = [u8; 8];

/// The bits that a window remembers of a decision.
pub fn seen_id(id: DecisionId) -> SeenId {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    [a, b, c, d, e, f, g, h]
}

/// What the records of a window came to, or of a part of it: a window whose state becomes too large ends early and begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowState {
    /// The sequence number of its first record, which names the part.
    pub first: String,
    /// What its decisions add up to, each counted once.
    pub rollup: Rollup,
    /// Which decisions those are.
    pub seen: BTreeSet<SeenId>,
}

impl WindowState {
    /// A part that begins with this record.
    pub fn begin(first: &str) -> Self {
        Self { first: first.to_owned(), rollup: Rollup::default(), seen: BTreeSet::new() }
    }

    /// As an invocation returns it.
    pub fn encode(&self) -> HashMap<String, String> {
        let seen: Vec<u8> = self.seen.iter().flatten().copied().collect();
        let texts = [
            (VERSION.0, VERSION.1.to_owned()),
            (FIRST, self.first.clone()),
            (ROLLUP, STANDARD.encode_to_string(stored_rollup::encode(&self.rollup))),
            (SEEN, STANDARD.encode_to_string(seen)),
        ];
        texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
    }

    /// As an invocation gets it; none of a window that has had no records.
    ///
    /// # Errors
    /// When it is not what a release of this system returned.
    pub fn decode(state: &HashMap<String, String>) -> Result<Option<Self>, StoredProblem> {
        if state.is_empty() {
            return Ok(None);
        }
        let text = |name: &'static str| state.get(name).ok_or(StoredProblem::Invalid(name));
        if text(VERSION.0)? != VERSION.1 {
            return Err(StoredProblem::Invalid(VERSION.0));
        }
        let bytes = |name| STANDARD.decode_to_vec(text(name)?).map_err(|_| StoredProblem::Invalid(name));
        let seen = bytes(SEEN)?;
        let (ids, rest) = seen.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(StoredProblem::Invalid(SEEN));
        }
        let rollup = stored_rollup::decode(&bytes(ROLLUP)?)?;
        Ok(Some(Self { first: text(FIRST)?.clone(), rollup, seen: ids.iter().copied().collect() }))
    }
}
