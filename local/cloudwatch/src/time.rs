//! Times as texts.

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 as `2026-11-28T12:00:00.000+0000`.
pub(crate) fn iso_8601(ms: i64) -> String {
    let (year, month, day) = centinela_calendar::date(ms.div_euclid(DAY_MS));
    let rest = ms.rem_euclid(DAY_MS);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}+0000", rest % 1_000)
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
