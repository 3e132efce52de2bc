//! The small lake of `tests/analysts/`, in a directory or in an emulator of S3, and the command that asks it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use centinela_domain::Millis;
use centinela_e2e::command::centinela;
use centinela_e2e::python::environment;
use centinela_e2e::running::Running;
use centinela_e2e::{built, workspace};
use centinela_lake::store::{Condition, ObjectStore as _};
use centinela_object_store::S3Lake;
use serde_json::Value;
use tempfile::TempDir;

/// A lake with known answers.
pub(crate) struct SmallLake {
    directory: TempDir,
    python: PathBuf,
    questions: AtomicUsize,
}

/// The names of the ready questions.
pub(crate) fn questions() -> Vec<String> {
    let files =
        std::fs::read_dir(workspace().join("sql")).expect("the questions").map(|entry| entry.expect("an entry").path());
    let sql = files.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
    let names = sql.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "tables").collect();
    names.sort();
    names
}

impl SmallLake {
    /// Writes it; where Python or DuckDB cannot be had, says so.
    pub(crate) fn or_say_why() -> Option<Self> {
        let python = match prerequisites() {
            Ok(python) => python.to_owned(),
            Err(skipped) => {
                println!("{skipped}");
                return None;
            }
        };
        let directory = TempDir::new().expect("a directory");
        let lake = Self { directory, python, questions: AtomicUsize::new(0) };
        let output = lake
            .python("lake.py", &[&workspace().join("sql/tables.sql"), &lake.copy()])
            .output()
            .expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(lake)
    }

    /// A directory that is gone with the test.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The copy of the bucket.
    fn copy(&self) -> PathBuf {
        self.directory.path().join("lake")
    }

    /// A script of `tests/analysts/`.
    pub(crate) fn python(&self, script: &str, arguments: &[&Path]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(workspace().join("tests/analysts").join(script)).args(arguments);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// `centinela query` over the copy.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Command {
        let mut command = centinela(&["query"]);
        command.args(arguments).arg("--lake").arg(self.copy());
        command
    }

    /// A question in a file.
    pub(crate) fn question(&self, sql: &str) -> PathBuf {
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        let file = self.directory.path().join(format!("question-{number}.sql"));
        std::fs::write(&file, sql).expect("a file");
        file
    }

    /// Writes something else into a file of the copy.
    pub(crate) fn replace(&self, key: &str, text: &str) {
        let file = self.copy().join(key);
        assert!(file.exists(), "{key}");
        std::fs::write(file, text).expect("a file");
    }

    /// What Python computed.
    pub(crate) fn answers(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.copy().join("answers.json")).expect("answers")).expect("JSON")
    }

    /// The same in the S3 of a running platform.
    pub(crate) fn served(&self) -> Served {
        let running = Running::start();
        let lake = running.endpoints["buckets"].as_array().expect("buckets").iter().filter_map(Value::as_str);
        let lake = lake.into_iter().find(|name| name.contains("lake")).expect("a lake").to_owned();
        let credentials = Credentials::new(
            running.endpoint("access_key_id"),
            running.endpoint("secret_access_key"),
            None,
            None,
            "test",
        );
        let sdk = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(running.endpoint("region")))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
            .build();
        let store = S3Lake::new(&sdk, &lake, Some(&running.endpoint("s3"))).expect("a bucket");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(put_all(&store, &self.copy()));
        Served { running }
    }
}

/// A platform whose lake is the small one.
pub(crate) struct Served {
    running: Running,
}

impl Served {
    /// Where it is.
    pub(crate) fn endpoints(&self) -> PathBuf {
        self.running.endpoints_file()
    }
}

/// Puts every file under its own path. Manifests name another bucket; only their keys count.
async fn put_all(store: &S3Lake, copy: &Path) {
    let mut directories = vec![copy.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let key = path.strip_prefix(copy).expect("it is below").to_string_lossy().into_owned();
            let bytes = std::fs::read(&path).expect("a file");
            let put = store.put(&key, bytes.into(), Condition::None, Millis(i64::MAX)).await;
            put.expect("it is put");
        }
    }
}

/// What the tests need beyond Rust, once for all of them: Python with its packages, and the pinned DuckDB.
pub(crate) fn prerequisites() -> Result<&'static Path, &'static str> {
    static READY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        let _directory = built(&["centinela"]);
        let bin = environment("analysts", &workspace().join("tests/analysts/requirements.txt"));
        let bin = bin.map_err(|skipped| skipped.to_string())?;
        let asked = centinela(&["query", "--install-duckdb"]).output().expect("the command can be started");
        let said = String::from_utf8_lossy(&asked.stderr);
        if asked.status.success() { Ok(bin.join("python")) } else { Err(format!("skipped: {}", said.trim())) }
    });
    ready.as_deref().map_err(String::as_str)
}
