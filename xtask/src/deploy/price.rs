//! What the environment costs a month, by `centinela plan`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Transactions a minute: as good as none, so that what is paid anyway is seen, and what prod is made for.
const RATES: &str = "1,100k";

/// In words, or why it is not known.
pub fn of(root: &Path, environment: &str) -> Result<String, String> {
    let ask = || format!("ask `centinela plan --env {environment} --as-is`");
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("centinela")));
    let command = beside.filter(|command| command.is_file());
    let command = command.ok_or_else(|| format!("the command is not built; {}", ask()))?;
    let output = Command::new(command)
        .args(["plan", "--json", "--as-is", "--rate", RATES, "--env", environment, "--infra"])
        .arg(root.join("infra"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("the plan cannot be made: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().last().unwrap_or("it does not say why").to_owned();
        return Err(format!("the plan cannot be made: {why}"));
    }
    words(&output.stdout).ok_or_else(|| format!("the plan names no sum; {}", ask()))
}

/// What the plans of both rates say.
fn words(json: &[u8]) -> Option<String> {
    let plans: Value = serde_json::from_slice(json).ok()?;
    let total = |place: usize| plans.get(place)?.get("total_usd_month")?.as_f64();
    let (at_rest, at_rate) = (total(0)?, total(1)?);
    Some(format!(
        "USD {at_rest:.0} a month with no load, {at_rate:.0} at 100,000 transactions a minute, by list prices"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_both_rates_are_named() {
        let plans = br#"[{"total_usd_month": 1234.56, "services": []}, {"total_usd_month": 3900.2}]"#;
        let expected = "USD 1235 a month with no load, 3900 at 100,000 transactions a minute, by list prices";
        assert_eq!(words(plans).as_deref(), Some(expected));
        assert_eq!(words(br#"{"total_usd_month": 1.0}"#), None);
        assert_eq!(words(b"no plan"), None);
    }
}
