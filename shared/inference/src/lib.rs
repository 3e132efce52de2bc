//! The fraud model: an ONNX tree ensemble that is verified, run by tract, and explained.
//!
//! Refuses to start with a model whose bytes, feature order or thresholds differ from its manifest or from this program, and with
//! any graph that it cannot evaluate truthfully. Reads no file, no environment and no clock.

mod compact;
mod explain;
mod forest;
mod graph;
mod manifest;
mod model;
mod operator;
mod scorer;

pub use explain::{Contributions, Reason};
pub use forest::{MalformedTree, NodeFault};
pub use graph::MalformedModel;
pub use manifest::{Calibration, GuardBand, Manifest, ManifestError, SCHEMA_VERSION, Thresholds};
pub use model::{Model, ModelError};
pub use scorer::ModelScorer;
