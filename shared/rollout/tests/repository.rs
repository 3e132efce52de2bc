//! The repository's own stacks, as a deploy reads them.

use std::path::Path;

use centinela_infra::Sources;
use centinela_rollout::{Deployment, DeploymentError, sample_names};

const ENVIRONMENTS: [&str; 3] = ["dev", "stage", "prod"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn smoke(package: &str) -> Option<String> {
    let file = |name: &&str| std::fs::read_to_string(root().join("events").join(package).join(name)).ok();
    sample_names().iter().find_map(file)
}

fn deployment(environment: &str) -> Deployment {
    let sources = Sources::from_directory(&root().join("infra"), environment).expect("the stacks");
    Deployment::of(&sources, &smoke).unwrap_or_else(|error| panic!("{environment}: {error}"))
}

#[test]
fn every_environment_can_be_deployed_in_an_order_in_which_each_import_is_there() {
    for environment in ENVIRONMENTS {
        let deployment = deployment(environment);
        let mut exported: Vec<String> = Vec::new();
        for stack in &deployment.stacks {
            for import in stack.body.split("Fn::ImportValue: !Sub '").skip(1) {
                let name = import.split('\'').next().unwrap_or_default().to_owned();
                assert!(exported.contains(&name), "{environment}: {} imports {name}, which comes later", stack.name);
            }
            let outputs = stack.body.split("\nOutputs:").nth(1).unwrap_or_default();
            let exports = outputs.split("Name: !Sub '").skip(1);
            exported.extend(exports.filter_map(|name| name.split('\'').next()).map(str::to_owned));
        }
        assert!(exported.len() > 20, "{environment}: the exports were not found");
    }
}

#[test]
fn every_function_has_an_alias_a_key_of_its_code_and_an_event_that_changes_nothing() {
    let deployment = deployment("dev");
    let functions: Vec<_> = deployment.functions().collect();
    let directories = std::fs::read_dir(root().join("functions")).expect("functions").count();
    assert_eq!(functions.len(), directories, "each package is a function of a stack");
    for function in functions {
        assert_eq!(function.alias, "live", "{}", function.package);
        assert_eq!(function.name, format!("dev-{}", function.package));
        assert_eq!(function.code_key, format!("{}/bootstrap.zip", function.package));
        serde_json::from_str::<serde_json::Value>(&function.smoke).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn what_holds_data_outlives_its_stack_and_its_name_is_looked_for_before() {
    let deployment = deployment("prod");
    let named: Vec<_> = deployment.stacks.iter().flat_map(|stack| &stack.named).collect();
    for (kind, identifier) in [
        ("AWS::DynamoDB::Table", "user_state"),
        ("AWS::Kinesis::Stream", "decisions"),
        ("AWS::S3::Bucket", "centinela-artefacts-123456789012-eu-west-1"),
    ] {
        let found = named
            .iter()
            .find(|named| named.kind == kind && named.identifier("123456789012", "eu-west-1") == identifier);
        assert!(found.is_some_and(|named| named.is_kept), "{kind} {identifier} among {named:?}");
    }
    assert_eq!(deployment.brokers_parameter.as_deref(), Some("/centinela/kafka-bootstrap"));
    let network = deployment.stacks.iter().find(|stack| stack.file.starts_with("10-")).expect("a network");
    assert_eq!(network.open_zones, ["ZoneA", "ZoneB", "ZoneC"]);
}

#[test]
fn a_function_without_an_event_that_changes_nothing_is_refused() {
    let sources = Sources::from_directory(&root().join("infra"), "dev").expect("the stacks");
    let but_one = |package: &str| smoke(package).filter(|_| package != "compact-lake");
    let refused = Deployment::of(&sources, &but_one);
    assert!(matches!(refused, Err(DeploymentError::NoSmoke { package }) if package == "compact-lake"));
}
