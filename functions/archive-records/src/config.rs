//! What the environment tells the function.

use centinela_domain::Currency;
use centinela_function::Environment;
use centinela_lake::rows::Reading;

/// Where the lake is, and how records are read.
#[derive(Debug)]
pub struct Config {
    pub bucket: String,
    pub reading: Reading,
}

impl Config {
    /// `None` without a key, for which nothing can stand in.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let bucket = environment.text("LAKE_BUCKET");
        let iso = "a code of ISO 4217 that payments are made in, such as EUR";
        let default_currency = environment.parsed("DEFAULT_CURRENCY", Currency::DEFAULT, iso, Currency::new);
        let key = environment.keys()?.deployment;
        Some(Self { bucket, reading: Reading { key, default_currency } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_function::configure;

    #[test]
    fn every_problem_is_reported_at_once() {
        let given = |name: &str| (name == "DEFAULT_CURRENCY").then(|| "euro".to_owned());
        let problems = configure(given, Config::read).unwrap_err().to_string();
        for problem in ["LAKE_BUCKET is not set", "DEFAULT_CURRENCY must be", "PSEUDONYM_KEY"] {
            assert!(problems.contains(problem), "{problems}");
        }
    }
}
