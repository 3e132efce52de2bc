//! Hours, as partitions of the lake name them.

use std::fmt;

use centinela_domain::Millis;

const HOUR_MS: i64 = 3_600_000;
/// 9999-12-31T23, the last hour with a year of four digits.
const HOUR_MAX: i64 = 70_389_527;

/// An hour of UTC, counted from 1970; years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

impl Hour {
    /// The hour of a time; times outside the years that have a name go to the first or last hour that has one.
    pub fn of(time: Millis) -> Self {
        Self(time.0.div_euclid(HOUR_MS).clamp(0, HOUR_MAX))
    }

    /// When it ends.
    pub fn end(self) -> Millis {
        Millis((self.0 + 1) * HOUR_MS)
    }

    /// The hour after it.
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(HOUR_MAX))
    }

    /// Reads what [`Hour::folder`] writes, with or without the slash at its end.
    pub fn of_folder(folder: &str) -> Option<Self> {
        let (date, hour) = folder.trim_end_matches('/').strip_prefix("dt=")?.split_once("/hour=")?;
        Self::of_date(date, hour)
    }

    /// Reads `2026-11-28T17`.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, hour) = text.split_once('T')?;
        Self::of_date(date, hour)
    }

    fn of_date(date: &str, hour: &str) -> Option<Self> {
        let digits = |text: &str, length: usize| {
            let plain = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i64>().ok().filter(|_| plain)
        };
        let mut parts = date.splitn(3, '-');
        let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
        let hour = digits(hour, 2).filter(|hour| *hour < 24)?;
        let found = Self(centinela_calendar::days(year, month, day) * 24 + hour);
        // A date that there is reads back as itself.
        ((0..=HOUR_MAX).contains(&found.0) && centinela_calendar::date(found.0.div_euclid(24)) == (year, month, day))
            .then_some(found)
    }

    /// `dt=2026-11-28/hour=17/`: the hour as folders.
    pub fn folder(self) -> String {
        let ((year, month, day), hour) = (centinela_calendar::date(self.0.div_euclid(24)), self.0.rem_euclid(24));
        format!("dt={year:04}-{month:02}-{day:02}/hour={hour:02}/")
    }
}

/// `2026-11-28T17`.
impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((year, month, day), hour) = (centinela_calendar::date(self.0.div_euclid(24)), self.0.rem_euclid(24));
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_named_by_its_utc_date_and_read_back() {
        let hour = Hour::of(Millis(1_795_357_920_000));
        assert_eq!(hour.folder(), "dt=2026-11-22/hour=14/");
        assert_eq!(hour.to_string(), "2026-11-22T14");
        for step in 0..9_000 {
            let hour = Hour(step * 7_817 % HOUR_MAX);
            assert_eq!((Hour::of_folder(&hour.folder()), Hour::parse(&hour.to_string())), (Some(hour), Some(hour)));
        }
        assert_eq!(Hour(HOUR_MAX).to_string(), "9999-12-31T23");
        assert_eq!(Hour::of(Millis(i64::MIN)).to_string(), "1970-01-01T00");
        assert_eq!(Hour::of(Millis(i64::MAX)), Hour(HOUR_MAX));
    }

    #[test]
    fn what_is_no_hour_is_refused() {
        for text in ["", "2026-11-28", "2026-11-28T24", "2026-02-30T01", "2026-13-01T01", "26-11-28T17", "2026-11-28T7"]
        {
            assert_eq!(Hour::parse(text), None, "{text}");
        }
    }
}
