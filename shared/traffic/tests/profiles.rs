//! What producers see of the same world.

use std::collections::{BTreeMap, BTreeSet};

use centinela_contracts::transaction_v1;
use centinela_domain::DeviceType;
use centinela_traffic::{Event, Generator, Profile, TrafficConfig, TransactionFields};

const EVENTS: usize = 20_000;

fn events(profile: Profile) -> Vec<Event> {
    let config = TrafficConfig { users: 300, ..TrafficConfig::live(7) };
    let mut events: Vec<Event> = Generator::new(config).take(EVENTS).collect();
    events.iter_mut().for_each(|event| profile.dress(event));
    events
}

fn transactions(profile: Profile) -> Vec<TransactionFields> {
    let of = |event| if let Event::Transaction(sent) = event { Some(sent.fields) } else { None };
    events(profile).into_iter().filter_map(of).collect()
}

#[test]
fn who_buys_what_is_the_same_whoever_sends_it() {
    let bought = |fields: &TransactionFields| {
        (fields.transaction_id.clone(), fields.user_id.clone(), fields.device_id.clone(), fields.amount)
    };
    let world: Vec<_> = transactions(Profile::Mixed).iter().map(bought).collect();
    for profile in [Profile::Web, Profile::Mobile, Profile::Gateway] {
        let sent = transactions(profile);
        assert_eq!(sent.iter().map(bought).collect::<Vec<_>>(), world, "{profile:?}");
        for fields in sent.iter().take(2_000) {
            assert!(transaction_v1::parse(&fields.to_json()).is_ok(), "{fields:?}");
        }
    }
}

#[test]
fn a_device_looks_the_same_each_time_and_as_its_producer_sees_it() {
    for profile in [Profile::Web, Profile::Mobile] {
        let mut kinds = BTreeMap::<_, BTreeSet<_>>::new();
        for fields in transactions(profile) {
            kinds.entry(fields.device_id).or_default().insert(format!("{:?}", fields.device_type));
        }
        assert!(kinds.len() > 300 && kinds.values().all(|kinds| kinds.len() == 1), "{profile:?}");
    }
    let share = |profile, is: fn(&TransactionFields) -> bool| {
        let sent = transactions(profile);
        sent.iter().filter(|fields| is(fields)).count() * 100 / sent.len()
    };
    assert!(share(Profile::Web, |fields| fields.device_type == DeviceType::Desktop) > 70);
    assert!(share(Profile::Mobile, |fields| fields.user_agent.starts_with("ShopApp/")) == 100);
    assert!((30..=80).contains(&share(Profile::Mobile, |fields| fields.ip.to_string().starts_with("100."))));
    let networks: BTreeSet<_> = transactions(Profile::Gateway).iter().map(|fields| fields.ip).collect();
    assert!((2..=6).contains(&networks.len()), "{networks:?}");
    assert!(!Profile::Gateway.sees_actions() && Profile::Web.sees_actions());
}
