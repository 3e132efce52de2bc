//! Tumbling windows: which one a record belongs to, and what is remembered of those that are open.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html>

use std::time::Duration;

/// What a window begins with.
pub(super) const NO_STATE: &str = "{}";
/// Most bytes of a state; what has more ends its window early.
pub(super) const STATE_BYTES_MAX: usize = 1_048_576;

/// A span of time of fixed length; windows follow each other since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) start_ms: u64,
    /// The first moment that is not in it.
    pub(super) end_ms: u64,
}

impl Window {
    /// The window of a record that arrived then.
    pub(super) fn of(arrived_ms: u64, length: Duration) -> Self {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        let start_ms = arrived_ms / length * length;
        Self { start_ms, end_ms: start_ms.saturating_add(length) }
    }
}

/// A window that has records and no end yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) window: Window,
    /// What the function made of its records so far: JSON of an object.
    pub(super) state: String,
}

impl Open {
    pub(super) fn new(window: Window) -> Self {
        Self { window, state: NO_STATE.to_owned() }
    }
}

/// The open windows of a shard: the newest, and one of late records that is older.
#[derive(Debug, Default)]
pub(super) struct Windows {
    newest: Option<Open>,
    late: Option<Open>,
}

/// What comes before the records of a window.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This window ends first.
    End(Slot),
    /// Its records are next.
    Take(Slot),
}

/// One of the two windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The newest.
    Newest,
    /// That of late records.
    Late,
}

impl Windows {
    /// What is to be done before the records of `window` are delivered; asked again after every end. A late record, of a window that
    /// is older than the newest, leaves that one open: its own window begins with no state and ends as soon as other records come.
    pub(super) fn step(&mut self, window: Window) -> Step {
        match (&self.newest, &self.late) {
            (_, Some(late)) if late.window != window => Step::End(Slot::Late),
            (_, Some(_)) => Step::Take(Slot::Late),
            (Some(newest), None) if newest.window < window => Step::End(Slot::Newest),
            (Some(newest), None) if newest.window > window => {
                self.late = Some(Open::new(window));
                Step::Take(Slot::Late)
            }
            (Some(_), None) => Step::Take(Slot::Newest),
            (None, None) => {
                self.newest = Some(Open::new(window));
                Step::Take(Slot::Newest)
            }
        }
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Open> {
        match slot {
            Slot::Newest => self.newest.as_ref(),
            Slot::Late => self.late.as_ref(),
        }
    }

    /// Keeps what the function made of a window.
    pub(super) fn keep(&mut self, slot: Slot, state: String) {
        let open = match slot {
            Slot::Newest => self.newest.as_mut(),
            Slot::Late => self.late.as_mut(),
        };
        if let Some(open) = open {
            open.state = state;
        }
    }

    /// Forgets a window that has ended.
    pub(super) fn end(&mut self, slot: Slot) {
        match slot {
            Slot::Newest => self.newest = None,
            Slot::Late => self.late = None,
        }
    }

    /// Those that are open, the late one first.
    pub(super) fn open(&self) -> impl Iterator<Item = Slot> + use<> {
        let late = self.late.as_ref().map(|_| Slot::Late);
        late.into_iter().chain(self.newest.as_ref().map(|_| Slot::Newest))
    }

    /// When the last of them is over.
    pub(super) fn over_at_ms(&self) -> Option<u64> {
        self.newest.iter().chain(&self.late).map(|open| open.window.end_ms).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(number: u64) -> Window {
        Window::of(number * 10_000 + 7, Duration::from_secs(10))
    }

    #[test]
    fn windows_follow_each_other_since_1970() {
        assert_eq!(window(3), Window { start_ms: 30_000, end_ms: 40_000 });
        assert_eq!(Window::of(40_000, Duration::from_secs(10)), window(4));
    }

    #[test]
    fn a_later_record_ends_the_window_and_a_late_one_has_its_own() {
        let mut windows = Windows::default();
        assert_eq!(windows.step(window(5)), Step::Take(Slot::Newest));
        windows.keep(Slot::Newest, "{\"a\":1}".to_owned());
        assert_eq!(windows.step(window(4)), Step::Take(Slot::Late));
        assert_eq!(windows.get(Slot::Late).map(|open| open.state.as_str()), Some(NO_STATE));
        assert_eq!(windows.step(window(5)), Step::End(Slot::Late));
        windows.end(Slot::Late);
        assert_eq!(windows.step(window(5)), Step::Take(Slot::Newest));
        assert_eq!(windows.get(Slot::Newest).map(|open| open.state.as_str()), Some("{\"a\":1}"));
        assert_eq!(windows.step(window(6)), Step::End(Slot::Newest));
        windows.end(Slot::Newest);
        assert_eq!(windows.step(window(6)), Step::Take(Slot::Newest));
        assert_eq!(windows.over_at_ms(), Some(70_000));
    }
}
