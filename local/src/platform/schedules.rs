//! Schedules of the stacks: what EventBridge does in production, on this machine's clock.
//!
//! A rule invokes its function asynchronously.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use centinela_infra::schedule::cron_field;
use centinela_infra::{Trigger, TriggerSource};
use centinela_lambda_host::{FunctionHost, invoke_asynchronously};
use serde_json::json;
use tokio::task::JoinSet;

const ACCOUNT: &str = "000000000000";
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 86_400;

/// The schedules at work. Dropping them ends them.
#[derive(Default)]
pub(super) struct Schedules(JoinSet<()>);

impl Schedules {
    /// Lets a function run at the times of its schedule. False when this is no schedule that one machine can keep.
    pub(super) fn begin(&mut self, trigger: &Trigger, host: &Arc<FunctionHost>, region: &str) -> bool {
        let TriggerSource::Schedule(expression) = &trigger.source else { return false };
        let Some(timing) = Timing::parse(expression) else { return false };
        let (host, rule, region) = (Arc::clone(host), trigger.logical_id.clone(), region.to_owned());
        let input = trigger.input.clone();
        let begun = since_1970();
        self.0.spawn(async move {
            let mut last = begun;
            for run in 1u64.. {
                let due = timing.next_after(last, begun);
                tokio::time::sleep(due.saturating_sub(since_1970())).await;
                let event = input.clone().map_or_else(|| payload(&rule, &region, run, due), Bytes::from);
                // Beside the clock: the next run does not wait for the tries of this one.
                tokio::spawn(invoke_asynchronously(Arc::clone(&host), event, "its schedule"));
                // A machine that slept does not make up for what it missed.
                last = due.max(since_1970());
            }
        });
        true
    }
}

/// A scheduled event. <https://docs.aws.amazon.com/eventbridge/latest/ref/events-ref-scheduler.html>
fn payload(rule: &str, region: &str, run: u64, at: Duration) -> Bytes {
    let event = json!({
        "version": "0",
        "id": format!("{:08x}-0000-4000-8000-{run:012x}", at.as_secs() & 0xffff_ffff),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": timestamp(at.as_secs()),
        "region": region,
        "resources": [format!("arn:aws:events:{region}:{ACCOUNT}:rule/{rule}")],
        "detail": {},
    });
    event.to_string().into()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970 as `2026-11-28T12:00:00Z`.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = centinela_calendar::date(i64::try_from(days).unwrap_or(i64::MAX / 2));
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// When a schedule is due.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
#[derive(Clone, Debug, PartialEq, Eq)]
enum Timing {
    /// Again and again after this time, the first time one period after its rule was created.
    Every(Duration),
    /// Every day at these minutes of the day, in UTC, in order.
    Daily(Vec<u64>),
}

impl Timing {
    /// None of an expression that names days, or of none at all.
    fn parse(expression: &str) -> Option<Self> {
        let expression = expression.trim();
        match expression.strip_prefix("rate(") {
            Some(rate) => Self::rate(rate.strip_suffix(')')?.trim()),
            None => Self::cron(expression.strip_prefix("cron(")?.strip_suffix(')')?),
        }
    }

    fn rate(rate: &str) -> Option<Self> {
        let (value, unit) = rate.split_once(' ')?;
        let seconds = match unit.trim() {
            "minute" | "minutes" => 60,
            "hour" | "hours" => HOUR_S,
            "day" | "days" => DAY_S,
            _ => return None,
        };
        let value: u32 = value.parse().ok().filter(|value| *value > 0)?;
        Some(Self::Every(Duration::from_secs(u64::from(value) * seconds)))
    }

    /// Minutes, hours, day of the month, month, day of the week, year.
    fn cron(fields: &str) -> Option<Self> {
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days @ ..] = fields.as_slice() else { return None };
        if days.len() != 4 || days.iter().any(|day| !matches!(*day, "*" | "?")) {
            return None;
        }
        let (minutes, hours) = (cron_field(minutes, 60)?, cron_field(hours, 24)?);
        let at = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| hour * 60 + minute));
        let mut at: Vec<u64> = at.collect();
        at.sort_unstable();
        Some(Self::Daily(at))
    }

    /// The first time after `last`, of a rule that was created at `begun`; both since 1970.
    fn next_after(&self, last: Duration, begun: Duration) -> Duration {
        match self {
            Self::Every(period) => {
                let periods = last.saturating_sub(begun).as_secs() / period.as_secs().max(1) + 1;
                begun + period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))
            }
            Self::Daily(minutes) => {
                let (day, rest) = (last.as_secs() / DAY_S, last.as_secs() % DAY_S);
                let next = minutes.iter().find(|minute| **minute * 60 > rest).map(|minute| day * DAY_S + minute * 60);
                let first = minutes.first().copied().unwrap_or(0);
                Duration::from_secs(next.unwrap_or((day + 1) * DAY_S + first * 60))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon of 2026-11-28, and so many seconds more.
    fn noon(seconds: u64) -> Duration {
        Duration::from_secs(1_795_867_200 + seconds)
    }

    #[test]
    fn a_rate_counts_from_the_rules_creation() {
        let hourly = Timing::parse("rate(1 hour)").expect("a rate");
        assert_eq!(hourly.next_after(noon(5), noon(5)), noon(3_605));
        assert_eq!(hourly.next_after(noon(3_605), noon(5)), noon(7_205));
        assert_eq!(Timing::parse("rate(5 minutes)"), Some(Timing::Every(Duration::from_secs(300))));
    }

    #[test]
    fn a_cron_expression_without_days_is_kept() {
        let quarter_past = Timing::parse("cron(15 * * * ? *)").expect("minutes of every hour");
        assert_eq!(quarter_past.next_after(noon(0), noon(0)), noon(900));
        assert_eq!(quarter_past.next_after(noon(900), noon(0)), noon(4_500));
        let at_night = Timing::parse("cron(45 2 * * ? *)").expect("once a day");
        assert_eq!(at_night.next_after(noon(0), noon(0)), noon(12 * 3_600 + 2 * 3_600 + 45 * 60));
        assert_eq!(
            Timing::parse("cron(0/30 9-10,20 * * ? *)"),
            Some(Timing::Daily(vec![540, 570, 600, 630, 1_200, 1_230]))
        );
    }

    #[test]
    fn what_one_machine_cannot_keep_is_no_schedule() {
        for other in
            ["rate(0 hours)", "rate(1 week)", "cron(0 8 1 * ? *)", "cron(60 * * * ? *)", "cron(1 2)", "rate(hour)", ""]
        {
            assert_eq!(Timing::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_scheduled_event_says_when_it_was_due() {
        // By `date -u -d @...`.
        assert_eq!(timestamp(1_795_867_200), "2026-11-28T12:00:00Z");
        assert_eq!(timestamp(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        let event = payload("CompactLakeRule", "us-east-1", 7, Duration::from_secs(1_795_867_200));
        let event: serde_json::Value = serde_json::from_slice(&event).expect("it is JSON");
        assert_eq!(event["time"], "2026-11-28T12:00:00Z");
        assert_eq!(event["detail-type"], "Scheduled Event");
    }
}
