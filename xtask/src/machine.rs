//! What a figure was measured on. What the operating system does not say is left out, not guessed.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// The machine.
pub fn describe() -> Value {
    let cores = std::thread::available_parallelism().map(std::num::NonZero::get).ok();
    json!({
        "cpu": first_value("/proc/cpuinfo", "model name"),
        "cores": cores,
        "memory_mb": first_value("/proc/meminfo", "MemTotal").and_then(|text| megabytes(&text)),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "kernel": read("/proc/sys/kernel/osrelease"),
    })
}

/// One line about it.
pub fn line(machine: &Value) -> String {
    let text = |field: &str| match &machine[field] {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    };
    format!(
        "{}, {} cores, {} MB of memory, {} {} {}",
        text("cpu"),
        text("cores"),
        text("memory_mb"),
        text("system"),
        text("kernel"),
        text("architecture")
    )
}

/// Load averages over 1, 5 and 15 minutes, as the kernel words them.
pub fn load_average() -> Option<String> {
    let line = read("/proc/loadavg")?;
    Some(line.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Whether more than half of a core was busy during the last minute: too much for figures that anybody should quote.
pub fn is_busy(load_average: &str) -> bool {
    load_average.split(' ').next().and_then(|load| load.parse().ok()).is_some_and(|load: f64| load > 0.5)
}

/// The commit that is measured, with `-dirty` where files differ from it.
pub fn commit(workspace: &Path) -> Option<String> {
    let arguments = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let output = Command::new("git").args(arguments).current_dir(workspace).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

fn first_value(path: &str, name: &str) -> Option<String> {
    let text = read(path)?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}

fn megabytes(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_says_little_is_described_without_guesses() {
        assert_eq!(line(&json!({ "cores": 2 })), "unknown, 2 cores, unknown MB of memory, unknown unknown unknown");
        assert_eq!(megabytes("2048000 kB"), Some(2000));
        assert!(is_busy("0.51 0.1 0.1") && !is_busy("0.40 3.0 9.0"));
    }
}
