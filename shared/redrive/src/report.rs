//! What was done, and what a letter looks like to a program.

use base64_simd::STANDARD;
use centinela_domain::DecisionId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::letter::{Letter, Original, Proof, Readiness};
use crate::ports::Place;

/// Letters that were left alone and are named with why.
const NAMED_MAX: usize = 100;

/// A letter that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Its place.
    pub letter: String,
    /// Why.
    pub why: String,
}

/// What became of the letters that were meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether it is only what would be done.
    pub dry_run: bool,
    /// Letters that were open and meant.
    pub letters: u64,
    /// Records sent back.
    pub sent: u64,
    /// Of these, verified: no decision was published.
    pub verified: u64,
    /// Records whose decision was found: they are done.
    pub found: u64,
    /// Letters dropped.
    pub dropped: u64,
    /// Letters that must be repaired first.
    pub needs_repair: u64,
    /// Letters that cannot go back.
    pub cannot: u64,
    /// Records that were not acknowledged: their letters stay open.
    pub failed: u64,
    /// Whether there may be more than was looked at: ask again.
    pub unfinished: bool,
    /// Why asking again may not be enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Whether what is handled did not fit where it is kept: some letters will seem open that are not.
    pub forgetful: bool,
    /// The first letters that were left alone.
    pub left: Vec<Left>,
}

impl Report {
    /// Notes that a letter is left alone.
    pub(crate) fn leave(&mut self, place: Place, readiness: &Readiness) {
        let why = match readiness {
            Readiness::Ready => return,
            Readiness::NeedsRepair(problem) => {
                self.needs_repair += 1;
                format!("repair it: {problem}")
            }
            Readiness::Cannot(why) => {
                self.cannot += 1;
                why.clone()
            }
        };
        self.name(place, why);
    }

    /// Names a letter that is left alone.
    pub(crate) fn name(&mut self, place: Place, why: String) {
        if self.left.len() < NAMED_MAX {
            self.left.push(Left { letter: place.to_string(), why });
        }
    }
}

impl Letter {
    /// For programs; names nobody, unless the bytes are asked for.
    pub fn json(&self, with_bytes: bool) -> Value {
        let readiness = match self.readiness(false, false) {
            Readiness::Ready => json!("ready"),
            Readiness::NeedsRepair(problem) => json!({ "needs_repair": problem }),
            Readiness::Cannot(why) => json!({ "cannot": why }),
        };
        json!({
            "letter": self.place.to_string(),
            "dead_lettered_at": self.at.0,
            "reason_code": self.cause.name(),
            "reason": self.reason,
            "state": readiness,
            "truncated_bytes": self.truncated_bytes,
            "records": self.originals.iter().map(|original| original.json(with_bytes)).collect::<Vec<_>>(),
        })
    }
}

impl Original {
    fn json(&self, with_bytes: bool) -> Value {
        let mut object = json!({
            "topic": self.topic,
            "partition": self.at.partition,
            "offset": self.at.offset,
            "broker_time": self.at.timestamp.0,
            "place_is": match self.proof {
                Proof::Signed => "signed",
                Proof::OfTheMapping => "said by the mapping",
                Proof::None => "not signed",
            },
            "decision_id": self.decision.as_ref().map(DecisionId::to_string),
            "value_bytes": self.value.as_ref().map(Vec::len),
        });
        if with_bytes {
            object["key_base64"] = self.key.as_ref().map(|key| STANDARD.encode_to_string(key)).into();
            object["value_base64"] = self.value.as_ref().map(|value| STANDARD.encode_to_string(value)).into();
            object["value"] = self.value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned()).into();
            let headers = self.headers.iter();
            let header = |(name, value): &(String, Vec<u8>)| json!([name, STANDARD.encode_to_string(value)]);
            object["headers_base64"] = headers.map(header).collect::<Vec<_>>().into();
        }
        object
    }
}
