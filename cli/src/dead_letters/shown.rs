//! Letters and reports for people.

use std::fmt::Write as _;

use centinela_domain::Millis;
use centinela_redrive::{Letter, Original, Readiness, Report};

use crate::query::moment::Moment;

/// Letters, a line each, or with their records.
pub(super) fn letters(letters: &[Letter], more: bool, with_bytes: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut put = |line: String| writeln!(text, "{line}").unwrap_or_default();
    for letter in letters {
        let state = match letter.readiness(false, false) {
            Readiness::Ready => "can go back".to_owned(),
            Readiness::NeedsRepair(problem) => format!("repair it: {problem}"),
            Readiness::Cannot(why) => why.to_owned(),
        };
        let from = letter.originals.first().map_or("no record".to_owned(), |original| {
            format!("{} {}-{}", original.topic, original.at.partition, original.at.offset)
        });
        let more = match letter.originals.len() {
            0 | 1 => String::new(),
            several => format!(" and {} more", several - 1),
        };
        put(format!("{:<9} {}  {:<22} {from}{more}  {state}", letter.place, when(letter.at), letter.cause.name()));
        if with_bytes {
            put(format!("  {}", letter.reason));
            letter.originals.iter().for_each(|original| record(original, &mut put));
        }
    }
    put(match (letters.len(), more) {
        (0, _) => "no letter is open".to_owned(),
        (1, false) => "1 letter is open".to_owned(),
        (count, false) => format!("{count} letters are open"),
        (count, true) => format!("the first {count}; there may be more, --limit shows them"),
    });
    text
}

fn record(original: &Original, put: &mut impl FnMut(String)) {
    let at = original.at;
    put(format!("  first at {} {}-{}, {}", original.topic, at.partition, at.offset, when(at.timestamp)));
    if let Some(decision) = original.decision {
        put(format!("  decision {decision}"));
    }
    for (name, value) in &original.headers {
        put(format!("  header {name}: {}", escaped(value)));
    }
    put(format!("  key   {}", original.key.as_deref().map_or("none".to_owned(), escaped)));
    put(format!("  value {}", original.value.as_deref().map_or("none".to_owned(), escaped)));
}

/// Bytes as a terminal can show them: whoever wrote the record does not write to the terminal.
fn escaped(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .flat_map(|letter| {
            let plain = !letter.is_control();
            let shown: Vec<char> = if plain { vec![letter] } else { letter.escape_default().collect() };
            shown
        })
        .collect()
}

fn when(at: Millis) -> String {
    Moment::at(at.0).calendar()
}

/// What was done.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "{line}").unwrap_or_default();
    put(format!(
        "letters {}  sent {} ({} verified)  done already {}  dropped {}  to repair {}  cannot {}  not acknowledged {}",
        report.letters,
        report.sent,
        report.verified,
        report.found,
        report.dropped,
        report.needs_repair,
        report.cannot,
        report.failed
    ));
    for left in &report.left {
        put(format!("  {:<9} {}", left.letter, left.why));
    }
    if report.forgetful {
        put("what is handled did not all fit where it is kept: some letters will seem open that are not".to_owned());
    }
    if report.unfinished {
        put("there may be more: ask again".to_owned());
    }
    if report.dry_run {
        put("nothing was changed; --yes does what stands here".to_owned());
    }
    text
}
