//! Tables.

use aws_sdk_dynamodb::types::TimeToLiveSpecification;

use super::{Dynamo, code};

pub fn created(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.create("made").await.unwrap();
        let table = dynamo.client.describe_table().table_name("made").send().await.unwrap().table.unwrap();
        let keys: Vec<String> = table
            .key_schema()
            .iter()
            .map(|key| format!("{} {}", key.attribute_name(), key.key_type().as_str()))
            .collect();
        let status = table.table_status().map_or("no status", |status| status.as_str()).to_owned();
        let billing = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
        format!("{status}, {keys:?}, {}", billing.map_or("no billing mode", |mode| mode.as_str()))
    })
}

pub fn created_again(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.create("made-again").await.unwrap();
        dynamo.create("made-again").await.map_or_else(|code| code, |()| "created".to_owned())
    })
}

pub fn short_name(dynamo: &Dynamo) -> String {
    dynamo.wait(dynamo.create("t")).map_or_else(|code| code, |()| "created".to_owned())
}

pub fn described_unknown(dynamo: &Dynamo) -> String {
    let answer = dynamo.wait(dynamo.client.describe_table().table_name("nobody-made-this").send());
    answer.map_or_else(|error| code(&error), |_| "found".to_owned())
}

pub fn time_to_live(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.create("expires").await.unwrap();
        let wanted = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires_s").build().unwrap();
        let set = dynamo.client.update_time_to_live().table_name("expires").time_to_live_specification(wanted);
        if let Err(error) = set.send().await {
            return code(&error);
        }
        let described = dynamo.client.describe_time_to_live().table_name("expires").send().await.unwrap();
        let found = described.time_to_live_description.unwrap();
        let status = found.time_to_live_status().map_or("no status", |status| status.as_str());
        format!("{status} {:?}", found.attribute_name())
    })
}
