//! Prometheus' own checker of metrics, built once by Go into the user's cache.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The version that is built; its sums are checked against Go's database.
const MODULE: &str = "github.com/prometheus/prometheus/cmd/promtool@v0.316.0";

/// Checks a page in Prometheus' text format with `promtool check metrics`; says in a line that it is skipped where there is no promtool
/// and it cannot be built.
///
/// # Panics
/// When promtool finds something wrong.
#[expect(clippy::print_stdout, reason = "a skipped check says why")]
pub fn check(text: &str) {
    let Some(promtool) = promtool() else {
        println!("skipped: there is no promtool; install it, or Go to build {MODULE}");
        return;
    };
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).env_remove("LD_LIBRARY_PATH");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = piped.expect("promtool can be started");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("promtool reads it");
    drop(input);
    let output = child.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
}

/// The one on the path, or the one in the cache, which is built when it is not there.
fn promtool() -> Option<PathBuf> {
    let answers = |program: &PathBuf| {
        let mut command = Command::new(program);
        command.arg("--version").env_remove("LD_LIBRARY_PATH").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let directory = crate::python::cache().join("promtool");
    let built = directory.join("promtool");
    let found = [PathBuf::from("promtool"), built.clone()].into_iter().find(answers);
    found.or_else(|| {
        let mut go = Command::new("go");
        go.args(["install", MODULE]).env("GOBIN", &directory).env_remove("LD_LIBRARY_PATH");
        let is_built = go.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        Some(built).filter(|built| is_built && answers(built))
    })
}
