//! Expressions of EventBridge's schedules, in UTC.
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>

pub(super) const HOUR_SECONDS: u64 = 3_600;
pub(super) const DAY_SECONDS: u64 = 86_400;
const MINUTES: u64 = 60;

/// Whether EventBridge takes it.
pub(super) fn is_schedule(expression: &str) -> bool {
    if let Some(rate) = inside(expression, "rate(") {
        let words: Vec<&str> = rate.split(' ').collect();
        let [number, unit] = words.as_slice() else { return false };
        let Ok(number) = number.parse::<u32>() else { return false };
        let one = matches!(*unit, "minute" | "hour" | "day");
        let many = matches!(*unit, "minutes" | "hours" | "days");
        return (number == 1 && one) || (number > 1 && many);
    }
    let Some(cron) = inside(expression, "cron(") else { return false };
    let fields: Vec<&str> = cron.split(' ').filter(|field| !field.is_empty()).collect();
    let [minute, hour, day, _, weekday, _] = fields.as_slice() else { return false };
    let below =
        |field: &str, limit: u32| field.parse::<u32>().is_err() || field.parse().is_ok_and(|at: u32| at < limit);
    (*day == "?") != (*weekday == "?") && below(minute, 60) && below(hour, 24)
}

fn inside<'a>(expression: &'a str, name: &str) -> Option<&'a str> {
    expression.strip_prefix(name)?.strip_suffix(')')
}

/// The seconds within which a schedule comes again; none where it leaves days out, or is none. Of a cron only hours and days are told apart.
pub(super) fn comes_every(expression: &str) -> Option<u64> {
    if let Some(rate) = inside(expression, "rate(") {
        let (number, unit) = rate.split_once(' ')?;
        let seconds: u64 = match unit.trim_end_matches('s') {
            "minute" => 60,
            "hour" => HOUR_SECONDS,
            "day" => DAY_SECONDS,
            _ => return None,
        };
        return number.parse::<u64>().ok()?.checked_mul(seconds);
    }
    let fields: Vec<&str> = inside(expression, "cron(")?.split_whitespace().collect();
    let [_, hour, days @ ..] = fields.as_slice() else { return None };
    let is_every = |field: &&str| matches!(*field, "*" | "?");
    if days.len() != 4 || !days.iter().all(is_every) {
        return None;
    }
    Some(if is_every(hour) { HOUR_SECONDS } else { DAY_SECONDS })
}

/// The minutes of every hour at which a schedule is due, in order; none where it leaves hours out. A rate begins whenever its rule was made:
/// its minutes are counted from 0 here.
#[must_use]
pub fn minutes_of_an_hour(expression: &str) -> Option<Vec<u64>> {
    if comes_every(expression)? > HOUR_SECONDS {
        return None;
    }
    let mut minutes = match inside(expression, "cron(") {
        Some(cron) => cron_field(cron.split_whitespace().next()?, MINUTES)?,
        None => {
            let every = comes_every(expression)?.div_euclid(MINUTES).max(1);
            (0..MINUTES).step_by(usize::try_from(every).ok()?).collect()
        }
    };
    minutes.sort_unstable();
    minutes.dedup();
    Some(minutes)
}

/// The values below `end` that a field of a cron expression names: all, some, ranges, or every so many from one on.
#[must_use]
pub fn cron_field(field: &str, end: u64) -> Option<Vec<u64>> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|value| *value < end);
    let mut values = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u64>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (0, end - 1),
            (_, Some((first, last))) => (number(first)?, number(last)?),
            (single, None) if step.is_some() => (number(single)?, end - 1),
            (single, None) => (number(single)?, number(single)?),
        };
        values.extend((first..=last).step_by(usize::try_from(step.unwrap_or(1)).ok()?));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_what_eventbridge_takes() {
        for good in ["rate(1 hour)", "rate(5 minutes)", "cron(15 * * * ? *)", "cron(45 2 ? * MON *)"] {
            assert!(is_schedule(good), "{good}");
        }
        for bad in [
            "rate(1 hours)",
            "rate(5 minute)",
            "cron(15 * * * *)",
            "cron(15 * * * * *)",
            "cron(61 * * * ? *)",
            "hourly",
        ] {
            assert!(!is_schedule(bad), "{bad}");
        }
    }

    #[test]
    fn a_schedule_comes_again_within_an_hour_a_day_or_nobody_knows_when() {
        for (schedule, seconds) in [
            ("rate(1 hour)", Some(3_600)),
            ("rate(5 minutes)", Some(300)),
            ("rate(30 days)", Some(2_592_000)),
            ("cron(15 * * * ? *)", Some(3_600)),
            ("cron(45 2 * * ? *)", Some(86_400)),
            ("cron(45 2 ? * MON *)", None),
            ("cron(45 2 1 * ? *)", None),
            ("cron(45 2 * * ? 2026)", None),
            ("cron(15 * * * *)", None),
            ("hourly", None),
        ] {
            assert_eq!(comes_every(schedule), seconds, "{schedule}");
        }
    }

    #[test]
    fn a_schedule_has_minutes_in_every_hour_or_none() {
        for (schedule, minutes) in [
            ("rate(1 hour)", Some(vec![0])),
            ("rate(20 minutes)", Some(vec![0, 20, 40])),
            ("cron(15 * * * ? *)", Some(vec![15])),
            ("cron(5/20 * * * ? *)", Some(vec![5, 25, 45])),
            ("cron(45,10-12 * * * ? *)", Some(vec![10, 11, 12, 45])),
            ("cron(0/1 * * * ? *)", Some((0..60).collect())),
            ("cron(* * * * ? *)", Some((0..60).collect())),
            ("cron(15 2 * * ? *)", None),
            ("rate(2 hours)", None),
            ("cron(61 * * * ? *)", None),
        ] {
            assert_eq!(minutes_of_an_hour(schedule), minutes, "{schedule}");
        }
    }
}
