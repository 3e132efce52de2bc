//! The repository's own stacks inside the binary, so that the platform starts from any directory.

/// The shared stacks, by file name.
pub(super) const SHARED: [(&str, &str); 10] = [
    ("10-foundation.yaml", include_str!("../10-foundation.yaml")),
    ("20-streaming.yaml", include_str!("../20-streaming.yaml")),
    ("25-clients.yaml", include_str!("../25-clients.yaml")),
    ("30-data.yaml", include_str!("../30-data.yaml")),
    ("45-brokers.yaml", include_str!("../45-brokers.yaml")),
    ("50-ops.yaml", include_str!("../50-ops.yaml")),
    ("55-dashboard.yaml", include_str!("../55-dashboard.yaml")),
    ("60-catalogue.yaml", include_str!("../60-catalogue.yaml")),
    ("70-analysts.yaml", include_str!("../70-analysts.yaml")),
    ("80-budget.yaml", include_str!("../80-budget.yaml")),
];

/// The functions' stacks, which `build.rs` finds.
pub(super) const FUNCTIONS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/functions.rs"));

/// What the functions were recorded to call, by function, which `build.rs` finds.
pub(super) const CALLS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// The metrics that each function counts, by its name, which `build.rs` reads from the functions' sources.
pub(super) const COUNTED: &[(&str, &[&str])] = include!(concat!(env!("OUT_DIR"), "/counted.rs"));

/// Names of the environments with their parameter files.
pub(super) const ENVIRONMENTS: [(&str, &str); 4] = [
    ("dev", include_str!("../env/dev.json")),
    ("local", include_str!("../env/local.json")),
    ("prod", include_str!("../env/prod.json")),
    ("stage", include_str!("../env/stage.json")),
];
