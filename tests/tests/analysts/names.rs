//! Names that stand in SQL and come from the code.

use centinela_domain::FeatureVector;
use centinela_domain::features::FEATURES_VERSION;

/// `(version, position, 'name')`, the rows of `sql/views/feature_names.sql`.
fn listed(file: &std::path::Path) -> Vec<(u32, usize, String)> {
    let text = std::fs::read_to_string(file).expect("a file");
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix('(')?.split_once("')"));
    rows.map(|(row, _)| {
        let mut parts = row.splitn(3, ", ");
        let mut part = || parts.next().expect("three parts");
        let (version, position) = (part().parse().expect("a version"), part().parse().expect("a position"));
        (version, position, part().trim_start_matches('\'').to_owned())
    })
    .collect()
}

/// Writes the names of this release where others stand, after those of earlier ones, which stay: their decisions are in the lake.
fn write(file: &std::path::Path, rows: &[(u32, usize, String)]) {
    let mut lines: Vec<String> = rows.iter().filter(|(version, ..)| *version != FEATURES_VERSION).map(row).collect();
    lines.extend(of_this_release().iter().map(row));
    let text = std::fs::read_to_string(file).expect("a file");
    let (before, rest) = text.split_once("(VALUES\n").expect("a list");
    let (_, after) = rest.split_once("\n)").expect("its end");
    std::fs::write(file, format!("{before}(VALUES\n    {}\n){after}", lines.join(",\n    "))).expect("a file");
}

fn row((version, position, name): &(u32, usize, String)) -> String {
    format!("({version}, {position}, '{name}')")
}

fn of_this_release() -> Vec<(u32, usize, String)> {
    let names = FeatureVector::NAMES.iter().enumerate();
    names.map(|(index, name)| (FEATURES_VERSION, index + 1, (*name).to_owned())).collect()
}

#[test]
fn every_version_of_the_features_has_its_names_in_sql() {
    let file = centinela_e2e::workspace().join("sql/views/feature_names.sql");
    if std::env::var_os("CENTINELA_WRITE_GOLDEN").is_some() {
        write(&file, &listed(&file));
    }
    let rows = listed(&file);
    let versions: std::collections::BTreeSet<u32> = rows.iter().map(|(version, ..)| *version).collect();
    assert_eq!(
        versions,
        (1..=FEATURES_VERSION).collect(),
        "a version is missing; older ones are in the lake and keep their names"
    );
    let current: Vec<_> = rows.into_iter().filter(|(version, ..)| *version == FEATURES_VERSION).collect();
    let advice = "CENTINELA_WRITE_GOLDEN=1 cargo test --release --test analysts --test infra_reader writes sql/views/feature_names.sql, and what \
                  infra/60-catalogue.yaml says of it";
    assert_eq!(current, of_this_release(), "{advice}");
}
