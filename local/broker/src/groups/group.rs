//! One consumer group by the classic protocol, as a state machine: requests and the passing of time go in, answers come out. No I/O,
//! and the time is told. <https://cwiki.apache.org/confluence/display/KAFKA/Kafka+Client-side+Assignment+Proposal>

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::member::{Answer, Joined, Joining, Member, Peer, Synced, Syncing, Ticket};
use crate::random;

/// How long a member that has only just joined is waited for: it cannot send heartbeats before it is answered.
const NEW_MEMBER_WAIT: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    /// As Apache Kafka names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) state: State,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    generation: i32,
    leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids that were given out and have not joined yet, with the time when they are forgotten.
    pending: BTreeMap<String, Duration>,
    /// Member ids by `group.instance.id`.
    instances: BTreeMap<String, String>,
    /// When members that have not joined, or not fetched their assignment, are taken for gone.
    round_ends: Option<Duration>,
    answers: Vec<(Ticket, Answer)>,
}

impl Group {
    /// What became ready since the last call.
    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.answers)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// A member joins, or joins again; the answer may wait until all have.
    pub(super) fn join(&mut self, now: Duration, ticket: Ticket, request: Joining) {
        if let Err(refusal) = self.try_join(now, ticket, request) {
            self.answers.push((ticket, Answer::Join(Err(refusal))));
        }
    }

    fn try_join(&mut self, now: Duration, ticket: Ticket, request: Joining) -> Result<(), (ResponseError, String)> {
        let id = request.member_id.clone();
        if !self.fits(&request) {
            return Err((ResponseError::InconsistentGroupProtocol, id));
        }
        if id.is_empty() {
            return self.join_unknown(now, ticket, request);
        }
        if self.pending.remove(&id).is_some() {
            self.add(now, ticket, id, request);
            return Ok(());
        }
        self.check_member(&id, request.instance_id.as_deref()).map_err(|error| (error, id.clone()))?;
        let is_leader = self.leader.as_ref() == Some(&id);
        let Some(member) = self.members.get_mut(&id) else { return Err((ResponseError::UnknownMemberId, id)) };
        let is_same = member.protocols == request.protocols;
        let is_known = match self.state {
            State::PreparingRebalance | State::Empty => false,
            State::CompletingRebalance => is_same,
            State::Stable => is_same && !is_leader,
        };
        if is_known {
            member.touch(now);
            let joined = self.joined(&id);
            self.answers.push((ticket, Answer::Join(Ok(joined))));
            return Ok(());
        }
        if let Some(overtaken) = member.joining.take() {
            self.answers.push((overtaken, Answer::Join(Err((ResponseError::RebalanceInProgress, id)))));
        }
        member.joins_again(ticket, request);
        self.rebalance(now);
        Ok(())
    }

    fn join_unknown(&mut self, now: Duration, ticket: Ticket, request: Joining) -> Result<(), (ResponseError, String)> {
        let Some(instance) = request.instance_id.clone() else {
            let id = format!("{}-{}", request.client.client_id, random::id());
            if request.needs_known_id {
                self.pending.insert(id.clone(), now + request.session_timeout);
                return Err((ResponseError::MemberIdRequired, id));
            }
            self.add(now, ticket, id, request);
            return Ok(());
        };
        let id = format!("{instance}-{}", random::id());
        let replaced = self.instances.get(&instance).and_then(|old| self.members.remove(old));
        let Some(replaced) = replaced else {
            self.add(now, ticket, id, request);
            return Ok(());
        };
        self.replace(now, ticket, id, replaced, request);
        Ok(())
    }

    /// A static member comes back under a new id: whoever still uses the old one is fenced.
    fn replace(&mut self, now: Duration, ticket: Ticket, id: String, mut member: Member, request: Joining) {
        let old = self.instances.insert(request.instance_id.clone().unwrap_or_default(), id.clone());
        if self.leader == old {
            self.leader = Some(id.clone());
        }
        if let Some(ticket) = member.joining.take() {
            let fenced = (ResponseError::FencedInstanceId, old.clone().unwrap_or_default());
            self.answers.push((ticket, Answer::Join(Err(fenced))));
        }
        if let Some(ticket) = member.syncing.take() {
            self.answers.push((ticket, Answer::Sync(Err(ResponseError::FencedInstanceId))));
        }
        let is_same = member.protocols == request.protocols;
        member.joins_again(ticket, request);
        if self.state == State::Stable && is_same {
            member.joining = None;
            member.touch(now);
            self.members.insert(id.clone(), member);
            let mut joined = self.joined(&id);
            joined.skips_assignment = self.leader.as_ref() == Some(&id);
            self.answers.push((ticket, Answer::Join(Ok(joined))));
            return;
        }
        self.members.insert(id, member);
        self.rebalance(now);
    }

    fn fits(&self, request: &Joining) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        self.members.is_empty()
            || (self.protocol_type.as_deref() == Some(&*request.protocol_type)
                && request.protocols.iter().any(|(name, _)| self.members.values().all(|member| member.supports(name))))
    }

    fn add(&mut self, now: Duration, ticket: Ticket, id: String, request: Joining) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(instance) = &request.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, Member::new(ticket, now + NEW_MEMBER_WAIT, request));
        self.rebalance(now);
    }

    /// Begins a rebalance, or sees whether the one that goes on is complete.
    fn rebalance(&mut self, now: Duration) {
        if self.state != State::PreparingRebalance {
            for member in self.members.values_mut() {
                if let Some(ticket) = member.syncing.take() {
                    member.touch(now);
                    self.answers.push((ticket, Answer::Sync(Err(ResponseError::RebalanceInProgress))));
                }
            }
            self.state = State::PreparingRebalance;
            self.round_ends = Some(now + self.rebalance_timeout());
        }
        if self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some()) {
            self.complete(now);
        }
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Ends the round of joining with whoever is there: a new generation.
    fn complete(&mut self, now: Duration) {
        let gone = |member: &Member| member.joining.is_none() && member.instance_id.is_none();
        self.members.retain(|_, member| !gone(member));
        self.generation += 1;
        if self.members.is_empty() {
            (self.state, self.protocol, self.leader, self.round_ends) = (State::Empty, None, None, None);
            return;
        }
        let has_joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(has_joined) {
            self.leader = self.members.keys().find(|id| has_joined(id)).or(self.members.keys().next()).cloned();
        }
        self.protocol = self.vote();
        self.state = State::CompletingRebalance;
        self.round_ends = Some(now + self.rebalance_timeout());
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            if let Some(ticket) = member.joining.take() {
                member.touch(now);
                member.is_synced = false;
                let joined = self.joined(&id);
                self.answers.push((ticket, Answer::Join(Ok(joined))));
            }
        }
    }

    /// The protocol that most members like best among those that all of them know.
    fn vote(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let names = member.protocols.iter().map(|(name, _)| name.as_str());
            let known_to_all = |name: &&str| self.members.values().all(|member| member.supports(name));
            if let Some(choice) = names.into_iter().find(known_to_all) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.to_owned())
    }

    fn joined(&self, id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.clone().unwrap_or_default();
        let others = self.members.iter().filter(|_| leader == id);
        let members =
            others.map(|(id, member)| (id.clone(), member.instance_id.clone(), member.metadata(&protocol))).collect();
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol,
            leader,
            skips_assignment: false,
            member_id: id.to_owned(),
            members,
        }
    }

    /// A member asks for its assignment, or the leader brings everybody's; the answer waits for the leader.
    pub(super) fn sync(&mut self, now: Duration, ticket: Ticket, request: Syncing) {
        if let Err(error) = self.try_sync(now, ticket, request) {
            self.answers.push((ticket, Answer::Sync(Err(error))));
        }
    }

    fn try_sync(&mut self, now: Duration, ticket: Ticket, request: Syncing) -> Result<(), ResponseError> {
        let id = request.member_id.clone();
        self.check_generation(&id, request.instance_id.as_deref(), request.generation)?;
        let differs = |asked: &Option<String>, is: &Option<String>| asked.is_some() && asked != is;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let is_leader = self.leader.as_ref() == Some(&id);
        let Some(member) = self.members.get_mut(&id) else { return Err(ResponseError::UnknownMemberId) };
        member.touch(now);
        match self.state {
            State::Empty => return Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => return Err(ResponseError::RebalanceInProgress),
            State::CompletingRebalance => {
                if let Some(overtaken) = member.syncing.replace(ticket) {
                    self.answers.push((overtaken, Answer::Sync(Err(ResponseError::RebalanceInProgress))));
                }
                member.is_synced = true;
                if is_leader {
                    self.assign(now, request.assignments);
                }
            }
            State::Stable => {
                member.is_synced = true;
                let assignment = member.assignment.clone();
                let synced = self.synced(assignment);
                self.answers.push((ticket, Answer::Sync(Ok(synced))));
            }
        }
        Ok(())
    }

    fn assign(&mut self, now: Duration, assignments: Vec<(String, Bytes)>) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.state = State::Stable;
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.touch(now);
                waiting.push((ticket, member.assignment.clone()));
            }
        }
        for (ticket, assignment) in waiting {
            let synced = self.synced(assignment);
            self.answers.push((ticket, Answer::Sync(Ok(synced))));
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }

    /// A member says that it is there.
    pub(super) fn heartbeat(&mut self, now: Duration, peer: &Peer) -> Result<(), ResponseError> {
        self.check_generation(&peer.member_id, peer.instance_id.as_deref(), peer.generation)?;
        if let Some(member) = self.members.get_mut(&peer.member_id) {
            member.touch(now);
        }
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed: by a member of this generation, or by nobody in particular while nobody is a member.
    pub(super) fn check_commit(&mut self, now: Duration, peer: &Peer) -> Result<(), ResponseError> {
        if peer.generation < 0 && peer.member_id.is_empty() {
            return if self.members.is_empty() { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.check_generation(&peer.member_id, peer.instance_id.as_deref(), peer.generation)?;
        if let Some(member) = self.members.get_mut(&peer.member_id) {
            member.touch(now);
        }
        if self.state == State::CompletingRebalance { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// A member leaves, named by its id or, as a tool does for a static member, by its instance alone.
    pub(super) fn leave(&mut self, now: Duration, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if self.pending.remove(id).is_some() {
            if self.state == State::PreparingRebalance {
                self.rebalance(now);
            }
            return Ok(());
        }
        let by_instance = instance.filter(|_| id.is_empty()).and_then(|instance| self.instances.get(instance).cloned());
        let id = by_instance.unwrap_or_else(|| id.to_owned());
        self.check_member(&id, instance)?;
        self.remove(now, &[id]);
        Ok(())
    }

    fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        match instance.map(|instance| self.instances.get(instance)) {
            Some(None) => Err(ResponseError::UnknownMemberId),
            Some(Some(known)) if known != id => Err(ResponseError::FencedInstanceId),
            _ if self.members.contains_key(id) => Ok(()),
            _ => Err(ResponseError::UnknownMemberId),
        }
    }

    fn check_generation(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<(), ResponseError> {
        self.check_member(id, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    fn remove(&mut self, now: Duration, ids: &[String]) {
        for id in ids {
            let Some(member) = self.members.remove(id) else { continue };
            self.instances.retain(|_, member| member != id);
            if self.leader.as_ref() == Some(id) {
                self.leader = self.members.keys().next().cloned();
            }
            if let Some(ticket) = member.joining {
                self.answers.push((ticket, Answer::Join(Err((ResponseError::UnknownMemberId, id.clone())))));
            }
            if let Some(ticket) = member.syncing {
                self.answers.push((ticket, Answer::Sync(Err(ResponseError::UnknownMemberId))));
            }
        }
        if !ids.is_empty() {
            self.rebalance(now);
        }
    }

    /// When time has to be told next.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let sessions = self.members.values().filter(|member| !member.is_waiting()).map(|member| member.expires);
        sessions.chain(self.pending.values().copied()).chain(self.round_ends).min()
    }

    /// Time passes: members that were not heard of, and ids that were never used, are forgotten.
    pub(super) fn tick(&mut self, now: Duration) {
        let pending = self.pending.len();
        self.pending.retain(|_, expires| *expires > now);
        let is_gone = |member: &Member| !member.is_waiting() && member.expires <= now;
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| is_gone(member)).map(|(id, _)| id.clone()).collect();
        self.remove(now, &gone);
        if self.pending.len() < pending && self.state == State::PreparingRebalance {
            self.rebalance(now);
        }
        if self.round_ends.is_some_and(|ends| ends <= now) {
            self.round_ends = None;
            match self.state {
                State::PreparingRebalance => self.complete(now),
                State::CompletingRebalance | State::Stable => {
                    let late = self.members.iter().filter(|(_, member)| !member.is_synced);
                    let late: Vec<String> = late.map(|(id, _)| id.clone()).collect();
                    self.remove(now, &late);
                }
                State::Empty => {}
            }
        }
    }

    /// All connections were closed: nobody waits any more, and everybody has a whole session to come back.
    pub(super) fn reconnect(&mut self, now: Duration) {
        for member in self.members.values_mut() {
            (member.joining, member.syncing) = (None, None);
            member.touch(now);
        }
        self.round_ends = self.round_ends.map(|_| now + self.rebalance_timeout());
    }
}
