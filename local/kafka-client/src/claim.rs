//! Whose a consumer group is. Two runs on one group take each other's records, and neither's account is true.
//!
//! A mapping assigns its partitions by hand, so its group has no members that Kafka could show, and must not have any: Kafka takes no
//! offsets from outside of a group with members. Who uses it is said by a membership in a second group beside it, `GROUP.runs`, whose
//! members read nothing. Kafka forgets a member that was killed when its session times out; nothing has to be cleaned up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use crate::error::ClusterError;
use crate::parting::Parting;
use crate::watcher::{Watcher, reach};
use crate::{KafkaAccess, REACH_LIMIT};

/// How long Kafka remembers a run that was killed: the least that it allows by default.
/// <https://kafka.apache.org/documentation/#brokerconfigs_group.min.session.timeout.ms>
const SESSION: Duration = Duration::from_secs(6);
const HEARTBEAT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
const QUESTION: Duration = Duration::from_secs(2);
/// How long leaving may hold up its owner.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// A consumer group that a run means to use.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The topic that it reads.
    pub topic: String,
}

impl Group {
    /// The group that shows who uses it.
    fn of_runs(&self) -> String {
        format!("{}.runs", self.name)
    }
}

/// Makes sure that nobody uses a group. Blocks for up to 8 s.
///
/// # Errors
/// [`ClusterError::GroupTaken`] when somebody does; another when Kafka does not answer or refuses us.
pub fn check_free(access: &KafkaAccess, groups: &[Group]) -> Result<(), ClusterError> {
    let consumer = Parting::from(reach(access)?.0);
    for group in groups {
        for name in [group.of_runs(), group.name.clone()] {
            // Whoever may not see a group is told so by the claim.
            let members = members(&consumer, &name).unwrap_or_default();
            if let Some(holder) = members.first() {
                return Err(taken(access, group, holder));
            }
        }
    }
    Ok(())
}

/// A membership that lasts until it is dropped, or is forgotten after `SESSION` when its process is killed. Dropping it leaves the
/// group, so that the next run may have it at once; that blocks for some 100 ms.
#[derive(Debug)]
pub struct Claim {
    leave: Arc<AtomicBool>,
    left: Mutex<Receiver<()>>,
}

/// What became of a claim at first.
#[derive(Debug)]
pub enum Claimed {
    /// Nobody else is there.
    Alone,
    /// We may not see or not join the group that shows it.
    Unknown(String),
}

impl Claim {
    /// Joins in the background; the second value says when it is known whether we are alone.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn begin(
        access: &KafkaAccess,
        group: &Group,
    ) -> Result<(Self, oneshot::Receiver<Result<Claimed, ClusterError>>), ClusterError> {
        let watcher = Watcher::default();
        let us = us();
        let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
        let consumer: BaseConsumer<Watcher> = access
            .client()
            .set("client.id", &us)
            .set("group.id", group.of_runs())
            .set("session.timeout.ms", SESSION.as_millis().to_string())
            .set("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string())
            .set("enable.auto.commit", "false")
            .create_with_context(watcher.clone())
            .map_err(unusable)?;
        consumer.subscribe(&[&group.topic]).map_err(unusable)?;
        let membership =
            Membership { consumer: consumer.into(), watcher, us, access: access.clone(), group: group.clone() };
        let leave = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&leave);
        let (known, outcome) = oneshot::channel();
        let (leaving, left) = channel();
        let member = thread::Builder::new().name("kafka-claim".to_owned()).spawn(move || {
            membership.last(known, &asked);
            drop(leaving);
        });
        member.map_err(|source| ClusterError::Threads { name: "kafka-claim", source })?;
        Ok((Self { leave, left: Mutex::new(left) }, outcome))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        // Nothing is ever sent: the thread has ended, or takes too long.
        let left = self.left.get_mut().unwrap_or_else(PoisonError::into_inner);
        left.recv_timeout(LEAVE_LIMIT).unwrap_or_default();
    }
}

struct Membership {
    consumer: Parting<BaseConsumer<Watcher>>,
    watcher: Watcher,
    us: String,
    access: KafkaAccess,
    group: Group,
}

impl Membership {
    fn last(self, known: oneshot::Sender<Result<Claimed, ClusterError>>, leave: &AtomicBool) {
        let until = Instant::now() + REACH_LIMIT;
        let outcome = loop {
            self.serve();
            match self.look() {
                Some(outcome) => break outcome,
                None if leave.load(Ordering::Relaxed) => return,
                None if until <= Instant::now() => break Ok(Claimed::Unknown(self.unseen())),
                None => {}
            }
        };
        // Nobody waits any more: then nobody needs to know.
        known.send(outcome).unwrap_or_default();
        while !leave.load(Ordering::Relaxed) {
            self.serve();
        }
    }

    /// Takes part in the group's protocol; there are no records. What Kafka complains about shows in what can be seen of the group.
    fn serve(&self) {
        drop(self.consumer.poll(POLL));
    }

    /// Whether we are alone, once Kafka shows us: of two that come at the same time the later one sees both.
    fn look(&self) -> Option<Result<Claimed, ClusterError>> {
        if self.watcher.is_group_refused() {
            return Some(Ok(Claimed::Unknown(self.unseen())));
        }
        let members = match members(&self.consumer, &self.group.of_runs()) {
            Ok(members) => members,
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                return Some(Ok(Claimed::Unknown(self.unseen())));
            }
            Err(_) => return None,
        };
        let (ours, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.id.starts_with(&self.us));
        match (&ours[..], &others[..]) {
            ([], _) => None,
            ([_], []) => Some(Ok(Claimed::Alone)),
            ([other, ..], []) | (_, [other, ..]) => Some(Err(taken(&self.access, &self.group, other))),
        }
    }

    fn unseen(&self) -> String {
        format!(
            "whether another run uses consumer group {} cannot be seen; grant {} the right Read on group {}",
            self.group.name,
            self.access.who(),
            self.group.of_runs()
        )
    }
}

/// One of a group's members.
struct Member {
    /// Begins with the name that its client gave.
    id: String,
    client: String,
    host: String,
}

fn members(consumer: &BaseConsumer<Watcher>, group: &str) -> Result<Vec<Member>, KafkaError> {
    let list = consumer.fetch_group_list(Some(group), QUESTION)?;
    let members = list.groups().iter().filter(|found| found.name() == group).flat_map(|found| found.members());
    let member = |member: &rdkafka::groups::GroupMemberInfo| Member {
        id: member.id().to_owned(),
        client: member.client_id().to_owned(),
        host: member.client_host().trim_start_matches('/').to_owned(),
    };
    Ok(members.map(member).collect())
}

fn taken(access: &KafkaAccess, group: &Group, holder: &Member) -> ClusterError {
    let client = if holder.client.is_empty() { &holder.id } else { &holder.client };
    let from = if holder.host.is_empty() { String::new() } else { format!(" from {}", holder.host) };
    ClusterError::GroupTaken {
        bootstrap: access.bootstrap.clone(),
        group: group.name.clone(),
        holder: format!("{client}{from}"),
        forgotten_after_s: SESSION.as_secs(),
    }
}

/// What Kafka shows of us to others.
fn us() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
    format!("centinela-up-{}@{host}", std::process::id())
}
