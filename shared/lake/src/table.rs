//! The tables: one per topic, and what their columns are.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

/// A topic that is archived, and its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the topics'")]
pub enum Table {
    Transactions,
    UserActions,
    Events,
    Approved,
    Blocked,
    DeadLetters,
}

/// What a column holds. Every column but the first three may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Milliseconds since 1970, UTC.
    Time,
    /// Double precision.
    Double,
    /// True or false.
    Bool,
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// A list of doubles, each of which may be null.
    Doubles,
    /// A list of texts.
    Texts,
    /// A list of pairs: `code` (text) and `contribution` (double).
    Reasons,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// What every table begins with: where the record stands, and what could not be read of it.
pub const COMMON: [Column; 5] = [
    column("partition", Kind::Int),
    column("offset", Kind::Long),
    column("broker_time", Kind::Time),
    column("problem", Kind::Text),
    column("value", Kind::Binary),
];
/// How many of [`COMMON`] are never null.
pub const REQUIRED: usize = 3;

const TRANSACTIONS: [Column; 10] = [
    column("transaction_id", Kind::Text),
    column("user_id", Kind::Text),
    column("event_time", Kind::Time),
    column("amount_minor", Kind::Long),
    column("currency", Kind::Text),
    column("device_type", Kind::Text),
    column("device_id", Kind::Text),
    column("network", Kind::Text),
    column("agent", Kind::Text),
    column("merchant_id", Kind::Text),
];

const DECISIONS: [Column; 22] = [
    column("decision_id", Kind::Text),
    column("transaction_id", Kind::Text),
    column("user_id", Kind::Text),
    column("outcome", Kind::Text),
    column("score", Kind::Double),
    column("amount_minor", Kind::Long),
    column("currency", Kind::Text),
    column("reasons", Kind::Reasons),
    column("model_version", Kind::Text),
    column("model_digest", Kind::Text),
    column("features_version", Kind::Int),
    column("features", Kind::Doubles),
    column("state_version", Kind::Long),
    column("event_time", Kind::Time),
    column("ingested_at", Kind::Time),
    column("decided_at", Kind::Time),
    column("late", Kind::Bool),
    column("ahead", Kind::Bool),
    column("degraded", Kind::Bool),
    column("guarded", Kind::Bool),
    column("missing", Kind::Texts),
    column("reduced", Kind::Bool),
];

const USER_ACTIONS: [Column; 10] = [
    column("action_id", Kind::Text),
    column("user_id", Kind::Text),
    column("event_time", Kind::Time),
    column("action", Kind::Text),
    column("device_id", Kind::Text),
    column("network", Kind::Text),
    column("outcome", Kind::Text),
    column("email_hash", Kind::Text),
    column("phone_hash", Kind::Text),
    column("address_hash", Kind::Text),
];

const EVENTS: [Column; 6] = [
    column("event_id", Kind::Text),
    column("event_time", Kind::Time),
    column("event", Kind::Text),
    column("user_id", Kind::Text),
    column("transaction_id", Kind::Text),
    column("device_id", Kind::Text),
];

const DEAD_LETTERS: [Column; 7] = [
    column("reason", Kind::Text),
    column("source_topic", Kind::Text),
    column("source_partition", Kind::Int),
    column("source_offset", Kind::Long),
    column("source_time", Kind::Time),
    column("detail", Kind::Text),
    column("original", Kind::Binary),
];

impl Table {
    /// All of them.
    pub const ALL: [Table; 6] =
        [Self::Transactions, Self::UserActions, Self::Events, Self::Approved, Self::Blocked, Self::DeadLetters];

    /// The topic.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::UserActions => "user_actions",
            Self::Events => "events",
            Self::Approved => "approved",
            Self::Blocked => "blocked",
            Self::DeadLetters => "dead-letters",
        }
    }

    /// The table's name, which knows no hyphens.
    pub fn name(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            other => other.topic(),
        }
    }

    /// The table of a topic.
    pub fn of_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.topic() == topic)
    }

    /// The columns after [`COMMON`].
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Transactions => &TRANSACTIONS,
            Self::UserActions => &USER_ACTIONS,
            Self::Events => &EVENTS,
            Self::Approved | Self::Blocked => &DECISIONS,
            Self::DeadLetters => &DEAD_LETTERS,
        }
    }

    /// Every column in its order, with whether it may be null.
    pub fn all_columns(self) -> impl Iterator<Item = (Column, bool)> {
        let common = COMMON.into_iter().enumerate().map(|(index, column)| (column, index >= REQUIRED));
        common.chain(self.columns().iter().map(|column| (*column, true)))
    }

    /// The schema of the table's files.
    ///
    /// # Errors
    /// When a column is described wrongly: a fault of ours, which a test excludes.
    pub fn schema(self) -> Result<TypePtr, ParquetError> {
        let fields = self.all_columns().map(|(column, nullable)| field(column, nullable).map(Arc::new));
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Arc::new(Type::group_type_builder(self.name()).with_fields(fields).build()?))
    }
}

fn field(Column { name, kind }: Column, nullable: bool) -> Result<Type, ParquetError> {
    let repetition = if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    match kind {
        Kind::Doubles => list(name, repetition, primitive("element", Kind::Double, Repetition::OPTIONAL)?),
        Kind::Texts => list(name, repetition, primitive("element", Kind::Text, Repetition::OPTIONAL)?),
        Kind::Reasons => {
            let fields = vec![
                Arc::new(primitive("code", Kind::Text, Repetition::OPTIONAL)?),
                Arc::new(primitive("contribution", Kind::Double, Repetition::OPTIONAL)?),
            ];
            let element = Type::group_type_builder("element").with_repetition(Repetition::OPTIONAL);
            list(name, repetition, element.with_fields(fields).build()?)
        }
        plain => primitive(name, plain, repetition),
    }
}

fn primitive(name: &str, kind: Kind, repetition: Repetition) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Int => (Physical::INT32, None),
        Kind::Long => (Physical::INT64, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        Kind::Double => (Physical::DOUBLE, None),
        Kind::Bool => (Physical::BOOLEAN, None),
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Binary | Kind::Doubles | Kind::Texts | Kind::Reasons => (Physical::BYTE_ARRAY, None),
    };
    let builder = Type::primitive_type_builder(name, physical);
    builder.with_repetition(repetition).with_logical_type(logical).build()
}

/// The three levels that the format prescribes for lists.
fn list(name: &str, repetition: Repetition, element: Type) -> Result<Type, ParquetError> {
    let repeated = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
    let repeated = repeated.with_fields(vec![Arc::new(element)]).build()?;
    let list = Type::group_type_builder(name).with_repetition(repetition);
    list.with_logical_type(Some(LogicalType::List)).with_fields(vec![Arc::new(repeated)]).build()
}
