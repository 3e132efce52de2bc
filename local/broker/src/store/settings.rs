//! The settings that a topic may have: <https://kafka.apache.org/documentation/#topicconfigs>. All are kept and shown; those that the
//! broker heeds are in [`Settings`].

use std::collections::BTreeMap;

use super::retention::Retention;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    Integer(i64),
    Long(i64),
    Double,
    OneOf(&'static [&'static str]),
    ManyOf(&'static [&'static str]),
    List,
}

/// A setting that Apache Kafka knows.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
}

const fn setting(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { name, kind, default }
}

const CLEANUP_POLICY: &str = "cleanup.policy";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
const BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";

const COMPRESSIONS: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
const FOR_EVER: &str = "9223372036854775807";

/// All of them, with the numbers' least value.
pub(crate) const ALL: &[Setting] = &[
    setting(CLEANUP_POLICY, Kind::ManyOf(&["delete", "compact"]), "delete"),
    setting("compression.gzip.level", Kind::Integer(-1), "-1"),
    setting("compression.lz4.level", Kind::Integer(1), "9"),
    setting("compression.type", Kind::OneOf(COMPRESSIONS), "producer"),
    setting("compression.zstd.level", Kind::Integer(-131_072), "3"),
    setting("delete.retention.ms", Kind::Long(0), "86400000"),
    setting("file.delete.delay.ms", Kind::Long(0), "60000"),
    setting("flush.messages", Kind::Long(1), FOR_EVER),
    setting("flush.ms", Kind::Long(0), FOR_EVER),
    setting("follower.replication.throttled.replicas", Kind::List, ""),
    setting("index.interval.bytes", Kind::Integer(0), "4096"),
    setting("leader.replication.throttled.replicas", Kind::List, ""),
    setting("local.retention.bytes", Kind::Long(-2), "-2"),
    setting("local.retention.ms", Kind::Long(-2), "-2"),
    setting("max.compaction.lag.ms", Kind::Long(1), FOR_EVER),
    setting(MAX_MESSAGE_BYTES, Kind::Integer(0), "1048588"),
    setting(AFTER_MAX_MS, Kind::Long(0), "3600000"),
    setting(BEFORE_MAX_MS, Kind::Long(0), FOR_EVER),
    setting(TIMESTAMP_TYPE, Kind::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime"),
    setting("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    setting("min.compaction.lag.ms", Kind::Long(0), "0"),
    setting("min.insync.replicas", Kind::Integer(1), "1"),
    setting("preallocate", Kind::Boolean, "false"),
    setting("remote.log.copy.disable", Kind::Boolean, "false"),
    setting("remote.log.delete.on.disable", Kind::Boolean, "false"),
    setting("remote.storage.enable", Kind::Boolean, "false"),
    setting("retention.bytes", Kind::Long(i64::MIN), "-1"),
    setting("retention.ms", Kind::Long(-1), "604800000"),
    setting("segment.bytes", Kind::Integer(1_048_576), "1073741824"),
    setting("segment.index.bytes", Kind::Integer(4), "10485760"),
    setting("segment.jitter.ms", Kind::Long(0), "0"),
    setting("segment.ms", Kind::Long(1), "604800000"),
    setting("unclean.leader.election.enable", Kind::Boolean, "false"),
];

impl Setting {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|setting| setting.name == name)
    }

    fn takes(&self, value: &str) -> bool {
        let value = value.trim();
        match self.kind {
            Kind::Boolean => ["true", "false"].contains(&value.to_ascii_lowercase().as_str()),
            Kind::Integer(least) => value.parse::<i32>().is_ok_and(|value| i64::from(value) >= least),
            Kind::Long(least) => value.parse::<i64>().is_ok_and(|value| value >= least),
            Kind::Double => value.parse::<f64>().is_ok_and(|value| (0.0..=1.0).contains(&value)),
            Kind::OneOf(values) => values.contains(&value),
            Kind::ManyOf(values) => value.split(',').all(|value| values.contains(&value.trim())),
            Kind::List => true,
        }
    }
}

/// What a batch has to keep to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Records get the broker's time.
    pub(super) append_time: bool,
    /// Bytes of the largest batch.
    pub(super) batch_bytes: u64,
    /// How far before and behind the broker's time a record may be that keeps the producer's.
    ahead_ms: i64,
    behind_ms: i64,
}

impl Limits {
    pub(super) fn takes_times(&self, oldest_ms: i64, newest_ms: i64, now_ms: i64) -> bool {
        let (ahead_ms, behind_ms) = (newest_ms.saturating_sub(now_ms), now_ms.saturating_sub(oldest_ms));
        self.append_time || (ahead_ms <= self.ahead_ms && behind_ms <= self.behind_ms)
    }
}

/// The settings that a topic was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// # Errors
    /// With what is wrong, for a name that Apache Kafka does not know or a value that it does not take.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let known = Setting::named(name).ok_or_else(|| format!("unknown topic config name: {name}"))?;
        if !known.takes(value) {
            return Err(format!("invalid value {value} for configuration {name}"));
        }
        self.0.insert(name.to_owned(), value.trim().to_owned());
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// What was given, without the defaults.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        self.given(name).or_else(|| Some(Setting::named(name)?.default)).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.value(name).parse().unwrap_or_default()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            append_time: self.value(TIMESTAMP_TYPE) == "LogAppendTime",
            batch_bytes: self.number(MAX_MESSAGE_BYTES).unsigned_abs(),
            ahead_ms: self.number(AFTER_MAX_MS),
            behind_ms: self.number(BEFORE_MAX_MS),
        }
    }

    /// How long a partition that may take `disk_bytes` keeps its records.
    pub(super) fn retention(&self, disk_bytes: u64) -> Retention {
        Retention::new(|name| self.number(name), self.value(CLEANUP_POLICY), disk_bytes)
    }
}
