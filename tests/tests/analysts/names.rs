//! Names that stand in SQL and come from the code.

use centinela_domain::FeatureVector;
use centinela_domain::features::FEATURES_VERSION;

/// `(version, position, 'name')`, the rows of `sql/views/feature_names.sql`.
fn listed() -> Vec<(u32, usize, String)> {
    let file = centinela_e2e::workspace().join("sql/views/feature_names.sql");
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

#[test]
fn the_features_of_this_release_have_their_names_in_sql() {
    let current: Vec<(usize, String)> = listed()
        .into_iter()
        .filter(|(version, ..)| *version == FEATURES_VERSION)
        .map(|(_, position, name)| (position, name))
        .collect();
    let names = FeatureVector::NAMES.iter().enumerate().map(|(index, name)| (index + 1, (*name).to_owned()));
    let missing = "sql/views/feature_names.sql lists other features; add those of the new version and keep the older ones, whose decisions \
                   are in the lake, and bring infra/60-catalogue.yaml along";
    assert_eq!(current, names.collect::<Vec<_>>(), "{missing}");
}

#[test]
fn older_versions_keep_their_names() {
    let versions: std::collections::BTreeSet<u32> = listed().into_iter().map(|(version, ..)| version).collect();
    assert_eq!(versions, (1..=FEATURES_VERSION).collect());
}
