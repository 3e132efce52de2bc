//! The rows: what is run.

use crate::failure::Failure;

/// What the transactions meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// What `centinela up` embeds.
    Embedded,
    /// Apache Kafka and Amazon's DynamoDB Local, fresh for every run.
    Real,
}

/// Which table a row stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At a rate, in an open loop.
    Load,
    /// A backlog is worked off.
    Backlog,
    /// Processes are started.
    Starts,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub says: &'static str,
    /// Its table.
    pub kind: Kind,
    /// What it runs against.
    pub servers: Servers,
    /// What follows `centinela up`.
    pub arguments: Vec<String>,
    /// How long it takes, about.
    pub seconds: u64,
}

/// What `--latency` is given: p50 and p99 of a call.
const LATENCY: &str = "5ms,12ms";
/// Beside the traffic: start, drain, account.
const AROUND_S: u64 = 5;
/// Beside that: start and end of real servers.
const REAL_AROUND_S: u64 = 30;

/// All rows. They begin with empty tables, so that a figure does not depend on a simulated past.
pub fn all(quick: bool) -> Vec<Case> {
    let seconds = if quick { 10 } else { 120 };
    let load = |name, says, rate: &str, more: &[&str], servers| {
        let mut arguments = strings(&["--cold", "--rate", rate, "--for", &format!("{seconds}s")]);
        arguments.extend(strings(more));
        let around = if servers == Servers::Real { REAL_AROUND_S } else { AROUND_S };
        Case { name, says, kind: Kind::Load, servers, arguments, seconds: seconds + around }
    };
    let latency = ["--latency", LATENCY];
    use Servers::{Embedded, Real};
    let mut cases = vec![
        load("e2e-200", "200 a second", "200", &[], Embedded),
        load("e2e-1667", "100,000 a minute", "1667", &[], Embedded),
        load("e2e-200-latency", "200 a second, calls as slow as on AWS", "200", &latency, Embedded),
        load("e2e-1667-latency", "100,000 a minute, calls as slow as on AWS", "1667", &latency, Embedded),
        load("uniform-1667", "users drawn uniformly", "1667", &["--shape", "uniform"], Embedded),
        load("zipf-1667", "users drawn by Zipf's law, exponent 1.2", "1667", &["--shape", "zipf"], Embedded),
        load("hot-1667", "a tenth of all from one user", "1667", &["--shape", "hot"], Embedded),
        load("hot-all-1667", "everything from one user", "1667", &["--shape", "hot=1"], Embedded),
        load("real-200", "200 a second on real servers", "200", &[], Real),
        load("real-1667", "100,000 a minute on real servers", "1667", &[], Real),
    ];
    let (records, around) = if quick { ("20000", 10) } else { ("200000", 60) };
    for (name, says, servers, around) in [
        ("backlog", "records that wait before the function starts", Embedded, around),
        ("real-backlog", "the same on real servers", Real, around + REAL_AROUND_S),
    ] {
        let arguments = strings(&["--cold", "--backlog", records]);
        cases.push(Case { name, says, kind: Kind::Backlog, servers, arguments, seconds: around });
    }
    // One environment, so that a process starts alone; little traffic, so that nothing else keeps the cores busy.
    let (kills, length) = if quick { ("4", 8) } else { ("29", 60) };
    let length_s = format!("{length}s");
    cases.push(Case {
        name: "starts",
        says: "one process after the other, each killed after two seconds",
        kind: Kind::Starts,
        servers: Embedded,
        arguments: strings(&["--cold", "--rate", "20", "--environments", "1", "--kill", kills, "--for", &length_s]),
        seconds: length + AROUND_S,
    });
    cases
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The rows that were asked for, in the order of the table.
///
/// # Errors
/// When a name is unknown.
pub fn chosen(cases: Vec<Case>, only: &[String]) -> Result<Vec<Case>, Failure> {
    if let Some(unknown) = only.iter().find(|name| !cases.iter().any(|case| case.name == **name)) {
        let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        return Err(Failure::Usage(format!("there is no row `{unknown}`; the rows are {}", names.join(", "))));
    }
    Ok(cases.into_iter().filter(|case| only.is_empty() || only.iter().any(|name| name == case.name)).collect())
}

/// The first flag of a row that this `centinela up` does not know. `help` is what `centinela up --help` says.
pub fn missing_flag<'a>(case: &'a Case, help: &str) -> Option<&'a str> {
    let real = if case.servers == Servers::Real { &["--kafka", "--dynamodb"][..] } else { &[] };
    let flags = case.arguments.iter().map(String::as_str).filter(|word| word.starts_with("--"));
    flags.chain(real.iter().copied()).find(|flag| !knows(help, flag))
}

fn knows(help: &str, flag: &str) -> bool {
    help.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').any(|word| word == flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_row_is_refused_with_the_names_that_are() {
        let refusal = chosen(all(true), &["e2e-2000".to_owned()]).unwrap_err().to_string();
        assert!(refusal.contains("e2e-2000") && refusal.contains("e2e-200,"), "{refusal}");
        let names: Vec<&str> =
            chosen(all(true), &strings(&["backlog", "e2e-200"])).unwrap().iter().map(|case| case.name).collect();
        assert_eq!(names, ["e2e-200", "backlog"]);
    }

    #[test]
    fn a_longer_flag_is_not_taken_for_the_one_that_a_row_needs() {
        let cases = all(false);
        let real = cases.iter().find(|case| case.name == "real-200").unwrap();
        let help = "  --cold\n  --rate <TX_PER_S>\n  --for <TIME>\n  --kafka-port <PORT>\n  --dynamodb-port <PORT>";
        assert_eq!(missing_flag(real, help), Some("--kafka"));
        let help = help.replace("-port", "");
        assert_eq!(missing_flag(real, &help), None);
    }
}
