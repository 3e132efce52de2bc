//! An alarm on other alarms, and what keeps it quiet.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Composite_Alarm_Suppression.html>

use crate::rule::Rule;
use crate::spec::Actions;
use crate::status::State;

/// An alarm on other alarms.
#[derive(Clone, Debug, PartialEq)]
pub struct CompositeAlarm {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// When it speaks.
    pub(crate) rule: Rule,
    /// What keeps its actions back.
    pub(crate) suppressor: Option<Suppressor>,
    /// What it does.
    pub actions: Actions,
}

impl CompositeAlarm {
    /// The alarms that its rule names.
    #[must_use]
    pub fn members(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.rule.name_alarms(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The alarm that keeps its actions back while it speaks.
    #[must_use]
    pub fn suppressor(&self) -> Option<&str> {
        self.suppressor.as_ref().map(|suppressor| suppressor.alarm.as_str())
    }
}

/// An alarm while which another one's actions are kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suppressor {
    /// Its name.
    pub(crate) alarm: String,
    /// How long actions wait for it to speak.
    pub(crate) wait_s: i64,
    /// How long they wait after it has stopped.
    pub(crate) extension_s: i64,
}

/// A change whose actions are kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The state before, which everybody was told last.
    pub(crate) from: State,
    since_ms: i64,
    /// Whether the suppressor has spoken since, and when it stopped.
    suppressed: Option<Option<i64>>,
}

impl Held {
    pub(crate) fn new(from: State, since_ms: i64) -> Self {
        Self { from, since_ms, suppressed: None }
    }

    /// Whether the actions may be taken now, with the suppressor in this state.
    pub(crate) fn is_free(&mut self, suppressor: &Suppressor, state: State, now_ms: i64) -> bool {
        if state == State::Alarm {
            self.suppressed = Some(None);
            return false;
        }
        match &mut self.suppressed {
            None => now_ms - self.since_ms >= suppressor.wait_s * 1_000,
            Some(stopped) => now_ms - *stopped.get_or_insert(now_ms) >= suppressor.extension_s * 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_wait_for_the_suppressor_to_speak_and_after_it_has_stopped() {
        let suppressor = Suppressor { alarm: "s".to_owned(), wait_s: 120, extension_s: 180 };
        let mut held = Held::new(State::Ok, 0);
        assert!(!held.is_free(&suppressor, State::Ok, 60_000));
        assert!(held.clone().is_free(&suppressor, State::Ok, 120_000), "it did not come");
        assert!(!held.is_free(&suppressor, State::Alarm, 120_000));
        assert!(!held.is_free(&suppressor, State::Ok, 600_000));
        assert!(!held.is_free(&suppressor, State::Ok, 720_000));
        assert!(held.is_free(&suppressor, State::Ok, 780_000));
    }
}
