//! What the tables hold of a user.

use std::collections::HashMap;
use std::error::Error;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_user;
use centinela_domain::{Millis, UserId};

use super::Args;
use super::index::Index;
use crate::dynamodb;
use crate::failure::Failure;

pub(super) const KEY: &str = "pk";
/// The user of a label's item.
const USER: &str = "u";

/// The tables that name users.
pub(super) struct Tables {
    client: Client,
    users: String,
    labels: String,
    /// The database in words.
    database: String,
}

/// What a user's item has.
#[derive(Debug, Default)]
pub(super) struct UserItem {
    pub(super) has_decisions: bool,
    pub(super) has_profile: bool,
    pub(super) has_risk: bool,
    /// The broker's time of the newest record that a decision is remembered of; none where there is none, or where it cannot be read.
    pub(super) newest_record_at: Option<Millis>,
}

impl Tables {
    /// Finds region and credentials; asks for nothing yet.
    pub(super) async fn open(arguments: &Args) -> Result<Self, Failure> {
        let (client, database) = dynamodb::open(arguments.dynamodb.as_deref()).await?;
        let (users, labels) = (arguments.user_table.clone(), arguments.label_table.clone());
        Ok(Self { client, users, labels, database })
    }

    /// The index beside them.
    pub(super) fn index(&self, table: &str) -> Index {
        Index::new(&self.client, table, &self.database)
    }

    /// What the user's item has, if there is one.
    pub(super) async fn user(&self, user: &UserId) -> Result<Option<UserItem>, Failure> {
        let call = self.client.get_item().table_name(&self.users).key(KEY, text(user.as_str())).consistent_read(true);
        let answer = Box::pin(call.send()).await.map_err(|error| self.failed("read", &self.users, error))?;
        let Some(item) = answer.item else { return Ok(None) };
        let decisions = item.get("s").and_then(|content| content.as_b().ok());
        // An item that cannot be read is erased like any other.
        let stored = decisions.and_then(|content| stored_user::decode(content.as_ref(), user).ok());
        let coordinates = stored.iter().flat_map(|stored| &stored.ledger.entries).flat_map(|entry| &entry.coordinates);
        Ok(Some(UserItem {
            has_decisions: item.contains_key("s"),
            has_profile: item.contains_key("p"),
            has_risk: item.contains_key("r"),
            newest_record_at: coordinates.map(|at| at.timestamp).max(),
        }))
    }

    /// The keys of the user's labels. The table has no index by user: labels are rare, and erasing is rarer.
    pub(super) async fn labels(&self, user: &UserId) -> Result<Vec<String>, Failure> {
        let mut keys = Vec::new();
        let mut next: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let call = self
                .client
                .scan()
                .table_name(&self.labels)
                .consistent_read(true)
                .filter_expression("#u = :user")
                .projection_expression("#k")
                .expression_attribute_names("#u", USER)
                .expression_attribute_names("#k", KEY)
                .expression_attribute_values(":user", text(user.as_str()))
                .set_exclusive_start_key(next);
            let page = Box::pin(call.send()).await.map_err(|error| self.failed("scan", &self.labels, error))?;
            let found = page.items.unwrap_or_default().into_iter();
            keys.extend(found.filter_map(|mut item| match item.remove(KEY) {
                Some(AttributeValue::S(key)) => Some(key),
                _ => None,
            }));
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => next = Some(key),
                _ => return Ok(keys),
            }
        }
    }

    /// Deletes a label that is still the user's.
    pub(super) async fn delete_label(&self, key: &str, user: &UserId) -> Result<(), Failure> {
        let call = self
            .client
            .delete_item()
            .table_name(&self.labels)
            .key(KEY, text(key))
            .condition_expression("#u = :user")
            .expression_attribute_names("#u", USER)
            .expression_attribute_values(":user", text(user.as_str()));
        match Box::pin(call.send()).await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // It is gone already.
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.failed("delete from", &self.labels, error)),
            },
        }
    }

    /// Deletes the user's item, with what every owner keeps in it.
    pub(super) async fn delete_user(&self, user: &UserId) -> Result<(), Failure> {
        let call = self.client.delete_item().table_name(&self.users).key(KEY, text(user.as_str()));
        Box::pin(call.send()).await.map(drop).map_err(|error| self.failed("delete from", &self.users, error))
    }

    fn failed<E>(&self, doing: &str, table: &str, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let advice = "name the tables with --user-table and --label-table";
        dynamodb::failed(doing, table, &self.database, advice, error)
    }
}

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
