//! Times as texts.

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 as `2026-11-28T12:00:00.000+0000`.
pub(crate) fn iso_8601(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let rest = ms.rem_euclid(DAY_MS);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}+0000", rest % 1_000)
}

/// Year, month and day of a day since 1970, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc() {
        // By `date -u -d @...`.
        assert_eq!(iso_8601(1_795_867_200_007), "2026-11-28T12:00:00.007+0000");
        assert_eq!(iso_8601(951_782_399_999), "2000-02-28T23:59:59.999+0000");
        assert_eq!(iso_8601(951_782_400_000), "2000-02-29T00:00:00.000+0000");
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00.000+0000");
    }
}
