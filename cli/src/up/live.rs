//! What a run looks like while it runs: a table that is drawn in place on a terminal, a line every few seconds elsewhere.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use centinela_audit::blocked::Blocked;
use centinela_audit::tracker::Seen;
use centinela_local::platform::{AlarmView, PlatformStats};
use hdrhistogram::Histogram;

use super::blocked;
use super::observed;
use super::report_text::as_time;
use crate::terminal;

const REDRAW_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// A producer that is later than this is worth a word.
const BEHIND_MS_MAX: u64 = 250;

/// One look at a run.
pub struct Look {
    /// Counters of the topics.
    pub seen: Seen,
    /// Latencies since the last look, in microseconds.
    pub recent: Histogram<u64>,
    /// The last blocked transactions, the newest first.
    pub blocked: Vec<Blocked>,
    /// Counters of the platform.
    pub stats: PlatformStats,
    /// How the alarms stand.
    pub alarms: Vec<AlarmView>,
    /// Transactions that are not decided yet.
    pub lag: u64,
    /// How late the producer is.
    pub behind_ms: u64,
    /// Records that could not be sent.
    pub failed: u64,
}

pub struct Live {
    shown: bool,
    in_place: bool,
    started: Instant,
    last_at: Instant,
    last_decided: u64,
    last_blocked: u64,
}

impl Live {
    /// Shows nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        let now = Instant::now();
        Self {
            shown: !quiet,
            in_place: terminal::redraws(),
            started: now,
            last_at: now,
            last_decided: 0,
            last_blocked: 0,
        }
    }

    /// Whether it is time for another look.
    pub fn is_due(&self) -> bool {
        let every = if self.in_place { REDRAW_EVERY } else { LINE_EVERY };
        self.shown && every <= self.last_at.elapsed()
    }

    /// Shows a look.
    pub fn show(&mut self, look: &Look) {
        if !self.shown {
            return;
        }
        let elapsed = self.last_at.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = look.seen.decided.saturating_sub(self.last_decided) as f64 / elapsed;
        self.last_at = Instant::now();
        self.last_decided = look.seen.decided;
        let blocks = look.seen.blocked.saturating_sub(self.last_blocked);
        self.last_blocked = look.seen.blocked;
        let text = if self.in_place { self.table(look, rate) } else { self.line(look, rate, blocks) };
        if self.in_place {
            terminal::draw(&text);
        } else {
            terminal::print(&text);
        }
    }

    /// A line of counts, and one of the newest block if any came since the last.
    fn line(&self, look: &Look, rate: f64, blocks: u64) -> String {
        let seen = &look.seen;
        let mut line = format!(
            "{:>6.1} s  {rate:.0}/s  lag {}  decided {}  approved {}  blocked {}  dead-lettered {}  p50 {}  p99 {}  {:.3} write units/tx  {}",
            self.started.elapsed().as_secs_f64(),
            look.lag,
            seen.decided,
            seen.approved,
            seen.blocked,
            seen.dead_lettered,
            milliseconds(&look.recent, 0.5),
            milliseconds(&look.recent, 0.99),
            write_units_per_tx(look),
            environments(&look.stats),
        );
        if BEHIND_MS_MAX < look.behind_ms {
            // Writing to a string cannot fail.
            let _infallible = write!(line, "  PRODUCER {} ms BEHIND", look.behind_ms);
        }
        if look.failed > 0 {
            let _infallible = write!(line, "  {} SENDS FAILED", look.failed);
        }
        if let Some(alarms) = observed::speaking(&look.alarms) {
            let _infallible = write!(line, "  ALARM {alarms}");
        }
        line.push('\n');
        if let Some(newest) = look.blocked.first().filter(|_| blocks > 0) {
            let _infallible = writeln!(line, "  blocked {}", blocked::line(newest));
        }
        line
    }

    fn table(&self, look: &Look, rate: f64) -> String {
        let seen = &look.seen;
        let mut table = format!(
            "\
  {:>10.0} s running {:>12} decided      {:>10} p50
  {rate:>10.0} decisions/s {:>10} approved     {:>10} p99
  {:>10} lag     {:>12} blocked      {:>10.3} write units/tx
  {:>10} environments {:>7} dead-lettered{:>10} republished
",
            self.started.elapsed().as_secs_f64(),
            seen.decided,
            milliseconds(&look.recent, 0.5),
            seen.approved,
            milliseconds(&look.recent, 0.99),
            look.lag,
            seen.blocked,
            write_units_per_tx(look),
            look.stats.functions.values().map(|function| function.environments).sum::<usize>(),
            seen.dead_lettered,
            seen.republished,
        );
        let speaking = observed::speaking(&look.alarms).map(|alarms| format!("ALARM {alarms}"));
        let quiet = || format!("none of {} alarms speaks", look.alarms.len());
        let _infallible = write!(table, "  {}", speaking.unwrap_or_else(quiet));
        let cost = observed::cost_per_million(&look.alarms, self.started.elapsed());
        let cost = cost.map(|cost| format!(", USD {cost:.2} per million decisions")).unwrap_or_default();
        let _infallible = writeln!(table, "{cost}");
        if BEHIND_MS_MAX < look.behind_ms {
            let _infallible = writeln!(table, "  the producer is {} ms behind its own times", look.behind_ms);
        }
        if look.failed > 0 {
            let _infallible = writeln!(table, "  {} records could not be sent", look.failed);
        }
        if !look.blocked.is_empty() {
            let _infallible = writeln!(table, "{}", blocked::HEADING);
        }
        for transaction in &look.blocked {
            let _infallible = writeln!(table, "{}", blocked::line(transaction));
        }
        table
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn write_units_per_tx(look: &Look) -> f64 {
    look.stats.dynamodb.write_units / look.seen.decided.max(1) as f64
}

fn environments(stats: &PlatformStats) -> String {
    let functions = stats.functions.values();
    let (alive, busy) =
        functions.fold((0, 0), |(alive, busy), function| (alive + function.environments, busy + function.busy));
    format!("{alive} environments ({busy} busy)")
}

#[expect(clippy::cast_precision_loss, reason = "microseconds are far below 2^52")]
fn milliseconds(micros: &Histogram<u64>, quantile: f64) -> String {
    if micros.is_empty() { "-".to_owned() } else { as_time(micros.value_at_quantile(quantile) as f64 / 1_000.0, " ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_named_once_and_only_when_it_is_new() {
        let reasons = "ACCOUNT_AGE";
        let decision = format!(
            r#"{{"version":1,"decision_id":"{id}","transaction_id":"t","user_id":"u-1","outcome":"BLOCKED","score":0.9,"amount":"1.00","currency":"EUR","reasons":[{{"code":"{reasons}","contribution":1}}],"model":{{"version":"1","digest":"0000000000000000"}},"features_version":1,"features":[],"state_version":1,"occurred_at":1767571200000,"ingested_at":1767571200000,"decided_at":1767571200000,"late":false,"degraded":false,"missing":[]}}"#,
            id = "0".repeat(32),
        );
        let decision = centinela_contracts::decision_v1::parse(decision.as_bytes()).unwrap();
        let blocked = vec![Blocked::of(&decision).unwrap()];
        let stats = PlatformStats::default();
        let recent = Histogram::new(3).unwrap();
        let alarms = Vec::new();
        let look = Look { seen: Seen::default(), recent, blocked, stats, alarms, lag: 0, behind_ms: 0, failed: 0 };
        let live = Live::new(true);
        let named = |blocks| live.line(&look, 0.0, blocks).contains("young account");
        assert!(named(1) && !named(0));
        assert!(live.table(&look, 0.0).ends_with("young account\n"));
        assert!(!live.table(&look, 0.0).contains("u-1"), "a user's id is shown");
    }
}
