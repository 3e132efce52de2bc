//! What an account must have before anything is made there.

use centinela_rollout::{
    Caller, Concurrency, Deployment, Facts, Level, Options, Taken, Zone, adopting, deploy, gather, judge, zones_for,
};

use crate::world::World;
use crate::{Person, code, deployment, options};

fn facts(world: &World, deployment: &Deployment) -> Facts {
    gather(world, deployment, "us-east-1", Ok("USD 100 a month".into())).expect("facts")
}

fn zone(number: u32, letter: &str) -> Zone {
    Zone { id: format!("use1-az{number}"), name: format!("us-east-1{letter}") }
}

/// The findings that matter as much as this or more, one a line.
fn found(facts: &Facts, deployment: &Deployment, level: Level) -> String {
    let findings = judge(facts, deployment, Some("123456789012"), false);
    let lines = findings.iter().filter(|finding| finding.level >= level).map(ToString::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_account_that_has_everything_is_fine() {
    let deployment = deployment();
    let facts = facts(&World::new(1), &deployment);
    assert_eq!(found(&facts, &deployment, Level::Problem), "");
    let all = found(&facts, &deployment, Level::Fine);
    assert!(all.contains("zones: use1-az1, use1-az2, use1-az4, which MSK takes"), "{all}");
    assert!(all.contains("concurrency: 20 more are reserved, 900 of 1000 are free"), "{all}");
    assert!(all.contains("price: USD 100 a month"), "{all}");
}

#[test]
fn another_account_is_refused() {
    let deployment = deployment();
    let mut facts = facts(&World::new(1), &deployment);
    facts.caller = Caller { account: "999999999999".into(), arn: "arn:aws:iam::999999999999:user/x".into() };
    let problem = found(&facts, &deployment, Level::Problem);
    assert!(problem.contains("of 999999999999") && problem.contains("--account says 123456789012"), "{problem}");
}

#[test]
fn a_new_account_with_little_concurrency_is_refused_with_the_quota_to_ask_for() {
    let deployment = deployment();
    let mut facts = facts(&World::new(1), &deployment);
    facts.concurrency = Ok(Concurrency { limit: 50, unreserved: 50 });
    let problem = found(&facts, &deployment, Level::Problem);
    assert!(problem.contains("20 more are reserved by the stacks, 50 of 50 are free"), "{problem}");
    assert!(problem.contains("of at least 120"), "{problem}");
    // What is reserved already is not needed again.
    facts.reserved = deployment.functions().map(|function| (function.name.clone(), 10)).collect();
    assert_eq!(found(&facts, &deployment, Level::Problem), "");
}

#[test]
fn zones_without_brokers_are_not_chosen() {
    let chosen = zones_for(&[zone(3, "a"), zone(6, "b"), zone(2, "c"), zone(1, "d")]);
    assert_eq!(chosen, Some(["use1-az1", "use1-az2", "use1-az6"].map(str::to_owned)));
    let deployment = deployment();
    let mut facts = facts(&World::new(1), &deployment);
    facts.zones = Ok(vec![zone(1, "a"), zone(2, "b"), zone(3, "c")]);
    let problem = found(&facts, &deployment, Level::Problem);
    assert!(problem.contains("2 of 3 can have brokers, and 3 are needed"), "{problem}");
}

#[test]
fn stacks_without_parameters_for_zones_are_refused_where_they_would_meet_one_without_brokers() {
    let mut deployment = deployment();
    deployment.stacks[0].open_zones.clear();
    let mut facts = facts(&World::new(1), &deployment);
    let problem = found(&facts, &deployment, Level::Problem);
    assert!(problem.contains("us-east-1c is use1-az3, where MSK makes no brokers"), "{problem}");
    facts.zones = Ok(vec![zone(1, "a"), zone(2, "b"), zone(4, "c"), zone(3, "d")]);
    assert_eq!(found(&facts, &deployment, Level::Problem), "");
}

#[test]
fn what_outlived_an_earlier_stack_is_named_and_may_be_taken_over() {
    let (world, deployment) = (World::new(1), deployment());
    for stray in [
        ("AWS::DynamoDB::Table", "dev-echo"),
        ("AWS::Logs::LogGroup", "/aws/lambda/dev-echo-events"),
        ("AWS::S3::Bucket", "dev-centinela-artefacts-123456789012-us-east-1"),
    ] {
        world.strays.borrow_mut().insert((stray.0.into(), stray.1.into()));
    }
    let facts = facts(&world, &deployment);
    let taken = |file: &str, kind: &str, identifier: &str, may_be_adopted| {
        let (file, kind, identifier) = (file.to_owned(), kind.to_owned(), identifier.to_owned());
        Taken { file, kind, identifier, may_be_adopted }
    };
    let bucket = "dev-centinela-artefacts-123456789012-us-east-1";
    let logs = "/aws/lambda/dev-echo-events";
    assert_eq!(
        facts.taken,
        [
            taken("10-foundation.yaml", "AWS::S3::Bucket", bucket, true),
            taken("30-data.yaml", "AWS::DynamoDB::Table", "dev-echo", true),
            taken("40-functions/echo-events.yaml", "AWS::Logs::LogGroup", logs, false),
        ]
    );
    let problems = found(&facts, &deployment, Level::Problem);
    assert!(
        problems.contains("dev-echo exists and is of no stack of ours") && problems.contains("--adopt"),
        "{problems}"
    );
    let taking_over = judge(&facts, &deployment, None, true);
    let left: Vec<_> = taking_over.iter().filter(|finding| finding.level == Level::Problem).collect();
    assert!(left.len() == 1 && left[0].text.contains("LogGroup"), "{left:?}");
}

#[test]
fn names_of_stacks_that_stand_are_not_taken_by_others() {
    let (world, deployment) = (World::new(1), deployment());
    deploy(&world, &Person::default(), &deployment, &code("a"), &[], &options()).expect("a deploy");
    world.strays.borrow_mut().insert(("AWS::DynamoDB::Table".into(), "dev-echo".into()));
    assert_eq!(facts(&world, &deployment).taken, []);
}

#[test]
fn a_stack_takes_over_what_is_named_by_a_text_and_is_changed_by_its_own_template() {
    let (world, deployment) = (World::new(1), deployment());
    world.strays.borrow_mut().insert(("AWS::DynamoDB::Table".into(), "dev-echo".into()));
    let templates = adopting(&facts(&world, &deployment), &deployment);
    assert_eq!(templates.keys().collect::<Vec<_>>(), ["30-data.yaml"]);
    assert!(templates["30-data.yaml"].contains("TableName: 'dev-echo'"), "{}", templates["30-data.yaml"]);
    let taking_over = Options { adopting: templates, ..options() };
    deploy(&world, &Person::default(), &deployment, &code("a"), &[], &taking_over).expect("a deploy");
    assert!(world.stacks.borrow()["dev-centinela-30-data"].body.contains("TableName: 'dev-echo'"));
}

#[test]
fn a_type_that_cannot_be_asked_for_is_named_and_hides_no_other() {
    let deployment = deployment();
    let mut facts = facts(&World::new(1), &deployment);
    facts.not_looked_for.insert("AWS::KMS::Alias".into(), "no right".into());
    let (file, kind, identifier) = ("30-data.yaml".into(), "AWS::DynamoDB::Table".into(), "dev-echo".into());
    facts.taken.push(Taken { file, kind, identifier, may_be_adopted: true });
    let findings = found(&facts, &deployment, Level::Note);
    assert!(findings.contains("AWS::KMS::Alias is not looked for: no right"), "{findings}");
    assert!(findings.contains("PROBLEM  names: AWS::DynamoDB::Table dev-echo"), "{findings}");
}

#[test]
fn a_region_that_the_stacks_do_not_know_is_refused() {
    let deployment = deployment();
    let mut facts = facts(&World::new(1), &deployment);
    facts.region = "sa-east-1".into();
    let problem = found(&facts, &deployment, Level::Problem);
    assert!(problem.contains("add sa-east-1 to infra/check"), "{problem}");
}

#[test]
fn nobody_deploys_prod_whose_alarms_nobody_gets() {
    let mut deployment = deployment();
    deployment.environment = "prod".into();
    let facts = facts(&World::new(1), &deployment);
    for nobody in ["", "fraud-alerts@example.com"] {
        deployment.alert_address = nobody.into();
        let problem = found(&facts, &deployment, Level::Problem);
        assert!(problem.contains("AlertEmail names nobody"), "{nobody}: {problem}");
    }
    deployment.alert_address = "on-call@bank.example".into();
    assert_eq!(found(&facts, &deployment, Level::Problem), "");
}

#[test]
fn a_budget_that_waits_for_a_person_is_said_before_anything_is_made() {
    let mut deployment = deployment();
    let facts = facts(&World::new(1), &deployment);
    for (action, is_said) in [("AUTOMATIC", false), ("MANUAL", true)] {
        deployment.stacks[0].parameters = vec![("BudgetAction".into(), action.into())];
        let notes = found(&facts, &deployment, Level::Note);
        assert_eq!(notes.contains("note     budget: BudgetAction is MANUAL: when"), is_said, "{action}: {notes}");
        assert_eq!(found(&facts, &deployment, Level::Problem), "", "it is a person's choice");
    }
}
