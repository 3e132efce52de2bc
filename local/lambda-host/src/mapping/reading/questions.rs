//! What is asked of the broker and the client while records are read.
//!
//! Questions run beside the mapping's task and their answers come back as values.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio::task::JoinSet;

use super::Reading;
use crate::mapping::error::{MappingError, came_back};
use crate::mapping::look::Look;
use crate::mapping::partition::Partition;
use crate::mapping::source::Source;

/// Between two looks at the topic: where it ends, and whether it has further partitions.
pub(super) const TOPIC_LOOK: Duration = Duration::from_secs(1);
/// Between two questions to the client how far it is, while there is more on the topic than it has handed out.
const CLIENT_LOOK: Duration = Duration::from_millis(100);
/// A reader that stands still for this long although records wait is started anew. Every question to the broker has been answered or
/// given up by then.
const STILL_MAX: Duration = Duration::from_secs(15);

/// An answer to a question.
pub(in crate::mapping) enum Answer {
    /// Where the partitions end, and where those begin that are new.
    Topic(Result<(Vec<i64>, Vec<i64>), MappingError>),
    /// How far the client is.
    Client(Result<Vec<Option<i64>>, MappingError>),
    /// What the partitions hold, and where reading stood when that was asked.
    Ranges {
        read_next: Vec<i64>,
        ranges: Result<Vec<(i64, i64)>, MappingError>,
    },
    ReadAnew(Result<(), MappingError>),
}

impl Reading {
    /// When there is something to ask or to commit.
    pub(in crate::mapping) fn next_due(&self) -> Option<Instant> {
        let commit = self.is_dirty().then_some(self.commit_not_before);
        let client = if self.is_behind() { self.client_look.due() } else { None };
        let ranges = if self.out_of_range { self.ranges_look.due() } else { None };
        let brokers = self.source.brokers_due();
        [commit, self.topic_look.due(), client, ranges, brokers].into_iter().flatten().min()
    }

    pub(in crate::mapping) fn ask_what_is_due(&mut self) {
        self.source.find_brokers();
        self.look_at_the_topic();
        self.look_behind_the_last_records();
        self.look_for_what_is_gone();
    }

    /// The next answer; waits for ever while nothing was asked.
    pub(in crate::mapping) async fn next_answer(&mut self) -> Option<Answer> {
        match self.questions.join_next().await {
            Some(answer) => came_back(answer),
            None => std::future::pending().await,
        }
    }

    /// Waits for the answers to all questions.
    pub(in crate::mapping) async fn hear_the_rest(&mut self) {
        while let Some(answer) = self.questions.join_next().await {
            self.hear(came_back(answer));
        }
    }

    pub(in crate::mapping) fn hear(&mut self, answer: Option<Answer>) {
        match answer {
            Some(Answer::Topic(look)) => self.looked(look),
            Some(Answer::Client(positions)) => self.read_up_to(positions),
            Some(Answer::Ranges { read_next, ranges }) => self.skip_what_is_gone(&read_next, ranges),
            // The reader stands still, which will be seen.
            Some(Answer::ReadAnew(Err(error))) => {
                tracing::warn!(topic = self.source.topic(), %error, "a partition's reader was not started anew");
            }
            Some(Answer::ReadAnew(Ok(()))) | None => {}
        }
    }

    /// Asks the broker now and then where the topic ends, and whether it has further partitions. The client alone would not do: it
    /// learns an end from the answer to a fetch, and none comes while it is held back or stands still.
    fn look_at_the_topic(&mut self) {
        if !self.topic_look.begin() {
            return;
        }
        let (source, known) = (Arc::clone(&self.source), self.partitions.len());
        let look = async move {
            let ends = source.ends().await?;
            let starts = if ends.len() > known { source.join(known..ends.len()).await? } else { Vec::new() };
            Ok((ends, starts))
        };
        self.questions.spawn(look.map(Answer::Topic));
    }

    fn looked(&mut self, look: Result<(Vec<i64>, Vec<i64>), MappingError>) {
        self.topic_look = Look::due_in(TOPIC_LOOK);
        for ((what, error), times) in self.shared.over() {
            tracing::warn!(topic = self.source.topic(), what, error, times, "over: it has not come again");
        }
        let (ends, starts) = match look {
            Ok(look) => look,
            // The next look asks again.
            Err(error) => {
                tracing::debug!(topic = self.source.topic(), %error, "the topic's ends were not told");
                return;
            }
        };
        self.wake_readers(&ends);
        if !starts.is_empty() {
            tracing::info!(topic = self.source.topic(), added = starts.len(), "the topic has further partitions");
            self.take_partitions(&starts);
        }
    }

    /// Starts the readers anew that stand still although the broker answers and has records for them.
    fn wake_readers(&mut self, ends: &[i64]) {
        let now = Instant::now();
        for (partition, end) in self.partitions.iter_mut().zip(ends) {
            let still = partition.still_for(*end, now);
            if still < STILL_MAX {
                continue;
            }
            let (id, read_next) = (partition.id, partition.read_next());
            tracing::warn!(
                topic = self.source.topic(),
                partition = id,
                read_next,
                end,
                still_s = still.as_secs(),
                "nothing comes from a partition although records wait; its reader is started anew"
            );
            self.shared.counters().totals.restarted_readers += 1;
            partition.restarted();
            read_anew(&mut self.questions, &self.source, id, read_next);
        }
    }

    /// Asks the client how far it is, where the topic goes on behind the last record that it handed out.
    fn look_behind_the_last_records(&mut self) {
        if !self.is_behind() || !self.client_look.begin() {
            return;
        }
        let (source, partitions) = (Arc::clone(&self.source), self.partitions.len());
        self.questions.spawn(async move { Answer::Client(source.read_up_to(partitions).await) });
    }

    fn is_behind(&self) -> bool {
        let ends = self.gauges.iter().map(|gauge| gauge.end.load(Ordering::Relaxed));
        self.partitions.iter().zip(ends).any(|(partition, end)| partition.expects_up_to(end))
    }

    fn read_up_to(&mut self, positions: Result<Vec<Option<i64>>, MappingError>) {
        self.client_look = Look::due_in(CLIENT_LOOK);
        match positions {
            // What the client has handed out by then was read before this answer: both come to this task.
            Ok(positions) => self.partitions.iter_mut().zip(positions).for_each(|(partition, position)| {
                if let Some(position) = position {
                    partition.read_up_to(position);
                }
            }),
            Err(error) => {
                tracing::debug!(topic = self.source.topic(), %error, "the client did not say how far it is")
            }
        }
    }

    /// Asks what the partitions hold when the broker did not have what was asked for.
    fn look_for_what_is_gone(&mut self) {
        if !self.out_of_range || !self.ranges_look.begin() {
            return;
        }
        self.out_of_range = false;
        let source = Arc::clone(&self.source);
        let read_next: Vec<i64> = self.partitions.iter().map(Partition::read_next).collect();
        self.questions.spawn(async move {
            let ranges = source.ranges(read_next.len()).await;
            Answer::Ranges { read_next, ranges }
        });
    }

    fn skip_what_is_gone(&mut self, asked_at: &[i64], ranges: Result<Vec<(i64, i64)>, MappingError>) {
        self.ranges_look = Look::due_in(CLIENT_LOOK);
        let ranges = match ranges {
            Ok(ranges) => ranges,
            Err(error) => {
                tracing::debug!(topic = self.source.topic(), %error, "what the partitions hold was not told");
                self.out_of_range = true;
                return;
            }
        };
        let asked = asked_at.iter().zip(&ranges);
        for (partition, (asked_at, (first, end))) in self.partitions.iter_mut().zip(asked) {
            let (id, read_next) = (partition.id, partition.read_next());
            if (*first..=*end).contains(&read_next) {
                continue;
            }
            // What the client had already came meanwhile, and there may be more of it.
            if read_next != *asked_at {
                self.out_of_range = true;
                continue;
            }
            if read_next < *first {
                self.source.skip(id, read_next..*first);
                partition.read_up_to(*first);
            } else {
                tracing::warn!(
                    topic = self.source.topic(),
                    partition = id,
                    read_next,
                    end,
                    "the partition ends before what was read of it: it was recreated or cut; starting at its first record"
                );
                partition.begin_anew(*first);
            }
            read_anew(&mut self.questions, &self.source, id, *first);
        }
    }
}

fn read_anew(questions: &mut JoinSet<Answer>, source: &Arc<Source>, partition: i32, offset: i64) {
    let source = Arc::clone(source);
    questions.spawn(async move { Answer::ReadAnew(source.read_anew(partition, offset).await) });
}
