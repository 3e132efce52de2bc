//! All alarms of a system, and how they stand.

use std::collections::BTreeMap;

use crate::MINUTE_MS;
use crate::composite::{CompositeAlarm, Held};
use crate::metric::MetricId;
use crate::spec::{Actions, Alarm, MetricAlarm, SpecError};
use crate::status::State;
use crate::store::Store;
use crate::verdict::verdict;

/// Evaluations that look back further than this are made once an hour.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>
const HOURLY_ABOVE_S: i64 = 86_400;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// An alarm's state changed, or actions that were kept back are taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The alarm.
    pub alarm: String,
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// The minute at which it was found, in milliseconds since 1970.
    pub at_ms: i64,
    /// Why.
    pub reason: String,
    /// What is to be done: ARNs. Empty while a suppressor keeps them back.
    pub actions: Vec<String>,
}

/// How an alarm stands.
#[derive(Clone, Debug, PartialEq)]
pub struct View<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is about.
    pub description: &'a str,
    /// Its state.
    pub state: State,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Why.
    pub reason: &'a str,
    /// The newest data point; none where there is none, and of a composite.
    pub value: Option<f64>,
}

#[derive(Clone, Debug, Default)]
struct Status {
    state: State,
    since_ms: i64,
    reason: String,
    value: Option<f64>,
    held: Option<Held>,
}

/// All alarms of a system.
#[derive(Debug)]
pub struct Alarms {
    metric: Vec<(MetricAlarm, Status)>,
    /// In such an order that each comes after those that it depends on.
    composite: Vec<(CompositeAlarm, Status)>,
    began_ms: i64,
    last_end_ms: i64,
}

impl Alarms {
    /// Alarms of a system that began at this time: what was before is not missing.
    ///
    /// # Errors
    /// When two have one name, or a composite names one that is not there, or depends on itself.
    pub fn new(alarms: Vec<Alarm>, began_ms: i64) -> Result<Self, SpecError> {
        let mut names: Vec<String> = alarms.iter().map(|alarm| alarm.name().to_owned()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(SpecError::Twice { alarm: pair.first().cloned().unwrap_or_default() });
        }
        // The minute in which it began counts as a whole: what was sent in it is not lost.
        let began_ms = began_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        let status = || Status { since_ms: began_ms, reason: "nothing is known yet".to_owned(), ..Status::default() };
        let (mut metric, mut composite) = (Vec::new(), Vec::new());
        for alarm in alarms {
            match alarm {
                Alarm::Metric(alarm) => metric.push((*alarm, status())),
                Alarm::Composite(alarm) => composite.push(*alarm),
            }
        }
        let composite = ordered(composite, &names)?.into_iter().map(|alarm| (alarm, status())).collect();
        Ok(Self { metric, composite, began_ms, last_end_ms: began_ms })
    }

    /// How many minutes of each metric they look at.
    #[must_use]
    pub fn needs(&self) -> BTreeMap<MetricId, i64> {
        let mut needs = BTreeMap::new();
        for (alarm, _) in &self.metric {
            let minutes = i64::try_from(alarm.range()).unwrap_or(i64::MAX).saturating_mul(alarm.period_s / 60) + 1;
            for (metric, _) in alarm.metrics() {
                let kept = needs.entry(metric.clone()).or_insert(minutes);
                *kept = minutes.max(*kept);
            }
        }
        needs
    }

    /// Evaluates what is due by this time: every alarm once for each minute that has ended, the latest only, if several have. Within a minute
    /// nothing happens twice.
    pub fn tick(&mut self, store: &Store, now_ms: i64) -> Vec<Event> {
        let end_ms = now_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        if end_ms <= self.last_end_ms {
            return Vec::new();
        }
        let mut events = Vec::new();
        for (alarm, status) in &mut self.metric {
            events.extend(evaluate(alarm, status, store, (self.began_ms, self.last_end_ms, end_ms)));
        }
        self.last_end_ms = end_ms;
        for place in 0..self.composite.len() {
            let (before, rest) = self.composite.split_at_mut(place);
            let Some((alarm, status)) = rest.first_mut() else { continue };
            let state_of = |name: &str| {
                let metric = self.metric.iter().find(|(alarm, _)| alarm.name == name).map(|(_, status)| status.state);
                metric.or_else(|| before.iter().find(|(alarm, _)| alarm.name == name).map(|(_, status)| status.state))
            };
            events.extend(compose(alarm, status, &state_of, end_ms));
        }
        events
    }

    /// How they stand: those on metrics first, each kind in the order of the stacks.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        let metric = self.metric.iter().map(|(alarm, status)| (&alarm.name, &alarm.description, status));
        let composite = self.composite.iter().map(|(alarm, status)| (&alarm.name, &alarm.description, status));
        metric.chain(composite).map(|(name, description, status)| View {
            name,
            description,
            state: status.state,
            since_ms: status.since_ms,
            reason: &status.reason,
            value: status.value,
        })
    }

    /// How one stands.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<View<'_>> {
        self.views().find(|view| view.name == name)
    }

    /// The alarms on metrics.
    pub fn metric_alarms(&self) -> impl Iterator<Item = &MetricAlarm> {
        self.metric.iter().map(|(alarm, _)| alarm)
    }

    /// The alarms on alarms.
    pub fn composite_alarms(&self) -> impl Iterator<Item = &CompositeAlarm> {
        self.composite.iter().map(|(alarm, _)| alarm)
    }
}

/// Puts composites after those that they name.
fn ordered(mut left: Vec<CompositeAlarm>, names: &[String]) -> Result<Vec<CompositeAlarm>, SpecError> {
    for alarm in &left {
        let mut named = alarm.members();
        named.extend(alarm.suppressor());
        if let Some(other) = named.into_iter().find(|name| !names.iter().any(|known| known == name)) {
            return Err(SpecError::UnknownAlarm { alarm: alarm.name.clone(), other: other.to_owned() });
        }
    }
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let depends = |alarm: &CompositeAlarm, other: &CompositeAlarm| {
            alarm.members().contains(&other.name.as_str()) || alarm.suppressor() == Some(&other.name)
        };
        let free = left.iter().position(|alarm| !left.iter().any(|other| depends(alarm, other)));
        let Some(free) = free else {
            let alarm = left.first().map(|alarm| alarm.name.clone()).unwrap_or_default();
            return Err(SpecError::Circle { alarm });
        };
        ordered.push(left.remove(free));
    }
    Ok(ordered)
}

fn evaluate(alarm: &MetricAlarm, status: &mut Status, store: &Store, times: (i64, i64, i64)) -> Option<Event> {
    let (began_ms, last_end_ms, end_ms) = times;
    let period_ms = alarm.period_s * 1_000;
    let looks_back_s = alarm.period_s.saturating_mul(i64::try_from(alarm.periods).unwrap_or(i64::MAX));
    if looks_back_s > HOURLY_ABOVE_S && end_ms.div_euclid(HOUR_MS) == last_end_ms.div_euclid(HOUR_MS) {
        return None;
    }
    let whole = usize::try_from((end_ms - began_ms).div_euclid(period_ms)).unwrap_or(0);
    // The period in which the system began counts where it has data; where it has none, what was before is not missing.
    let length = alarm.range().min(whole + 1);
    let points = match alarm.points(store, end_ms, length) {
        Ok(mut points) => {
            if length > whole && points.values.first() == Some(&None) {
                points.values.remove(0);
            }
            points
        }
        // It was evaluated once when it was read, so this is a fault of ours; the alarm says so.
        Err(error) => {
            return change(status, &alarm.name, &alarm.actions, State::InsufficientData, end_ms, error.to_string());
        }
    };
    status.value = points.values.iter().rev().copied().flatten().next();
    if points.is_left_alone {
        return None;
    }
    let breaches = |value: f64| alarm.comparison.breaches(value, alarm.threshold);
    let breaching: Vec<Option<bool>> = points.values.iter().map(|point| point.map(breaches)).collect();
    let state = verdict(&breaching, alarm.periods, alarm.datapoints, alarm.missing, status.state);
    change(status, &alarm.name, &alarm.actions, state, end_ms, reason(alarm, state, &points.values))
}

/// Why it stands as it does, in a line.
fn reason(alarm: &MetricAlarm, state: State, values: &[Option<f64>]) -> String {
    let there: Vec<f64> = values.iter().rev().copied().flatten().take(alarm.periods).collect();
    let breaching = there.iter().filter(|value| alarm.comparison.breaches(**value, alarm.threshold)).count();
    let shown =
        there.iter().map(|value| format!("{}", (value * 1_000.0).round() / 1_000.0)).collect::<Vec<_>>().join(", ");
    let (periods, wanted) = (alarm.periods, alarm.datapoints);
    let (words, threshold, seconds) = (alarm.comparison.in_words(), alarm.threshold, alarm.period_s);
    let missing =
        if there.len() < periods { format!("; {} have no data", periods - there.len()) } else { String::new() };
    match state {
        State::InsufficientData => format!("no data in {} periods of {seconds} s", values.len()),
        _ if there.is_empty() => {
            format!("no data, which counts as {}", if state == State::Alarm { "breaching" } else { "well" })
        }
        _ => format!(
            "{breaching} of the last {periods} points of {seconds} s are {words} {threshold} ({wanted} make an alarm), the newest first: {shown}{missing}"
        ),
    }
}

fn change(
    status: &mut Status,
    name: &str,
    actions: &Actions,
    state: State,
    at_ms: i64,
    reason: String,
) -> Option<Event> {
    status.reason.clone_from(&reason);
    if status.state == state {
        return None;
    }
    let from = std::mem::replace(&mut status.state, state);
    status.since_ms = at_ms;
    let actions = taken(actions, state);
    Some(Event { alarm: name.to_owned(), from, to: state, at_ms, reason, actions })
}

fn taken(actions: &Actions, state: State) -> Vec<String> {
    match state {
        _ if !actions.enabled => Vec::new(),
        State::Alarm => actions.alarm.clone(),
        State::Ok => actions.ok.clone(),
        State::InsufficientData => actions.insufficient_data.clone(),
    }
}

fn compose(
    alarm: &CompositeAlarm,
    status: &mut Status,
    state_of: &impl Fn(&str) -> Option<State>,
    at_ms: i64,
) -> Option<Event> {
    let state = if alarm.rule.holds(state_of) { State::Alarm } else { State::Ok };
    let members = alarm.members();
    let speaking: Vec<&str> = members.iter().copied().filter(|name| state_of(name) == Some(State::Alarm)).collect();
    let reason = match speaking.as_slice() {
        [] => "none of its alarms speaks".to_owned(),
        speaking => format!("{} of its {} alarms speak: {}", speaking.len(), members.len(), speaking.join(", ")),
    };
    let event = change(status, &alarm.name, &alarm.actions, state, at_ms, reason.clone());
    let Some(suppressor) = &alarm.suppressor else { return event };
    if let Some(event) = &event {
        let told = status.held.take().map_or(event.from, |held| held.from);
        // Back where everybody thinks it is: nothing is said, so nothing is taken back.
        status.held = (told != state).then(|| Held::new(told, at_ms));
    }
    let is_free = match &mut status.held {
        Some(held) => held.is_free(suppressor, state_of(&suppressor.alarm).unwrap_or_default(), at_ms),
        None => false,
    };
    match (event, is_free) {
        (Some(event), false) => Some(Event { actions: Vec::new(), ..event }),
        (_, true) => {
            let from = status.held.take().map_or(state, |held| held.from);
            let actions = taken(&alarm.actions, state);
            Some(Event { alarm: alarm.name.clone(), from, to: state, at_ms, reason, actions })
        }
        (None, false) => None,
    }
}
