//! Counts requests and the request units that AWS would charge.
//!
//! Rules: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html> (units by item
//! size) and <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html> (item
//! size). A write costs a unit per started KiB of the larger of the item before and after it; a lost condition costs the
//! same for the item that is there, at least one unit. A read costs half a unit per started 4 KiB of the whole item, one
//! when it is strongly consistent. A transaction costs twice that.

use std::collections::BTreeMap;

use dynoxide::Item;
use dynoxide::types::{item_size, write_capacity_units};

/// What was asked of the database and what AWS would have charged for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DynamoStats {
    /// Write request units of all tables.
    pub write_units: f64,
    /// Read request units of all tables.
    pub read_units: f64,
    /// Requests by operation, refused ones included.
    pub calls: BTreeMap<String, u64>,
    /// Writes that changed nothing because their condition did not hold, lost inserts included.
    pub failed_conditions: u64,
    /// Requests, keys and statements that were throttled.
    pub throttled: u64,
    /// The same by table.
    pub tables: BTreeMap<String, TableUnits>,
    /// Units by who asked, where that is known, and table.
    pub callers: BTreeMap<String, BTreeMap<String, TableUnits>>,
}

/// What one table was charged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TableUnits {
    /// Write request units.
    pub write_units: f64,
    /// Read request units.
    pub read_units: f64,
    /// Writes that changed nothing because their condition did not hold.
    pub failed_conditions: u64,
    /// Requests and statements that read and were throttled.
    pub read_throttles: u64,
    /// Requests and statements that write and were throttled.
    pub write_throttles: u64,
}

/// Which of the two units an operation is charged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// What a call costs at a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Charge {
    pub(crate) table: String,
    pub(crate) direction: Direction,
    pub(crate) units: f64,
    /// Conditions that did not hold, lost inserts included.
    pub(crate) failed: u64,
}

/// The running counters.
#[derive(Debug, Default)]
pub(super) struct Meter {
    calls: BTreeMap<String, u64>,
    throttled: u64,
    tables: BTreeMap<String, TableUnits>,
    /// Who asks just now.
    caller: Option<String>,
    callers: BTreeMap<String, BTreeMap<String, TableUnits>>,
}

impl Meter {
    /// What is counted from now on is this one's.
    pub(super) fn asked_by(&mut self, caller: Option<&str>) {
        if self.caller.as_deref() != caller {
            self.caller = caller.map(str::to_owned);
        }
    }

    pub(super) fn called(&mut self, operation: &str) {
        *of(&mut self.calls, operation) += 1;
    }

    pub(super) fn throttled(&mut self, requests: usize) {
        self.throttled += requests as u64;
    }

    /// So many requests, keys or statements of a request that names these tables were throttled.
    pub(super) fn throttled_at(&mut self, tables: &[String], direction: Direction, requests: u64) {
        for table in tables {
            self.count(table, |counters| match direction {
                Direction::Read => counters.read_throttles += requests,
                Direction::Write => counters.write_throttles += requests,
            });
        }
    }

    /// Everything that was throttled.
    pub(super) fn throttles(&self) -> u64 {
        self.throttled
    }

    pub(super) fn charge(&mut self, table: &str, direction: Direction, units: f64) {
        self.count(table, |counters| match direction {
            Direction::Read => counters.read_units += units,
            Direction::Write => counters.write_units += units,
        });
    }

    /// The same of everything that a call costs at a table.
    pub(super) fn take(&mut self, Charge { table, direction, units, failed }: &Charge) {
        self.charge(table, *direction, *units);
        if *failed > 0 {
            self.count(table, |counters| counters.failed_conditions += failed);
        }
    }

    pub(super) fn condition_failed(&mut self, table: &str) {
        self.count(table, |counters| counters.failed_conditions += 1);
    }

    pub(super) fn snapshot(&self) -> DynamoStats {
        DynamoStats {
            write_units: self.tables.values().map(|table| table.write_units).sum(),
            read_units: self.tables.values().map(|table| table.read_units).sum(),
            calls: self.calls.clone(),
            failed_conditions: self.tables.values().map(|table| table.failed_conditions).sum(),
            throttled: self.throttled,
            tables: self.tables.clone(),
            callers: self.callers.clone(),
        }
    }

    fn count(&mut self, table: &str, add: impl Fn(&mut TableUnits)) {
        add(of(&mut self.tables, table));
        if let Some(caller) = &self.caller {
            add(of(of(&mut self.callers, caller), table));
        }
    }
}

/// What is counted under a name, which is copied only the first time.
fn of<'a, T: Default>(counters: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !counters.contains_key(name) {
        counters.insert(name.to_owned(), T::default());
    }
    counters.get_mut(name).unwrap_or_else(|| unreachable!("it was just put there"))
}

/// The write units of a lost condition: those of the item that is there, or the minimum.
pub(super) fn lost_condition_units(existing: Option<&Item>) -> f64 {
    write_capacity_units(existing.map_or(0, item_size))
}
