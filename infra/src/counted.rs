// What a function counts, read where it is declared; `build.rs` includes this file too.

/// The names in the `counts!` of a source: its quoted words, comments aside.
pub(super) fn counted(source: &str) -> Vec<&str> {
    let block = source.split_once("counts! {").map_or("", |(_, block)| block);
    let block = block.split_once("\n}").map_or(block, |(block, _)| block);
    let lines = block.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    lines.filter_map(|line| line.split('"').nth(1)).collect()
}
