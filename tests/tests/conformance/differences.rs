//! `local/DIFFERENCES.md`: what the case lists declare, as a page.

use std::fmt::Write;
use std::path::Path;

use super::case::{Case, Expected};
use super::{dynamodb, kafka};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../local/DIFFERENCES.md");
const INTRODUCTION: &str = "\
# Where the embedded parts differ from the real servers

Written by `tests/tests/conformance` from its lists of cases; `CENTINELA_WRITE_GOLDEN=1 cargo test --release --test conformance`
writes it again. Every case is asked of both sides in every run of that test. A difference that is not in these tables fails it, and
so does one that is gone.
";

#[test]
fn the_page_of_differences_says_what_the_cases_declare() {
    let page = page();
    if std::env::var_os("CENTINELA_WRITE_GOLDEN").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let committed = std::fs::read_to_string(Path::new(PAGE)).unwrap_or_default();
    assert!(
        committed == page,
        "local/DIFFERENCES.md is not current; CENTINELA_WRITE_GOLDEN=1 cargo test --release --test conformance"
    );
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "Kafka", ["Apache Kafka 4.1.0", "the embedded broker"], kafka::CASES);
    section(&mut page, "DynamoDB", ["DynamoDB Local 3.1.0", "the embedded DynamoDB"], dynamodb::CASES);
    page
}

fn section<P>(page: &mut String, service: &str, [real, embedded]: [&str; 2], cases: &[Case<P>]) {
    let mut alike = String::new();
    let mut different = String::new();
    for case in cases {
        match case.expected {
            Expected::Same(_) => writeln!(alike, "- {}", case.name),
            Expected::Differs { real, embedded, meaning } => {
                writeln!(different, "| {} | {real} | {embedded} | {meaning} |", case.name)
            }
        }
        .expect("text can be added to text");
    }
    write!(
        page,
        "\n## {service}\n\n| case | {real} | {embedded} | what it means |\n|---|---|---|---|\n{different}\n\
         The same on both:\n\n{alike}"
    )
    .expect("text can be added to text");
}
