//! How often each fault happened, and what it led to.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::kinds::{Kind, Kinds};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct FaultLine {
    /// The fault's name.
    pub fault: &'static str,
    /// How often it was drawn. One that met nothing, such as an old batch before there was any, led to nothing.
    pub times: u64,
    /// What it led to, in words.
    pub led_to: String,
    /// How often it met each function; what meets no function in particular is left out.
    pub functions: BTreeMap<String, u64>,
}

/// Counters of the faults.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<Kind, Count>>);

#[derive(Clone, Debug, Default)]
struct Count {
    times: u64,
    effects: BTreeMap<&'static str, u64>,
    functions: BTreeMap<String, u64>,
}

impl Tally {
    /// A fault happened.
    pub fn happened(&self, kind: Kind) {
        self.with(kind, |count| count.times += 1);
    }

    /// A fault happened to a function.
    pub fn happened_to(&self, kind: Kind, function: &str) {
        self.with(kind, |count| {
            count.times += 1;
            match count.functions.get_mut(function) {
                Some(times) => *times += 1,
                None => drop(count.functions.insert(function.to_owned(), 1)),
            }
        });
    }

    /// Something came of it; `effect` is words that follow a number.
    pub fn led_to(&self, kind: Kind, number: u64, effect: &'static str) {
        if number > 0 {
            self.with(kind, |count| *count.effects.entry(effect).or_default() += number);
        }
    }

    /// How often a fault happened.
    pub fn times(&self, kind: Kind) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).map_or(0, |count| count.times)
    }

    fn with(&self, kind: Kind, change: impl FnOnce(&mut Count)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default());
    }

    /// The table: a line for each fault that was asked for.
    pub fn lines(&self, asked: &Kinds) -> Vec<FaultLine> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |kind: Kind| {
            let Count { times, effects, functions } = counts.get(&kind).cloned().unwrap_or_default();
            let effects: Vec<String> = effects.iter().map(|(effect, number)| format!("{number} {effect}")).collect();
            FaultLine { fault: kind.name(), times, led_to: effects.join(", "), functions }
        };
        asked.iter().map(line).collect()
    }
}
