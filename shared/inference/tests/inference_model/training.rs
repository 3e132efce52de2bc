//! What the training script knows of the features is what the function computes.

use std::process::Command;

use centinela_domain::FeatureVector;

#[test]
#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn the_training_script_reads_the_features_from_the_code_that_serves() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../model/features.py");
    let Ok(output) = Command::new("python3").arg(script).output() else {
        println!("skipped: python3 is not installed");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Vec<(String, String)> = serde_json::from_slice(&output.stdout).unwrap();
    let names = FeatureVector::NAMES.into_iter().map(str::to_owned);
    let reasons = FeatureVector::REASONS.into_iter().map(|reason| reason.as_str().to_owned());
    assert_eq!(read, names.zip(reasons).collect::<Vec<_>>());
}
