//! A run's metrics and alarms: evaluated as the run goes, and served for whoever collects them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_audit::tracker::Seen;
use centinela_local::MetricsPage;
use centinela_local::cloudwatch::State;
use centinela_local::exposition::Form;
use centinela_local::platform::{AlarmView, Platform};

use crate::failure::Failure;

/// Between two versions of the page.
const PAGE_EVERY: Duration = Duration::from_secs(2);
/// Alarms that are named; of more, how many.
const NAMED_MAX: usize = 4;
/// What the names of the stacks' alarms have in common, after the environment's prefix.
const COMMON: &str = "centinela-";
/// How the name of the alarm ends whose value is what a million decisions cost.
const COST: &str = "cost-per-million";
/// Its period is five minutes of the clock, the first of which begin before the run: what is paid by the hour would be shared by the
/// decisions of a part of it.
const COST_AFTER: Duration = Duration::from_secs(600);

/// The page of metrics and when it was put last.
pub struct Observed {
    page: MetricsPage,
    put: Option<Instant>,
}

impl Observed {
    /// Serves metrics on a port, or on a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(port: Option<u16>) -> Result<Self, Failure> {
        let page = MetricsPage::start(port.filter(|port| *port != 0)).await;
        Ok(Self { page: page.map_err(|error| Failure::usage(&error))?, put: None })
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        self.page.url()
    }

    /// Evaluates the alarms, if it is time to, and renews the page, if it is time to.
    pub fn look(&mut self, platform: &Platform, seen: impl FnOnce() -> Seen) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // What alarms say is published, and said as what is published; a state alone is shown in the view.
        platform.observe(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        if self.put.is_some_and(|put| put.elapsed() < PAGE_EVERY) {
            return;
        }
        self.put = Some(Instant::now());
        let mut exposition = platform.exposition();
        let seen = seen();
        for (what, count) in [
            ("decided", seen.decided),
            ("approved", seen.approved),
            ("blocked", seen.blocked),
            ("dead_lettered", seen.dead_lettered),
            ("republished", seen.republished),
        ] {
            let help = "What consumers of the topics have seen, each decision once.";
            exposition.counter("seen", help, &[("what", what)], centinela_audit::figures::as_f64(count));
        }
        exposition.info("build", "What runs.", &[("version", env!("CARGO_PKG_VERSION"))]);
        self.page.put(exposition.text(Form::OpenMetrics), exposition.text(Form::Text));
    }
}

/// The names of the alarms that speak, in a few words; none when all is well.
pub fn speaking(alarms: &[AlarmView]) -> Option<String> {
    let speaking: Vec<&str> =
        alarms.iter().filter(|alarm| alarm.state == State::Alarm).map(|alarm| short(&alarm.name)).collect();
    let named = speaking.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match speaking.len() {
        0 => None,
        count if count > NAMED_MAX => Some(format!("{named} and {} more", count - NAMED_MAX)),
        _ => Some(named),
    }
}

/// What a million decisions cost at present, by the alarm on it, where a run of this age has enough to go by.
pub fn cost_per_million(alarms: &[AlarmView], age: Duration) -> Option<f64> {
    let alarm = alarms.iter().find(|alarm| alarm.name.ends_with(COST))?;
    alarm.value.filter(|value| *value > 0.0 && age >= COST_AFTER)
}

fn short(name: &str) -> &str {
    name.split_once(COMMON).map_or(name, |(_, short)| short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(name: &str, state: State, value: Option<f64>) -> AlarmView {
        let (description, reason) = (String::new(), String::new());
        AlarmView { name: name.to_owned(), description, state, since_ms: 0, reason, value }
    }

    #[test]
    fn alarms_are_named_only_while_they_speak() {
        let mut alarms = vec![alarm("dev-centinela-lag", State::Alarm, None), alarm("centinela-slow", State::Ok, None)];
        assert_eq!(speaking(&alarms).as_deref(), Some("lag"));
        assert_eq!(speaking(&alarms[1..]), None);
        alarms.extend((0..6).map(|number| alarm(&format!("centinela-{number}"), State::Alarm, None)));
        assert_eq!(speaking(&alarms).as_deref(), Some("lag, 0, 1, 2 and 3 more"));
    }

    #[test]
    fn a_cost_is_shown_when_there_is_one() {
        let at = |value, age| cost_per_million(&[alarm("centinela-cost-per-million", State::Ok, value)], age);
        let cost = |value| at(value, COST_AFTER);
        assert_eq!((cost(None), cost(Some(0.0))), (None, None));
        assert_eq!(at(Some(200.0), Duration::from_secs(16)), None, "few decisions for five minutes of what is fixed");
        assert_eq!(cost(Some(1.5)).map(|cost| cost.to_string()).as_deref(), Some("1.5"));
    }
}
