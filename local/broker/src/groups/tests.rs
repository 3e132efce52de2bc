//! Groups as their members see them, without a network and with the time in hand.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::group::{Group, State};
use super::member::{Answer, Client, Joined, Joining, Peer, Synced, Syncing, Ticket};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn joining(id: &str, instance: Option<&str>) -> Joining {
    Joining {
        member_id: id.to_owned(),
        instance_id: instance.map(str::to_owned),
        client: Client { client_id: "client".to_owned(), host: "/127.0.0.1".to_owned() },
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        needs_known_id: false,
    }
}

/// A group with a clock and numbered requests.
#[derive(Default)]
struct Bench {
    group: Group,
    now: Duration,
    tickets: Ticket,
    answers: Vec<(Ticket, Answer)>,
}

impl Bench {
    fn join(&mut self, request: Joining) -> Ticket {
        self.tickets += 1;
        self.group.join(self.now, self.tickets, request);
        self.tickets
    }

    fn sync(&mut self, member: &Joined, assignments: &[(&str, &str)]) -> Ticket {
        self.tickets += 1;
        let owned = |(id, assignment): &(&str, &str)| ((*id).to_owned(), Bytes::copy_from_slice(assignment.as_bytes()));
        let assignments = assignments.iter().map(owned).collect();
        let (member_id, generation) = (member.member_id.clone(), member.generation);
        self.group.sync(self.now, self.tickets, Syncing { member_id, generation, assignments, ..Syncing::default() });
        self.tickets
    }

    fn heartbeat(&mut self, member: &Joined) -> Result<(), ResponseError> {
        let (member_id, generation) = (member.member_id.clone(), member.generation);
        self.group.heartbeat(self.now, &Peer { member_id, generation, instance_id: None })
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.tick(self.now);
    }

    /// The answer to a request, when there is one.
    fn answer(&mut self, ticket: Ticket) -> Option<Answer> {
        self.answers.extend(self.group.take_answers());
        let at = self.answers.iter().position(|(of, _)| *of == ticket)?;
        Some(self.answers.swap_remove(at).1)
    }

    fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.answer(ticket) {
            Some(Answer::Join(Ok(joined))) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    fn join_error(&mut self, ticket: Ticket) -> (ResponseError, String) {
        match self.answer(ticket) {
            Some(Answer::Join(Err(refusal))) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn assignment(&mut self, ticket: Ticket) -> Result<Bytes, ResponseError> {
        match self.answer(ticket) {
            Some(Answer::Sync(synced)) => synced.map(|Synced { assignment, .. }| assignment),
            other => panic!("not answered: {other:?}"),
        }
    }

    /// Two members with their assignments; the first one leads.
    fn stable(&mut self) -> (Joined, Joined) {
        let first = self.join(joining("", None));
        let first = self.joined(first);
        let second = self.join(joining("", None));
        let again = self.join(joining(&first.member_id, None));
        let (first, second) = (self.joined(again), self.joined(second));
        let waiting = self.sync(&second, &[]);
        assert_eq!(self.answer(waiting), None, "nobody is assigned before the leader says so");
        let leader = self.sync(&first, &[(&first.member_id, "one"), (&second.member_id, "two")]);
        assert_eq!(self.assignment(leader).expect("assigned"), "one");
        assert_eq!(self.assignment(waiting).expect("assigned"), "two");
        assert_eq!(self.group.state, State::Stable);
        (first, second)
    }
}

#[test]
fn the_first_member_leads_and_learns_of_the_others() {
    let mut bench = Bench::default();
    let (first, second) = bench.stable();
    assert_eq!((first.leader.as_str(), second.leader.as_str()), (&*first.member_id, &*first.member_id));
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    assert_eq!((first.generation, first.protocol.as_str()), (2, "range"));
    assert_eq!((bench.heartbeat(&first), bench.heartbeat(&second)), (Ok(()), Ok(())));
}

#[test]
fn a_member_is_given_its_id_before_it_joins() {
    let mut bench = Bench::default();
    let unknown = bench.join(Joining { needs_known_id: true, ..joining("", None) });
    let (error, id) = bench.join_error(unknown);
    assert_eq!(error, ResponseError::MemberIdRequired);
    let known = bench.join(Joining { needs_known_id: true, ..joining(&id, None) });
    assert_eq!(bench.joined(known).member_id, id);
    let stranger = bench.join(joining("nobody", None));
    assert_eq!(bench.join_error(stranger).0, ResponseError::UnknownMemberId);
}

#[test]
fn an_id_that_is_never_used_does_not_hold_a_rebalance_up() {
    let mut bench = Bench::default();
    let unknown = bench.join(Joining { needs_known_id: true, ..joining("", None) });
    bench.join_error(unknown);
    let other = bench.join(joining("", None));
    assert_eq!(bench.answer(other), None, "the other one is expected");
    bench.pass(SESSION);
    assert_eq!(bench.joined(other).generation, 1);
}

#[test]
fn a_rebalance_tells_the_members_and_waits_for_them() {
    let mut bench = Bench::default();
    let (first, second) = bench.stable();
    let third = bench.join(joining("", None));
    assert_eq!(bench.heartbeat(&first), Err(ResponseError::RebalanceInProgress));
    let late = bench.sync(&second, &[]);
    assert_eq!(bench.assignment(late), Err(ResponseError::RebalanceInProgress));
    let again = [bench.join(joining(&first.member_id, None)), bench.join(joining(&second.member_id, None))];
    let generations = [again[0], again[1], third].map(|ticket| bench.joined(ticket).generation);
    assert_eq!(generations, [3, 3, 3]);
    assert_eq!(bench.heartbeat(&first), Err(ResponseError::IllegalGeneration), "of the generation before");
}

#[test]
fn who_does_not_come_back_is_left_behind_when_the_time_is_over() {
    let mut bench = Bench::default();
    let (first, second) = bench.stable();
    let third = bench.join(joining("", None));
    let again = bench.join(joining(&second.member_id, None));
    // Heartbeats keep the first member's session; it just does not join.
    for _ in 0..REBALANCE.as_secs() {
        assert_eq!(bench.answer(third), None);
        assert_eq!(bench.heartbeat(&first), Err(ResponseError::RebalanceInProgress));
        bench.pass(SECOND);
    }
    let (second, third) = (bench.joined(again), bench.joined(third));
    assert_eq!(second.leader, third.leader);
    assert_ne!(second.leader, first.member_id);
    assert_eq!(bench.heartbeat(&first), Err(ResponseError::UnknownMemberId));
}

#[test]
fn who_asks_again_gets_the_answer_and_the_request_before_is_not_left_waiting() {
    let mut bench = Bench::default();
    let (first, second) = bench.stable();
    let lost =
        bench.join(Joining { protocols: vec![("range".to_owned(), Bytes::new())], ..joining(&second.member_id, None) });
    let again = bench.join(joining(&second.member_id, None));
    assert_eq!(bench.join_error(lost), (ResponseError::RebalanceInProgress, second.member_id.clone()));
    let leader = bench.join(joining(&first.member_id, None));
    let (first, second) = (bench.joined(leader), bench.joined(again));
    let (lost, again) = (bench.sync(&second, &[]), bench.sync(&second, &[]));
    assert_eq!(bench.assignment(lost), Err(ResponseError::RebalanceInProgress));
    bench.sync(&first, &[(&second.member_id, "all")]);
    assert_eq!(bench.assignment(again).expect("assigned"), "all");
}

#[test]
fn a_silent_member_is_taken_for_gone_after_its_session() {
    let mut bench = Bench::default();
    let (first, second) = bench.stable();
    for _ in 0..SESSION.as_secs() - 1 {
        bench.pass(SECOND);
        assert_eq!(bench.heartbeat(&first), Ok(()));
    }
    bench.pass(SECOND);
    assert_eq!(bench.heartbeat(&first), Err(ResponseError::RebalanceInProgress));
    let again = bench.join(joining(&first.member_id, None));
    assert_eq!(bench.joined(again).members.len(), 1);
    assert_eq!(bench.heartbeat(&second), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_taken_for_gone() {
    let mut bench = Bench::default();
    let lone = bench.join(joining("", None));
    let lone = bench.joined(lone);
    for _ in 0..REBALANCE.as_secs() {
        assert_eq!(bench.heartbeat(&lone), Ok(()));
        bench.pass(SECOND);
    }
    assert_eq!((bench.heartbeat(&lone), bench.group.state), (Err(ResponseError::UnknownMemberId), State::Empty));
}

#[test]
fn a_member_that_leaves_is_replaced_at_once() {
    let mut bench = Bench::default();
    let (first, second) = bench.stable();
    assert_eq!(bench.group.leave(bench.now, &first.member_id, None), Ok(()));
    assert_eq!(bench.group.leave(bench.now, &first.member_id, None), Err(ResponseError::UnknownMemberId));
    let again = bench.join(joining(&second.member_id, None));
    let leader = bench.joined(again);
    assert_eq!((leader.leader, leader.members.len()), (second.member_id.clone(), 1));
    assert_eq!(bench.group.leave(bench.now, &second.member_id, None), Ok(()));
    assert_eq!(bench.group.state, State::Empty);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_its_old_self_is_fenced() {
    let mut bench = Bench::default();
    let old = bench.join(joining("", Some("pod-1")));
    let old = bench.joined(old);
    let synced = bench.sync(&old, &[(&old.member_id, "all")]);
    assert_eq!(bench.assignment(synced).expect("assigned"), "all");
    let new = bench.join(joining("", Some("pod-1")));
    let new = bench.joined(new);
    assert_eq!((new.generation, new.skips_assignment), (old.generation, true));
    let synced = bench.sync(&new, &[]);
    assert_eq!(bench.assignment(synced).expect("assigned"), "all");
    let fenced = Peer { member_id: old.member_id, instance_id: Some("pod-1".to_owned()), generation: old.generation };
    assert_eq!(bench.group.heartbeat(bench.now, &fenced), Err(ResponseError::FencedInstanceId));
}

#[test]
fn offsets_are_committed_by_members_of_the_generation_or_while_nobody_is_one() {
    let nobody = Peer { generation: -1, ..Peer::default() };
    let mut bench = Bench::default();
    assert_eq!(bench.group.check_commit(bench.now, &nobody), Ok(()));
    let (first, _) = bench.stable();
    assert_eq!(bench.group.check_commit(bench.now, &nobody), Err(ResponseError::UnknownMemberId));
    let member = Peer { member_id: first.member_id, generation: first.generation, instance_id: None };
    assert_eq!(bench.group.check_commit(bench.now, &member), Ok(()));
    let before = Peer { generation: member.generation - 1, ..member };
    assert_eq!(bench.group.check_commit(bench.now, &before), Err(ResponseError::IllegalGeneration));
}

#[test]
fn members_without_a_common_protocol_do_not_share_a_group() {
    let mut bench = Bench::default();
    bench.stable();
    let other = |protocols| Joining { protocols, ..joining("", None) };
    for protocols in [vec![], vec![("sticky".to_owned(), Bytes::new())]] {
        let refused = bench.join(other(protocols));
        assert_eq!(bench.join_error(refused).0, ResponseError::InconsistentGroupProtocol);
    }
    assert_eq!(bench.group.state, State::Stable);
}

#[test]
fn a_restart_gives_every_member_a_whole_session() {
    let mut bench = Bench::default();
    let (first, second) = bench.stable();
    bench.now += 3 * SESSION;
    bench.group.reconnect(bench.now);
    bench.pass(SESSION - SECOND);
    assert_eq!((bench.heartbeat(&first), bench.heartbeat(&second)), (Ok(()), Ok(())));
}
