//! The faults by name.

use std::str::FromStr;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal, $what:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* #[doc = $what] $kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What happens.
            pub fn what(self) -> &'static str {
                match self { $(Self::$kind => $what,)* }
            }
        }
    };
}

kinds! {
    Kill => "kill", "a function process, or all of them, ends by SIGKILL";
    Timeout => "timeout", "an invocation is frozen until its function's timeout kills it";
    Freeze => "freeze", "a function process is frozen for a while and goes on";
    Again => "again", "a batch that succeeded is delivered once more";
    OldBatch => "old-batch", "a batch of long ago is delivered beside a new one";
    Twice => "twice", "two environments get the same batch at the same time";
    Overlap => "overlap", "a batch comes beside another that begins earlier and ends inside it";
    Split => "split", "a batch is delivered in two halves";
    AnswerLost => "answer-lost", "an invocation's answer is lost, so its batch is split in two and delivered again";
    Partial => "partial", "an answer that names records is read in the other of the two possible ways";
    Pause => "pause", "a partition is left alone while the others go on";
    Throttle => "throttle", "a call of DynamoDB, Kinesis or S3 is refused for its rate";
    Unprocessed => "unprocessed", "DynamoDB leaves some keys or statements of a call undone";
    Slow => "slow", "a call of DynamoDB, Kinesis or S3 takes 20 to 400 ms longer";
    ReplyLost => "reply-lost", "a call of DynamoDB, Kinesis or S3 is carried out and its connection is cut before the answer";
    Kinesis => "kinesis", "Kinesis refuses some records of a call";
    Publisher => "publisher", "a decision topic refuses records for a moment";
    Outage => "outage", "both decision topics refuse records for longer than twice the function's timeout";
    BrokerRestart => "broker-restart", "Kafka goes down and comes back with its records";
    BrokerFrozen => "broker-frozen", "Kafka answers nothing for a while and goes on, its connections open";
    Recreated => "topic-recreated", "the topic of the transactions is deleted and recreated, with its mappings disabled";
    PartitionsAdded => "partitions-added", "the topic of the transactions gets further partitions";
    Resharded => "resharded", "a shard of the stream is split in two, or two are merged";
}

/// Which faults are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds(Vec<Kind>);

impl Kinds {
    /// Whether a fault is asked for.
    pub fn has(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }

    /// All that are asked for.
    pub fn iter(&self) -> impl Iterator<Item = Kind> + '_ {
        self.0.iter().copied()
    }
}

/// Not the name of a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no fault; known are all, {}", Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownKind {
    name: String,
}

impl FromStr for Kinds {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut kinds = Vec::new();
        for name in text.split(',').map(str::trim) {
            match Kind::ALL.iter().find(|kind| kind.name() == name) {
                Some(kind) => kinds.push(*kind),
                None if name == "all" => kinds.extend(Kind::ALL),
                None => return Err(UnknownKind { name: name.to_owned() }),
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(Self(kinds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_alone_together_or_all() {
        let some: Kinds = "throttle,kill,kill".parse().unwrap();
        assert_eq!(some.iter().collect::<Vec<_>>(), [Kind::Kill, Kind::Throttle]);
        let all: Kinds = "all".parse().unwrap();
        assert_eq!(all.iter().count(), Kind::ALL.len());
        let error = "kill,thunder".parse::<Kinds>().unwrap_err().to_string();
        assert!(error.contains("`thunder`") && error.contains("broker-restart"), "{error}");
    }
}
