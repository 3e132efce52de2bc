//! A page of the documentation with places for what was measured.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A place in a page: the lines before and behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line before.
    pub begin: &'static str,
    /// The line behind.
    pub end: &'static str,
}

/// Of the usual rows.
pub const MEASURED: Place = Place {
    begin: "<!-- measured: written by `cargo xtask measure --page` -->\n",
    end: "<!-- end of what was measured -->\n",
};
/// Of the rows with calls as slow as in AWS.
pub const LATENCY_PROFILE: Place = Place {
    begin: "<!-- latency profile: written by `cargo xtask measure --latency-profile --page` -->\n",
    end: "<!-- end of the latency profile -->\n",
};

/// A page, read and found to have the place.
pub struct Page {
    path: PathBuf,
    place: Place,
    before: String,
    after: String,
}

impl Page {
    /// Reads a page, so that half an hour of measuring is not in vain.
    ///
    /// # Errors
    /// When it cannot be read, or does not have both lines in their order.
    pub fn open(path: &Path, place: Place) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", path.display())))?;
        let Place { begin, end } = place;
        let parts = text.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
        let Some((before, after)) = parts else {
            let (begin, end) = (begin.trim_end(), end.trim_end());
            let problem =
                format!("{} has no place for figures: a line `{begin}` and a line `{end}` after it", path.display());
            return Err(Failure::Usage(problem));
        };
        Ok(Self { path: path.to_owned(), place, before: before.to_owned(), after: after.to_owned() })
    }

    /// Puts a text into the place, instead of what stands there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fill(self, text: &str) -> Result<(), Failure> {
        let Self { path, place: Place { begin, end }, before, after } = self;
        std::fs::write(&path, format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
            .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(path: &Path, place: Place, text: &str) -> String {
        let page = Page::open(path, place).unwrap_or_else(|failure| panic!("{failure}"));
        page.fill(text).unwrap_or_else(|failure| panic!("{failure}"));
        std::fs::read_to_string(path).expect("read")
    }

    #[test]
    fn a_place_is_filled_again_and_the_rest_with_the_other_place_stays() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (usual, profile) = (MEASURED, LATENCY_PROFILE);
        let page = |first: &str, second: &str| {
            format!(
                "# Page\n\n{}\n{first}\n\n{}\nBetween.\n\n{}\n{second}\n\n{}\nThe end.\n",
                usual.begin, usual.end, profile.begin, profile.end
            )
        };
        std::fs::write(file.path(), page("old", "old")).expect("written");
        assert_eq!(filled(file.path(), profile, "one\n"), page("old", "one"));
        assert_eq!(filled(file.path(), usual, "\ntwo\n\nthree"), page("two\n\nthree", "one"));
        assert_eq!(filled(file.path(), profile, "four"), page("two\n\nthree", "four"));
    }

    #[test]
    fn a_page_without_the_place_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{}{}{}", LATENCY_PROFILE.begin, LATENCY_PROFILE.end, MEASURED.end))
            .expect("written");
        let refused = Page::open(file.path(), MEASURED).err().expect("it has no beginning").to_string();
        assert!(refused.contains("measured") && refused.contains(&file.path().display().to_string()), "{refused}");
    }

    /// The benchmarks are written by this.
    #[test]
    fn the_benchmarks_have_both_places() {
        let page = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md"));
        for place in [MEASURED, LATENCY_PROFILE] {
            assert!(Page::open(page, place).is_ok(), "{place:?}");
        }
    }
}
