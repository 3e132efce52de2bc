//! Apache Kafka and DynamoDB Local for one run: started fresh, stopped whatever happens; their CPU time and memory come from the
//! operating system.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::failure::Failure;

/// What fetches, starts and stops them, in the checkout.
const SCRIPT: &str = "tests/real-servers/run";
/// What it starts.
const NAMES: [&str; 2] = ["kafka", "dynamodb"];

/// Running servers. Dropping them stops them and waits for their end.
pub struct Servers {
    /// The script stops what it started when its standard input ends, even if this program is killed.
    holder: Child,
    said: Value,
    _directory: TempDir,
}

/// Makes sure that there is something to run against.
///
/// # Errors
/// Why there is not.
pub fn prepare(workspace: &Path) -> Result<(), String> {
    let script = workspace.join(SCRIPT);
    if !script.is_file() {
        return Err(format!("there is no {SCRIPT}, which starts them"));
    }
    let output = Command::new(script).arg("fetch").stdin(Stdio::null()).stdout(Stdio::null()).output();
    let output = output.map_err(|error| format!("{SCRIPT} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().unwrap_or("no reason given").trim_start_matches("skipped: ").to_owned())
}

impl Servers {
    /// Starts them, empty.
    ///
    /// # Errors
    /// When the script fails or does not say where they are.
    pub fn start(workspace: &Path) -> Result<Self, Failure> {
        let failed = |what: String| Failure::Failed(format!("the real servers do not start: {what}"));
        let directory = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(workspace.join(SCRIPT));
        command.arg("hold").arg(directory.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Apart from the terminal's Ctrl-C, which must not end the servers before the run that uses them.
        command.process_group(0);
        let holder = command.spawn().map_err(|error| failed(format!("{SCRIPT}: {error}")))?;
        let mut servers = Self { holder, said: Value::Null, _directory: directory };
        let mut line = String::new();
        if let Some(output) = servers.holder.stdout.take() {
            let mut output = BufReader::new(output);
            while !line.starts_with('{') {
                line.clear();
                match output.read_line(&mut line) {
                    Ok(0) => return Err(failed(format!("{SCRIPT} hold ended early; what it said stands above"))),
                    Ok(_) => {}
                    Err(error) => return Err(failed(error.to_string())),
                }
            }
        }
        servers.said = serde_json::from_str(&line).map_err(|error| failed(error.to_string()))?;
        Ok(servers)
    }

    /// What `centinela up` needs to use them.
    ///
    /// # Errors
    /// When the script did not say where they are.
    pub fn arguments(&self) -> Result<Vec<String>, Failure> {
        let text = |pointer: &str| {
            let missing = || Failure::Failed(format!("{SCRIPT} hold did not say {pointer}"));
            self.said.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or_else(missing)
        };
        let (kafka, dynamodb) = (text("/kafka/bootstrap")?, text("/dynamodb/url")?);
        Ok(vec!["--kafka".to_owned(), kafka, "--dynamodb".to_owned(), dynamodb])
    }

    /// CPU time in µs since their start by server; what is no server's process id is left out.
    pub fn cpu_us(&self) -> Vec<(String, f64)> {
        pids(&self.said).into_iter().filter_map(|(name, pid)| Some((name, cpu_us(pid)?))).collect()
    }

    /// CPU per transaction since `before`, and the most memory, by server.
    pub fn figures(&self, before: &[(String, f64)], decided: f64) -> Value {
        let mut servers = Map::new();
        for (name, now) in self.cpu_us() {
            let then = before.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, then)| *then);
            let pid = pids(&self.said).into_iter().find(|(known, _)| *known == name).map(|(_, pid)| pid);
            let rss_mb = pid.and_then(centinela_procfs::rss_mb_max);
            servers.insert(name, json!({ "cpu_us_per_tx": (now - then) / decided.max(1.0), "rss_mb_max": rss_mb }));
        }
        Value::Object(servers)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        if let Err(error) = self.holder.wait() {
            crate::terminal::note(&format!("the real servers may still run: {error}"));
        }
    }
}

/// Process ids by server.
fn pids(said: &Value) -> Vec<(String, u32)> {
    let pid = |name: &&str| Some(((*name).to_owned(), u32::try_from(said[*name]["pid"].as_u64()?).ok()?));
    NAMES.iter().filter_map(pid).collect()
}

fn cpu_us(pid: u32) -> Option<f64> {
    Some(centinela_procfs::cpu_time(pid)?.as_micros() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_process_id_has_no_figures() {
        let said = json!({ "kafka": { "bootstrap": "127.0.0.1:1", "pid": 12 }, "dynamodb": { "pid": null } });
        assert_eq!(pids(&said), [("kafka".to_owned(), 12)]);
        assert!(pids(&Value::Null).is_empty());
    }
}
