//! The file that a running `centinela up --endpoints FILE` wrote.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;

/// What it says.
#[derive(Debug)]
pub struct EndpointsFile {
    path: PathBuf,
    content: Value,
}

impl EndpointsFile {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read, or is no JSON.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        let content = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        match content {
            Ok(content) => Ok(Self { path, content }),
            Err(why) => Err(Self { path, content: Value::Null }.refused(&why)),
        }
    }

    /// All of it.
    #[must_use]
    pub fn content(&self) -> &Value {
        &self.content
    }

    /// A text; none where there is none, or an empty one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.content[name].as_str().filter(|text| !text.is_empty())
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn needed(&self, name: &str) -> Result<&str, Failure> {
        let why =
            || self.refused(&format!("it names no `{name}`; `centinela up --endpoints FILE` writes one that does"));
        self.text(name).ok_or_else(why)
    }

    /// Why it is of no use.
    #[must_use]
    pub fn refused(&self, why: &str) -> Failure {
        Failure::Usage(format!("--endpoints {}: {why}", self.path.display()))
    }
}
