//! What the environment tells the function.

use centinela_function::Environment;
use centinela_lake::compact::{SHARES_MAX, Settings};
use centinela_lake::manifest::SLICES_MAX;

/// Large enough for few files, small enough for memory: a file is held until it is put.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the lake is, and how it is compacted.
pub fn read(environment: &mut Environment<'_>) -> Option<Settings> {
    let bucket = environment.text("LAKE_BUCKET");
    let wanted = format!("a number from 1 to {SLICES_MAX}");
    let slices = environment.parsed("SLICES", 1, wanted, |text| {
        text.parse().ok().filter(|slices| (1..=SLICES_MAX).contains(slices)).ok_or(())
    });
    let wanted = format!("a number from 1 to {SHARES_MAX}");
    let shares = environment.parsed("SHARES", 1, wanted, |text| {
        text.parse().ok().filter(|shares| (1..=SHARES_MAX).contains(shares)).ok_or(())
    });
    let close_after = environment.seconds("CLOSE_AFTER_SECONDS");
    let grace = environment.seconds("GRACE_SECONDS");
    Some(Settings { bucket, slices, shares, close_after, grace, file_bytes_max: FILE_BYTES_MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_function::configure;

    #[test]
    fn every_problem_is_reported_at_once() {
        let given = |name: &str| match name {
            "SLICES" => Some("0".to_owned()),
            "SHARES" => Some("61".to_owned()),
            _ => None,
        };
        assert_eq!(
            configure(given, read).unwrap_err().to_string(),
            "invalid configuration: LAKE_BUCKET is not set; SLICES must be a number from 1 to 1000, not `0`; \
             SHARES must be a number from 1 to 60, not `61`; CLOSE_AFTER_SECONDS is not set; GRACE_SECONDS is not set"
        );
    }
}
