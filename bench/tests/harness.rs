//! The harness with the real function as its contender, and the scripts around it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use centinela_e2e::built;
use centinela_local::broker::{Broker, BrokerConfig};
use serde_json::{Value, json};

const BENCH: &str = env!("CARGO_MANIFEST_DIR");

/// `centinela-bench`, spoken with line by line; it never outlives its test.
struct Speaking {
    child: Child,
    say: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
}

impl Speaking {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_centinela-bench"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let say = child.stdin.take();
        let hear = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, say, hear }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.hear.read_line(&mut line).expect("text");
        line.trim().to_owned()
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Tells it whom to watch, and returns its report.
    fn watch(&mut self, pid: u32) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let told = json!({ "processes": { "contender": pid }, "started_unix_ms": u64::try_from(now).expect("a time") });
        writeln!(self.say.as_mut().expect("a pipe"), "{told}").expect("it listens");
        self.json()["report"].clone()
    }

    /// Closes its standard input and waits for its end.
    fn end(mut self) -> Option<i32> {
        self.say = None;
        self.child.wait().expect("a child").code()
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended_meanwhile = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_backlog_and_live_records_are_counted_to_the_last_decision() {
    let _directory = built(&["score-transactions"]);
    let broker = Broker::start(BrokerConfig::default()).await.expect("it starts");
    let kafka = broker.bootstrap();
    let measured = tokio::task::spawn_blocking(move || {
        let mut backlog =
            Speaking::start(&["backlog", "--kafka", &kafka, "--records", "600", "--users", "200", "--seed", "3"]);
        assert_eq!(backlog.json(), json!({ "loaded": 600 }));
        let mut host = Speaking::start(&["host", "--kafka", &kafka]);
        let waiting = backlog.watch(host.child.id());
        assert_eq!(host.line(), "ready");
        let mut live = Speaking::start(&[
            "live",
            "--kafka",
            &kafka,
            "--rate",
            "50",
            "--warm-up",
            "1",
            "--seconds",
            "2",
            "--users",
            "200",
            "--seed",
            "4",
        ]);
        assert_eq!(live.json(), json!({ "prepared": 151 }));
        let lived = live.watch(host.child.id());
        assert_eq!((backlog.end(), live.end(), host.end()), (Some(0), Some(0), Some(0)));
        (waiting, lived)
    });
    let (waiting, lived) = measured.await.expect("no panic");
    for report in [&waiting, &lived] {
        assert_eq!(report["decided"], report["sent"], "{report}");
        assert_eq!(report["contradicted"], 0, "{report}");
        let spent = &report["cpu"]["contender"];
        // The system counts in hundredths of a second, of which so few decisions may leave one of the two none.
        let micros = ["own_us", "children_us"].map(|of| spent[of].as_f64().expect("a figure"));
        assert!(micros.iter().sum::<f64>() > 0.0, "{report}");
        assert!(report["first_decision_s"].as_f64().is_some(), "{report}");
    }
    assert!(waiting["tx_s"].as_f64() > Some(0.0) && waiting["latency_ms"].is_null(), "{waiting}");
    // The decisions of the run before are on the topics too.
    assert_eq!(lived["unknown"].as_u64().map(|unknown| unknown >= 600), Some(true), "{lived}");
    let latency = &lived["latency_ms"];
    assert!(latency["p50"].as_f64() > Some(0.0) && latency["p50"].as_f64() <= latency["max"].as_f64(), "{lived}");
}

#[test]
fn the_scripts_keep_their_own_rules_and_refuse_what_they_do_not_know() {
    let python = |arguments: &[&str]| {
        let output = Command::new("python3").arg("-B").args(arguments).current_dir(BENCH).output();
        output.map(|output| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            (output.status.code(), said)
        })
    };
    let Ok((code, said)) = python(&["-m", "unittest", "-q", "harness.test_harness"]) else {
        say_skipped();
        return;
    };
    assert_eq!(code, Some(0), "{said}");
    for (arguments, wanted, named) in [
        (["run", "--list"], 0, "flink-exactly-once"),
        (["run", "nobody"], 2, "`nobody`"),
        (["run", "--repeat=0"], 2, "1 to 99"),
        (["instructions", "--help"], 0, "--write"),
        (["instructions", "--wrong"], 2, "`--wrong`"),
        (["doublings", "--help"], 0, "fits an invocation"),
    ] {
        let (code, said) = python(&arguments).expect("it was there just now");
        assert_eq!((code, said.contains(named)), (Some(wanted), true), "{arguments:?}: {said}");
    }
    assert!(Path::new(BENCH).join("peers/jvm/flink/jars.sha256").is_file());
}

#[expect(clippy::print_stderr, reason = "a word for whoever runs the tests")]
fn say_skipped() {
    eprintln!("skipped: there is no python3, which the scripts of bench/ need");
}
