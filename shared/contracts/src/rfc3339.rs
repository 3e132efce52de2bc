//! Instants as RFC 3339 writes them (<https://www.rfc-editor.org/rfc/rfc3339#section-5.6>), to the millisecond. Offsets without a colon
//! or without minutes, as ISO 8601 allows and databases print them (`+0100`, `+01`), are read too.

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 of an instant with a zone; `None` for anything else. Digits beyond the millisecond are cut off, and
/// a leap second is the first second of the next minute.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (year, month, day) = (number(bytes, 0, 4)?, number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    let (hour, minute, second) = (number(bytes, 11, 2)?, number(bytes, 14, 2)?, number(bytes, 17, 2)?);
    let separators = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    let separated = separators.iter().all(|(at, allowed)| allowed.as_bytes().contains(&bytes[*at]));
    let in_range = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !separated || !in_range || hour > 23 || minute > 59 || second > 60 || (second == 60 && minute != 59) {
        return None;
    }
    let (fraction_ms, zone) = fraction(&bytes[19..])?;
    let day_ms = (hour * 60 + minute) * MINUTE_MS + second * 1000 + fraction_ms;
    Some(centinela_calendar::days(year, month, day) * DAY_MS + day_ms - offset_minutes(zone)? * MINUTE_MS)
}

fn number(bytes: &[u8], at: usize, digits: usize) -> Option<i64> {
    bytes
        .get(at..at + digits)?
        .iter()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = rest.split_first() else {
        return Some((0, rest));
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut padded = [b'0'; 3];
    padded.iter_mut().zip(&digits[..length]).for_each(|(place, digit)| *place = *digit);
    (length > 0).then_some((number(&padded, 0, 3)?, &digits[length..]))
}

fn offset_minutes(zone: &[u8]) -> Option<i64> {
    let (sign, offset) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', offset @ ..] => (1, offset),
        [b'-', offset @ ..] => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = match offset {
        [_, _] => (number(offset, 0, 2)?, 0),
        [_, _, _, _] => (number(offset, 0, 2)?, number(offset, 2, 2)?),
        [_, _, b':', _, _] => (number(offset, 0, 2)?, number(offset, 3, 2)?),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_what_a_calendar_says() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-01-01T00:00:00Z", 946_684_800_000),
            ("2100-01-01T00:00:00Z", 4_102_444_800_000),
            ("2024-02-29t23:59:59.9999z", 1_709_251_199_999),
            ("2026-11-22T14:32:00.5+00:00", 1_795_357_920_500),
            ("2026-11-22 15:32:00.5+01:00", 1_795_357_920_500),
            ("2026-11-22T09:02:00.500-05:30", 1_795_357_920_500),
            ("2026-11-22 14:32:00.500000+00", 1_795_357_920_500),
            ("2026-11-22T15:32:00.500000001+0100", 1_795_357_920_500),
            ("2026-11-22T09:02:00.5-0530", 1_795_357_920_500),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("0000-03-01T00:00:00Z", -62_162_035_200_000),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_instant_is_refused() {
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T14:32:00",
            "2026-13-22T14:32:00Z",
            "2026-02-29T14:32:00Z",
            "2026-11-31T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T14:60:00Z",
            "2026-11-22T14:32:60Z",
            "2026-11-22T14:32:00.Z",
            "2026-11-22T14:32:00+1",
            "2026-11-22T14:32:00+100",
            "2026-11-22T14:32:00+01:0",
            "2026-11-22T14:32:00+01:00:00",
            "2026-11-22T14:32:00+0160",
            "2026-11-22T14:32:00+24:00",
            "2026-11-22T14:32:00Zz",
            "2026/11/22T14:32:00Z",
            "-026-11-22T14:32:00Z",
            "2026-11-22T14:32:00é",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
