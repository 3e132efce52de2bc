//! The consumer groups of a run, held against other runs.

use centinela_infra::Infrastructure;
use centinela_kafka_client::{Claim, Claimed, ClusterError, KafkaAccess, check_free};
use futures::future::join_all;
use tokio::sync::oneshot::Receiver;

use super::error::PlatformError;
use super::specs::groups;

/// The claims on the groups of all mappings.
pub(super) struct Claims {
    claims: Vec<Claim>,
    outcomes: Vec<Receiver<Result<Claimed, ClusterError>>>,
}

impl Claims {
    /// Refuses groups that somebody uses. Asked before anything is started.
    pub(super) async fn check(access: &KafkaAccess, infrastructure: &Infrastructure) -> Result<(), ClusterError> {
        let (access, groups) = (access.clone(), groups(infrastructure));
        let checked = tokio::task::spawn_blocking(move || check_free(&access, &groups)).await;
        checked.unwrap_or(Err(ClusterError::Panicked))
    }

    /// Begins to hold the groups.
    pub(super) fn begin(access: &KafkaAccess, infrastructure: &Infrastructure) -> Result<Self, ClusterError> {
        let begun =
            groups(infrastructure).iter().map(|group| Claim::begin(access, group)).collect::<Result<Vec<_>, _>>()?;
        let (claims, outcomes) = begun.into_iter().unzip();
        Ok(Self { claims, outcomes })
    }

    /// Waits until it is known that nobody else came at the same time.
    pub(super) async fn confirm(&mut self, say: &(dyn Fn(&str) + Send + Sync)) -> Result<(), PlatformError> {
        for outcome in join_all(self.outcomes.drain(..)).await {
            match outcome.unwrap_or(Err(ClusterError::Panicked))? {
                Claimed::Alone => {}
                Claimed::Unknown(why) => say(&why),
            }
        }
        Ok(())
    }

    /// Gives the groups back.
    pub(super) async fn leave(self) {
        if tokio::task::spawn_blocking(move || drop(self.claims)).await.is_err() {
            tracing::warn!("leaving a consumer group ended by a panic");
        }
    }
}
