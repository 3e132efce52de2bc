//! What all AWS clients share, and which of two clients makes a batch's calls.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::endpoint as dynamodb_endpoint;
use aws_sdk_kinesis::config::endpoint as kinesis_endpoint;
pub use centinela_wire::WireClient;
use centinela_wire::{Access, Client as Lean, TlsSettings, endpoint};

use crate::ConnectError;
use crate::streams::Streams;
use crate::tables::Tables;

/// A connection within a region takes a few milliseconds; after this it is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Region, credentials and endpoints from the environment, as every AWS client reads them.
///
/// The SDK's retries are off: a batch call is retried by entry, which only the adapters can do. Its limit on whole operations is
/// off too: each call is bounded by what is left of the batch's deadline.
pub async fn config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

/// The services of a function, by one client or the other.
#[derive(Clone, Debug)]
pub struct Services {
    sdk: SdkConfig,
    lean: Option<Access>,
}

impl Services {
    /// With what the SDK was told.
    ///
    /// # Errors
    /// When the lean client is wanted and there is no region, or nobody who gives credentials.
    pub fn new(sdk: &SdkConfig, client: WireClient) -> Result<Self, ConnectError> {
        Self::with_tls(sdk, client, TlsSettings::default())
    }

    /// The same with other certificates than the machine's, which the lean client alone goes by.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_tls(sdk: &SdkConfig, client: WireClient, tls: TlsSettings) -> Result<Self, ConnectError> {
        let lean = match client {
            WireClient::Sdk => None,
            WireClient::Lean => Some(Access::of(sdk, tls)?),
        };
        Ok(Self { sdk: sdk.clone(), lean })
    }

    /// DynamoDB.
    ///
    /// # Errors
    /// When the lean client cannot use its address.
    pub async fn tables(&self) -> Result<Tables, ConnectError> {
        let Some(access) = &self.lean else { return Ok(aws_sdk_dynamodb::Client::new(&self.sdk).into()) };
        let url = match endpoint(&self.sdk, "DYNAMODB") {
            Some(url) => url,
            None => self.dynamodb_endpoint().await?,
        };
        Ok(Lean::new(access.clone(), centinela_wire::dynamodb::SERVICE, &url)?.into())
    }

    /// Kinesis.
    ///
    /// # Errors
    /// When the lean client cannot use its address.
    pub async fn streams(&self) -> Result<Streams, ConnectError> {
        let Some(access) = &self.lean else { return Ok(aws_sdk_kinesis::Client::new(&self.sdk).into()) };
        let url = match endpoint(&self.sdk, "KINESIS") {
            Some(url) => url,
            None => self.kinesis_endpoint().await?,
        };
        Ok(Lean::new(access.clone(), centinela_wire::kinesis::SERVICE, &url)?.into())
    }

    /// Where DynamoDB is in the region, by the SDK's own rules. An account's own endpoint is not used: it is another name of the same.
    async fn dynamodb_endpoint(&self) -> Result<String, ConnectError> {
        let unknown = |cause: Cause| ConnectError::Endpoint { service: "dynamodb", source: cause };
        let parameters = dynamodb_endpoint::Params::builder()
            .set_region(self.sdk.region().map(ToString::to_string))
            .use_fips(self.sdk.use_fips().unwrap_or_default())
            .use_dual_stack(self.sdk.use_dual_stack().unwrap_or_default())
            .build()
            .map_err(|error| unknown(Box::new(error)))?;
        let resolver = dynamodb_endpoint::DefaultResolver::new();
        let found =
            dynamodb_endpoint::ResolveEndpoint::resolve_endpoint(&resolver, &parameters).await.map_err(unknown)?;
        Ok(found.url().to_owned())
    }

    /// Where Kinesis is in the region, by the SDK's own rules.
    async fn kinesis_endpoint(&self) -> Result<String, ConnectError> {
        let unknown = |cause: Cause| ConnectError::Endpoint { service: "kinesis", source: cause };
        let parameters = kinesis_endpoint::Params::builder()
            .set_region(self.sdk.region().map(ToString::to_string))
            .use_fips(self.sdk.use_fips().unwrap_or_default())
            .use_dual_stack(self.sdk.use_dual_stack().unwrap_or_default())
            .build()
            .map_err(|error| unknown(Box::new(error)))?;
        let resolver = kinesis_endpoint::DefaultResolver::new();
        let found =
            kinesis_endpoint::ResolveEndpoint::resolve_endpoint(&resolver, &parameters).await.map_err(unknown)?;
        Ok(found.url().to_owned())
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;
