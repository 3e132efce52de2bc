//! What must be kept, and for how long: policies of deletion, retention of topics and logs, lifecycle of buckets, backups of tables.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::model::{Function, Resource, Topic, whole};
use super::rules::retention;
use super::schedule::{DAY_SECONDS, HOUR_SECONDS, comes_every, minutes_of_an_hour};
use super::{Infrastructure, TriggerSource};

/// Kinds that hold what cannot be made again.
const STATEFUL: [&str; 8] = [
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::MSK::Cluster",
    "AWS::MSK::Topic",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
];
const DAY: Duration = Duration::from_secs(86_400);
/// The least days that a topic keeps its records. What is to be decided waits out a week of trouble, actions a month; what is archived
/// waits out a long weekend without an archive.
const KEPT_DAYS: [(&str, u32); 6] =
    [("transactions", 7), ("user_actions", 30), ("events", 3), ("approved", 3), ("blocked", 3), ("dead-letters", 14)];
/// Of topics that are none of these.
const KEPT_DAYS_ELSE: u32 = 3;
/// S3 refuses these classes before this day. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html>
const INFREQUENT: [&str; 2] = ["STANDARD_IA", "ONEZONE_IA"];
const INFREQUENT_DAYS: i64 = 30;
/// The lake is hot for a week and warm for a month.
const HOT_DAYS: i64 = 7;
const WARM_DAYS: i64 = 30;
/// So long what was replaced or deleted in the lake may stay.
const OLD_DAYS_MAX: i64 = 30;
/// Variables that name a table, and the attribute by which the code lets its items expire.
const EXPIRING: [(&str, &str); 3] = [("LABEL_TABLE", "ttl"), ("DECISION_TABLE", "x"), ("METRIC_TABLE", "x")];

/// A query of Athena may last so long. <https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>
const QUERY_SECONDS: u64 = 1_800;

/// What would be lost, or kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum KeepingRule {
    #[error("would be deleted with its stack: DeletionPolicy must be RetainExceptOnCreate or Retain, is {0}")]
    DeletedWithStack(String),
    #[error("would be deleted when an update replaces it: UpdateReplacePolicy must be Retain, is {0}")]
    DeletedByReplacement(String),
    #[error("topic \"{topic}\" keeps records for {kept:?}, must be at least {days} days")]
    KeptTooShort { topic: String, kept: Duration, days: u32 },
    #[error("has no point-in-time recovery")]
    NoRecovery,
    #[error("can be deleted by one call in this environment: DeletionProtectionEnabled must be on")]
    NotProtected,
    #[error(
        "items have their time to live in attribute \"{wanted}\", the table looks at \"{found}\": they would stay for ever"
    )]
    NeverExpires { wanted: &'static str, found: String },
    #[error("lets items expire by \"{0}\", and the function that owns them writes no such attribute")]
    ExpiresByNothing(String),
    #[error("writes its logs to \"{0}\", which no stack declares: AWS would make it, without a key and for ever")]
    UndeclaredLogs(String),
    #[error("keeps no old versions: what is overwritten is gone")]
    NotVersioned,
    #[error(
        "keeps old versions for {0} days: an erased person's rows are among them, and must be gone after {OLD_DAYS_MAX}"
    )]
    OldVersionsStay(i64),
    #[error(
        "keeps the marker of every deleted object for ever, and every list reads past them: set ExpiredObjectDeleteMarker"
    )]
    DeleteMarkersStay,
    #[error("is neither the lake nor versioned, and no lifecycle rule expires what is in it")]
    KeptForEver,
    #[error("lifecycle rule \"{0}\" is not enabled")]
    RuleOff(String),
    #[error("lifecycle rule \"{rule}\" moves objects to {class} on day {day}, {why}")]
    MovedTooEarly { rule: String, class: String, day: i64, why: &'static str },
    #[error("lifecycle rule \"{rule}\" expires objects on day {expires}, before it moves them on day {moves}")]
    ExpiresBeforeMove { rule: String, expires: i64, moves: i64 },
    #[error("lifecycle rule \"{rule}\" deletes the lake's files after {days} days")]
    LakeExpires { rule: String, days: i64 },
    #[error("no lifecycle rule moves the lake's files to a colder class")]
    NeverColder,
    #[error("keeps records for {found} hours, fewer than a mapping's maximum record age of {age:?}")]
    StreamTooShort { found: i64, age: Duration },
    #[error("nothing starts it once {every}, so {what}")]
    CompactsTooRarely { every: &'static str, what: &'static str },
    #[error("divides an hour into {slices} slices for {shares} runs: some would have none, and the others too much")]
    FewerSlicesThanShares { slices: u32, shares: u32 },
    #[error("share {share} of {shares} is never compacted: no schedule is due in that part of an hour")]
    ShareWithoutRun { share: u64, shares: u32 },
    #[error("deletes what it replaced after {found} s, while whoever began before may read it for {wanted} s")]
    DeletedWhileRead { found: u64, wanted: u64 },
    #[error("keeps messages for {0} seconds, fewer than the 14 days in which somebody looks")]
    QueueTooShort(i64),
}

/// What is wrong with how one resource is kept.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<KeepingRule> {
    let mut rules = Vec::new();
    if STATEFUL.contains(&resource.kind.as_str()) {
        let said = |policy: &Option<String>| policy.clone().unwrap_or_else(|| "not set".to_owned());
        if !matches!(resource.deletion_policy.as_deref(), Some("Retain" | "RetainExceptOnCreate")) {
            rules.push(KeepingRule::DeletedWithStack(said(&resource.deletion_policy)));
        }
        if resource.update_replace_policy.as_deref() != Some("Retain") {
            rules.push(KeepingRule::DeletedByReplacement(said(&resource.update_replace_policy)));
        }
    }
    match resource.kind.as_str() {
        "AWS::MSK::Topic" => rules.extend(topic_rules(resource, infrastructure)),
        "AWS::DynamoDB::Table" => rules.extend(table_rules(resource, infrastructure)),
        "AWS::S3::Bucket" => rules.extend(bucket_rules(resource, infrastructure)),
        "AWS::Lambda::Function" => {
            rules.extend(log_rules(resource, infrastructure));
            rules.extend(compaction_rules(resource, infrastructure));
        }
        "AWS::Kinesis::Stream" => rules.extend(stream_rules(resource, infrastructure)),
        "AWS::SQS::Queue" => {
            let kept = resource.integer("/MessageRetentionPeriod").unwrap_or(345_600);
            rules.extend((kept < 1_209_600).then_some(KeepingRule::QueueTooShort(kept)));
        }
        _ => {}
    }
    rules
}

fn topic_rules(resource: &Resource, infrastructure: &Infrastructure) -> Option<KeepingRule> {
    let of = |topic: &&Topic| topic.file == resource.file && topic.logical_id == resource.logical_id;
    let topic = infrastructure.topics.iter().find(of)?;
    let days = KEPT_DAYS.iter().find(|(name, _)| *name == topic.name).map_or(KEPT_DAYS_ELSE, |(_, days)| *days);
    let kept = retention(topic)?;
    (kept < days * DAY).then(|| KeepingRule::KeptTooShort { topic: topic.name.clone(), kept, days })
}

fn table_rules(table: &Resource, infrastructure: &Infrastructure) -> Vec<KeepingRule> {
    let mut rules = Vec::new();
    if !table.is_on("/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled") {
        rules.push(KeepingRule::NoRecovery);
    }
    if infrastructure.is_for_customers() && !table.is_on("/DeletionProtectionEnabled") {
        rules.push(KeepingRule::NotProtected);
    }
    let name = table.text("/TableName").unwrap_or_default();
    let found = table.text("/TimeToLiveSpecification/AttributeName");
    let found = found.filter(|_| table.is_on("/TimeToLiveSpecification/Enabled"));
    let variables = infrastructure.functions.iter().flat_map(|function| &function.environment);
    let named: Vec<&str> =
        variables.filter(|(_, table)| *table == name).map(|(variable, _)| variable.as_str()).collect();
    match (EXPIRING.iter().find(|(variable, _)| named.contains(variable)), found) {
        (Some(&(_, wanted)), found) if found != Some(wanted) => {
            let found = found.unwrap_or("nothing").to_owned();
            rules.push(KeepingRule::NeverExpires { wanted, found });
        }
        (None, Some(found)) => rules.push(KeepingRule::ExpiresByNothing(found.to_owned())),
        _ => {}
    }
    rules
}

fn log_rules(function: &Resource, infrastructure: &Infrastructure) -> Option<KeepingRule> {
    let group = function.text("/LoggingConfig/LogGroup").map(str::to_owned);
    let group = group.unwrap_or_else(|| format!("/aws/lambda/{}", function.text("/FunctionName").unwrap_or_default()));
    let mut groups = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::Logs::LogGroup");
    let is_declared = groups.any(|declared| declared.text("/LogGroupName") == Some(&group));
    (!is_declared).then_some(KeepingRule::UndeclaredLogs(group))
}

/// Of the function that compacts: it is known by how long it leaves an hour open.
fn compaction_rules(declared: &Resource, infrastructure: &Infrastructure) -> Vec<KeepingRule> {
    let function = infrastructure.declared_function(declared);
    let Some(function) = function.filter(|one| one.environment.contains_key("CLOSE_AFTER_SECONDS")) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    let grace = function.environment.get("GRACE_SECONDS");
    let found: u64 = grace.and_then(|grace| grace.parse().ok()).unwrap_or(0);
    let wanted = QUERY_SECONDS.max(function.timeout.as_secs());
    rules.extend((found < wanted).then_some(KeepingRule::DeletedWhileRead { found, wanted }));
    let is_started = |for_erased: bool, seconds: u64| {
        infrastructure.triggers.iter().filter(|trigger| trigger.function == function.name).any(|trigger| {
            let asks = trigger.input.as_ref().is_some_and(|input| input.contains("\"erased\""));
            let TriggerSource::Schedule(expression) = &trigger.source else { return false };
            asks == for_erased && comes_every(expression).is_some_and(|every| every <= seconds)
        })
    };
    for (for_erased, seconds, every, what) in [
        (false, HOUR_SECONDS, "an hour", "hours that are closed wait, and readers with them"),
        (true, DAY_SECONDS, "a day for erased people", "their rows stay in the lake"),
    ] {
        rules.extend((!is_started(for_erased, seconds)).then_some(KeepingRule::CompactsTooRarely { every, what }));
    }
    rules.extend(share_rules(function, infrastructure));
    rules
}

/// Where runs share the slices of an hour, each share needs slices and a run: `Request::takes` in `shared/lake` says which run has which.
fn share_rules(function: &Function, infrastructure: &Infrastructure) -> Option<KeepingRule> {
    let variable = |name: &str| function.environment.get(name).and_then(|text| text.parse().ok()).unwrap_or(1);
    let (slices, shares): (u32, u32) = (variable("SLICES"), variable("SHARES"));
    if slices < shares {
        return Some(KeepingRule::FewerSlicesThanShares { slices, shares });
    }
    let mut due = Vec::new();
    for trigger in infrastructure.triggers.iter().filter(|trigger| trigger.function == function.name) {
        // A schedule with an event of its own does not say when it is due.
        if let (TriggerSource::Schedule(expression), None) = (&trigger.source, &trigger.input) {
            due.extend(minutes_of_an_hour(expression).unwrap_or_default());
        }
    }
    let share_at = |minute: &u64| minute * u64::from(shares) / 60;
    let without = (0..u64::from(shares)).find(|share| !due.iter().any(|minute| share_at(minute) == *share));
    without.filter(|_| shares > 1).map(|share| KeepingRule::ShareWithoutRun { share, shares })
}

fn stream_rules(stream: &Resource, infrastructure: &Infrastructure) -> Option<KeepingRule> {
    let found = stream.integer("/RetentionPeriodHours").unwrap_or(24);
    let name = stream.text("/Name").unwrap_or_default();
    let mappings = infrastructure.stream_mappings.iter().filter(|mapping| mapping.stream == name);
    let age = mappings.filter_map(|mapping| mapping.maximum_record_age).max()?;
    let hours = u64::try_from(found).unwrap_or(0);
    (age > Duration::from_secs(hours * 3_600)).then_some(KeepingRule::StreamTooShort { found, age })
}

fn bucket_rules(bucket: &Resource, infrastructure: &Infrastructure) -> Vec<KeepingRule> {
    let mut rules = Vec::new();
    let lifecycle = bucket.list("/LifecycleConfiguration/Rules");
    let is_versioned = bucket.text("/VersioningConfiguration/Status") == Some("Enabled");
    let name = bucket.text("/BucketName").unwrap_or_default();
    let is_lake = infrastructure
        .functions
        .iter()
        .any(|function| function.environment.get("LAKE_BUCKET").is_some_and(|bucket| bucket == name));
    if is_lake && !is_versioned {
        rules.push(KeepingRule::NotVersioned);
    }
    rules.extend(version_rules(lifecycle, is_lake, is_versioned));
    let mut coldest = 0;
    for rule in lifecycle {
        let id = rule.get("Id").and_then(Value::as_str).unwrap_or("without an id").to_owned();
        if rule.get("Status").and_then(Value::as_str) != Some("Enabled") {
            rules.push(KeepingRule::RuleOff(id.clone()));
        }
        let moves: Vec<(i64, &str)> = transitions(rule);
        rules.extend(moves.iter().filter_map(|move_| too_early(&id, *move_, is_lake)));
        let last = moves.iter().map(|(day, _)| *day).max().unwrap_or(0);
        let of_files = rule.get("Prefix").and_then(Value::as_str).is_none_or(|prefix| "lake/".starts_with(prefix));
        coldest = coldest.max(if of_files { last } else { 0 });
        if let Some(expires) = number(rule, "ExpirationInDays") {
            if expires <= last {
                rules.push(KeepingRule::ExpiresBeforeMove { rule: id.clone(), expires, moves: last });
            }
            let prefix = rule.get("Prefix").and_then(Value::as_str).unwrap_or_default();
            // Raw objects are gone once they are compacted; the files of the lake and what says which they are stay.
            let meets = |kept: &str| kept.starts_with(prefix) || prefix.starts_with(kept);
            if is_lake && (meets("lake/") || meets("manifests/")) {
                rules.push(KeepingRule::LakeExpires { rule: id, days: expires });
            }
        }
    }
    if is_lake && coldest == 0 {
        rules.push(KeepingRule::NeverColder);
    }
    rules
}

/// What stays although nobody can see it any more, or nobody looks.
fn version_rules(lifecycle: &[Value], is_lake: bool, is_versioned: bool) -> Vec<KeepingRule> {
    let mut rules = Vec::new();
    if is_lake {
        let old =
            lifecycle.iter().filter_map(|rule| number(rule.get("NoncurrentVersionExpiration")?, "NoncurrentDays"));
        let longest = old.max().filter(|days| *days > OLD_DAYS_MAX);
        rules.extend(longest.map(KeepingRule::OldVersionsStay));
    }
    // Compaction deletes what it has read, some millions of objects a month.
    let is_on = |value: &Value| *value == true || *value == "true";
    let sweeps = lifecycle.iter().any(|rule| rule.get("ExpiredObjectDeleteMarker").is_some_and(is_on));
    if is_lake && is_versioned && !sweeps {
        rules.push(KeepingRule::DeleteMarkersStay);
    }
    let expires = lifecycle.iter().any(|rule| number(rule, "ExpirationInDays").is_some());
    if !is_lake && !is_versioned && !expires {
        rules.push(KeepingRule::KeptForEver);
    }
    rules
}

fn transitions(rule: &Value) -> Vec<(i64, &str)> {
    let moves = rule.get("Transitions").and_then(Value::as_array).into_iter().flatten().chain(rule.get("Transition"));
    moves.filter_map(|one| Some((number(one, "TransitionInDays")?, one.get("StorageClass")?.as_str()?))).collect()
}

fn too_early(rule: &str, (day, class): (i64, &str), is_lake: bool) -> Option<KeepingRule> {
    let why = match class {
        class if INFREQUENT.contains(&class) && day < INFREQUENT_DAYS => "which S3 refuses before day 30",
        class if is_lake && class.starts_with("GLACIER") && day < WARM_DAYS => "while it is still warm, until day 30",
        // What must be restored first answers no question, and no erased person can be taken out of it.
        "GLACIER" | "DEEP_ARCHIVE" if is_lake => "where it must be restored before it answers: use GLACIER_IR",
        _ if is_lake && day < HOT_DAYS => "while it is still hot, until day 7",
        _ => return None,
    };
    Some(KeepingRule::MovedTooEarly { rule: rule.to_owned(), class: class.to_owned(), day, why })
}

fn number(value: &Value, name: &str) -> Option<i64> {
    whole(value.get(name)?)
}
