//! Who asks: credentials of the SDK's provider chain, asked for again before they end, and the signing keys that are made of them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tracing::warn;

use crate::clock::{Clock, Moment};
use crate::failure::{CallError, Cause, ConnectError};
use crate::signature::SigningKey;
use crate::tls::TlsSettings;

/// Credentials that end sooner are asked for again, beside the calls that still use them.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// Credentials that end sooner are not signed with.
const VALID_FOR: Duration = Duration::from_secs(10);
/// A provider that failed is left alone this long while there are credentials that hold.
const REST: Duration = Duration::from_secs(5);
/// Credentials that were refused are worth a second try only when they were not fetched just now.
const REFUSED_WHEN_OLDER: Duration = Duration::from_secs(5);

/// Region, credentials and clock: what every call of a process shares.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    region: String,
    provider: SharedCredentialsProvider,
    known: Mutex<Known>,
    /// Held by whoever asks the provider while nobody has credentials.
    asking: tokio::sync::Mutex<()>,
    is_refreshing: AtomicBool,
    clock: Clock,
    tls: TlsSettings,
}

#[derive(Default)]
struct Known {
    identity: Option<Arc<Identity>>,
    rest_until: Option<Instant>,
}

/// Credentials, and the signing keys of today. It shows itself nowhere.
pub struct Identity {
    credentials: Credentials,
    fetched: Instant,
    /// One for each service, of the day it was last used for.
    keys: Mutex<Vec<(&'static str, [u8; 8], SigningKey)>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("region", &self.0.region).finish_non_exhaustive()
    }
}

impl Access {
    /// Uses the region and the provider of credentials that the SDK was told of.
    ///
    /// # Errors
    /// When there is no region, or nobody who gives credentials.
    pub fn of(sdk: &SdkConfig, tls: TlsSettings) -> Result<Self, ConnectError> {
        let region = sdk.region().ok_or(ConnectError::NoRegion)?.to_string();
        Self::new(region, sdk.credentials_provider().ok_or(ConnectError::NoCredentials)?, tls)
    }

    /// Uses a region and a provider of credentials, which is asked with the first call.
    ///
    /// # Errors
    /// When the region cannot stand in a signature.
    pub fn new(
        region: impl Into<String>,
        provider: SharedCredentialsProvider,
        tls: TlsSettings,
    ) -> Result<Self, ConnectError> {
        let region = region.into();
        if region.is_empty() {
            return Err(ConnectError::NoRegion);
        }
        if !is_plain(&region) {
            return Err(ConnectError::Header { what: "region" });
        }
        Ok(Self(Arc::new(Shared {
            region,
            provider,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            is_refreshing: AtomicBool::new(false),
            clock: Clock::default(),
            tls,
        })))
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.region
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn tls(&self) -> &TlsSettings {
        &self.0.tls
    }

    /// Credentials that hold. Those that will end soon are replaced meanwhile.
    ///
    /// # Errors
    /// When the provider gives none.
    pub async fn identity(&self) -> Result<Arc<Identity>, CallError> {
        let known = self.known().identity.clone();
        match known {
            Some(identity) if identity.lasts(FRESH_FOR) => return Ok(identity),
            Some(identity) if identity.lasts(VALID_FOR) => {
                self.refresh();
                return Ok(identity);
            }
            _ => {}
        }
        let _asking = self.0.asking.lock().await;
        // Whoever held it before may have brought them.
        if let Some(identity) = self.known().identity.clone().filter(|identity| identity.lasts(VALID_FOR)) {
            return Ok(identity);
        }
        self.ask().await.map_err(CallError::Credentials)
    }

    /// Forgets credentials that a service refused. Returns whether there are others, or can be hoped for.
    pub fn refused(&self, identity: &Arc<Identity>) -> bool {
        let mut known = self.known();
        if known.identity.as_ref().is_some_and(|current| !Arc::ptr_eq(current, identity)) {
            return true;
        }
        known.identity = None;
        identity.fetched.elapsed() >= REFUSED_WHEN_OLDER
    }

    async fn ask(&self) -> Result<Arc<Identity>, Cause> {
        let credentials = self.0.provider.provide_credentials().await?;
        let token = credentials.session_token().unwrap_or_default();
        if !is_plain(credentials.access_key_id()) || !is_plain(token) {
            return Err("the credentials have a character that no header may have".into());
        }
        let identity = Arc::new(Identity { credentials, fetched: Instant::now(), keys: Mutex::default() });
        self.known().identity = Some(Arc::clone(&identity));
        Ok(identity)
    }

    fn refresh(&self) {
        let rests = self.known().rest_until.is_some_and(|until| until > Instant::now());
        if rests || self.0.is_refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let access = self.clone();
        tokio::spawn(async move {
            if let Err(error) = access.ask().await {
                warn!(error = &*error as &dyn std::error::Error, "credentials end soon and no others could be had yet");
                access.known().rest_until = Some(Instant::now() + REST);
            }
            access.0.is_refreshing.store(false, Ordering::Release);
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    /// For another signer.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn access_key_id(&self) -> &str {
        self.credentials.access_key_id()
    }

    pub(crate) fn session_token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    /// The signing key of a day; made once.
    pub(crate) fn signing_key(&self, moment: &Moment, region: &str, service: &'static str) -> SigningKey {
        let date = moment.date();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, key)) = keys.iter().find(|(of, day, _)| *of == service && *day == date) {
            return key.clone();
        }
        let key = SigningKey::derive(self.credentials.secret_access_key(), date, region, service);
        keys.retain(|(of, _, _)| *of != service);
        keys.push((service, date, key.clone()));
        key
    }

    fn lasts(&self, time: Duration) -> bool {
        let until = SystemTime::now() + time;
        self.credentials.expiry().is_none_or(|expiry| expiry > until)
    }
}

/// Whether it can stand in a header as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::future;

    use super::*;

    /// Gives credentials that last as long as it is told, and counts how often it is asked.
    #[derive(Clone, Debug, Default)]
    struct Provider {
        asked: Arc<AtomicUsize>,
        lasting_s: Arc<AtomicUsize>,
    }

    impl ProvideCredentials for Provider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            future::ProvideCredentials::ready(match self.lasting_s.load(Ordering::SeqCst) as u64 {
                0 => Err(CredentialsError::not_loaded("none today")),
                lasting => {
                    let expiry = SystemTime::now() + Duration::from_secs(lasting);
                    Ok(Credentials::new(format!("key-{number}"), "secret", None, Some(expiry), "test"))
                }
            })
        }
    }

    fn access(lasting_s: usize) -> (Access, Provider) {
        let provider = Provider::default();
        provider.lasting_s.store(lasting_s, Ordering::SeqCst);
        let shared = SharedCredentialsProvider::new(provider.clone());
        (Access::new("us-east-1", shared, TlsSettings::default()).unwrap(), provider)
    }

    async fn key(access: &Access) -> String {
        access.identity().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn credentials_that_hold_are_asked_for_once() {
        let (access, provider) = access(3_600);
        assert_eq!([key(&access).await, key(&access).await], ["key-0", "key-0"]);
        assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn credentials_that_end_soon_are_used_while_others_are_asked_for() {
        let (access, provider) = access(60);
        assert_eq!(key(&access).await, "key-0");
        provider.lasting_s.store(3_600, Ordering::SeqCst);
        assert_eq!(key(&access).await, "key-0", "nobody waits for the next ones");
        while access.0.is_refreshing.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert_eq!(key(&access).await, "key-1");
        assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn credentials_that_have_ended_are_not_signed_with() {
        let (access, provider) = access(5);
        assert_eq!(key(&access).await, "key-0", "what the provider gives just now is tried");
        assert_eq!(key(&access).await, "key-1");
        provider.lasting_s.store(0, Ordering::SeqCst);
        assert!(matches!(access.identity().await, Err(CallError::Credentials(_))));
    }

    #[tokio::test]
    async fn a_provider_that_fails_is_not_asked_with_every_call_while_the_credentials_hold() {
        let (access, provider) = access(60);
        assert_eq!(key(&access).await, "key-0");
        provider.lasting_s.store(0, Ordering::SeqCst);
        for _ in 0..20 {
            assert_eq!(key(&access).await, "key-0");
            tokio::task::yield_now().await;
        }
        assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn refused_credentials_are_forgotten_and_only_older_ones_are_worth_another_try() {
        let (access, _) = access(3_600);
        let first = access.identity().await.unwrap();
        assert!(!access.refused(&first), "fetched just now: others would be the same");
        assert_eq!(key(&access).await, "key-1");
        assert!(access.refused(&first), "there are others already, and they stay");
        assert_eq!(key(&access).await, "key-1");
    }

    #[test]
    fn a_signing_key_is_kept_for_its_day() {
        let credentials = Credentials::new("a", "secret", None, None, "test");
        let identity = Identity { credentials, fetched: Instant::now(), keys: Mutex::default() };
        for (seconds, kept) in [(0, 1), (60, 1), (86_400, 1)] {
            identity.signing_key(&Moment::of(seconds), "us-east-1", "dynamodb");
            assert_eq!(identity.keys.lock().unwrap().len(), kept, "{seconds}");
        }
        identity.signing_key(&Moment::of(86_400), "us-east-1", "kinesis");
        assert_eq!(identity.keys.lock().unwrap().len(), 2);
    }
}
