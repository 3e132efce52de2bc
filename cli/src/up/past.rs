//! The past of the simulated world, as the tables hold it when a run begins.
//!
//! Only the embedded database gets one: the tables of any other are left to the functions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::{stored_device, stored_user};
use centinela_domain::{InvalidTransaction, Ledger};
use centinela_infra::Infrastructure;
use centinela_traffic::Past;

use crate::args::Up;
use crate::failure::Failure;
use crate::terminal;
use crate::traffic::Source;

const HOUR_MS: i64 = 3_600_000;

/// Key and state of the first items, by table.
pub type Seeds = BTreeMap<String, Vec<(String, Vec<u8>)>>;

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
        Ok::<_, InvalidTransaction>((source, past))
    });
    let lived = lived.await.map_err(|error| Failure::failed(&error))?;
    let (source, past) = lived.map_err(|error| Failure::failed(&error))?;
    let (line, seeds) = past.unzip();
    if let Some(line) = line.filter(|_| !arguments.quiet) {
        terminal::print(&line);
    }
    Ok((Some(source), seeds.unwrap_or_default()))
}

/// The tables that functions write users and devices to.
struct Tables {
    users: Vec<String>,
    devices: Vec<String>,
}

impl Tables {
    fn find(infrastructure: &Infrastructure) -> Self {
        let named = |variable: &str| {
            let functions = infrastructure.functions.iter();
            functions.filter_map(|function| function.environment.get(variable).cloned()).collect()
        };
        Self { users: named("USER_TABLE"), devices: named("DEVICE_TABLE") }
    }

    /// The items as a function writes them. A user's remembers no decision: nobody has published one.
    fn seeds(&self, past: &Past) -> Seeds {
        let user = |state| stored_user::encode(&StoredUser { state, ledger: Ledger::default() });
        let users: Vec<_> =
            past.users.iter().map(|(id, state)| (id.as_str().to_owned(), user(state.clone()))).collect();
        let devices: Vec<_> =
            past.devices.iter().map(|(id, state)| (id.as_str().to_owned(), stored_device::encode(state))).collect();
        let of = |tables: &[String], items: Vec<(String, Vec<u8>)>| {
            tables.iter().map(|table| (table.clone(), items.clone())).collect::<Seeds>()
        };
        let mut seeds = of(&self.users, users);
        seeds.append(&mut of(&self.devices, devices));
        seeds
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
