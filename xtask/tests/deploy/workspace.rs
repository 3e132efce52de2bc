//! What is deployed: a copy of the small stacks, and functions that are a few lines of Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::emulator::{Emulator, REGION};
use crate::proxy::Proxy;

/// The stacks that the tests of `centinela-rollout` read too.
const STACKS: &str = "../shared/rollout/tests/stacks";
/// The cluster that the emulator makes by its own API, and in no stack.
const CLUSTER: &str = "20-streaming.yaml";

/// A directory with stacks, events and bundles.
pub struct Workspace {
    directory: TempDir,
    python: PathBuf,
    address: String,
}

/// How a command ended.
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub said: String,
}

impl Workspace {
    /// A copy, with the cluster's ARN in the place of the cluster.
    pub fn new(emulator: &Emulator, proxy: &Proxy) -> Self {
        let workspace = Self {
            directory: tempfile::tempdir().expect("a directory"),
            python: emulator.python.clone(),
            address: format!("http://{}", proxy.address),
        };
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(STACKS), workspace.root());
        let cluster = emulator.send(
            "POST",
            "/v1/clusters",
            "kafka",
            &[("content-type", "application/json")],
            r#"{"clusterName":"dev-centinela"}"#,
        );
        let said: serde_json::Value = serde_json::from_str(&cluster.body).expect("a cluster");
        let arn = said["ClusterArn"].as_str().or(said["clusterArn"].as_str()).expect("a cluster's ARN");
        let stack = format!(
            "AWSTemplateFormatVersion: '2010-09-09'\nParameters:\n  NamePrefix: {{Type: String, Default: ''}}\nResources:\n  Decisions:\n    Type: \
             AWS::Kinesis::Stream\n    Properties: {{Name: !Sub '${{NamePrefix}}decisions', ShardCount: 1}}\nOutputs:\n  ClusterArn:\n    Value: {arn}\n"
        );
        std::fs::write(workspace.root().join("infra").join(CLUSTER), stack).expect("a stack");
        for function in ["count-events", "echo-events"] {
            workspace.write_code(function, "first", true);
        }
        workspace
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Changes a text of a file below the directory; the text must stand there.
    pub fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.root().join(file);
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(path, text.replace(from, to)).expect("a file");
    }

    /// Bundles a function that says who it is, and answers or fails.
    pub fn write_code(&self, function: &str, release: &str, answers: bool) {
        let answer = if answers { "response" } else { "error" };
        let bootstrap = format!(
            r#"#!{python}
# {function}, release {release}
import json, os, urllib.request
api = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2018-06-01/runtime/invocation"
while True:
    event = urllib.request.urlopen(f"{{api}}/next")
    event.read()
    said = {{"batchItemFailures": []}} if "{answer}" == "response" else {{"errorMessage": "no model", "errorType": "Runtime.Unknown"}}
    urllib.request.urlopen(f"{{api}}/{{event.headers['Lambda-Runtime-Aws-Request-Id']}}/{answer}", json.dumps(said).encode()).read()
"#,
            python = self.python.display()
        );
        let directory = self.root().join("bundles").join(function);
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("bootstrap"), bootstrap).expect("a file");
        let zip = "import sys, zipfile\nentry = zipfile.ZipInfo('bootstrap', (2026, 11, 29, 0, 0, 0))\nentry.external_attr = 0o755 << 16\n\
                   zipfile.ZipFile(sys.argv[2], 'w').writestr(entry, open(sys.argv[1]).read())";
        let made = Command::new(&self.python)
            .args(["-c", zip])
            .args([directory.join("bootstrap"), directory.join("bootstrap.zip")])
            .env_remove("LD_LIBRARY_PATH")
            .status();
        assert!(made.is_ok_and(|status| status.success()), "a bundle of {function}");
    }

    /// `cargo xtask deploy --env dev` with the bundles, agreeing to everything, and what else is said.
    pub fn deploy(&self, more: &[&str]) -> Ended {
        let bundles = self.root().join("bundles");
        let bundles = bundles.to_str().expect("a path");
        self.xtask("deploy", &[&["--yes", "--bundles", bundles, "--watch", "2"], more].concat())
    }

    /// Any command about the environment `dev` of this directory.
    pub fn xtask(&self, command: &str, more: &[&str]) -> Ended {
        self.xtask_in(REGION, command, more)
    }

    /// The same in another region.
    pub fn xtask_in(&self, region: &str, command: &str, more: &[&str]) -> Ended {
        let root = self.root().to_str().expect("a path");
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args([command, "--env", "dev", "--checkout", root])
            .args(more)
            .env("AWS_ENDPOINT_URL", &self.address)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", region)
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .stdin(Stdio::null())
            .output()
            .expect("xtask runs");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        Ended { code: output.status.code(), said }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
