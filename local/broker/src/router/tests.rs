//! What the port may be sent: every version that is offered, and anything else.

use std::sync::LazyLock;

use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::api::Filler;
use crate::store::settings::Settings;

const TOPIC: &str = "t";

/// One broker for all tests: nothing that they send breaks it.
static BROKER: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let router = Router::new(9_092, std::env::temp_dir().into(), &BrokerConfig::default());
    router.topics().create(TOPIC, 3, Settings::default(), false).expect("created");
    (runtime, router)
});

/// The answer, as far as it does not wait for anything.
fn ask(request: Bytes) -> Option<Result<Option<Bytes>, NoRequest>> {
    let (runtime, router) = &*BROKER;
    let _context = runtime.enter();
    router.answer(request).now_or_never()
}

/// A request with a body of its shape: every array has one element, every text is the topic's name, every number consists of `byte`.
fn request(api: &Api, version: i16, byte: u8) -> Vec<u8> {
    let mut request = [(api.key as i16).to_be_bytes(), version.to_be_bytes()].concat();
    request.extend([0, 0, 0, 7, 0xff, 0xff]);
    if api.is_flexible(version) {
        request.push(0);
    }
    api.fill(&mut request, version, &Filler { text: TOPIC, byte });
    // What comes behind the last array: texts and numbers, and tags, which a fetch has none of that it takes for others.
    request.extend([u8::from(api.is_flexible(version) && api.key != ApiKey::Fetch); 64]);
    request
}

#[test]
fn every_version_that_is_offered_is_read_and_answered() {
    for api in api::all() {
        for (version, byte) in (api.min..=api.max).flat_map(|version| [(version, 0), (version, 0xff)]) {
            let answered = ask(request(api, version, byte).into());
            let answer = match answered {
                Some(Ok(Some(answer))) => answer,
                // A producer that wants no acknowledgement.
                Some(Ok(None)) if (api.key, byte) == (ApiKey::Produce, 0) => continue,
                other => panic!("{:?} in version {version}: {other:?}", api.key),
            };
            assert_eq!(answer[..4], (answer.len() as i32 - 4).to_be_bytes());
            assert_eq!(answer[4..8], 7_i32.to_be_bytes());
        }
    }
}

/// librdkafka before 2.11.1 compresses only where the oldest version is offered.
#[test]
fn producing_is_offered_from_the_oldest_version_on() {
    let offered = versions().api_keys;
    let produce = offered.iter().find(|offered| offered.api_key == ApiKey::Produce as i16).expect("offered");
    assert_eq!((produce.min_version, api::find(ApiKey::Produce as i16).map(|api| api.min)), (0, Some(3)));
}

#[test]
fn a_newer_client_is_told_in_the_oldest_words_what_is_served() {
    let newer = [0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0];
    let answer = ask(newer.to_vec().into()).expect("at once").expect("served").expect("awaited");
    assert_eq!(answer[8..10], ResponseError::UnsupportedVersion.code().to_be_bytes());
    assert!(answer.len() > 8 + 6 * api::all().len());
    let other = [0, 3, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0];
    assert!(matches!(ask(other.to_vec().into()), Some(Err(NoRequest::NotServed { key: 3, version: 99 }))));
}

#[test]
fn an_array_that_is_longer_than_its_request_is_refused_before_room_is_made() {
    let metadata = [0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
    assert!(matches!(ask(metadata.to_vec().into()), Some(Err(NoRequest::Unreadable { key: 3, version: 1 }))));
    let compact = [0, 3, 0, 12, 0, 0, 0, 7, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(matches!(ask(compact.to_vec().into()), Some(Err(NoRequest::Unreadable { key: 3, version: 12 }))));
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(api, version, byte)| {
        let api = api.get(api::all());
        let versions: Vec<i16> = (api.min..=api.max).collect();
        request(api, *version.get(&versions), byte)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes is answered or refused.
    #[test]
    fn arbitrary_bytes_do_no_harm(key in 0..80_u8, version in 0..20_u8, rest in vec(any::<u8>(), 0..200)) {
        ask([&[0, key, 0, version][..], &rest].concat().into());
    }

    #[test]
    fn a_request_that_is_cut_or_changed_does_no_harm(
        mut request in any_request(),
        cut in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (at, to) in changes {
            let at = at.index(request.len());
            request[at] = to;
        }
        ask(request[..cut.index(request.len() + 1)].to_vec().into());
    }
}
