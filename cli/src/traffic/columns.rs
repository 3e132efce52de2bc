//! The columns of a table, CSV or Parquet, that make a payload of topic `transactions`.
//!
//! Two sets of columns are understood: our own, named like the payload's fields, and that of an outside data set of card
//! payments (`transaction_id, timestamp, customer_id, terminal_id, amount_cents, fraud`), whose terminals become devices and
//! whose customers get one made-up address and agent each. Other columns are passed over.

use std::ops::RangeInclusive;
use std::path::Path;

use centinela_domain::transaction::{TIME_MAX_MS, TIME_MIN_MS};
use serde_json::{Map, Value, json};

use super::input::InputError;

const OWN: [&str; 8] =
    ["transaction_id", "timestamp", "user_id", "amount", "device_type", "device_id", "ip", "user_agent"];
const OWN_OPTIONAL: [&str; 2] = ["currency", "merchant_id"];
const OUTSIDE: [&str; 5] = ["transaction_id", "timestamp", "customer_id", "terminal_id", "amount_cents"];
const LABEL: &str = "fraud";

/// Most characters of a value that are shown.
const SHOWN: usize = 32;
/// Most columns that are named.
const NAMED: usize = 6;

/// A row, ready to be sent.
pub struct PayloadRow {
    pub value: Vec<u8>,
    /// The truth, where the file has it.
    pub fraud: Option<bool>,
}

/// A value of a table.
pub enum Cell {
    Missing,
    /// Text; a number too, where the file knows only text.
    Text(String),
    /// A whole number.
    Whole(i128),
    /// A number as its shortest decimal text.
    Decimal(String),
    /// An instant in milliseconds since 1970, of a column that says so.
    Instant(i64),
    /// Yes or no.
    Truth(bool),
    /// Anything else, as people see it.
    Other(String),
}

/// A value that cannot become part of a payload.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}` holds {found}; {expected} is expected")]
pub struct BadCell {
    column: &'static str,
    found: String,
    expected: &'static str,
}

/// Where the columns stand.
pub struct Columns {
    outside: bool,
    places: Vec<(&'static str, usize)>,
}

impl Columns {
    /// Finds them by name.
    ///
    /// # Errors
    /// When one is missing or there twice.
    pub fn find<'a>(path: &Path, names: impl Iterator<Item = &'a str> + Clone) -> Result<Self, InputError> {
        let place = |column: &str| names.clone().position(|name| name == column);
        let outside = place("terminal_id").is_some() && place("device_id").is_none();
        let mut places = Vec::new();
        for column in if outside { &OUTSIDE[..] } else { &OWN[..] } {
            let missing = || InputError::NoColumn { path: path.to_owned(), column, found: listed(names.clone()) };
            places.push((*column, place(column).ok_or_else(missing)?));
        }
        let optional = OWN_OPTIONAL.iter().filter(|_| !outside).chain([&LABEL]);
        places.extend(optional.filter_map(|column| Some((*column, place(column)?))));
        if let Some((column, _)) =
            places.iter().find(|(column, _)| names.clone().filter(|name| name == column).nth(1).is_some())
        {
            return Err(InputError::ColumnTwice { path: path.to_owned(), column });
        }
        Ok(Self { outside, places })
    }

    /// Whether there is a column of labels.
    pub fn is_labelled(&self) -> bool {
        self.places.iter().any(|(column, _)| *column == LABEL)
    }

    /// Whether a column is used.
    pub fn uses(&self, name: &str) -> bool {
        self.places.iter().any(|(column, _)| *column == name)
    }

    /// The payload of a row whose cells `cell` reads by place. What is missing is left out, for the contract to judge.
    ///
    /// # Errors
    /// When a value cannot become part of it.
    pub fn payload(&self, cell: impl Fn(usize) -> Cell) -> Result<PayloadRow, BadCell> {
        let row = Row { columns: self, cell };
        let value = if self.outside { row.outside()? } else { row.own()? };
        Ok(PayloadRow { value: value.to_string().into_bytes(), fraud: row.label()? })
    }
}

struct Row<'a, F> {
    columns: &'a Columns,
    cell: F,
}

impl<F: Fn(usize) -> Cell> Row<'_, F> {
    fn cell(&self, column: &str) -> Cell {
        let place = self.columns.places.iter().find(|(name, _)| *name == column);
        place.map_or(Cell::Missing, |(_, place)| (self.cell)(*place))
    }

    fn own(&self) -> Result<Value, BadCell> {
        let mut payload = Map::new();
        payload.insert("version".to_owned(), json!(1));
        for (column, _) in self.columns.places.iter().filter(|(column, _)| *column != LABEL) {
            let value = match (*column, self.cell(column)) {
                (_, Cell::Missing) => continue,
                ("timestamp", cell) => instant(cell)?,
                (_, Cell::Text(text)) => json!(text),
                (_, Cell::Whole(number)) => json!(number.to_string()),
                ("amount", Cell::Decimal(number)) => json!(number),
                (column, cell) => return Err(bad(column, &cell, "text")),
            };
            payload.insert((*column).to_owned(), value);
        }
        Ok(Value::Object(payload))
    }

    fn outside(&self) -> Result<Value, BadCell> {
        let customer = self.whole("customer_id")?;
        let cents = self.whole("amount_cents")?;
        let [_, b, c, d] = u32::try_from(customer % (1 << 24)).unwrap_or(0).to_be_bytes();
        Ok(json!({
            "version": 1,
            "transaction_id": format!("t{}", self.whole("transaction_id")?),
            "timestamp": instant(self.cell("timestamp"))?,
            "user_id": format!("customer-{customer}"),
            "amount": format!("{}.{:02}", cents / 100, cents % 100),
            "currency": "EUR",
            "device_type": "pos",
            "device_id": format!("terminal-{}", self.whole("terminal_id")?),
            "ip": format!("10.{b}.{c}.{d}"),
            "user_agent": format!("terminal/{}", customer % 8),
        }))
    }

    fn whole(&self, column: &'static str) -> Result<u64, BadCell> {
        let cell = self.cell(column);
        let whole = match &cell {
            Cell::Whole(number) => u64::try_from(*number).ok(),
            Cell::Text(text) => text.parse().ok(),
            _ => None,
        };
        whole.ok_or_else(|| bad(column, &cell, "a whole number of 0 or more"))
    }

    fn label(&self) -> Result<Option<bool>, BadCell> {
        if !self.columns.is_labelled() {
            return Ok(None);
        }
        let cell = self.cell(LABEL);
        let truth = match &cell {
            Cell::Truth(truth) => Some(*truth),
            Cell::Whole(0) => Some(false),
            Cell::Whole(1) => Some(true),
            Cell::Text(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
            Cell::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
            _ => None,
        };
        truth.map(Some).ok_or_else(|| bad(LABEL, &cell, "true or false"))
    }
}

/// A time as the payload has it. A bare number is milliseconds, or what else makes it a date of this century; text that is no
/// number is left to the contract, which reads RFC 3339.
fn instant(cell: Cell) -> Result<Value, BadCell> {
    match cell {
        Cell::Missing => Ok(Value::Null),
        Cell::Instant(milliseconds) => Ok(json!(milliseconds)),
        Cell::Whole(number) => {
            let number = i64::try_from(number);
            number.map(|number| json!(by_magnitude(number))).map_err(|_| bad("timestamp", &cell, "a time since 1970"))
        }
        Cell::Text(text) => Ok(text.parse().map_or_else(|_| json!(text), |number| json!(by_magnitude(number)))),
        cell => Err(bad("timestamp", &cell, "a time with its day, as a timestamp, a whole number or text")),
    }
}

/// Milliseconds, whatever unit makes the number a date between 2000 and 2100; the number itself when none does.
fn by_magnitude(number: i64) -> i64 {
    const CENTURY_MS: RangeInclusive<i64> = TIME_MIN_MS..=TIME_MAX_MS;
    let candidates = [Some(number), number.checked_mul(1_000), Some(number / 1_000), Some(number / 1_000_000)];
    candidates.into_iter().flatten().find(|milliseconds| CENTURY_MS.contains(milliseconds)).unwrap_or(number)
}

fn bad(column: &'static str, cell: &Cell, expected: &'static str) -> BadCell {
    let found = match cell {
        Cell::Missing => "nothing".to_owned(),
        Cell::Text(text) | Cell::Decimal(text) | Cell::Other(text) => shown(text),
        Cell::Whole(number) => shown(&number.to_string()),
        Cell::Instant(milliseconds) => shown(&format!("{milliseconds} ms since 1970")),
        Cell::Truth(truth) => shown(&truth.to_string()),
    };
    BadCell { column, found, expected }
}

/// The first names of columns, and how many more there are.
fn listed<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let first: Vec<String> = names.clone().take(NAMED).map(shown).collect();
    match names.skip(NAMED).count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A value in quotes, short, and without what acts on a terminal.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_time_in_the_unit_that_makes_it_a_date_of_this_century() {
        let millis = 1_795_357_920_123;
        for number in [1_795_357_920, millis, 1_795_357_920_123_456, 1_795_357_920_123_456_789] {
            let expected = if number == 1_795_357_920 { 1_795_357_920_000 } else { millis };
            assert_eq!(by_magnitude(number), expected, "{number}");
        }
        for edge in [TIME_MIN_MS, TIME_MAX_MS] {
            assert_eq!([edge / 1_000, edge, edge * 1_000, edge * 1_000_000].map(by_magnitude), [edge; 4]);
        }
        assert_eq!([0, -1, 42, i64::MAX, i64::MIN].map(by_magnitude), [0, -1, 42, i64::MAX, i64::MIN]);
    }

    #[test]
    fn a_value_is_shown_short_and_without_control_characters() {
        assert_eq!(shown("a\x1b[31m\u{202e}b"), "`a\\u{1b}[31m\\u{202e}b`");
        assert_eq!(shown(&"x".repeat(40)), format!("`{}...`", "x".repeat(32)));
    }
}
