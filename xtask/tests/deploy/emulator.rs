//! The emulator: a process of its own, its state gone with it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Three zones, and MSK in each of them. The emulator's us-east-1 has three as well, and MSK is not in the third.
pub const REGION: &str = "eu-west-1";
/// An interpreter with its libraries on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A running emulator; dropping it ends it.
pub struct Emulator {
    child: Child,
    pub address: SocketAddr,
    /// Of the same environment; functions' code is written in it.
    pub python: PathBuf,
    _directory: TempDir,
}

/// What was answered.
pub struct Answered {
    pub status: u16,
    pub body: String,
}

impl Emulator {
    /// Starts one; `None`, with a word, where it cannot be had.
    pub fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let installed =
            Command::new(root.join("infra/tools/install")).arg("ministack").output().expect("infra/tools/install");
        if installed.status.code() == Some(3) {
            let mut said = std::io::stdout().lock();
            said.write_all(&installed.stderr).expect("a word about it");
            return None;
        }
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let tools = PathBuf::from(String::from_utf8(installed.stdout).expect("a path").trim());
        let directory = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let child = Command::new(tools.join("ministack"))
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", free.port().to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("TMPDIR", directory.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("LD_LIBRARY_PATH")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the emulator starts");
        let mut emulator = Self { child, address: free, python: tools.join("python3"), _directory: directory };
        emulator.wait();
        Some(emulator)
    }

    /// Until it answers: it is asked again as soon as it refuses.
    fn wait(&mut self) {
        let began = Instant::now();
        while began.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait().expect("the emulator's state") {
                let log = std::fs::read_to_string(self._directory.path().join("log")).unwrap_or_default();
                panic!("the emulator ended ({status}): {log}");
            }
            if TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok()
                && self.send("GET", "/_ministack/health", "", &[], "").status == 200
            {
                return;
            }
            std::thread::yield_now();
        }
        panic!("the emulator does not answer within {START_LIMIT:?}");
    }

    /// Asks a service directly, past the proxy. It looks at no signature, only for whom it is.
    pub fn send(&self, method: &str, path: &str, service: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let credential = format!("test/20261129/{REGION}/{service}/aws4_request");
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        request.push_str(&format!(
            "authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0\r\n"
        ));
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        Answered { status, body }
    }

    /// An operation that takes JSON under its name.
    pub fn target(&self, service: &str, target: &str, body: &str) -> Answered {
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target)];
        self.send("POST", "/", service, &headers, body)
    }

    /// Where the alias of a function leads, as it is answered.
    pub fn alias(&self, function: &str) -> String {
        let path = format!("/2015-03-31/functions/{function}/aliases/live");
        let alias = self.send("GET", &path, "lambda", &[], "");
        assert_eq!(alias.status, 200, "{}", alias.body);
        alias.body
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Its functions' processes end with it when it is asked to end.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            drop(self.child.kill());
        }
        drop(self.child.wait());
    }
}
