//! A member of a group, and what it asks and is told.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

/// Tells which waiting request an answer is for.
pub(crate) type Ticket = u64;

/// What is answered to a request that may have waited.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Join(Result<Joined, (ResponseError, String)>),
    Sync(Result<Synced, ResponseError>),
}

/// A client that asks for a place in a group.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client: Client,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    /// Ways of assignment that it knows, the best one first, each with what the leader has to know for it.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// A first request is answered with an id only, and the member joins by that (KIP-394).
    pub(crate) needs_known_id: bool,
}

/// Who a connection belongs to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) host: String,
}

/// A place in a generation.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// The leader finds the assignment done: only it came back, and nothing changed.
    pub(crate) skips_assignment: bool,
    pub(crate) member_id: String,
    /// For the leader: all members with their instances and metadata.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// A member that asks for its assignment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syncing {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    /// From the leader: assignments by member id.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

/// Who a member says that it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    /// Negative for who is no member.
    pub(crate) generation: i32,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client: Client,
    session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// When it is taken for gone, unless it is heard of or waits for an answer.
    pub(super) expires: Duration,
    is_new: bool,
    /// Its requests that wait.
    pub(super) joining: Option<Ticket>,
    pub(super) syncing: Option<Ticket>,
    /// It has asked for its assignment in this generation.
    pub(super) is_synced: bool,
}

impl Member {
    pub(super) fn new(ticket: Ticket, expires: Duration, request: Joining) -> Self {
        Self {
            instance_id: request.instance_id,
            client: request.client,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: Bytes::new(),
            expires,
            is_new: true,
            joining: Some(ticket),
            syncing: None,
            is_synced: false,
        }
    }

    pub(super) fn joins_again(&mut self, ticket: Ticket, request: Joining) {
        (self.session_timeout, self.rebalance_timeout) = (request.session_timeout, request.rebalance_timeout);
        (self.protocols, self.client, self.joining) = (request.protocols, request.client, Some(ticket));
    }

    /// It was heard of.
    pub(super) fn touch(&mut self, now: Duration) {
        self.expires = now + self.session_timeout;
        self.is_new = false;
    }

    /// Whether the broker owes it an answer, so that it cannot be heard of. A new member is not waited for without end.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it said for a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}
