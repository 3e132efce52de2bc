//! `centinela query` where there is nothing to answer with: what a person is told, and how a script learns of it. Its answers are tested in
//! `tests/tests/analysts`.

use std::fs;

use centinela_e2e::command::{assert_one_line, centinela};
use tempfile::TempDir;

#[test]
fn without_a_question_the_ready_ones_are_listed() {
    let output = centinela(&["query"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    for wanted in ["block-rate ", "What share of transactions was blocked", "--param users=20", "user-story"] {
        assert!(list.contains(wanted), "{wanted} is missing in {list}");
    }
}

#[test]
fn a_request_that_cannot_be_carried_out_says_what_would_be() {
    let directory = TempDir::new().unwrap();
    let lake = directory.path().to_str().unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["nothing"], &["there is no question `nothing`", "block-rate"]),
        (&["missing.sql"], &["missing.sql cannot be read"]),
        (&["block-rate"], &["say where the lake is", "--endpoints FILE", "--lake s3://BUCKET"]),
        (&["block-rate", "--lake", lake], &["has no directory `manifests`", lake]),
        (&["block-rate", "--lake", "s3://a/b"], &["a whole bucket"]),
        (&["block-rate", "--lake", lake, "--endpoints", "x"], &["--endpoints goes with a bucket"]),
        (&["block-rate", "--endpoints", "missing.json"], &["--endpoints missing.json"]),
        (&["block-rate", "--param", "user=1", "--lake", lake], &["no parameter `user`", "since, until"]),
        (&["latency", "--param", "limit_ms=soon", "--lake", lake], &["`soon` for --param limit_ms", "500"]),
        (&["latency", "--param", "limit_ms", "--lake", lake], &["NAME=VALUE"]),
        (&["latency", "--since", "yesterday", "--lake", lake], &["'yesterday' for '--since", "2h"]),
        (&["latency", "--format", "xml", "--lake", lake], &["'xml' for '--format", "json"]),
    ];
    for (arguments, named) in cases {
        assert_one_line(centinela(&["query"]).args(*arguments), 2, named);
    }
    let endpoints = directory.path().join("endpoints.json");
    for (text, named) in [
        ("[]", "names no `s3`"),
        ("{", "EOF"),
        (r#"{"s3": "http://127.0.0.1:9", "buckets": ["a", "b"]}"#, "no bucket of a lake"),
    ] {
        fs::write(&endpoints, text).unwrap();
        assert_one_line(centinela(&["query", "records", "--endpoints"]).arg(&endpoints), 2, &[named]);
    }
}

#[test]
fn a_bucket_that_cannot_be_asked_is_one_line() {
    let directory = TempDir::new().unwrap();
    let nothing = directory.path().join("none");
    let of_aws = || {
        let mut command = centinela(&["query", "records", "--lake", "s3://nowhere"]);
        command
            .env("AWS_CONFIG_FILE", &nothing)
            .env("AWS_SHARED_CREDENTIALS_FILE", &nothing)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    };
    assert_one_line(&mut of_aws(), 2, &["no region for s3://nowhere", "AWS_REGION"]);
    assert_one_line(of_aws().env("AWS_REGION", "eu-west-1"), 2, &["no credentials for AWS", "AWS_ACCESS_KEY_ID"]);
    let endpoints = directory.path().join("endpoints.json");
    let text = r#"{"s3": "http://127.0.0.1:9", "region": "us-east-1", "access_key_id": "a", "secret_access_key": "b", "buckets": ["lake"]}"#;
    fs::write(&endpoints, text).unwrap();
    let duckdb = directory.path().join("duckdb");
    fs::write(&duckdb, "").unwrap();
    let mut refused = centinela(&["query", "records", "--endpoints"]);
    let path = std::env::join_paths([directory.path().to_owned(), "/usr/bin".into(), "/bin".into()]).unwrap();
    assert_one_line(refused.arg(&endpoints).env("PATH", path), 1, &["bucket lake cannot be reached", "refused"]);
}

#[test]
fn without_duckdb_it_says_how_to_get_one() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("manifests")).unwrap();
    let mut command = centinela(&["query", "block-rate", "--lake"]);
    command.arg(directory.path()).env("XDG_CACHE_HOME", directory.path()).env("PATH", directory.path());
    assert_one_line(&mut command, 2, &["there is no DuckDB", "centinela query --install-duckdb", "PATH"]);
    let mut install = centinela(&["query", "--install-duckdb"]);
    install.env("XDG_CACHE_HOME", directory.path().join("cache")).env("PATH", directory.path());
    assert_one_line(&mut install, 1, &["DuckDB was not installed", "python3"]);
}
