//! The model: the one that is built in, or one in a directory, such as a layer's.

use std::path::{Path, PathBuf};

use centinela_inference::{ModelError, ModelScorer};

/// The files of a model, as the trainer names them.
const ONNX: &str = "model.onnx";
const MANIFEST: &str = "manifest.json";

/// Why there is no model to decide with.
#[derive(Debug, thiserror::Error)]
pub enum NoModel {
    #[error("the model's file {} cannot be read; MODEL_DIRECTORY names its directory", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Refused(#[from] ModelError),
}

/// Loads and verifies the model.
pub fn load(directory: Option<&Path>) -> Result<ModelScorer, NoModel> {
    let Some(directory) = directory else { return Ok(ModelScorer::bundled()?) };
    let read = |name: &str| {
        let path = directory.join(name);
        std::fs::read(&path).map_err(|source| NoModel::Unreadable { path, source })
    };
    Ok(ModelScorer::load(&read(ONNX)?, &read(MANIFEST)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_scoring::ports::Scorer as _;

    #[test]
    fn a_model_of_a_directory_takes_the_place_of_the_bundled_one() {
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/artifacts/current");
        assert_eq!(load(Some(&bundled)).unwrap().stamp(), load(None).unwrap().stamp());
        let missing = load(Some(Path::new("/nowhere"))).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/model.onnx") && missing.contains("MODEL_DIRECTORY"), "{missing}");
    }
}
