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
    /// Much more than the rate for a while, and the way back.
    Burst,
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
        load("real-500", "500 a second on real servers", "500", &[], Real),
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
    let (kills, length) = if quick { ("4", 8) } else { ("99", 200) };
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

/// Rows with calls as slow as in AWS: ten minutes of the usual, users that are not alike, a burst, and an hour's traffic that waits. The
/// last two send at a rate that no two cores take, and the usual rate all the while after it. In the last, actions and labels wait by the
/// million too: there the brake only says what it would do, or it would stop both until somebody released it.
pub fn latency_profile(quick: bool) -> Vec<Case> {
    // Seconds of the usual, of users that are not alike, and of both bursts with what they are.
    let (usual, unlike, short, long) = match quick {
        true => (10, 10, (10, "10x1s@3s"), (10, "20x1s@3s")),
        false => (600, 120, (180, "10x10s@30s"), (1_800, "61x60s@30s")),
    };
    let case = |name, says, kind, seconds: u64, more: &[&str]| {
        let length = format!("{seconds}s");
        let mut arguments = strings(&["--cold", "--rate", "1667", "--for", &length, "--latency", LATENCY]);
        arguments.extend(strings(more));
        Case { name, says, kind, servers: Servers::Embedded, arguments, seconds: seconds + AROUND_S }
    };
    vec![
        case("latency-long", "100,000 a minute for ten minutes", Kind::Load, usual, &[]),
        case("latency-hot", "a tenth of all from one user", Kind::Load, unlike, &["--shape", "hot"]),
        case("latency-zipf", "users drawn by Zipf's law, exponent 1.2", Kind::Load, unlike, &["--shape", "zipf"]),
        case("latency-burst", "ten times the rate for ten seconds", Kind::Burst, short.0, &["--burst", short.1]),
        case(
            "latency-hour",
            "an hour's traffic within a minute, and the catch-up",
            Kind::Burst,
            long.0,
            &["--burst", long.1, "--kafka-disk", "8192", "--at-alarms", "say"],
        ),
    ]
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
    fn every_row_of_the_latency_profile_has_a_name_of_its_own_and_lasts_longer_than_its_burst() {
        for quick in [false, true] {
            let (usual, profile) = (all(quick), latency_profile(quick));
            assert!(profile.iter().all(|case| usual.iter().all(|other| other.name != case.name)));
            for case in profile.iter().filter(|case| case.kind == Kind::Burst) {
                let burst = case.arguments.iter().find_map(|word| word.split_once('@'));
                let (course, begins) = burst.expect("it says when");
                let (_, length) = course.split_once('x').expect("it says how long");
                let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().expect("seconds");
                assert!(seconds(begins) + seconds(length) + AROUND_S < case.seconds, "{}", case.name);
            }
        }
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
