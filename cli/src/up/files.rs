//! The files that a run writes: checked before anything is started, because a run of hours whose account has no place is lost.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::args::Up;
use crate::failure::Failure;

/// Links that are followed; a longer chain is a circle.
const LINKS_MAX: usize = 40;

/// Refuses files that cannot be written and two uses of one file.
///
/// # Errors
/// [`Failure::Usage`] with the flag and the file.
pub fn check(arguments: &Up) -> Result<(), Failure> {
    let written =
        [("--summary", &arguments.summary), ("--endpoints", &arguments.endpoints), ("--logs", &arguments.logs)];
    let mut used: Vec<(&str, PathBuf)> = Vec::new();
    if let Some(place) = arguments.traffic.input.as_deref().and_then(place) {
        used.push(("--input", place));
    }
    for (flag, path) in written {
        let Some(path) = path else { continue };
        check_writable(flag, path)?;
        // Devices and pipes take whatever comes.
        let Some(place) = place(path).filter(|place| !place.exists() || place.is_file()) else { continue };
        if let Some((other, _)) = used.iter().find(|(_, known)| *known == place) {
            let path = path.display();
            return Err(Failure::Usage(format!("{other} and {flag} are the same file {path}; give each its own")));
        }
        used.push((flag, place));
    }
    Ok(())
}

fn check_writable(flag: &str, path: &Path) -> Result<(), Failure> {
    let refuse = |why: &str| Err(Failure::Usage(format!("{flag} {} cannot be written: {why}", path.display())));
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return refuse("it is a directory; name a file in it");
    }
    if !directory_of(path).is_dir() {
        return refuse("its directory does not exist");
    }
    // The logs grow in place; the others are written beside it first and then put there, unless it is a link.
    let is_replaced = flag != "--logs" && path.symlink_metadata().is_ok_and(|found| found.is_file());
    let tried = if is_replaced || !path.exists() {
        tempfile::NamedTempFile::new_in(directory_of(path)).map(drop)
    } else if path.is_file() {
        OpenOptions::new().append(true).open(path).map(drop)
    } else {
        Ok(())
    };
    tried.or_else(|error| refuse(&error.to_string()))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a file is or would be, whatever it is called: absolute, without links and detours.
fn place(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        // A link may point to a file that is still to be made.
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => return Some(fs::canonicalize(directory_of(&path)).ok()?.join(path.file_name()?)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_has_one_place_whatever_it_is_called_and_before_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        symlink("inner/../account.json", at("link")).unwrap();
        symlink(directory.path(), at("inner/up")).unwrap();
        let expected = place(&at("account.json")).unwrap();
        for name in ["link", "inner/../account.json", "inner/up/account.json", "inner/up/link"] {
            assert_eq!(place(&at(name)).as_ref(), Some(&expected), "{name}");
        }
        assert_ne!(place(&at("other.json")), Some(expected));
    }

    #[test]
    fn a_circle_of_links_is_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink(at("b"), at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        assert_eq!(place(&at("a")), None);
    }
}
