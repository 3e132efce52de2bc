use centinela_aws::{DynamoStats, TableUnits};
use centinela_cloudwatch::{Statistic, Store};
use centinela_infra::Infrastructure;

use super::*;

const MINUTE_MS: i64 = 60_000;

/// A system whose scoring function has been invoked `invocations` times, and whose mapping has `lag` records to go of 1,000.
fn measured(invocations: u64, lag: u64) -> Measured {
    let key = MappingKey { topic: "transactions".to_owned(), function: "score-transactions".to_owned() };
    let function =
        FunctionStats { invocations, errors: 1, timeouts: 1, throttles: 3, busy: 2, ..FunctionStats::default() };
    let mapping = MappingStats {
        lag,
        lag_max: lag / 2,
        end: 1_000,
        polled: 40,
        records: 30,
        dropped: 5,
        ..MappingStats::default()
    };
    let table = TableUnits { write_units: 70.0, write_throttles: 2, ..TableUnits::default() };
    let dynamodb = DynamoStats { tables: BTreeMap::from([("user_state".to_owned(), table)]), ..DynamoStats::default() };
    let durations = Durations { each_ms: vec![10.0, 30.0], more: 2, more_ms: 60.0 };
    Measured {
        stats: PlatformStats {
            dynamodb,
            functions: BTreeMap::from([(key.function.clone(), function)]),
            mappings: BTreeMap::from([(key.clone(), mapping)]),
            ..PlatformStats::default()
        },
        durations: BTreeMap::from([(key.function.clone(), durations)]),
        apis: BTreeMap::new(),
        enabled: BTreeSet::from([key]),
    }
}

fn sources() -> Sources {
    Sources::of(&Infrastructure::bundled("local").expect("the stacks are in order"))
}

/// A statistic of the first minute.
fn of(data: &[Datum], metric: &MetricId, statistic: Statistic) -> Option<String> {
    let mut store = Store::default();
    data.iter().for_each(|datum| store.put(datum));
    store.between(metric, 0, MINUTE_MS).statistic(statistic).map(|value| value.to_string())
}

fn uuid() -> String {
    let stacks = Infrastructure::bundled("local").expect("the stacks are in order");
    let mapping = stacks.mappings.iter().find(|mapping| mapping.function == "score-transactions");
    Infrastructure::mapping_id(&mapping.expect("it has a mapping").logical_id)
}

#[test]
fn counters_become_what_lambda_reports_once() {
    let mut sources = sources();
    let data = sources.data(&measured(10, 4), 50_000, 60_000);
    let function = |name: &str| MetricId::new("AWS/Lambda", name, &[("FunctionName", "score-transactions")]);
    let sum = |name: &str| of(&data, &function(name), Statistic::Sum);
    assert_eq!(["Invocations", "Errors", "Throttles"].map(sum), ["10", "2", "3"].map(|sum| Some(sum.to_owned())));
    assert_eq!(of(&data, &function("Duration"), Statistic::Sum).as_deref(), Some("100"));
    assert_eq!(of(&data, &function("Duration"), Statistic::SampleCount).as_deref(), Some("4"));
    let all = MetricId::new("AWS/Lambda", "Invocations", &[]);
    assert_eq!(of(&data, &all, Statistic::Sum).as_deref(), Some("10"));
    let again = sources.data(&measured(10, 4), 50_000, 60_000);
    assert_eq!(of(&again, &function("Invocations"), Statistic::Sum), None, "nothing has happened since");
}

#[test]
fn a_mapping_reports_while_it_is_enabled_and_only_what_is_switched_on() {
    let mapping = |name: &str| MetricId::new("AWS/Lambda", name, &[("EventSourceMappingUUID", uuid().as_str())]);
    let data = sources().data(&measured(10, 4), 50_000, 60_000);
    let maximum = |name: &str| of(&data, &mapping(name), Statistic::Maximum);
    let names = ["SumOffsetLag", "MaxOffsetLag", "PolledEventCount", "CommittedEventCount", "DroppedEventCount"];
    assert_eq!(names.map(maximum), ["4", "2", "40", "30", "5"].map(|value| Some(value.to_owned())));
    let mut disabled = measured(10, 4);
    disabled.enabled.clear();
    let data = sources().data(&disabled, 50_000, 60_000);
    assert_eq!(of(&data, &mapping("SumOffsetLag"), Statistic::Maximum), None);
    let mut all_off = sources();
    all_off.mapped.iter_mut().for_each(|mapped| mapped.groups.clear());
    let data = all_off.data(&measured(10, 4), 50_000, 60_000);
    assert_eq!(of(&data, &mapping("PolledEventCount"), Statistic::Sum), None);
}

#[test]
fn a_table_reports_its_units_and_what_it_refused() {
    let data = sources().data(&measured(0, 0), 50_000, 60_000);
    let table = |name: &str| MetricId::new("AWS/DynamoDB", name, &[("TableName", "user_state")]);
    let sum = |name: &str| of(&data, &table(name), Statistic::Sum);
    assert_eq!(sum("ConsumedWriteCapacityUnits").as_deref(), Some("70"));
    assert_eq!(sum("WriteThrottleEvents").as_deref(), Some("2"));
    assert_eq!((sum("ConsumedReadCapacityUnits"), sum("ReadThrottleEvents")), (None, None), "silence where nothing is");
}

#[test]
fn what_waits_has_waited_since_the_topic_first_reached_beyond_it() {
    let mut ends = VecDeque::new();
    let mut after = |seconds: i64, end: u64, lag: u64| {
        let stats = MappingStats { end, lag, ..MappingStats::default() };
        waits_s(&mut ends, &stats, seconds * 1_000)
    };
    assert_eq!(after(0, 100, 0), 0);
    assert_eq!(after(10, 200, 100), 0, "they came just now");
    assert_eq!(after(20, 300, 150), 10, "some of those of ten seconds ago");
    assert_eq!(after(30, 300, 100), 10, "now only those of the second ten seconds");
    assert_eq!(after(3_000, 300, 1), 2_980);
    assert_eq!(after(3_010, 300, 0), 0);
}
