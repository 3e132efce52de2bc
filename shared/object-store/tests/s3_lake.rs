//! The lake's client against the embedded S3, which checks every signature and every condition.

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use centinela_aws::{ACCESS_KEY_ID, REGION, S3, S3Config, SECRET_ACCESS_KEY};
use centinela_domain::Millis;
use centinela_lake::store::{Condition, Listed, ObjectStore, Put, StoreError};
use centinela_object_store::S3Lake;
use futures::future::join_all;

const SOON: Millis = Millis(i64::MAX);

fn settings(secret: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY_ID, secret, None, None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    SdkConfig::builder().region(Region::new(REGION)).credentials_provider(credentials).build()
}

async fn lake() -> (S3, S3Lake) {
    let store =
        S3::start(S3Config { buckets: vec!["lake".to_owned()], ..S3Config::default() }).await.expect("it starts");
    let lake = S3Lake::new(&settings(SECRET_ACCESS_KEY), "lake", Some(&store.url())).expect("a client");
    (store, lake)
}

fn keys(listed: &[Listed]) -> Vec<&str> {
    listed.iter().map(|object| object.key.as_str()).collect()
}

#[tokio::test]
async fn an_object_is_put_read_listed_and_deleted_whatever_its_name() {
    let (store, lake) = lake().await;
    let names = ["raw/events/dt=2026-11-28/hour=17/events-0-1-2-ab.parquet", "a b+c/é&<ñ>'\"~%41=", "plain"];
    for name in names {
        let body = Bytes::from(format!("body of {name}"));
        let Put::Done(tag) = lake.put(name, body.clone(), Condition::None, SOON).await.expect(name) else {
            panic!("{name}: nothing was conditional")
        };
        let read = lake.get(name, SOON).await.expect(name).expect("it is there");
        assert_eq!((read.body, read.tag), (body, tag), "{name}");
        let listed = lake.list(name, SOON).await.expect(name);
        assert_eq!(keys(&listed), [name]);
        assert_eq!(listed[0].bytes, format!("body of {name}").len() as u64);
        assert!(listed[0].modified > Millis(1_600_000_000_000), "{listed:?}");
    }
    assert_eq!(lake.folders("raw/events/", SOON).await.expect("folders"), ["raw/events/dt=2026-11-28/"]);
    assert_eq!(lake.folders("nothing/", SOON).await.expect("folders"), Vec::<String>::new());
    let names = names.map(str::to_owned);
    lake.delete(&names, SOON).await.expect("they are deleted");
    lake.delete(&names, SOON).await.expect("what is not there counts as deleted");
    assert_eq!(lake.get("plain", SOON).await.expect("an answer"), None);
    assert_eq!(lake.list("", SOON).await.expect("a list"), Vec::new());
    store.shutdown().await.expect("it ends");
}

#[tokio::test]
async fn a_conditional_put_happens_only_to_what_was_read() {
    let (store, lake) = lake().await;
    let put = |text: &'static str, condition| lake.put("m", Bytes::from_static(text.as_bytes()), condition, SOON);
    let Put::Done(first) = put("1", Condition::Absent).await.expect("an answer") else { panic!("nothing was there") };
    assert_eq!(put("2", Condition::Absent).await.expect("an answer"), Put::ConditionFailed);
    let changed = put("3", Condition::Unchanged(first.clone())).await.expect("an answer");
    assert!(matches!(changed, Put::Done(_)), "{changed:?}");
    assert_eq!(put("4", Condition::Unchanged(first.clone())).await.expect("an answer"), Put::ConditionFailed);
    assert_eq!(lake.get("m", SOON).await.expect("an answer").expect("it is there").body, "3");
    lake.delete(&["m".to_owned()], SOON).await.expect("it is deleted");
    assert_eq!(put("5", Condition::Unchanged(first)).await.expect("an answer"), Put::ConditionFailed);
    store.shutdown().await.expect("it ends");
}

/// Goal: of several runs that publish at once one wins, on the emulator as on S3.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_puts_at_once_one_happens() {
    let (store, lake) = lake().await;
    for round in 0..20 {
        let key = format!("m-{round}");
        let puts =
            (0..16).map(|index| {
                let (lake, key) = (lake.clone(), key.clone());
                async move {
                    lake.put(&key, Bytes::from(vec![index; 2_000]), Condition::Absent, SOON).await.expect("an answer")
                }
            });
        let done = join_all(puts).await.into_iter().filter(|put| matches!(put, Put::Done(_))).count();
        assert_eq!(done, 1, "round {round}");
    }
    store.shutdown().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_has_as_many_pages_as_it_needs() {
    let (store, lake) = lake().await;
    let wanted: Vec<String> = (0..1_105).map(|index| format!("many/{index:05}")).collect();
    for some in wanted.chunks(50) {
        let puts = some.iter().map(|key| lake.put(key, Bytes::new(), Condition::None, SOON));
        join_all(puts).await.into_iter().for_each(|put| drop(put.expect("it is put")));
    }
    let listed = lake.list("many/", SOON).await.expect("a list");
    assert_eq!(keys(&listed), wanted);
    lake.delete(&wanted, SOON).await.expect("they are deleted");
    assert_eq!(lake.list("many/", SOON).await.expect("a list"), Vec::new());
    store.shutdown().await.expect("it ends");
}

#[tokio::test]
async fn what_will_never_be_allowed_is_told_from_what_does_not_answer() {
    let (store, lake) = lake().await;
    let stranger = S3Lake::new(&settings("another secret"), "lake", Some(&store.url())).expect("a client");
    let refused = stranger.get("x", SOON).await.expect_err("the signature is another's");
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    let nowhere = S3Lake::new(&settings(SECRET_ACCESS_KEY), "other", Some(&store.url())).expect("a client");
    let refused = nowhere.list("", SOON).await.expect_err("there is no such bucket");
    assert!(refused.is_refusal(), "{refused:?}");
    store.shutdown().await.expect("it ends");
    let soon =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let gone = lake.get("x", Millis(soon + 300)).await.expect_err("nobody listens");
    assert!(matches!(gone, StoreError::Unavailable(_)), "{gone:?}");
}
