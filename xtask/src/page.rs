//! A page of the documentation with a place for what was measured.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Stands before the place.
const BEGIN: &str = "<!-- measured: written by `cargo xtask measure --page` -->\n";
/// Stands behind it.
const END: &str = "<!-- end of what was measured -->\n";

/// A page, read and found to have the place.
pub struct Page {
    path: PathBuf,
    before: String,
    after: String,
}

impl Page {
    /// Reads a page, so that half an hour of measuring is not in vain.
    ///
    /// # Errors
    /// When it cannot be read, or does not have both marks in their order.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", path.display())))?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let Some((before, after)) = parts else {
            let problem = format!(
                "{} has no place for figures: a line `{}` and a line `{}` after it",
                path.display(),
                BEGIN.trim_end(),
                END.trim_end()
            );
            return Err(Failure::Usage(problem));
        };
        Ok(Self { path: path.to_owned(), before: before.to_owned(), after: after.to_owned() })
    }

    /// Puts a text into the place, instead of what stands there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fill(self, text: &str) -> Result<(), Failure> {
        let Self { path, before, after } = self;
        std::fs::write(&path, format!("{before}{BEGIN}\n{}\n\n{END}{after}", text.trim()))
            .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_filled_again_and_the_rest_stays() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("# Page\n\n{BEGIN}old\n{END}\nThe end.\n")).expect("written");
        for text in ["one\n", "\ntwo\n\nthree"] {
            Page::open(file.path())
                .map_err(|failure| failure.to_string())
                .expect("a page")
                .fill(text)
                .unwrap_or_else(|failure| panic!("{failure}"));
            let filled = std::fs::read_to_string(file.path()).expect("read");
            assert_eq!(filled, format!("# Page\n\n{BEGIN}\n{}\n\n{END}\nThe end.\n", text.trim()));
        }
    }

    #[test]
    fn a_page_without_the_place_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), END).expect("written");
        let refused = Page::open(file.path()).err().expect("it has no beginning").to_string();
        assert!(refused.contains("measured") && refused.contains(&file.path().display().to_string()), "{refused}");
    }

    /// The benchmarks are written by this.
    #[test]
    fn the_benchmarks_have_the_place() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
        assert!(Page::open(Path::new(page)).is_ok());
    }
}
