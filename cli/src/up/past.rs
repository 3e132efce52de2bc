//! The past of the simulated world, as the tables hold it when a run begins.
//!
//! Only the embedded database gets one: the tables of any other are left to the functions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::payload::PayloadProblem;
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::{stored_device, stored_label, stored_profile, stored_risk, stored_user};
use centinela_domain::{Ledger, UserState};
use centinela_infra::Infrastructure;
use centinela_local::aws::StoredItem;
use centinela_traffic::Past;

use crate::args::Up;
use crate::failure::Failure;
use crate::terminal;
use crate::traffic::Source;

const HOUR_MS: i64 = 3_600_000;

/// The first items, by table.
pub type Seeds = BTreeMap<String, Vec<StoredItem>>;

/// Lets the traffic's world live through its past, if it is to have one, and says so in a line.
///
/// # Errors
/// When the world makes what is no transaction.
pub async fn live_through(
    arguments: &Up,
    source: Option<Source>,
    infrastructure: &Infrastructure,
) -> Result<(Option<Source>, Seeds), Failure> {
    let is_embedded = arguments.dynamodb.is_none() && arguments.aws_endpoint.is_none();
    if !is_embedded || arguments.cold {
        return Ok((source, Seeds::new()));
    }
    let Some(mut source) = source else { return Ok((None, Seeds::new())) };
    let tables = Tables::find(infrastructure);
    let lived = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let past = source.past()?.map(|past| {
            let seeds = tables.seeds(&past);
            (line(&past, began.elapsed()), seeds)
        });
        Ok::<_, PayloadProblem>((source, past))
    });
    let lived = lived.await.map_err(|error| Failure::failed(&error))?;
    let (source, past) = lived.map_err(|error| Failure::failed(&error))?;
    let (line, seeds) = past.unzip();
    if let Some(line) = line.filter(|_| !arguments.quiet) {
        terminal::print(&line);
    }
    Ok((Some(source), seeds.unwrap_or_default()))
}

/// Where the deployment's key stands.
const KEY_VARIABLE: &str = "PSEUDONYM_KEY";

/// The tables that functions write users, devices and labels to, and the key that they hide networks and agents with.
struct Tables {
    key: Option<DeploymentKey>,
    users: BTreeSet<String>,
    devices: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Tables {
    fn find(infrastructure: &Infrastructure) -> Self {
        let named = |variable: &str| {
            let functions = infrastructure.functions.iter();
            functions.filter_map(|function| function.environment.get(variable).cloned()).collect()
        };
        let secret = infrastructure.functions.iter().find_map(|function| function.environment.get(KEY_VARIABLE));
        let key = secret.and_then(|secret| DeploymentKey::new(secret.as_bytes()).ok());
        Self { key, users: named("USER_TABLE"), devices: named("DEVICE_TABLE"), labels: named("LABEL_TABLE") }
    }

    /// The items as functions write them. A user's remembers no decision: nobody has published one.
    fn seeds(&self, past: &Past) -> Seeds {
        let mut users = Items::default();
        let state = |state: &UserState| {
            let mut state = state.clone();
            if let Some(key) = &self.key {
                state.networks.iter_mut().for_each(|hash| *hash = key.hidden_network(*hash));
                state.agents.iter_mut().for_each(|hash| *hash = key.hidden_agent(*hash));
            }
            stored_user::encode(&StoredUser { state, ledger: Ledger::default() })
        };
        past.users.iter().for_each(|(id, known)| users.put(id.as_str(), STATE, state(known)));
        past.profiles.iter().for_each(|(id, known)| users.put(id.as_str(), PROFILE, stored_profile::encode(known)));
        past.user_risks.iter().for_each(|(id, known)| users.put(id.as_str(), RISK, stored_risk::encode(known)));
        let mut devices = Items::default();
        past.devices.iter().for_each(|(id, known)| devices.put(id.as_str(), STATE, stored_device::encode(known)));
        past.device_risks.iter().for_each(|(id, known)| devices.put(id.as_str(), RISK, stored_risk::encode(known)));
        let mut labels = Items::default();
        for (decision, (label, user, device)) in &past.labels {
            let key = stored_label::key(*decision);
            labels.put(&key, "o", stored_label::encode_order(label));
            labels.say(&key, "u", user.as_str());
            labels.say(&key, "d", device.as_str());
        }
        let of = |tables: &BTreeSet<String>, items: Items| {
            let items: Vec<StoredItem> = items.0.into_values().collect();
            tables.iter().map(|table| (table.clone(), items.clone())).collect::<Seeds>()
        };
        let mut seeds = of(&self.users, users);
        seeds.append(&mut of(&self.devices, devices));
        seeds.append(&mut of(&self.labels, labels));
        seeds
    }
}

/// The groups of an item, one for each owner.
const STATE: &str = "s";
const PROFILE: &str = "p";
const RISK: &str = "r";

/// Items by key.
#[derive(Default)]
struct Items(BTreeMap<String, StoredItem>);

impl Items {
    fn item(&mut self, key: &str) -> &mut StoredItem {
        let item = || StoredItem { key: key.to_owned(), ..StoredItem::default() };
        self.0.entry(key.to_owned()).or_insert_with(item)
    }

    fn put(&mut self, key: &str, group: &str, bytes: Vec<u8>) {
        self.item(key).groups.insert(group.to_owned(), bytes);
    }

    fn say(&mut self, key: &str, name: &str, text: &str) {
        self.item(key).texts.insert(name.to_owned(), text.to_owned());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn line(past: &Past, took: Duration) -> String {
    let hours = past.lasted_ms as f64 / HOUR_MS as f64;
    let time = match hours / 24.0 {
        days if days < 2.0 => format!("{hours:.1} hours"),
        days if days < 14.0 => format!("{days:.1} days"),
        days => format!("{:.0} weeks", days / 7.0),
    };
    format!(
        "the past: {} transactions of {time} by {} users in {:.1} s (--cold begins without)\n",
        past.transactions,
        past.users.len(),
        took.as_secs_f64(),
    )
}
