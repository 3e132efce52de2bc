//! Lists for `src/bundled.rs` what belongs to the functions, so that a new function's files are all that it takes: their stacks, what
//! they were recorded to call, and the metrics that they count. The latter are read where they are declared, in the `counts!` of each
//! function's `metrics.rs`: an alarm is held against what the code sends, and against no copy of it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/counted.rs"]
mod counted;

const FUNCTIONS: &str = "40-functions";
const CALLS: &str = "calls";
const PACKAGES: &str = "../functions";

fn main() -> io::Result<()> {
    let directory = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for watched in [FUNCTIONS, CALLS, PACKAGES] {
        writeln!(io::stdout(), "cargo::rerun-if-changed={watched}")?;
    }
    let stacks = files(&directory.join(FUNCTIONS), "yaml")?;
    let list: String =
        stacks.iter().map(|path| entry(&format!("{FUNCTIONS}/{}", name(path)), FUNCTIONS, path)).collect();
    fs::write(out.join("functions.rs"), format!("&[{list}]"))?;
    let calls = files(&directory.join(CALLS), "txt")?;
    let list: String = calls.iter().map(|path| entry(name(path).trim_end_matches(".txt"), CALLS, path)).collect();
    fs::write(out.join("calls.rs"), format!("&[{list}]"))?;
    let mut list = String::new();
    for package in files(&directory.join(PACKAGES), "")? {
        if let Ok(source) = fs::read_to_string(package.join("src/metrics.rs")) {
            list.push_str(&format!("({:?}, &{:?}),", name(&package), counted::counted(&source)));
        }
    }
    fs::write(out.join("counted.rs"), format!("&[{list}]"))
}

fn files(directory: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().unwrap_or_default() == extension);
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Found where the crate is when it is compiled: a build directory may be older than the checkout.
fn entry(key: &str, directory: &str, path: &Path) -> String {
    let file = format!("{directory}/{}", name(path));
    format!("({key:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {file:?}))),")
}
