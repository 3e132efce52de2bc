//! Whether the budget is one: a limit that means something, somebody who is told in time, and something that is stopped.

use serde_json::Value;
use thiserror::Error;

use super::Infrastructure;
use super::iam::statements;
use super::model::{Resource, decimal};
use super::wiring::topics;

/// What a month may cost: the customer's own figure.
const USD_MAX: f64 = 8_000.0;

/// What is wrong with the budget.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum BudgetRule {
    #[error("allows USD {0} a month; the customer allows {USD_MAX}")]
    LimitTooHigh(String),
    #[error("tells nobody of {0}: it needs a notification with a topic of the stacks")]
    BudgetTellsNobody(&'static str),
    #[error("nothing is stopped when it is used up: it needs an action at 100 % or less")]
    StopsNothing,
    #[error("the policy that its action puts on roles is not the stacks', or allows something, so it stops nothing")]
    StopAllows,
    #[error("no subscription tells of cost anomalies at once, to a topic of the stacks")]
    AnomaliesUntold,
}

/// What is wrong with the budget; nothing is asked of other resources.
pub(super) fn rules(budget: &Resource, infrastructure: &Infrastructure) -> Vec<BudgetRule> {
    if budget.kind != "AWS::Budgets::Budget" {
        return Vec::new();
    }
    let mut rules = Vec::new();
    let limit = budget.properties.pointer("/Budget/BudgetLimit/Amount").and_then(decimal);
    if limit.is_none_or(|usd| usd > USD_MAX) {
        rules.push(BudgetRule::LimitTooHigh(limit.map_or_else(|| "without a limit".to_owned(), |usd| usd.to_string())));
    }
    let ours = topics(infrastructure);
    let is_told = |subscribers: Option<&Value>| {
        let mut subscribers = subscribers.and_then(Value::as_array).into_iter().flatten();
        subscribers
            .any(|one| one.get("Address").and_then(Value::as_str).is_some_and(|to| ours.iter().any(|our| our == to)))
    };
    let tells = |kind: &str| {
        budget.list("/NotificationsWithSubscribers").iter().any(|one| {
            one.pointer("/Notification/NotificationType").and_then(Value::as_str) == Some(kind)
                && one.pointer("/Notification/Threshold").and_then(decimal).is_some_and(|percent| percent <= 100.0)
                && is_told(one.get("Subscribers"))
        })
    };
    rules.extend((!tells("FORECASTED")).then_some(BudgetRule::BudgetTellsNobody("a month that will cost too much")));
    rules.extend((!tells("ACTUAL")).then_some(BudgetRule::BudgetTellsNobody("a month that costs too much")));
    let of_kind = |kind: &'static str| infrastructure.resources.iter().filter(move |one| one.kind == kind);
    let stops = of_kind("AWS::Budgets::BudgetsAction").any(|action| {
        action.properties.pointer("/ActionThreshold/Value").and_then(decimal).is_some_and(|percent| percent <= 100.0)
            && action.text("/ActionThreshold/Type") == Some("PERCENTAGE")
            && is_told(action.properties.get("Subscribers"))
    });
    rules.extend((!stops).then_some(BudgetRule::StopsNothing));
    let put_on: Vec<&str> = of_kind("AWS::Budgets::BudgetsAction")
        .filter_map(|one| one.text("/Definition/IamActionDefinition/PolicyArn"))
        .collect();
    let allows = put_on.iter().any(|arn| {
        let is_it = |policy: &&Resource| arn.ends_with(&format!("/{}", policy.logical_id));
        let document =
            of_kind("AWS::IAM::ManagedPolicy").find(is_it).and_then(|it| it.properties.get("PolicyDocument"));
        // Of one that is not the stacks' nobody here knows what it allows.
        document.is_none_or(|document| statements(document).into_iter().any(|statement| statement.allows()))
    });
    rules.extend(allows.then_some(BudgetRule::StopAllows));
    let hears = of_kind("AWS::CE::AnomalySubscription")
        .any(|one| one.text("/Frequency") == Some("IMMEDIATE") && is_told(one.properties.get("Subscribers")));
    rules.extend((!hears).then_some(BudgetRule::AnomaliesUntold));
    rules
}
