//! Alarms over time: what they say at which minute, and what they do about it.

use centinela_cloudwatch::{Alarm, Alarms, Datum, Event, MINUTE_MS, MetricId, State, Store, Values};
use serde_json::{Value, json};

/// Noon of some day, and so many minutes more.
fn minute(number: i64) -> i64 {
    1_795_867_200_000 + number * MINUTE_MS
}

fn metric(name: &str) -> MetricId {
    MetricId::new("N", name, &[("Function", "f")])
}

fn alarm(name: &str, more: Value) -> Alarm {
    let mut properties = json!({
        "AlarmName": name,
        "Namespace": "N",
        "MetricName": "m",
        "Dimensions": [{ "Name": "Function", "Value": "f" }],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": "10",
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [format!("{name}-speaks")],
        "OKActions": [format!("{name}-is-well")],
    });
    let fields = properties.as_object_mut().expect("an object");
    for (field, value) in more.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(field)
        } else {
            fields.insert(field.clone(), value.clone())
        };
    }
    Alarm::read("AWS::CloudWatch::Alarm", "Logical", &properties).expect("it can be read").expect("it is an alarm")
}

fn composite(name: &str, more: Value) -> Alarm {
    let mut properties = json!({ "AlarmName": name, "AlarmActions": ["page"], "OKActions": ["calm"] });
    let fields = properties.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    let read = Alarm::read("AWS::CloudWatch::CompositeAlarm", "Logical", &properties);
    read.expect("it can be read").expect("it is an alarm")
}

/// A system that began at noon.
struct World {
    alarms: Alarms,
    store: Store,
    now: i64,
}

impl World {
    fn of(alarms: Vec<Alarm>) -> Self {
        let alarms = Alarms::new(alarms, minute(0)).expect("they fit together");
        Self { store: Store::keeping(alarms.needs()), alarms, now: 0 }
    }

    fn put(&mut self, name: &str, values: &[f64]) {
        let values = Values::Each(values.to_vec());
        self.store.put(&Datum { metric: metric(name).into(), at_ms: minute(self.now) + 1, values });
    }

    /// Lets a minute pass; what happens at its end.
    fn pass(&mut self) -> Vec<Event> {
        self.now += 1;
        let events = self.alarms.tick(&self.store, minute(self.now) + 2_000);
        self.store.forget(minute(self.now));
        events
    }

    /// The states of an alarm after each minute, with this value in each: `-` has none.
    fn states(&mut self, alarm: &str, values: &str) -> String {
        let mut states = Vec::new();
        for value in values.split(' ') {
            if let Ok(value) = value.parse() {
                self.put("m", &[value]);
            }
            self.pass();
            states.push(match self.alarms.view(alarm).expect("there is such an alarm").state {
                State::Ok => ".",
                State::Alarm => "A",
                State::InsufficientData => "?",
            });
        }
        states.join(" ")
    }
}

#[test]
fn an_alarm_speaks_when_enough_points_breach_and_stops_when_they_do_not() {
    let mut one = World::of(vec![alarm("a", json!({}))]);
    assert_eq!(one.states("a", "1 11 10 11 -"), ". A . A A", "the last point stands for a missing one");
    let mut all = World::of(vec![alarm("a", json!({ "EvaluationPeriods": 3 }))]);
    assert_eq!(all.states("a", "11 11 11 11 1 11 11 11"), ". . A A . . . A");
    let mut some = World::of(vec![alarm("a", json!({ "EvaluationPeriods": 3, "DatapointsToAlarm": "2" }))]);
    assert_eq!(some.states("a", "11 1 11 1 1 11"), ". . A . . .");
}

#[test]
fn silence_counts_as_the_alarm_says_once_the_system_is_old_enough() {
    let silent = |treatment: &str| {
        let mut world = World::of(vec![alarm("a", json!({ "EvaluationPeriods": 2, "TreatMissingData": treatment }))]);
        world.states("a", "- - - 1 - - - - -")
    };
    assert_eq!(silent("notBreaching"), ". . . . . . . . .");
    assert_eq!(silent("breaching"), "? A A . . . . A A", "four minutes are looked at for two");
    assert_eq!(silent("missing"), "? ? ? . . . . ? ?");
    assert_eq!(silent("ignore"), "? ? ? . . . . . .");
}

#[test]
fn metrics_of_dynamodb_ignore_missing_data_whatever_the_alarm_says() {
    let mut world = World::of(vec![alarm("a", json!({ "Namespace": "AWS/DynamoDB" }))]);
    let units = MetricId::new("AWS/DynamoDB", "m", &[("Function", "f")]);
    world.store.put(&Datum::one(units, minute(0), 11.0));
    assert_eq!(world.states("a", "- - - - - -"), "A A A A A A");
}

#[test]
fn a_period_of_five_minutes_is_looked_at_every_minute() {
    let mut world = World::of(vec![alarm("a", json!({ "Period": 300 }))]);
    assert_eq!(world.states("a", "0 0 0 0 11 0 0 0 0 0"), ". . . . A A A A A .");
}

#[test]
fn what_a_system_has_sent_since_it_began_does_not_come_and_go_with_its_periods() {
    let mut world = World::of(vec![alarm("a", json!({ "Period": 300 }))]);
    let states = world.states("a", "11 - - - - - - - - - - - - - - - -");
    assert_eq!(states, "A A A A A A A A A A A A A A A . .", "as long as it is in the range of three periods");
}

#[test]
fn a_percentile_of_few_samples_leaves_the_state_alone_where_that_is_wanted() {
    let tail = |low: &str| {
        let more = json!({ "Statistic": null, "ExtendedStatistic": "p99", "EvaluateLowSampleCountPercentile": low });
        World::of(vec![alarm("a", more)])
    };
    let (mut ignores, mut evaluates) = (tail("ignore"), tail("evaluate"));
    let (many, few) = (vec![20.0; 1_000], vec![20.0; 999]);
    let mut seen = Vec::new();
    for (values, level) in [(&few, 1.0), (&many, 1.0), (&few, 0.0), (&many, 0.0), (&few, 1.0)] {
        let values: Vec<f64> = values.iter().map(|value| value * level).collect();
        for world in [&mut ignores, &mut evaluates] {
            world.put("m", &values);
            world.pass();
            seen.push(world.alarms.view("a").expect("there").state.as_str());
        }
    }
    let of = |offset: usize| seen.iter().skip(offset).step_by(2).copied().collect::<Vec<_>>();
    assert_eq!(of(0), ["INSUFFICIENT_DATA", "ALARM", "ALARM", "OK", "OK"]);
    assert_eq!(of(1), ["ALARM", "ALARM", "OK", "OK", "ALARM"]);
}

#[test]
fn a_rate_is_judged_from_a_volume_upwards_and_never_divides_by_zero() {
    let part = |id: &str| {
        let dimensions = json!([{ "Name": "Function", "Value": "f" }]);
        let metric = json!({ "Namespace": "N", "MetricName": id, "Dimensions": dimensions });
        json!({ "Id": id, "ReturnData": false, "MetricStat": { "Stat": "Sum", "Period": 300, "Metric": metric } })
    };
    let expression = "IF(decided >= 100, 100 * FILL(blocked, 0) / decided, 0)";
    let rate = json!({ "Id": "rate", "Expression": expression, "ReturnData": true });
    let mut more = json!({ "Metrics": [part("decided"), part("blocked"), rate] });
    for field in ["Namespace", "MetricName", "Dimensions", "Statistic", "Period"] {
        more[field] = Value::Null;
    }
    let mut world = World::of(vec![alarm("a", more)]);
    let mut five_minutes = |decided: &[f64], blocked: &[f64]| {
        world.put("decided", decided);
        world.put("blocked", blocked);
        (0..5).for_each(|_| drop(world.pass()));
        let view = world.alarms.view("a").expect("there");
        (view.state.as_str(), view.value.map(|value| value.to_string()))
    };
    assert_eq!(five_minutes(&[200.0], &[]), ("OK", Some("0".to_owned())));
    assert_eq!(five_minutes(&[200.0], &[21.0]), ("ALARM", Some("10.5".to_owned())));
    assert_eq!(five_minutes(&[99.0], &[99.0]), ("OK", Some("0".to_owned())), "too few to judge");
    assert_eq!(five_minutes(&[0.0], &[0.0]), ("OK", Some("0".to_owned())));
}

#[test]
fn actions_follow_changes_and_only_changes() {
    let mut world = World::of(vec![alarm("a", json!({})), alarm("dumb", json!({ "ActionsEnabled": "false" }))]);
    let mut told = Vec::new();
    for value in [1.0, 11.0, 11.0, 1.0] {
        world.put("m", &[value]);
        for event in world.pass() {
            told.push((event.alarm, event.from.as_str(), event.to.as_str(), event.actions.concat()));
        }
    }
    let a: Vec<_> =
        told.iter().filter(|(alarm, ..)| alarm == "a").map(|(_, from, to, done)| (*from, *to, &**done)).collect();
    assert_eq!(
        a,
        [("INSUFFICIENT_DATA", "OK", "a-is-well"), ("OK", "ALARM", "a-speaks"), ("ALARM", "OK", "a-is-well"),]
    );
    assert!(told.iter().filter(|(alarm, ..)| alarm == "dumb").all(|(.., done)| done.is_empty()));
}

#[test]
fn nothing_happens_twice_within_a_minute_and_a_late_look_sees_the_latest() {
    let mut world = World::of(vec![alarm("a", json!({}))]);
    world.put("m", &[11.0]);
    assert_eq!(world.pass().len(), 1);
    world.put("m", &[1.0]);
    assert!(world.alarms.tick(&world.store, minute(1) + 59_999).is_empty());
    let events = world.alarms.tick(&world.store, minute(4) + 5);
    assert_eq!(events.iter().map(|event| (event.to, event.at_ms)).collect::<Vec<_>>(), [(State::Ok, minute(4))]);
}

#[test]
fn a_composite_follows_its_members_in_the_same_minute_in_whatever_order_they_are_declared() {
    let mut world = World::of(vec![
        composite("all", json!({ "AlarmRule": "ALARM(any) AND NOT ALARM(quiet)" })),
        composite("any", json!({ "AlarmRule": r#"ALARM("a") OR ALARM("b")"# })),
        alarm("a", json!({})),
        alarm("b", json!({ "Threshold": 100 })),
        alarm("quiet", json!({ "Threshold": 1_000 })),
    ]);
    assert_eq!(world.states("all", "1 11 2000 1"), ". A . .");
    let reason = world.alarms.view("any").expect("there").reason.to_owned();
    assert_eq!(reason, "none of its alarms speaks");
}

#[test]
fn a_suppressor_keeps_actions_back_and_an_alarm_that_outlives_it_is_told() {
    let suppressed = json!({
        "AlarmRule": "ALARM(a)",
        "ActionsSuppressor": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:pause",
        "ActionsSuppressorWaitPeriod": 0,
        "ActionsSuppressorExtensionPeriod": "60",
    });
    let mut world = World::of(vec![
        composite("page", suppressed),
        alarm("a", json!({})),
        alarm("pause", json!({ "MetricName": "pause" })),
    ]);
    let mut told = Vec::new();
    // The pause, and the value of `a`, by minute.
    for (pause, value) in [(0.0, 1.0), (11.0, 11.0), (11.0, 1.0), (11.0, 11.0), (0.0, 11.0), (0.0, 11.0), (0.0, 1.0)] {
        world.put("pause", &[pause]);
        world.put("m", &[value]);
        let events = world.pass();
        let page = events.iter().find(|event| event.alarm == "page");
        told.push(page.map_or("-".to_owned(), |event| format!("{}:{}", event.to, event.actions.concat())));
    }
    assert_eq!(told, ["OK:calm", "ALARM:", "OK:", "ALARM:", "-", "ALARM:page", "OK:calm"]);
}

#[test]
fn what_cloudwatch_refuses_or_nobody_evaluates_here_is_named() {
    let read = |more: Value| {
        let mut properties = json!({
            "AlarmName": "a", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
            "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
        });
        for (field, value) in more.as_object().expect("an object") {
            properties[field] = value.clone();
        }
        Alarm::read("AWS::CloudWatch::Alarm", "Logical", &properties).map(|_| ()).expect_err("it is wrong").to_string()
    };
    for (more, part) in [
        (json!({ "Period": 10 }), "Period is 10"),
        (json!({ "Period": 90 }), "whole minutes"),
        (json!({ "DatapointsToAlarm": 2 }), "at most EvaluationPeriods"),
        (json!({ "EvaluationPeriods": 1_441 }), "at most a day"),
        (json!({ "EvaluationPeriods": 0 }), "EvaluationPeriods is 0"),
        (json!({ "Threshold": "many" }), "Threshold is many"),
        (json!({ "ComparisonOperator": "GreaterThanUpperThreshold" }), "ComparisonOperator"),
        (json!({ "TreatMissingData": "bad" }), "TreatMissingData is bad"),
        (json!({ "Statistic": "tm99" }), "Statistic is tm99"),
        (json!({ "EvaluateLowSampleCountPercentile": "x" }), "evaluate or ignore"),
        (json!({ "Unit": "Count" }), "Unit"),
        (json!({ "ThresholdMetricId": "band" }), "ThresholdMetricId"),
        (json!({ "Metrics": [{ "Id": "e", "Expression": "1 + 1", "Period": 60 }], "MetricName": null }), "a number"),
        (json!({ "Metrics": [{ "Id": "e", "Expression": "x + 1", "Period": 60 }], "MetricName": null }), "the id `x`"),
    ] {
        let problem = read(more.clone());
        assert!(problem.contains("`a`") || problem.contains("`Logical`"), "{problem}");
        assert!(problem.contains(part), "{more}: {problem}");
    }
    let together = |alarms: Vec<Alarm>| Alarms::new(alarms, 0).map(|_| ()).expect_err("they do not fit").to_string();
    assert!(together(vec![alarm("a", json!({})), alarm("a", json!({}))]).contains("two alarms"));
    assert!(together(vec![composite("c", json!({ "AlarmRule": "ALARM(x)" }))]).contains("no stack declares"));
    let circle = ["one", "two"].map(|name| {
        let other = if name == "one" { "two" } else { "one" };
        composite(name, json!({ "AlarmRule": format!("ALARM({other})") }))
    });
    assert!(together(circle.to_vec()).contains("depends on itself"));
}

#[test]
fn a_notice_has_the_fields_that_readers_go_by() {
    let alarm = alarm("a", json!({ "AlarmDescription": "what it is about" }));
    let event = Event {
        alarm: "a".to_owned(),
        from: State::Ok,
        to: State::Alarm,
        at_ms: minute(0),
        reason: "why".to_owned(),
        actions: Vec::new(),
    };
    let notice = centinela_cloudwatch::notice(&alarm, &event, "000000000000", "us-east-1");
    assert_eq!(notice.subject, "ALARM: \"a\" in us-east-1");
    let message: Value = serde_json::from_str(&notice.message).expect("JSON");
    let fields =
        ["AlarmName", "NewStateValue", "NewStateReason", "OldStateValue", "StateChangeTime", "AlarmDescription"];
    let texts = fields.map(|field| message[field].as_str().unwrap_or_default());
    assert_eq!(texts, ["a", "ALARM", "why", "OK", "2026-11-28T12:00:00.000+0000", "what it is about"]);
    assert_eq!(message["Trigger"]["Metrics"][0]["MetricName"], "m");
}
