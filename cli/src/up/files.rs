//! The files that a run writes: checked before anything is started, because a run of hours whose report has no place is lost.

use std::path::{Path, PathBuf};

use crate::args::Up;
use crate::failure::Failure;
use crate::outfile::{Manner, check_writable, is_own_output, place};

/// Refuses files that cannot be written, two uses of one file, and a directory with something in it.
///
/// # Errors
/// [`Failure::Usage`] with the flag and the value or the file.
pub fn check(arguments: &Up) -> Result<(), Failure> {
    let written = [
        ("--summary", &arguments.summary, Manner::Replaced),
        ("--endpoints", &arguments.endpoints, Manner::Replaced),
        ("--logs", &arguments.logs, Manner::Grown),
        ("--calls", &arguments.calls, Manner::Replaced),
    ];
    let mut used: Vec<(&str, PathBuf)> = Vec::new();
    if let Some(place) = arguments.traffic.input.as_deref().and_then(place) {
        used.push(("--input", place));
    }
    for (flag, path, manner) in written {
        let Some(path) = path else { continue };
        check_writable(flag, path, manner)?;
        // Devices and pipes take whatever comes, and so does our own output, which is written on.
        let takes_anything = path.exists() && (!path.is_file() || is_own_output(path));
        let Some(place) = place(path).filter(|_| !takes_anything) else { continue };
        if let Some((other, _)) = used.iter().find(|(_, known)| *known == place) {
            let path = path.display();
            return Err(Failure::Usage(format!("{other} and {flag} are the same file {path}; give each its own")));
        }
        used.push((flag, place));
    }
    arguments.s3_directory.as_deref().map(empty_directory).transpose().map(drop)
}

/// A directory that is there and empty, or made now: what another run left in it would count as this one's.
///
/// # Errors
/// [`Failure::Usage`] when it is neither.
pub fn empty_directory(directory: &Path) -> Result<PathBuf, Failure> {
    let refused = |why: String| Failure::Usage(format!("--s3-directory {}: {why}", directory.display()));
    std::fs::create_dir_all(directory).map_err(|error| refused(error.to_string()))?;
    let mut entries = std::fs::read_dir(directory).map_err(|error| refused(error.to_string()))?;
    if entries.next().is_some() {
        return Err(refused("it is not empty; name a new one".to_owned()));
    }
    std::path::absolute(directory).map_err(|error| refused(error.to_string()))
}
