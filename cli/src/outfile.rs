//! Files that a command writes: refused before the work when they cannot be written, and put in their place as a whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Result, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Links that are followed; a longer chain is a circle.
const LINKS_MAX: usize = 40;
/// Of a file that is new, less what the umask takes.
const MODE: u32 = 0o666;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Beside it first; then it is put there. A link is written through.
    Replaced,
    /// In its place.
    Grown,
}

/// Refuses what cannot be written. Leaves nothing behind.
///
/// # Errors
/// [`Failure::Usage`] with the flag and the file.
pub fn check_writable(flag: &str, path: &Path, manner: Manner) -> std::result::Result<(), Failure> {
    let refuse = |why: &str| Err(unwritable(flag, path, why));
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return refuse("it is a directory; name a file in it");
    }
    if !directory_of(path).is_dir() {
        return refuse("its directory does not exist");
    }
    let is_replaced = manner == Manner::Replaced && path.symlink_metadata().is_ok_and(|found| found.is_file());
    let tried = if is_replaced || !path.exists() {
        NamedTempFile::new_in(directory_of(path)).map(drop)
    } else if path.is_file() {
        OpenOptions::new().append(true).open(path).map(drop)
    } else {
        Ok(())
    };
    tried.or_else(|error| refuse(&error.to_string()))
}

/// Where an ordinary file is or will be. Devices, pipes and what standard output goes to are refused: they cannot be replaced.
///
/// # Errors
/// [`Failure::Usage`] with the flag and the file.
pub fn ordinary(flag: &str, path: &Path) -> std::result::Result<PathBuf, Failure> {
    check_writable(flag, path, Manner::Replaced)?;
    let refuse = |why: &str| Err(unwritable(flag, path, why));
    let Some(place) = place(path) else { return refuse("its links lead in a circle") };
    if is_own_output(path) {
        return refuse("this command's own output goes there; name another file");
    }
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return refuse("it is no ordinary file; name one, or a file that is not there yet");
    }
    Ok(place)
}

fn unwritable(flag: &str, path: &Path, why: &str) -> Failure {
    Failure::Usage(format!("{flag} {} cannot be written: {why}", path.display()))
}

/// The directory that a file is in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a file is or would be, whatever it is called: absolute, without links and detours.
pub fn place(path: &Path) -> Option<PathBuf> {
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

/// An empty file that is to replace another or to be a new one, with the mode that this file should have. Unless it is persisted
/// it is gone when it is dropped.
///
/// # Errors
/// What the operating system says.
pub fn beside(path: &Path) -> Result<NamedTempFile> {
    let file = tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(directory_of(path))?;
    if let Ok(found) = fs::metadata(path) {
        file.as_file().set_permissions(found.permissions())?;
    }
    Ok(file)
}

/// Writes a file so that nobody ever reads half of it, where it is an ordinary one. What our own standard output or standard error
/// goes to is written on; a device, a pipe or a link is written to, not replaced.
///
/// # Errors
/// What the operating system says.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(mut own) = own_output(path) {
        return own.write_all(bytes);
    }
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let mut file = beside(path)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether our own standard output or standard error goes to what is called so.
pub fn is_own_output(path: &Path) -> bool {
    own_output(path).is_some()
}

/// Standard output or standard error once more, with its place in the file: another opening would write over what comes later.
fn own_output(path: &Path) -> Option<File> {
    let named = fs::metadata(path).ok()?;
    let copies = [std::io::stdout().as_fd().try_clone_to_owned(), std::io::stderr().as_fd().try_clone_to_owned()];
    copies
        .into_iter()
        .flatten()
        .map(File::from)
        .find(|own| own.metadata().is_ok_and(|found| (found.dev(), found.ino()) == (named.dev(), named.ino())))
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
        symlink("inner/../report.json", at("link")).unwrap();
        symlink(directory.path(), at("inner/up")).unwrap();
        let expected = place(&at("report.json")).unwrap();
        for name in ["link", "inner/../report.json", "inner/up/report.json", "inner/up/link"] {
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

    #[test]
    fn a_file_keeps_its_mode_and_a_new_one_has_that_of_any_other() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        fs::write(at("plain"), "").unwrap();
        fs::write(at("shared"), "old").unwrap();
        fs::set_permissions(at("shared"), Permissions::from_mode(0o664)).unwrap();
        for name in ["new", "shared"] {
            write(&at(name), b"content").unwrap();
            assert_eq!(fs::read(at(name)).unwrap(), b"content", "{name}");
        }
        assert_eq!(mode("new"), mode("plain"));
        assert_eq!(mode("shared"), 0o664);
    }
}
