//! A statement on its way, and what it cost where nobody reports it.

use dynoxide::types::{
    item_size, read_capacity_units_with_consistency, table_write_capacity_units, write_capacity_units,
};
use dynoxide::{AttributeValue, Item};

use super::meter::{Direction, Meter, lost_condition_units};
use super::object::Object;
use super::statement::{self, Kind};

pub(super) const ON_FAILURE: &str = "ReturnValuesOnConditionCheckFailure";

/// The stored item with the key of an item, where that costs nothing.
pub(super) type Stored<'a> = &'a dyn Fn(&str, &Item) -> Option<Item>;

/// A statement that was forwarded.
pub(super) struct Sent<'a> {
    pub(super) table: String,
    /// Whether the client asked for the item that did not meet the condition.
    pub(super) wants_item: bool,
    pub(super) entry: Object<'a>,
    kind: Kind,
}

impl<'a> Sent<'a> {
    /// Reads a statement and makes it ask for the item that does not meet its condition, whose size is what that costs.
    pub(super) fn of(mut entry: Object<'a>) -> Self {
        let text = entry.text("Statement");
        let kind = statement::kind(&text);
        let wants_item = kind != Kind::Conditional || entry.ask_for(ON_FAILURE, "ALL_OLD");
        Self { table: statement::table(&text).to_owned(), wants_item, kind, entry }
    }

    pub(super) fn direction(&self) -> Direction {
        match self.kind {
            Kind::Select => Direction::Read,
            Kind::Insert | Kind::Conditional => Direction::Write,
        }
    }

    /// The item that it writes, as far as the statement shows it.
    fn item(&self) -> Option<Item> {
        let text = self.entry.text("Statement");
        let parameters: Vec<AttributeValue> = self.entry.get("Parameters").unwrap_or_default();
        match self.kind {
            Kind::Select => None,
            Kind::Insert => statement::inserted_item(&text, &parameters),
            Kind::Conditional => statement::updated_item(&text, &parameters),
        }
    }

    /// Charges for a statement that was carried out; `found` is what it read.
    pub(super) fn count_done(&self, found: Option<&Item>, meter: &mut Meter) {
        let units = match self.direction() {
            Direction::Read => {
                let is_consistent = self.entry.get("ConsistentRead").unwrap_or(false);
                read_capacity_units_with_consistency(found.map_or(0, item_size), is_consistent)
            }
            Direction::Write => write_capacity_units(self.item().as_ref().map_or(0, item_size)),
        };
        meter.charge(&self.table, self.direction(), units);
    }

    /// Counts a statement that was refused with this code; `existing` is the item that did not meet its condition.
    pub(super) fn count_lost(
        &self,
        code: &str,
        existing: Option<&Item>,
        is_reported: bool,
        meter: &mut Meter,
        stored: Stored<'_>,
    ) {
        let units = match code {
            "ConditionalCheckFailed" => lost_condition_units(existing),
            "DuplicateItem" if is_reported => 0.0,
            // The item that was there first is not given back.
            "DuplicateItem" => self.item().map_or(lost_condition_units(None), |item| {
                let existing = stored(&self.table, &item);
                table_write_capacity_units(existing.as_ref().map(item_size), Some(item_size(&item)))
            }),
            "ProvisionedThroughputExceeded" | "ThrottlingError" | "RequestLimitExceeded" => return meter.throttled(1),
            _ => return,
        };
        meter.condition_failed(&self.table);
        if !is_reported {
            meter.charge(&self.table, Direction::Write, units);
        }
    }
}
