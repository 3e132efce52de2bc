//! Dates and days since 1970, for whoever writes or reads a time as text. UTC only, the Gregorian calendar for all times.
//!
//! A crate of dates would do, but for what it brings: errors for years that nobody meets here, time zones and formats of its own.

/// A cycle of the calendar.
const DAYS_OF_400_YEARS: i64 = 146_097;
/// From 1 March of the year 0, where the cycles begin, to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

/// Year, month from 1 and day from 1, of a number of days since 1970. Cycles and years begin in March, so that a leap day is the last day
/// of both (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
pub fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let of_cycle = days.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_cycle = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let since_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * since_march + 2) / 5 + 1;
    let month = if since_march < 10 { since_march + 3 } else { since_march - 9 };
    (days.div_euclid(DAYS_OF_400_YEARS) * 400 + year_of_cycle + i64::from(month <= 2), month, day)
}

/// Days since 1970 of a date, the way back. A date that there is not is taken for a later one, the 31st of February for the 3rd of March, or
/// the 2nd: whoever must refuse it asks [`date`] whether it comes back.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let year_of_cycle = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + of_year;
    year.div_euclid(400) * DAYS_OF_400_YEARS + of_cycle - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_what_a_calendar_says() {
        for (of, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (20_786, (2026, 11, 29)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (-135_081, (1600, 2, 29)),
        ] {
            assert_eq!(date(of), expected, "{of}");
        }
        assert_eq!(days(2023, 2, 31), days(2023, 3, 3), "a day that there is not");
    }

    proptest! {
        #[test]
        fn every_day_comes_back_and_the_next_one_follows(day in -4_000_000_i64..4_000_000) {
            let (year, month, of_month) = date(day);
            prop_assert_eq!(days(year, month, of_month), day);
            let next = date(day + 1);
            prop_assert!(next == (year, month, of_month + 1) || next.2 == 1 && next > (year, month, of_month));
        }
    }
}
