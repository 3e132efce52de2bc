//! Schedules of the stacks: what EventBridge does in production, on this machine's clock.
//!
//! A rule invokes its function asynchronously: a run that fails is tried again by Lambda after one minute and after two more, and is given
//! up then. <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use centinela_infra::{Trigger, TriggerSource};
use centinela_lambda_host::FunctionHost;
use serde_json::json;
use tokio::task::JoinSet;

/// Waits before the second and the third try of a run.
const RETRIES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];
const ACCOUNT: &str = "000000000000";

/// The schedules at work. Dropping them ends them.
#[derive(Default)]
pub(super) struct Schedules(JoinSet<()>);

impl Schedules {
    /// Lets a function run at the rate of its schedule, the first time after one period, as a rule does that was just created. False
    /// when this is no schedule that one machine can keep.
    pub(super) fn begin(&mut self, trigger: &Trigger, host: &Arc<FunctionHost>, region: &str) -> bool {
        let TriggerSource::Schedule(expression) = &trigger.source else { return false };
        let Some(every) = period(expression) else { return false };
        let (host, rule, region) = (Arc::clone(host), trigger.logical_id.clone(), region.to_owned());
        self.0.spawn(async move {
            let mut ticks = tokio::time::interval(every);
            // The first is at once.
            ticks.tick().await;
            for run in 1u64.. {
                ticks.tick().await;
                let payload = payload(&rule, &region, run, since_1970());
                // Beside the clock: the next run does not wait for the tries of this one.
                tokio::spawn(run_once(Arc::clone(&host), payload));
            }
        });
        true
    }
}

async fn run_once(host: Arc<FunctionHost>, payload: Bytes) {
    let function = host.spec().name.clone();
    for pause in RETRIES.map(Some).into_iter().chain([None]) {
        let Err(error) = host.invoke(payload.clone()).await else { return };
        match pause {
            Some(pause) => {
                let next_s = pause.as_secs();
                tracing::warn!(function, %error, next_s, "a scheduled run failed; it is tried again");
                tokio::time::sleep(pause).await;
            }
            None => tracing::error!(function, %error, "a scheduled run failed three times; the next one is the schedule's"),
        }
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
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// The date of a day since 1970 (Howard Hinnant's `civil_from_days`, for days from 1970 on).
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + 400 * era + u64::from(month <= 2), month, day)
}

/// The period of a `rate(VALUE UNIT)`; none of anything else, such as a `cron` expression, which one machine does not keep.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
fn period(expression: &str) -> Option<Duration> {
    let inner = expression.trim().strip_prefix("rate(")?.strip_suffix(')')?;
    let (value, unit) = inner.trim().split_once(' ')?;
    let seconds = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3_600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    let value: u32 = value.parse().ok().filter(|value| *value > 0)?;
    Some(Duration::from_secs(u64::from(value) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_period_and_anything_else_is_none() {
        assert_eq!(period("rate(1 hour)"), Some(Duration::from_secs(3_600)));
        assert_eq!(period("rate(5 minutes)"), Some(Duration::from_secs(300)));
        for other in ["rate(0 hours)", "rate(1 week)", "cron(0 * * * ? *)", "rate(hour)", ""] {
            assert_eq!(period(other), None, "{other}");
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
