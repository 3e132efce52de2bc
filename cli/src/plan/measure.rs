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
    let day = arguments.day.clone().unwrap_or_else(|| date(i64::try_from(today).unwrap_or_default()));
    let machine = arguments.machine.as_deref().unwrap_or(&before.machine);
    let origin = Origin { measured_on: &day, machine, command: &before.command };
    let measured = before.with_reports(&reports, origin).map_err(|error| usage(&error))?;
    let text = serde_json::to_string_pretty(&measured).map_err(|error| Failure::failed(&error))? + "\n";
    outfile::write(out, text.as_bytes())
        .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", out.display())))?;
    terminal::print(&centinela_plan::text::checked(&measured));
    Ok(())
}

/// A day since 1970 as `2026-11-28`.
fn date(day: i64) -> String {
    let (year, month, day) = centinela_calendar::date(day);
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
