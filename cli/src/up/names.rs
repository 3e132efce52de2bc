//! The names that the stacks give to what a run looks at.

use centinela_audit::reader::{Content, Topic};
use centinela_domain::Currency;
use centinela_infra::Infrastructure;
use centinela_local::kafka::TopicSpec;
use centinela_local::platform::{Platform, topic_spec};

use crate::failure::Failure;

/// The names that the stacks give to what a run looks at.
pub struct Names {
    pub scoring: String,
    /// The table with its users' state.
    pub user_table: String,
    /// What a transaction without a currency is in.
    pub default_currency: Currency,
    /// The topic of the transactions.
    pub transactions: String,
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
        let scoring =
            infrastructure.functions.iter().find(|function| function.environment.contains_key("APPROVED_TOPIC"));
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
        Ok(Self {
            scoring: scoring.name.clone(),
            user_table: variable("USER_TABLE")?,
            default_currency: default_currency(platform.infrastructure()),
            transactions: topics[0].name.clone(),
            topics,
        })
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

/// What the function takes a transaction without a currency to be in.
pub fn default_currency(infrastructure: &Infrastructure) -> Currency {
    let named = infrastructure.functions.iter().filter_map(|function| function.environment.get("DEFAULT_CURRENCY"));
    named.filter_map(|code| Currency::new(code).ok()).next().unwrap_or(Currency::DEFAULT)
}
