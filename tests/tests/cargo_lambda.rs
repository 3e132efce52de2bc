//! `cargo lambda watch` and `cargo lambda invoke`, as `events/score-transactions/README.md` describes them, beside a running
//! `centinela up`. cargo-lambda comes from PyPI into the user's cache; where it is not to be had the test is skipped with a word.

#![expect(clippy::print_stdout, reason = "a skipped test says why")]

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use centinela_e2e::python::environment;
use centinela_e2e::running::Running;
use centinela_e2e::{binaries, without_package_variables, workspace};
use centinela_infra::Infrastructure;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

const FUNCTION: &str = "score-transactions";
/// The first invocation builds the function.
const PATIENCE: Duration = Duration::from_secs(600);

fn events() -> PathBuf {
    workspace().join("events").join(FUNCTION)
}

/// Names and values of an environment file, in which a line that begins with `#` is a comment.
fn variables(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).expect("the file");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.split_once('=').expect("NAME=value"))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// `cargo lambda watch` with everything that it starts; none of it outlives the test.
struct Watch {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Watch {
    fn start(cargo_lambda: &Path, environment: &Path, log: PathBuf) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port();
        let mut command = Command::new(cargo_lambda);
        without_package_variables(&mut command);
        let output = std::fs::File::create(&log).expect("a file");
        let child = command
            .current_dir(workspace())
            .args([
                "lambda",
                "watch",
                "--ignore-changes",
                "--release",
                "--bin",
                FUNCTION,
                "-A",
                "127.0.0.1",
                "-P",
                &port.to_string(),
            ])
            .arg("--env-file")
            .arg(environment)
            .env("CARGO_TARGET_DIR", binaries().parent().expect("a target directory"))
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("a handle"))
            .stdout(output)
            .process_group(0)
            .spawn()
            .expect("cargo-lambda can be started");
        let watch = Self { child, port, log };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "it never listens: {}", watch.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        watch
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn invoke(&self, cargo_lambda: &Path, event: &Path) -> Value {
        let output = Command::new(cargo_lambda)
            .args(["lambda", "invoke", "-A", "127.0.0.1", "-P", &self.port.to_string(), FUNCTION, "--data-file"])
            .arg(event)
            .stdin(Stdio::null())
            .output()
            .expect("cargo-lambda can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = || {
            format!("{}\n{text}\n{}\nwatch: {}", output.status, String::from_utf8_lossy(&output.stderr), self.said())
        };
        assert!(output.status.success(), "{}", failed());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {}", failed()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).expect("a process id");
        let _ended_meanwhile = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}

#[test]
fn the_environment_for_one_machine_is_the_one_that_the_stacks_declare() {
    let infrastructure = Infrastructure::bundled("local").expect("the stacks");
    let function = infrastructure.function(FUNCTION).expect("the function");
    let written = variables(&events().join("local.env"));
    for (name, declared) in &function.environment {
        let own = ["KAFKA_BOOTSTRAP", "PSEUDONYM_KEY", "CONSUMER_GROUP"].contains(&name.as_str());
        let value = written.get(name).unwrap_or_else(|| panic!("{name} is missing in local.env"));
        assert!(own || value == declared, "{name} is {value} in local.env and {declared} in the stacks");
    }
    assert_ne!(written["CONSUMER_GROUP"], function.environment["CONSUMER_GROUP"]);
}

#[test]
fn cargo_lambda_invokes_the_function_beside_a_running_up() {
    let bin = match environment("cargo-lambda", &workspace().join("tests/clients/cargo-lambda.txt")) {
        Ok(bin) => bin,
        Err(skipped) => return println!("{skipped}"),
    };
    let cargo_lambda = bin.join("cargo-lambda");
    let running = Running::start();
    // As in the README, but on free ports.
    let file = running.directory().join("local.env");
    let mut variables = variables(&events().join("local.env"));
    for (name, endpoint) in [
        ("AWS_ENDPOINT_URL_DYNAMODB", "dynamodb"),
        ("AWS_ENDPOINT_URL_KINESIS", "kinesis"),
        ("KAFKA_BOOTSTRAP", "kafka"),
    ] {
        variables.insert(name.to_owned(), running.endpoint(endpoint));
    }
    let text: String = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(&file, text).expect("a file");

    let began = Instant::now();
    let watch = Watch::start(&cargo_lambda, &file, running.directory().join("watch.log"));
    for name in ["single", "two-partitions", "poison", "empty"] {
        let response = watch.invoke(&cargo_lambda, &events().join(format!("{name}.json")));
        let expected = std::fs::read(events().join(format!("{name}.response.json"))).expect("a response");
        assert_eq!(response, serde_json::from_slice::<Value>(&expected).expect("JSON"), "{name}");
        println!("{name}: answered {:.0?} after the start of cargo lambda watch", began.elapsed());
    }
    drop(watch);
    drop(running);
}
