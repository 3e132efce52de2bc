//! The repository's own stacks inside the binary, so that the platform starts from any directory.

/// File names and texts, in the order in which they are deployed.
pub(super) const STACKS: [(&str, &str); 5] = [
    ("10-foundation.yaml", include_str!("../10-foundation.yaml")),
    ("20-streaming.yaml", include_str!("../20-streaming.yaml")),
    ("30-data.yaml", include_str!("../30-data.yaml")),
    ("40-app.yaml", include_str!("../40-app.yaml")),
    ("50-ops.yaml", include_str!("../50-ops.yaml")),
];

/// Names of the environments with their parameter files.
pub(super) const ENVIRONMENTS: [(&str, &str); 3] = [
    ("dev", include_str!("../env/dev.json")),
    ("local", include_str!("../env/local.json")),
    ("prod", include_str!("../env/prod.json")),
];
