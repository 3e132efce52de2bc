//! `GET /v1/metrics`: what the decisions of a time add up to.

use std::collections::BTreeMap;

use centinela_contracts::payload::time_of;
use centinela_domain::rollup::{AMOUNT_BANDS, ByOutcome, Flag, Latency, Rollup, Stage};
use centinela_domain::{DeviceType, Millis, Outcome, ReasonCode};
use serde::Serialize;

use crate::ports::{Ingest, Store, Timer};
use crate::problem::{Kind, Problem};
use crate::response::Response;
use crate::service::{Api, unread};

/// Most windows of one request: an hour of ten seconds each.
const WINDOWS_MAX: usize = 360;
/// Windows that are shown to whoever does not say which.
const WINDOWS_DEFAULT: i64 = 30;

#[derive(Debug, Serialize)]
struct Metrics {
    from: i64,
    to: i64,
    window_ms: i64,
    total: Sums,
    windows: Vec<Window>,
}

/// One window, short.
#[derive(Debug, Serialize)]
struct Window {
    start: i64,
    outcomes: Outcomes,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_ms_p99: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    approved: u64,
    review: u64,
    blocked: u64,
}

#[derive(Debug, Serialize)]
struct Sums {
    decisions: u64,
    outcomes: Outcomes,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_rate: Option<f64>,
    reduced: u64,
    reasons: BTreeMap<&'static str, u64>,
    device_types: BTreeMap<&'static str, u64>,
    flags: BTreeMap<&'static str, u64>,
    amount_bands: Vec<Band>,
    models: BTreeMap<String, Outcomes>,
    money_minor: BTreeMap<String, Outcomes>,
    latency_ms: BTreeMap<&'static str, Percentiles>,
}

/// Amounts below `below`, in what is worth about a dollar, and not below the band before; the last has no end.
#[derive(Debug, Serialize)]
struct Band {
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<f32>,
    decisions: u64,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    #[serde(skip_serializing_if = "Option::is_none")]
    p50: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<u64>,
    #[serde(rename = "p99.9", skip_serializing_if = "Option::is_none")]
    p999: Option<u64>,
}

impl<S: Store, I: Ingest, T: Timer> Api<S, I, T> {
    pub(crate) async fn look_up_metrics(
        &self,
        query: &BTreeMap<&'static str, String>,
        deadline: Millis,
    ) -> Result<Response, Problem> {
        let window_ms = i64::try_from(self.settings.metrics_window.as_millis()).unwrap_or(i64::MAX).max(1);
        let (from, to) = asked_time(query, self.timer.now(), window_ms)?;
        let starts: Vec<i64> = (0..).map(|window| from + window * window_ms).take_while(|start| *start < to).collect();
        let rollups = self.store.rollups(&starts, deadline).await.map_err(|error| unread(&error))?;
        let mut total = Rollup::default();
        rollups.values().for_each(|rollup| total.merge(rollup));
        let window = |(start, rollup): (&i64, &Rollup)| Window {
            start: *start,
            outcomes: outcomes(&rollup.outcomes),
            block_rate: rollup.block_rate(),
            whole_ms_p99: rollup.latency[Stage::Whole as usize].quantile(0.99),
        };
        let windows = rollups.iter().map(window).collect();
        Ok(Response::json(200, &Metrics { from, to, window_ms, total: sums(&total), windows }))
    }
}

/// Whole windows: from the one that `from` is in to the end of the one before `to`.
fn asked_time(query: &BTreeMap<&'static str, String>, now: Millis, window_ms: i64) -> Result<(i64, i64), Problem> {
    let wrong = |detail: String| Problem::new(Kind::InvalidParameter, detail);
    let time = |name: &'static str| {
        let text = query.get(name);
        let wanted =
            || wrong(format!("{name} must be milliseconds since 1970 or an RFC 3339 time with zone, of 2000 to 2100"));
        text.map(|text| time_of(text).map(|time| time.0).ok_or_else(wanted)).transpose()
    };
    let begin = |time: i64| time - time.rem_euclid(window_ms);
    let to = time("to")?.map_or_else(|| begin(now.0) + window_ms, |to| begin(to.saturating_add(window_ms - 1)));
    let from = time("from")?.map_or_else(|| to - WINDOWS_DEFAULT * window_ms, begin);
    if from >= to {
        return Err(wrong("from must be before to".to_owned()));
    }
    if (to - from) / window_ms > WINDOWS_MAX as i64 {
        let seconds = WINDOWS_MAX as i64 * window_ms / 1000;
        return Err(wrong(format!("between from and to may be {seconds} seconds at most; the lake has the rest")));
    }
    Ok((from, to))
}

fn outcomes(counts: &ByOutcome) -> Outcomes {
    let of = |outcome: Outcome| counts[outcome as usize];
    Outcomes { approved: of(Outcome::Approved), review: of(Outcome::Review), blocked: of(Outcome::Blocked) }
}

fn sums(rollup: &Rollup) -> Sums {
    let some = |(name, count): (&'static str, u64)| (count > 0).then_some((name, count));
    let device_types = ["unknown"].into_iter().chain(DeviceType::ALL.map(DeviceType::as_str));
    let ends = AMOUNT_BANDS.into_iter().map(Some).chain([None]);
    let models = rollup.models.iter().map(|(version, counts)| {
        let name = if version.is_empty() { "others" } else { version };
        (name.to_owned(), outcomes(counts))
    });
    Sums {
        decisions: rollup.decisions(),
        outcomes: outcomes(&rollup.outcomes),
        block_rate: rollup.block_rate(),
        reduced: rollup.reduced,
        reasons: ReasonCode::ALL.map(ReasonCode::as_str).into_iter().zip(rollup.reasons).filter_map(some).collect(),
        device_types: device_types.zip(rollup.device_types).filter_map(some).collect(),
        flags: Flag::ALL.map(Flag::as_str).into_iter().zip(rollup.flags).filter_map(some).collect(),
        amount_bands: ends.zip(rollup.amount_bands).map(|(below, decisions)| Band { below, decisions }).collect(),
        models: models.collect(),
        money_minor: rollup.money.iter().map(|(code, sums)| (code.as_str().to_owned(), outcomes(sums))).collect(),
        latency_ms: Stage::ALL.map(Stage::as_str).into_iter().zip(rollup.latency.iter().map(percentiles)).collect(),
    }
}

fn percentiles(latency: &Latency) -> Percentiles {
    Percentiles { p50: latency.quantile(0.5), p99: latency.quantile(0.99), p999: latency.quantile(0.999) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_795_357_923_000);

    fn asked(pairs: &[(&'static str, &str)]) -> Result<(i64, i64), Problem> {
        let query = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        asked_time(&query, NOW, 10_000)
    }

    #[test]
    fn a_time_is_whole_windows_and_never_too_many() {
        assert_eq!(asked(&[]).unwrap(), (1_795_357_630_000, 1_795_357_930_000));
        assert_eq!(asked(&[("from", "1795357925123"), ("to", "1795357930001")]).unwrap().0, 1_795_357_920_000);
        assert_eq!(asked(&[("from", "1795357920000"), ("to", "1795357930001")]).unwrap().1, 1_795_357_940_000);
        for wrong in [
            &[("from", "x")][..],
            &[("to", "1795357920000"), ("from", "1795357930000")],
            &[("from", "2026-01-01T00:00:00Z")],
        ] {
            assert_eq!(asked(wrong).unwrap_err().kind, Kind::InvalidParameter, "{wrong:?}");
        }
    }
}
