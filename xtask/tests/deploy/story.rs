//! What an operator lives through, from nothing to nothing.

use crate::emulator::Emulator;
use crate::proxy::{Effect, Proxy};
use crate::workspace::{Ended, Workspace};

const BUCKET: &str = "dev-centinela-artefacts-000000000000-eu-west-1";
const THROTTLED: &str =
    "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";

fn started() -> Option<(Emulator, Proxy, Workspace)> {
    let emulator = Emulator::start()?;
    let proxy = Proxy::start(emulator.address);
    let workspace = Workspace::new(&emulator, &proxy);
    Some((emulator, proxy, workspace))
}

#[track_caller]
fn ends(ended: &Ended, code: i32, says: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.said);
    for text in says {
        assert!(ended.said.contains(text), "it does not say \"{text}\": {}", ended.said);
    }
}

#[test]
fn a_first_deploy_a_second_a_changed_function_and_what_is_taken_back() {
    let Some((emulator, proxy, workspace)) = started() else { return };

    // A plan of nothing makes nothing.
    let planned = workspace.xtask("deploy", &["--plan"]);
    ends(
        &planned,
        0,
        &["fine     zones: euw1-az1, euw1-az2, euw1-az3", "dev-centinela-10-foundation (to be made): 3 resources"],
    );
    assert!(!proxy.calls().iter().any(|call| call.contains("Action=CreateChangeSet")));

    // The first deploy, over a line that loses answers: nothing is done twice, and nothing is missing.
    proxy.inject("Action=DescribeStacks", Effect::Answer(400, THROTTLED.to_owned()), 2);
    proxy.inject("Action=CreateChangeSet", Effect::AnswerLost, 1);
    proxy.inject("Action=ExecuteChangeSet", Effect::AnswerLost, 1);
    proxy.inject("/versions", Effect::Lost, 1);
    proxy.inject("PUT /dev-centinela-artefacts", Effect::Answer(503, String::new()), 1);
    let first = workspace.deploy(&[]);
    ends(&first, 0, &["+ make ArtefactBucket (AWS::S3::Bucket)", "/dev-centinela/kafka-bootstrap in Parameter Store"]);
    ends(&first, 0, &["dev-echo-events: version 1 answers", "done: 6 stacks made or changed, 0 up to date; 0 of 2"]);
    assert_eq!(proxy.left(), 0, "every failure was met");
    let stored = emulator.target("ssm", "AmazonSSM.GetParameter", r#"{"Name":"/dev-centinela/kafka-bootstrap"}"#);
    assert!(stored.body.contains(":9098"), "{}", stored.body);

    // The second changes nothing.
    proxy.calls();
    let second = workspace.deploy(&[]);
    ends(&second, 0, &["done: 0 stacks made or changed, 6 up to date; 0 of 2 functions have a new version"]);
    let calls = proxy.calls();
    let changes = ["Action=ExecuteChangeSet", "PUT /dev-centinela-artefacts", "/code", "PUT /2015-03-31"];
    let changing: Vec<_> = calls.iter().filter(|call| changes.iter().any(|change| call.contains(change))).collect();
    assert!(changing.is_empty(), "{changing:?}");

    // A changed function is asked, gets a share, and then everything.
    workspace.write_code("echo-events", "second", true);
    let changed = workspace.deploy(&["--code", "echo-events"]);
    ends(&changed, 0, &["10 % go to version 2", "dev-echo-events: version 2 is live"]);
    let calls = proxy.calls();
    let moves: Vec<_> = calls.iter().filter(|call| call.starts_with("PUT") && call.contains("/aliases/live")).collect();
    assert!(
        moves.len() == 2 && moves[0].contains(r#""2":0.1"#) && moves[1].contains(r#""FunctionVersion":"2""#),
        "{moves:?}"
    );
    assert!(!calls.iter().any(|call| call.contains("CreateChangeSet")), "code alone touches no stack");

    // One that does not answer never gets anything.
    workspace.write_code("echo-events", "third", false);
    let broken = workspace.deploy(&["--code", "echo-events"]);
    ends(&broken, 1, &["version 3 of dev-echo-events does not do", "no model", "Version 2 is live"]);
    assert!(
        emulator.alias("dev-echo-events").contains(r#""FunctionVersion": "2""#),
        "{}",
        emulator.alias("dev-echo-events")
    );

    // One that answers and fails on real events is taken back. The emulator has no metric per version: the proxy sends one.
    workspace.write_code("echo-events", "fourth", true);
    let sum = "<GetMetricStatisticsResponse><GetMetricStatisticsResult><Datapoints><member><Sum>3.0</Sum></member></Datapoints></GetMetricStatisticsResult></GetMetricStatisticsResponse>";
    proxy.inject("Action=GetMetricStatistics", Effect::Answer(200, sum.to_owned()), 1);
    let failing = workspace.deploy(&[]);
    ends(&failing, 1, &["10 % go to version 4", "3 of its invocations failed", "Version 2 is live"]);
    let alias = emulator.alias("dev-echo-events");
    assert!(alias.contains(r#""FunctionVersion": "2""#) && !alias.contains("RoutingConfig"), "{alias}");

    // Where the way back has no answer for long, the person is told the command; the next run takes it up from there.
    proxy.inject("Action=GetMetricStatistics", Effect::Answer(200, sum.to_owned()), 1);
    proxy.inject(
        r#"{"AdditionalVersionWeights":{}}"#,
        Effect::Answer(403, r#"{"__type":"AccessDeniedException","message":"no"}"#.to_owned()),
        1,
    );
    let stuck = workspace.deploy(&["--code"]);
    ends(&stuck, 1, &["aws lambda update-alias --function-name dev-echo-events --name live --function-version 2"]);
    assert!(emulator.alias("dev-echo-events").contains("RoutingConfig"), "the share is still there");
    ends(&workspace.deploy(&["--code"]), 0, &["dev-echo-events: version 4 is live"]);

    // What a stack changes of a function is live only through a version.
    workspace.change("infra/env/dev.json", r#""CountEventsMemoryMb": "256""#, r#""CountEventsMemoryMb": "512""#);
    let memory = workspace.deploy(&[]);
    ends(&memory, 0, &["~ change CountEvents (AWS::Lambda::Function)", "dev-count-events: version 2 is live"]);

    // A change that would lose data is shown and refused.
    workspace.change("infra/30-data.yaml", "AttributeName: pk", "AttributeName: id");
    let losing = workspace.deploy(&[]);
    ends(&losing, 1, &["would lose the data of EchoTable", "--may-lose"]);
}

#[test]
fn a_create_that_fails_in_the_middle_succeeds_at_the_second_try_and_what_is_kept_is_taken_over() {
    let Some((emulator, proxy, workspace)) = started() else { return };
    let setting = r#"{"Name":"/dev-centinela/echo","Type":"String","Value":"somebody else's"}"#;
    assert_eq!(emulator.target("ssm", "AmazonSSM.PutParameter", setting).status, 200);

    // Somebody has the name of a setting, and it comes after the table: what was made before it is taken back with it.
    let failed = workspace.deploy(&[]);
    ends(&failed, 1, &["stack dev-centinela-30-data ended as ROLLBACK_COMPLETE: EchoSetting: ", "run it again"]);
    let table = emulator.target("dynamodb", "DynamoDB_20120810.DescribeTable", r#"{"TableName":"dev-echo"}"#);
    assert!(table.body.contains("ResourceNotFoundException"), "a failed create leaves no table: {}", table.body);
    let deleted = emulator.target("ssm", "AmazonSSM.DeleteParameter", r#"{"Name":"/dev-centinela/echo"}"#);
    assert_eq!(deleted.status, 200, "{}", deleted.body);

    // The second try deletes what is left of the stack and goes on behind the two that stand.
    let second = workspace.deploy(&[]);
    ends(&second, 0, &["dev-centinela-30-data is ROLLBACK_COMPLETE", "done: 4 stacks made or changed, 2 up to date"]);

    // Destroyed: the last first, and it says what is kept.
    let asked = workspace.xtask("destroy", &[]);
    ends(&asked, 1, &["AWS::DynamoDB::Table dev-echo", "nothing of dev was deleted"]);
    let destroyed = workspace.xtask("destroy", &["--yes"]);
    ends(&destroyed, 0, &["AWS::S3::Bucket dev-centinela-artefacts-", "6 stacks deleted, 2 resources kept"]);
    ends(&workspace.xtask("destroy", &["--yes"]), 0, &["has no stack of dev"]);

    // What is kept stands in the way, until it is taken over. The emulator does not tell what exists: the proxy does.
    let found = |identifier: &str, times: usize| {
        let told =
            format!(r#"{{"TypeName":"x","ResourceDescription":{{"Identifier":"{identifier}","Properties":"{{}}"}}}}"#);
        proxy.inject(&format!(r#""Identifier":"{identifier}""#), Effect::Answer(200, told), times);
    };
    found("dev-echo", 1);
    found(BUCKET, 1);
    let refused = workspace.deploy(&[]);
    ends(&refused, 1, &["PROBLEM  names: AWS::DynamoDB::Table dev-echo exists", "PROBLEM  names: AWS::S3::Bucket"]);
    ends(&refused, 1, &["take it over with --adopt", "2 problems, nothing was changed"]);

    // Where nobody saw it before, CloudFormation does, and says what it found by an operation of its own.
    let conflict = workspace.deploy(&[]);
    ends(&conflict, 1, &["stack dev-centinela-10-foundation ended as ROLLBACK_COMPLETE: ArtefactBucket: "]);

    // The emulator takes a table over and no bucket, so the bucket goes by hand.
    for object in ["/count-events/bootstrap.zip", "/echo-events/bootstrap.zip", ""] {
        let gone = emulator.send("DELETE", &format!("/{BUCKET}{object}"), "s3", &[], "");
        assert_eq!(gone.status, 204, "{}", gone.body);
    }
    found("dev-echo", 1);
    let adopted = workspace.deploy(&["--adopt"]);
    ends(
        &adopted,
        0,
        &["note     names: AWS::DynamoDB::Table dev-echo", "= take over EchoTable (AWS::DynamoDB::Table)"],
    );
    ends(&workspace.deploy(&[]), 0, &["done: 0 stacks made or changed, 6 up to date"]);
}

#[test]
fn an_account_that_is_not_ready_is_left_alone() {
    let Some((_emulator, proxy, workspace)) = started() else { return };
    let small = r#"{"AccountLimit":{"ConcurrentExecutions":50,"UnreservedConcurrentExecutions":50}}"#;
    proxy.inject("/account-settings", Effect::Answer(200, small.to_owned()), 1);
    let refused = workspace.deploy(&["--account", "999999999999"]);
    ends(&refused, 1, &["PROBLEM  account: the credentials are of 000000000000", "PROBLEM  concurrency: 20 more"]);
    ends(&refused, 1, &["2 problems, nothing was changed"]);
    assert!(!proxy.calls().iter().any(|call| call.contains("CreateChangeSet") || call.starts_with("PUT")));

    // MSK is not everywhere.
    let elsewhere = workspace.xtask_in("us-east-1", "deploy", &["--plan"]);
    ends(&elsewhere, 1, &["PROBLEM  zones: 2 of 3 can have brokers"]);

    // Not to be allowed to look is no reason to stop, and not to be allowed to deploy is one.
    let denied = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>not authorized</Message></Error></Errors></Response>";
    proxy.inject("DescribeAvailabilityZones", Effect::Answer(403, denied.to_owned()), 1);
    let forbidden = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no cloudformation:CreateChangeSet</Message></Error></ErrorResponse>";
    proxy.inject("Action=CreateChangeSet", Effect::Answer(403, forbidden.to_owned()), 1);
    let unknown = workspace.deploy(&[]);
    ends(
        &unknown,
        1,
        &["note     zones: not known", "cloudformation answered 403 AccessDenied: no cloudformation:CreateChangeSet"],
    );
    proxy.calm();
    ends(&workspace.xtask("deploy", &["--bundles", "nowhere", "--yes"]), 1, &["nowhere/count-events/bootstrap.zip"]);
    ends(&workspace.xtask("deploy", &["--code", "other", "--yes"]), 2, &["there is no function other"]);
}
