//! Every alarm of every environment, fired and cleared: by metric lines as the functions write them, by counters as the platform has them,
//! and, of what only AWS can know, by the data that it would send. Minutes pass as fast as they can be counted.

mod scenarios;
mod world;

use std::fmt::Write as _;

use centinela_cloudwatch::{Alarm, MetricAlarm, State};
use centinela_infra::Infrastructure;

use scenarios::Scenario;
use world::World;

const ENVIRONMENTS: [&str; 4] = ["local", "dev", "stage", "prod"];
/// Minutes beyond an alarm's own range that it may take to speak, or to stop.
const SPARE: i64 = 15;

/// When an alarm spoke and when it stopped, in minutes since its trouble began and since it ended.
struct Fired {
    alarm: String,
    by: String,
    spoke: i64,
    stopped: i64,
    told: usize,
}

/// The stacks with the alarms of these names only.
fn only(stacks: &Infrastructure, names: &[&str]) -> Infrastructure {
    let mut stacks = stacks.clone();
    stacks.resources.retain(|resource| {
        let alarm =
            Alarm::read(&resource.kind, &resource.logical_id, &resource.properties).expect("it can be evaluated");
        alarm.is_none_or(|alarm| names.contains(&alarm.name()))
    });
    stacks
}

fn metric_alarms(stacks: &Infrastructure) -> Vec<MetricAlarm> {
    let alarms = stacks.resources.iter().filter_map(|resource| {
        Alarm::read(&resource.kind, &resource.logical_id, &resource.properties).expect("it can be evaluated")
    });
    alarms
        .filter_map(|alarm| match alarm {
            Alarm::Metric(alarm) => Some(*alarm),
            Alarm::Composite(_) => None,
        })
        .collect()
}

/// Lets minutes pass with this happening in each until the alarm is in a state; how many.
fn until(world: &mut World, scenario: &Scenario, in_trouble: bool, (alarm, state): (&str, State), most: i64) -> i64 {
    for minute in 1..=most {
        world.minute(if in_trouble { &scenario.trouble } else { &scenario.calm });
        if world.state(alarm) == state {
            return minute;
        }
    }
    panic!("{alarm} is not {state} after {most} minutes of {}: {}", scenario.by, world.reason(alarm));
}

/// Fires and clears an alarm by what it watches; `told` is the alarm that is looked at, itself or a composite.
fn fire(stacks: &Infrastructure, alarm: &MetricAlarm, looked_at: &str) -> Fired {
    let scenario = scenarios::of(alarm);
    let mut world = World::new(only(stacks, &[&alarm.name, looked_at]));
    let range = i64::try_from(alarm.range()).expect("few") * alarm.period_s / 60;
    let most = range.max(scenario.minutes) + SPARE;
    until(&mut world, &scenario, false, (looked_at, State::Ok), most);
    // A baseline, for alarms that compare with one.
    (0..scenario.minutes_before).for_each(|_| world.minute(&scenario.calm));
    assert_eq!(world.state(looked_at), State::Ok, "{looked_at} speaks while all is well: {}", world.reason(looked_at));
    let spoke = until(&mut world, &scenario, true, (looked_at, State::Alarm), most);
    let told = world.told(looked_at);
    let stopped = until(&mut world, &scenario, false, (looked_at, State::Ok), most);
    Fired { alarm: looked_at.to_owned(), by: scenario.by, spoke, stopped, told }
}

fn table(fired: &[Fired]) -> String {
    let mut table =
        String::from("| alarm | fired by, in each minute | speaks after | stops after |\n| --- | --- | --- | --- |\n");
    for Fired { alarm, by, spoke, stopped, .. } in fired {
        writeln!(table, "| `{alarm}` | {by} | {spoke} min | {stopped} min |").expect("it is a string");
    }
    table
}

#[test]
#[expect(clippy::print_stdout, reason = "the table of alarms is for whoever runs the tests")]
fn every_alarm_of_every_environment_fires_and_clears() {
    for environment in ENVIRONMENTS {
        let stacks = Infrastructure::bundled(environment).expect("the stacks are in order");
        let alarms = metric_alarms(&stacks);
        assert!(alarms.len() > 40, "{environment} has only {} alarms", alarms.len());
        let (off, on): (Vec<&MetricAlarm>, Vec<&MetricAlarm>) =
            alarms.iter().partition(|alarm| scenarios::is_off(alarm));
        assert!(off.is_empty() || environment == "dev", "{environment}: {} alarms are off", off.len());
        let mut fired: Vec<Fired> = on.iter().map(|alarm| fire(&stacks, alarm, &alarm.name)).collect();
        for resource in stacks.resources.iter().filter(|resource| resource.kind == "AWS::CloudWatch::CompositeAlarm") {
            let read = Alarm::read(&resource.kind, &resource.logical_id, &resource.properties);
            let Ok(Some(Alarm::Composite(composite))) = read else { panic!("a composite") };
            for member in composite.members() {
                let is_off = off.iter().any(|alarm| alarm.name == member);
                if is_off {
                    continue;
                }
                let member = on.iter().find(|alarm| alarm.name == member).expect("a member is an alarm on metrics");
                let by_member = fire_composite(&stacks, &composite.name, &composite.members(), member);
                fired.push(by_member);
            }
        }
        let mute: Vec<&str> = fired.iter().filter(|fired| fired.told == 0).map(|fired| fired.alarm.as_str()).collect();
        assert!(mute.is_empty(), "{environment}: these alarms spoke and told nobody: {mute:?}");
        if environment == "prod" {
            println!("{}", table(&fired));
        }
    }
}

/// The same of a composite, by one of its members while the others have no trouble.
fn fire_composite(stacks: &Infrastructure, composite: &str, members: &[&str], member: &MetricAlarm) -> Fired {
    let mut names = members.to_vec();
    names.push(composite);
    let stacks = only(stacks, &names);
    let scenario = scenarios::of(member);
    let mut world = World::new(stacks);
    let range = i64::try_from(member.range()).expect("few") * member.period_s / 60;
    let most = range.max(scenario.minutes) + SPARE;
    until(&mut world, &scenario, false, (&member.name, State::Ok), most);
    assert_eq!(world.state(composite), State::Ok, "{composite}: {}", world.reason(composite));
    let spoke = until(&mut world, &scenario, true, (composite, State::Alarm), most);
    let told = world.told(composite);
    let stopped = until(&mut world, &scenario, false, (composite, State::Ok), most);
    Fired { alarm: composite.to_owned(), by: format!("`{}`", member.name), spoke, stopped, told }
}

/// The alarms that somebody is woken for know what they are for.
#[test]
fn every_alarm_says_what_it_is_about() {
    for environment in ENVIRONMENTS {
        let stacks = Infrastructure::bundled(environment).expect("the stacks are in order");
        let dumb: Vec<String> = metric_alarms(&stacks)
            .into_iter()
            .filter(|alarm| alarm.description.split_whitespace().count() < 3)
            .map(|alarm| alarm.name)
            .collect();
        assert!(dumb.is_empty(), "{environment}: {dumb:?} have no description");
    }
}

/// A system in which nothing happens but what always does.
#[test]
fn no_alarm_speaks_in_a_healthy_system() {
    let stacks = Infrastructure::bundled("local").expect("the stacks are in order");
    let healthy: Vec<_> = metric_alarms(&stacks).iter().flat_map(|alarm| scenarios::of(alarm).calm).collect();
    let mut world = World::new(stacks);
    for minute in 1..=90 {
        world.minute(&healthy);
        let speaking = world.speaking();
        assert!(speaking.is_empty(), "after {minute} minutes: {speaking:?}");
    }
}
