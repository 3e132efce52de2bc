//! Users' profiles on DynamoDB: the group [`AttributeGroup::PROFILE`] of the users' items.

use centinela_contracts::stored_profile;
use centinela_delivery::{Causes, Commit, StoreError, Versioned, Write};
use centinela_domain::{Millis, Profile, UserId};
use centinela_profile::ports::{ProfileAnswer, Profiles};
use tracing::{error, warn};

use crate::ConnectError;
use crate::attribute_group::AttributeGroup;
use crate::batch_read::{BatchRead, ReadTable, batch_read};
use crate::budget::{Budget, wall_clock};
use crate::owned_items::{DynamoLimits, NameForLogs, OwnedItems, OwnedTable};
use crate::tables::Tables;

/// A key that no item has; costs the smallest read.
const WARM_UP_KEY: &str = "warm-up";

/// Users' profiles on DynamoDB.
#[derive(Debug)]
pub struct DynamoProfiles {
    client: Tables,
    items: OwnedItems,
    tables: [ReadTable; 1],
    limits: DynamoLimits,
}

impl DynamoProfiles {
    /// Connects and reads one key, which opens the connection and shows a missing table or grant at start. A database that is merely
    /// slow or throttling is no reason not to start.
    pub async fn connect(
        client: impl Into<Tables>,
        user_table: &str,
        name_for_logs: NameForLogs,
        limits: DynamoLimits,
    ) -> Result<Self, ConnectError> {
        let profiles = Self::new(client, user_table, name_for_logs, limits);
        let deadline = Millis(wall_clock().0.saturating_add(limits.single_item.as_millis() as i64));
        match profiles.items.get(WARM_UP_KEY, deadline).await {
            Err(StoreError::Rejected(source)) => {
                return Err(ConnectError::Tables { tables: vec![user_table.to_owned()], source });
            }
            Err(problem) => warn!(error = %Causes(&problem), "dynamodb did not answer the first read"),
            Ok(_) => {}
        }
        Ok(profiles)
    }

    /// Uses a client as it is, without a first call.
    pub fn new(client: impl Into<Tables>, user_table: &str, name_for_logs: NameForLogs, limits: DynamoLimits) -> Self {
        let client = client.into();
        let (name, group) = (user_table.to_owned(), AttributeGroup::PROFILE);
        let tables = [ReadTable::new(user_table, &group.attributes())];
        let items = OwnedItems::new(client.clone(), OwnedTable { name, group, kind: "user", name_for_logs, limits });
        Self { client, items, tables, limits }
    }
}

impl Profiles for DynamoProfiles {
    async fn read(&self, users: &[UserId], deadline: Millis) -> ProfileAnswer {
        let keys = users.iter().map(|user| (0, user.as_str().to_owned())).collect();
        let read = batch_read(&self.client, &self.tables, keys, false, Budget::until(deadline), self.limits).await;
        let BatchRead { mut found, unread, problem } = read;
        let mut answer = ProfileAnswer { problem, ..ProfileAnswer::default() };
        for user in users {
            let key = (0, user.as_str().to_owned());
            if unread.contains(&key) {
                answer.unread.insert(user.clone());
            }
            let Some(item) = found.remove(&key) else { continue };
            let read = self.items.read(user.as_str(), item);
            let profile = read.and_then(|found| {
                found.map(|found| self.items.decode(user.as_str(), found, stored_profile::decode)).transpose()
            });
            match profile {
                Ok(found) => answer.found.extend(found.map(|found| (user.clone(), found))),
                Err(problem) => {
                    error!(error = %Causes(&problem), "a person has to repair an item");
                    answer.unreadable.insert(user.clone());
                }
            }
        }
        answer
    }

    async fn read_profile(&self, user: &UserId, deadline: Millis) -> Result<Option<Versioned<Profile>>, StoreError> {
        let found = self.items.get(user.as_str(), deadline).await?;
        found.map(|found| self.items.decode(user.as_str(), found, stored_profile::decode)).transpose()
    }

    async fn commit(&self, writes: Vec<Write<UserId, Profile>>, deadline: Millis) -> Vec<Commit<Profile>> {
        let encode = |write: &Write<UserId, Profile>| Write {
            key: write.key.as_str().to_owned(),
            expected: write.expected,
            item: stored_profile::encode(&write.item),
        };
        let encoded: Vec<_> = writes.iter().map(encode).collect();
        let commits = self.items.commit(&encoded, deadline).await;
        let decode = |(commit, write): (_, &Write<UserId, Profile>)| {
            self.items.decode_winner(write.key.as_str(), commit, stored_profile::decode)
        };
        commits.into_iter().zip(&writes).map(decode).collect()
    }
}
