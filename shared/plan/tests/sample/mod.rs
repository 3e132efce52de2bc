//! A deployment like production's, and what ships with the repository.

use centinela_plan::{
    Brokers, Capacity, Compaction, Function, KafkaMapping, Lake, Measured, Network, Prices, Sizes, StreamMapping,
    Table, Topic, Watch, Workload,
};

pub const PRICES: &str = include_str!("../../../../infra/prices.json");
pub const MEASURED: &str = include_str!("../../../../infra/measured.json");

pub fn prices() -> Prices {
    Prices::from_json(PRICES).expect("the list ships")
}

pub fn measured() -> Measured {
    Measured::from_json(MEASURED).expect("the units ship")
}

pub fn workload(per_minute: f64) -> Workload {
    Workload::at(per_minute).expect("a rate that can be planned")
}

pub fn sizes() -> Sizes {
    Sizes {
        environment: "prod".to_owned(),
        brokers: Brokers {
            kind: "kafka.m7g.large".to_owned(),
            count: 3,
            volume_gib: 1_500,
            kafka: "3.9.x.kraft".to_owned(),
            monitoring: "PER_BROKER".to_owned(),
            logs: true,
        },
        topics: vec![
            topic("transactions", 10, 7.0, true),
            topic("user_actions", 20, 30.0, true),
            topic("events", 5, 3.0, true),
            topic("approved", 10, 3.0, false),
            topic("blocked", 10, 3.0, false),
            topic("dead-letters", 3, 14.0, false),
        ],
        shards: 4,
        tables: vec![
            provisioned("user_state"),
            provisioned("device_state"),
            provisioned("settled_offsets"),
            on_demand("labels"),
            on_demand("decisions"),
            on_demand("decision_metrics"),
        ],
        functions: [
            ("score-transactions", 512.0, 20),
            ("track-user-actions", 512.0, 10),
            ("apply-labels", 512.0, 5),
            ("archive-records", 512.0, 50),
            ("compact-lake", 1_769.0, 4),
            ("rollup-metrics", 512.0, 10),
            ("decisions-api", 512.0, 50),
            ("guard-costs", 256.0, 1),
        ]
        .map(|(name, memory_mb, concurrency)| Function {
            name: name.to_owned(),
            memory_mb,
            concurrency: Some(concurrency),
        })
        .to_vec(),
        mappings: vec![
            mapping("score-transactions", "transactions", (100.0, 0.0), (1, 2), "decide"),
            mapping("track-user-actions", "user_actions", (1_000.0, 1.0), (1, 1), "decide"),
            mapping("apply-labels", "events", (100.0, 5.0), (1, 1), "decide"),
            mapping("archive-records", "transactions", (10_000.0, 60.0), (2, 2), "archive-records"),
            mapping("archive-records", "user_actions", (10_000.0, 60.0), (3, 3), "archive-records"),
            mapping("archive-records", "events", (10_000.0, 60.0), (1, 1), "archive-records"),
            mapping("archive-records", "approved", (10_000.0, 60.0), (2, 2), "archive-records"),
            mapping("archive-records", "blocked", (10_000.0, 60.0), (1, 1), "archive-records"),
            mapping("archive-records", "dead-letters", (10_000.0, 60.0), (1, 1), "archive-records"),
        ],
        stream_mappings: vec![StreamMapping { function: "rollup-metrics".to_owned(), batch: 1_000.0, window_s: 1.0 }],
        lake: Lake {
            intelligent_after_days: 7.0,
            glacier_after_days: 30.0,
            noncurrent_days: 7.0,
            access_log_days: 90.0,
        },
        compaction: Compaction { runs_an_hour: 1, shares: 1, timeout_s: 840.0, grace_hours: 2.0 },
        network: Network { endpoint_zones: 3, nat_gateways: 0, flow_logs: true },
        watch: Watch {
            alarm_metrics: 150,
            scaling_alarms: 25,
            composites: 3,
            dashboards: 1,
            log_days: 30.0,
            mapping_metrics: 81,
            ..Watch::default()
        },
        index_days: 0,
        keys: 5,
        secrets: 1,
    }
}

fn topic(name: &str, partitions: u32, days: f64, zstd: bool) -> Topic {
    Topic { name: name.to_owned(), partitions, replication: 3, retention_hours: days * 24.0, zstd }
}

fn provisioned(name: &str) -> Table {
    let capacity = Capacity::Provisioned {
        target_percent: 80.0,
        min_read: 100.0,
        max_read: 6_000.0,
        min_write: 10.0,
        max_write: 6_000.0,
    };
    Table { name: name.to_owned(), capacity }
}

fn on_demand(name: &str) -> Table {
    Table { name: name.to_owned(), capacity: Capacity::OnDemand { max_read: 1_000.0, max_write: 4_000.0 } }
}

fn mapping(
    function: &str,
    topic: &str,
    (batch, window_s): (f64, f64),
    (pollers_min, pollers_max): (u32, u32),
    group: &str,
) -> KafkaMapping {
    KafkaMapping {
        function: function.to_owned(),
        topic: topic.to_owned(),
        batch,
        window_s,
        pollers_min,
        pollers_max,
        group: Some(group.to_owned()),
    }
}
