//! The files that a run writes: checked before anything is started, because a run of hours whose report has no place is lost.

use std::path::PathBuf;

use crate::args::Up;
use crate::failure::Failure;
use crate::outfile::{Manner, check_writable, is_own_output, place};

/// Refuses files that cannot be written and two uses of one file.
///
/// # Errors
/// [`Failure::Usage`] with the flag and the value or the file.
pub fn check(arguments: &Up) -> Result<(), Failure> {
    let written = [
        ("--summary", &arguments.summary, Manner::Replaced),
        ("--endpoints", &arguments.endpoints, Manner::Replaced),
        ("--logs", &arguments.logs, Manner::Grown),
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
    Ok(())
}
