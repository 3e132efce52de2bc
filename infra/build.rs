//! Lists the functions' stacks for `src/bundled.rs`, so that a new file is all that a new function's stack takes.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

const FUNCTIONS: &str = "40-functions";

fn main() -> io::Result<()> {
    let directory = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(FUNCTIONS);
    writeln!(io::stdout(), "cargo::rerun-if-changed={FUNCTIONS}")?;
    let mut files = fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let list: String = files.iter().map(|path| entry(path)).collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("functions.rs"), format!("&[{list}]"))
}

/// Found where the crate is when it is compiled: a build directory may be older than the checkout.
fn entry(path: &Path) -> String {
    let file = format!("{FUNCTIONS}/{}", path.file_name().unwrap_or_default().to_string_lossy());
    format!("({file:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {file:?}))),")
}
