//! The names that the stacks give to what a run looks at.

use centinela_audit::lake::Lake;
use centinela_audit::reader::{Content, Topic};
use centinela_audit::streams::StreamNames;
use centinela_domain::Currency;
use centinela_infra::Infrastructure;
use centinela_local::kafka::TopicSpec;
use centinela_local::platform::{Platform, topic_spec};

use crate::failure::Failure;
use crate::traffic::topics::Topics;

/// Topics that producers write beside that of the transactions, by the names that everybody knows them by.
const ACTIONS_TOPIC: &str = "user_actions";
const EVENTS_TOPIC: &str = "events";
/// The variable that names the bucket of the lake.
const BUCKET: &str = "LAKE_BUCKET";
/// The variables that name the tables of what functions make of the stream.
const DECISION_TABLE: &str = "DECISION_TABLE";
const METRIC_TABLE: &str = "METRIC_TABLE";
/// The variable that says when an hour of the lake is closed: only the compaction has it.
const CLOSES_HOURS: &str = "CLOSE_AFTER_SECONDS";

/// The names that the stacks give to what a run looks at.
pub struct Names {
    pub scoring: String,
    /// The table with its users' state.
    pub user_table: String,
    /// What a transaction without a currency is in.
    pub default_currency: Currency,
    /// The table with the devices' state and risk, where one is declared.
    pub device_table: Option<String>,
    /// The table with the labels that stand, where one is declared.
    pub labels_table: Option<String>,
    /// The topic of the transactions.
    pub transactions: String,
    /// The topics of user actions and of events, and the functions that handle them, where the stacks have them.
    pub beside: [Option<Handled>; 2],
    /// The lake, where a function fills it and another compacts it.
    pub lake: Option<Lake>,
    /// The stream that functions read, and what they make of it.
    pub streams: Option<StreamNames>,
    /// All topics, that one first.
    pub topics: Vec<Topic>,
}

impl Names {
    /// Takes them from the function that publishes decisions.
    ///
    /// # Errors
    /// When the stacks have no such function, or it names what they do not declare.
    pub fn find(platform: &Platform) -> Result<Self, Failure> {
        let infrastructure = platform.infrastructure();
        // Others read that topic; this one is invoked by what comes.
        let scoring = infrastructure.functions.iter().find(|function| {
            function.environment.contains_key("APPROVED_TOPIC") && topics_of(infrastructure, &function.name) > 0
        });
        let scoring =
            scoring.ok_or_else(|| Failure::Usage("no stack declares a function with APPROVED_TOPIC".to_owned()))?;
        let variable = |name: &str| {
            let missing = || Failure::Usage(format!("function `{}` has no variable {name}", scoring.name));
            scoring.environment.get(name).cloned().ok_or_else(missing)
        };
        let mut topics = Vec::new();
        for (name, content) in [
            ("TRANSACTIONS_TOPIC", Content::Transactions),
            ("APPROVED_TOPIC", Content::Approved),
            ("BLOCKED_TOPIC", Content::Blocked),
            ("DEAD_LETTERS_TOPIC", Content::DeadLetters),
        ] {
            let name = variable(name)?;
            let declared = infrastructure.topics.iter().find(|topic| topic.name == name);
            let declared = declared.ok_or_else(|| Failure::Usage(format!("no stack declares topic `{name}`")))?;
            let starts = platform.starts(&name).to_vec();
            topics.push(Topic { name, partitions: declared.partitions, content, starts });
        }
        let beside = [(ACTIONS_TOPIC, Content::Actions), (EVENTS_TOPIC, Content::Events)].map(|(name, content)| {
            let declared = infrastructure.topics.iter().find(|topic| topic.name == name)?;
            let starts = platform.starts(name).to_vec();
            topics.push(Topic { name: name.to_owned(), partitions: declared.partitions, content, starts });
            // The archive reads many topics, the function that handles it only this one.
            let function = readers(infrastructure, name).min_by_key(|function| topics_of(infrastructure, function))?;
            Some(Handled { topic: name.to_owned(), function: function.to_owned() })
        });
        let named = |variable: &str| {
            infrastructure.functions.iter().find_map(|function| function.environment.get(variable).cloned())
        };
        Ok(Self {
            scoring: scoring.name.clone(),
            user_table: variable("USER_TABLE")?,
            device_table: named("DEVICE_TABLE"),
            labels_table: named("LABEL_TABLE"),
            lake: lake(infrastructure),
            streams: streams(infrastructure),
            beside,
            default_currency: default_currency(platform.infrastructure()),
            transactions: topics[0].name.clone(),
            topics,
        })
    }

    /// Where producers send each stream.
    pub fn producers_topics(&self) -> Topics {
        let [actions, labels] = self.beside.clone().map(|handled| handled.map(|handled| handled.topic));
        Topics { transactions: self.transactions.clone(), actions, labels }
    }

    /// Whether anything is handled beside transactions.
    pub fn has_beside(&self) -> bool {
        self.beside.iter().any(Option::is_some)
    }

    /// How a topic was declared.
    ///
    /// # Errors
    /// When no stack declares it.
    pub fn declared(&self, platform: &Platform, content: Content) -> Result<TopicSpec, Failure> {
        let name = self.topics.iter().find(|topic| topic.content == content).map_or("", |topic| &topic.name);
        let declared = platform.infrastructure().topics.iter().find(|topic| topic.name == name);
        declared.map(topic_spec).ok_or_else(|| Failure::Usage(format!("no stack declares topic `{name}`")))
    }
}

/// A topic and the function that handles it.
#[derive(Clone, Debug)]
pub struct Handled {
    pub topic: String,
    pub function: String,
}

/// The functions that read a topic.
fn readers<'a>(infrastructure: &'a Infrastructure, topic: &'a str) -> impl Iterator<Item = &'a str> {
    infrastructure
        .mappings
        .iter()
        .filter(move |mapping| mapping.topic == topic)
        .map(|mapping| mapping.function.as_str())
}

fn topics_of(infrastructure: &Infrastructure, function: &str) -> usize {
    infrastructure.mappings.iter().filter(|mapping| mapping.function == function).count()
}

/// The lake: its bucket, the function that reads most topics into it, and the one that compacts it.
pub fn lake(infrastructure: &Infrastructure) -> Option<Lake> {
    let with_bucket = || infrastructure.functions.iter().filter(|function| function.environment.contains_key(BUCKET));
    let compaction = with_bucket().find(|function| function.environment.contains_key(CLOSES_HOURS))?;
    let archive = with_bucket().max_by_key(|function| topics_of(infrastructure, &function.name))?;
    let bucket = archive.environment.get(BUCKET)?.clone();
    let is_filled = topics_of(infrastructure, &archive.name) > 0;
    let (archive, compaction) = (archive.name.clone(), compaction.name.clone());
    is_filled.then_some(Lake { bucket, archive, compaction })
}

/// The stream with the functions that fill tables from it.
pub fn streams(infrastructure: &Infrastructure) -> Option<StreamNames> {
    let table = |function: &str, variable: &str| {
        let function = infrastructure.functions.iter().find(|other| other.name == function)?;
        function.environment.get(variable).cloned()
    };
    let mappings = || infrastructure.stream_mappings.iter().filter(|mapping| mapping.enabled);
    let stream = mappings().next()?.stream.clone();
    let of_stream = || mappings().filter(|mapping| mapping.stream == stream);
    let decisions = of_stream().find_map(|mapping| table(&mapping.function, DECISION_TABLE));
    let metrics = of_stream().find_map(|mapping| table(&mapping.function, METRIC_TABLE).zip(mapping.tumbling_window));
    (decisions.is_some() || metrics.is_some()).then_some(StreamNames { stream, decisions, metrics })
}

/// What the function takes a transaction without a currency to be in.
pub fn default_currency(infrastructure: &Infrastructure) -> Currency {
    let named = infrastructure.functions.iter().filter_map(|function| function.environment.get("DEFAULT_CURRENCY"));
    named.filter_map(|code| Currency::new(code).ok()).next().unwrap_or(Currency::DEFAULT)
}
