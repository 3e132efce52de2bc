//! Lists the ready questions of `sql/` for `src/query/questions.rs`, so that a new file is all that a new question takes.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The file of `sql/` that is no question.
const TABLES: &str = "tables";

fn main() -> io::Result<()> {
    let sql = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../sql");
    writeln!(io::stdout(), "cargo::rerun-if-changed=../sql")?;
    let lists = [("QUESTIONS", sql.clone()), ("ATHENA", sql.join("athena")), ("VIEWS", sql.join("views"))];
    let mut source = String::new();
    for (name, directory) in lists {
        source.push_str(&format!("pub(super) const {name}: &[(&str, &str)] = &[{}];\n", entries(&directory)?));
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("questions.rs"), source)
}

fn entries(directory: &Path) -> io::Result<String> {
    let mut files = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    // Found where the crate is when it is compiled: a build directory may be older than the checkout.
    let named = files.iter().map(|path| (path.file_stem().unwrap_or_default().to_string_lossy(), path));
    let questions = named.filter(|(name, _)| name != TABLES);
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let within = |path: &Path| path.strip_prefix(&manifest).unwrap_or(path).to_owned();
    let text = |path: &Path| format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {:?}))", within(path));
    Ok(questions.map(|(name, path)| format!("({name:?}, {}),", text(path))).collect())
}
