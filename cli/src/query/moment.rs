//! Moments on the command line: a time before now, or a time of the calendar. UTC, to the millisecond.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::args;

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

/// Not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a moment is a time before now such as 2h, or one in UTC such as 2026-11-28 or 2026-11-28T17:30:00Z")]
pub struct NoMoment;

/// Reads `2h`, `2026-11-28`, `2026-11-28T17:30` or `2026-11-28 17:30:00.250Z`.
pub fn parse(text: &str) -> Result<Moment, NoMoment> {
    if let Ok(ago) = args::parse_duration(text) {
        // A bare number is a number of seconds elsewhere; here it would be taken for a year.
        let has_unit = text.ends_with(|letter: char| letter.is_ascii_alphabetic());
        let ago = i64::try_from(ago.as_millis()).map_err(|_| NoMoment)?;
        return if has_unit { Ok(Moment(now() - ago)) } else { Err(NoMoment) };
    }
    calendar(text).ok_or(NoMoment)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn calendar(text: &str) -> Option<Moment> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.splitn(3, '-').map(|part| number(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let milliseconds = number(fraction, fraction.len()).filter(|_| (1..=3).contains(&fraction.len()))?;
    let milliseconds = milliseconds * 10_i64.pow(3 - u32::try_from(fraction.len()).ok()?);
    let moment = Moment(
        centinela_calendar::days(year, month, day) * DAY_MS
            + ((hour * 60 + minute) * 60 + second) * 1000
            + milliseconds,
    );
    let in_range =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    // The 31st of a month of 30 days would be the first of the next.
    (in_range && parts.next().is_none() && moment.date() == (year, month, day)).then_some(moment)
}

fn number(digits: &str, length: usize) -> Option<i64> {
    let is_number = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

impl Moment {
    /// A time since 1970.
    pub fn at(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since 1970.
    pub fn milliseconds(self) -> i64 {
        self.0
    }

    fn date(self) -> (i64, i64, i64) {
        centinela_calendar::date(self.0.div_euclid(DAY_MS))
    }

    /// As the calendar has it, such as `2026-11-28 17:30:00.000`.
    pub fn calendar(self) -> String {
        let ((year, month, day), rest) = (self.date(), self.0.rem_euclid(DAY_MS));
        let (hour, minute, second, milliseconds) =
            (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milliseconds:03}")
    }

    /// As an SQL literal of both dialects.
    pub fn literal(self) -> String {
        format!("TIMESTAMP '{}'", self.calendar())
    }

    /// The folder of its hour in the lake, such as `dt=2026-11-28/hour=17`.
    pub fn hour(self) -> String {
        let (year, month, day) = self.date();
        format!("dt={year:04}-{month:02}-{day:02}/hour={:02}", self.0.rem_euclid(DAY_MS) / 3_600_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_and_written_in_utc() {
        let written = |text: &str| parse(text).map(Moment::literal).map_err(|error| error.to_string());
        assert_eq!(written("2026-11-28").unwrap(), "TIMESTAMP '2026-11-28 00:00:00.000'");
        assert_eq!(written("2026-11-28T17:30:01Z").unwrap(), "TIMESTAMP '2026-11-28 17:30:01.000'");
        assert_eq!(written("2024-02-29 23:59:59.25").unwrap(), "TIMESTAMP '2024-02-29 23:59:59.250'");
        assert_eq!(parse("2026-11-28T17:30").unwrap().hour(), "dt=2026-11-28/hour=17");
        assert_eq!(parse("1970-01-01"), Ok(Moment(0)));
    }

    #[test]
    fn a_time_before_now_is_one() {
        let (before, Moment(ago), after) = (now(), parse("2h").unwrap(), now());
        assert!((before - 7_200_000..=after - 7_200_000).contains(&ago));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for wrong in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-11-28T24:00",
            "2026-11-28T1:00",
            "yesterday",
            "2026-11-28T17:30:00+01",
        ] {
            assert_eq!(parse(wrong), Err(NoMoment), "{wrong}");
        }
    }
}
