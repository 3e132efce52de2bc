//! `centinela plan --measure`: measured units from the reports of `centinela up --summary`.

use std::time::{SystemTime, UNIX_EPOCH};

use centinela_plan::Measured;
use centinela_plan::report::Origin;
use serde_json::Value;

use super::{Args, read, usage};
use crate::failure::Failure;
use crate::outfile;
use crate::terminal;

const SECONDS_A_DAY: u64 = 86_400;

/// Writes the file.
pub(super) fn run(arguments: &Args, before: &Measured) -> Result<(), Failure> {
    let Some(out) = &arguments.out else {
        return Err(Failure::Usage("--measure needs --out, the file that it writes".to_owned()));
    };
    outfile::check_writable("--out", out, outfile::Manner::Replaced)?;
    let mut reports = Vec::new();
    for path in &arguments.measure {
        let report: Value = serde_json::from_str(&read(path)?)
            .map_err(|error| Failure::Usage(format!("{} is not JSON: {error}", path.display())))?;
        reports.push(report);
    }
    let today = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_A_DAY);
    let day = arguments.day.clone().unwrap_or_else(|| date(today));
    let machine = arguments.machine.as_deref().unwrap_or(&before.machine);
    let origin = Origin { measured_on: &day, machine, command: &before.command };
    let measured = before.with_reports(&reports, origin).map_err(|error| usage(&error))?;
    let text = serde_json::to_string_pretty(&measured).map_err(|error| Failure::failed(&error))? + "\n";
    outfile::write(out, text.as_bytes())
        .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", out.display())))?;
    terminal::print(&centinela_plan::text::checked(&measured));
    Ok(())
}

/// The date of a day since 1970 (<https://howardhinnant.github.io/date_algorithms.html>, `civil_from_days`).
fn date(day: u64) -> String {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_become_dates() {
        assert_eq!([0, 59, 11_016, 20_786].map(date), ["1970-01-01", "1970-03-01", "2000-02-29", "2026-11-29"]);
    }
}
