//! Letters and reports for people.

use std::fmt::Write as _;

use centinela_domain::Millis;
use centinela_redrive::{Letter, Original, Readiness, Report};

use crate::query::moment::Moment;

/// A letter in a line, or with its records.
pub(super) fn letter(letter: &Letter, with_bytes: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut put = |line: String| writeln!(text, "{}", plain(&line)).unwrap_or_default();
    let state = match letter.readiness(false, false) {
        Readiness::Ready => "can go back".to_owned(),
        Readiness::NeedsRepair(problem) => format!("repair it: {problem}"),
        Readiness::Cannot(why) => why,
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
    text
}

/// How many there are.
pub(super) fn summary(count: usize, more: bool) -> String {
    let text = match (count, more) {
        (0, false) => "no letter is open".to_owned(),
        (1, false) => "1 letter is open".to_owned(),
        (count, false) => format!("{count} letters are open"),
        (count, true) => format!("the first {count}; there may be more, --limit shows them"),
    };
    format!("{text}\n")
}

fn record(original: &Original, put: &mut impl FnMut(String)) {
    let at = original.at;
    put(format!("  first at {} {}-{}, {}", original.topic, at.partition, at.offset, when(at.timestamp)));
    if let Some(decision) = original.decision {
        put(format!("  decision {decision}"));
    }
    for (name, value) in &original.headers {
        put(format!("  header {name}: {}", bytes(value)));
    }
    put(format!("  key   {}", original.key.as_deref().map_or("none".to_owned(), bytes)));
    put(format!("  value {}", original.value.as_deref().map_or("none".to_owned(), bytes)));
}

fn bytes(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A line as a terminal can show it: whoever wrote the record, or a message that is no letter at all, does not write to the terminal.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for letter in line.chars() {
        match letter {
            letter if letter.is_control() || turns_text(letter) => text.extend(letter.escape_default()),
            letter => text.push(letter),
        }
    }
    text
}

/// Whether a letter is not seen and changes the order of those that are.
fn turns_text(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn when(at: Millis) -> String {
    Moment::at(at.0).calendar()
}

/// What was done.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "{}", plain(&line)).unwrap_or_default();
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
    if let Some(why) = &report.stopped {
        put(why.clone());
    }
    if report.unfinished {
        put("there may be more: ask again".to_owned());
    }
    if report.dry_run {
        put("nothing was changed; --yes does what stands here".to_owned());
    }
    text
}

/// Why letters that were meant are open; none when they are not.
pub(super) fn open(report: &Report) -> Option<String> {
    let mut whys = Vec::new();
    for (count, why) in [
        (report.needs_repair, "letters must be repaired first"),
        (report.cannot, "letters cannot go back"),
        (report.failed, "records were not acknowledged"),
    ] {
        if count > 0 {
            whys.push(format!("{count} {why}"));
        }
    }
    if report.unfinished {
        whys.push("there may be more than was looked at".to_owned());
    }
    Some(whys.join(", ")).filter(|whys| !whys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_domain::Coordinates;
    use centinela_redrive::{Cause, Place, Proof};

    #[test]
    fn whoever_wrote_a_record_does_not_write_to_the_terminal() {
        const BAD: &str = "\u{1b}]0;x\u{7}\u{9b}2J\r\u{202e}";
        let original = Original {
            topic: BAD.to_owned(),
            at: Coordinates { partition: 0, offset: 1, timestamp: Millis(1) },
            proof: Proof::None,
            key: Some(BAD.into()),
            value: Some(BAD.into()),
            headers: vec![(BAD.to_owned(), BAD.into())],
            decision: None,
            amount: None,
            problem: Some(BAD.to_owned()),
        };
        let shown = letter(
            &Letter {
                place: Place { partition: 0, offset: 0 },
                at: Millis(1),
                cause: Cause::Mapping(BAD.to_owned()),
                reason: BAD.to_owned(),
                originals: vec![original],
                truncated_bytes: 0,
                broken: 0,
            },
            true,
        );
        let mut done = Report { stopped: Some(BAD.to_owned()), ..Report::default() };
        done.left.push(centinela_redrive::Left { letter: "0-0".to_owned(), why: BAD.to_owned() });
        for text in [shown, report(&done)] {
            let raw = |letter: &char| *letter != '\n' && (letter.is_control() || turns_text(*letter));
            assert_eq!(text.chars().find(raw), None, "{text:?}");
            assert!(text.contains("\\u{1b}"), "{text}");
        }
    }

    #[test]
    fn a_run_that_left_letters_open_says_so() {
        assert_eq!(open(&Report { letters: 7, sent: 7, ..Report::default() }), None);
        for left in [
            Report { needs_repair: 1, ..Report::default() },
            Report { cannot: 1, ..Report::default() },
            Report { failed: 1, ..Report::default() },
            Report { unfinished: true, ..Report::default() },
        ] {
            assert!(open(&left).is_some(), "{left:?}");
        }
    }
}
