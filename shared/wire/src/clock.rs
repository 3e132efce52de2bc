//! The time that requests are signed with: the machine's, corrected by what the service says when the two are too far apart.
//!
//! A signature holds for five minutes around its time. <https://docs.aws.amazon.com/IAM/latest/UserGuide/signing-elements.html>

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A difference below this does not explain a refused signature.
const SKEW_MIN_S: u64 = 240;
/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// The last second of the year 9999.
const YEAR_MAX_S: i64 = 253_402_300_799;

/// A clock with its correction.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead_s: AtomicI64,
}

/// A moment as signatures want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// `20261129T011500Z`.
    text: [u8; 16],
}

impl Clock {
    /// Seconds since 1970, corrected.
    pub(crate) fn now_s(&self) -> i64 {
        machine_s().saturating_add(self.ahead_s.load(Ordering::Relaxed))
    }

    /// Learns from the `date` of an answer that refused a signature of that time. Returns whether the time was wrong enough to explain it:
    /// then it is for every call that was signed before the first of them was answered.
    pub(crate) fn correct(&self, date: &str, signed_s: i64) -> bool {
        let Some(theirs) = http_date(date) else { return false };
        if theirs.abs_diff(signed_s) < SKEW_MIN_S {
            return false;
        }
        self.ahead_s.store(theirs.saturating_sub(machine_s()), Ordering::Relaxed);
        true
    }
}

/// The machine's own clock.
fn machine_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(YEAR_MAX_S)
}

impl Moment {
    /// Of seconds since 1970.
    pub(crate) fn of(seconds: i64) -> Self {
        let seconds = seconds.clamp(0, YEAR_MAX_S);
        let (year, month, day) = centinela_calendar::date(seconds / DAY_S);
        let in_day = seconds % DAY_S;
        let mut text = *b"00000000T000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[4..6], month);
        digits(&mut text[6..8], day);
        digits(&mut text[9..11], in_day / 3600);
        digits(&mut text[11..13], in_day / 60 % 60);
        digits(&mut text[13..15], in_day % 60);
        Self { text }
    }

    /// Date and time.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The date alone, eight digits.
    pub(crate) fn date(&self) -> [u8; 8] {
        let mut date = [0; 8];
        date.copy_from_slice(&self.text[..8]);
        date
    }
}

fn digits(place: &mut [u8], mut value: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the form in which servers write a date
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>).
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = number(words.next()?, 31)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? as i64 + 1;
    let year = number(words.next()?, 9_999)?;
    let mut clock = words.next()?.split(':');
    let (hour, minute, second) = (number(clock.next()?, 23)?, number(clock.next()?, 59)?, number(clock.next()?, 60)?);
    let ends = words.next() == Some("GMT") && words.next().is_none() && clock.next().is_none() && day > 0;
    ends.then(|| centinela_calendar::days(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, max: i64) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|value| is_number && *value <= max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(seconds: i64) -> String {
        String::from_utf8(Moment::of(seconds).text().to_vec()).unwrap()
    }

    #[test]
    fn a_moment_is_written_as_signatures_want_it() {
        assert_eq!(shown(0), "19700101T000000Z");
        assert_eq!(shown(784_111_777), "19941106T084937Z");
        assert_eq!(shown(1_709_164_800), "20240229T000000Z");
        assert_eq!(shown(-5), "19700101T000000Z");
        assert_eq!(shown(i64::MAX), "99991231T235959Z");
        assert_eq!(&Moment::of(1_709_164_799).date(), b"20240228");
    }

    #[test]
    fn the_date_of_an_answer_is_read_and_anything_else_is_not() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in [
            "",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "06 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 -1:49:37 GMT",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
        ] {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_is_minutes_off_is_corrected_and_one_that_is_not_is_left() {
        let (clock, date) = (Clock::default(), "Sun, 06 Nov 1994 08:49:37 GMT");
        let signed = clock.now_s();
        assert!(!clock.correct("Sun, 06 Nov 1994 08:49:37 CET", signed));
        assert!(!clock.correct(date, 784_111_777 + 60), "a minute explains nothing");
        assert!(clock.now_s().abs_diff(signed) < 60, "it is left");
        for call in ["the first", "another that was signed before"] {
            assert!(clock.correct(date, signed), "{call}");
            assert!((784_111_777..784_111_900).contains(&clock.now_s()), "{call}");
        }
    }

    proptest! {
        #[test]
        fn every_day_is_found_again(seconds in 0..YEAR_MAX_S) {
            let (year, month, day) = centinela_calendar::date(seconds / DAY_S);
            prop_assert_eq!(centinela_calendar::days(year, month, day), seconds / DAY_S);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        }
    }
}
