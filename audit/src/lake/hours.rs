//! Hours as the lake writes them.

const HOUR_MS: i64 = 3_600_000;

/// The hours from one time to another, in milliseconds since 1970, such as `2026-11-28T17`.
pub fn hours(first_ms: i64, last_ms: i64) -> Vec<String> {
    (first_ms.div_euclid(HOUR_MS)..=last_ms.div_euclid(HOUR_MS)).map(hour).collect()
}

fn hour(since_1970: i64) -> String {
    let (year, month, day) = date(since_1970.div_euclid(24));
    format!("{year:04}-{month:02}-{day:02}T{:02}", since_1970.rem_euclid(24))
}

/// The date of a day since 1970: whole years and months are taken off one by one.
fn date(mut days: i64) -> (i64, i64, i64) {
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        (days, year) = (days - length, year + 1);
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        (days, month) = (days - length, month + 1);
    }
    (year, month, days + 1)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_named_by_their_date_in_utc() {
        // By `date -u -d @...`.
        assert_eq!(hours(1_795_867_199_999, 1_795_870_800_000), ["2026-11-28T11", "2026-11-28T12", "2026-11-28T13"]);
        assert_eq!(hours(951_782_400_000, 951_782_400_000), ["2000-02-29T00"]);
        assert_eq!(hours(1_798_761_599_999, 1_798_761_600_000), ["2026-12-31T23", "2027-01-01T00"]);
    }
}
