//! What all AWS clients share, and which of two clients makes a batch's calls.

use std::str::FromStr;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::endpoint as dynamodb_endpoint;
use aws_sdk_kinesis::config::endpoint as kinesis_endpoint;
use centinela_wire::dynamodb::DynamoDb;
use centinela_wire::{Access, Client as Lean, TlsSettings};

use crate::ConnectError;
use crate::attribute_group::{ATTRIBUTES, KEY};
use crate::streams::Streams;
use crate::tables::Tables;

/// A connection within a region takes a few milliseconds; after this it is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Set where every service is another server than the region's. <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// Which client makes a batch's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireClient {
    /// The lean one.
    #[default]
    Lean,
    /// The SDK's own.
    Sdk,
}

/// A name that no client has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client is {names}, not `{0}`", names = WireClient::NAMES)]
pub struct UnknownClient(String);

impl WireClient {
    /// The words of a configuration.
    pub const NAMES: &'static str = "lean or sdk";
}

impl FromStr for WireClient {
    type Err = UnknownClient;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "lean" => Ok(Self::Lean),
            "sdk" => Ok(Self::Sdk),
            other => Err(UnknownClient(other.to_owned())),
        }
    }
}

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
            WireClient::Lean => {
                let region = sdk.region().ok_or(centinela_wire::ConnectError::NoRegion)?.to_string();
                let provider = sdk.credentials_provider().ok_or(centinela_wire::ConnectError::NoCredentials)?;
                Some(Access::new(region, provider, tls)?)
            }
        };
        Ok(Self { sdk: sdk.clone(), lean })
    }

    /// DynamoDB.
    ///
    /// # Errors
    /// When the lean client cannot use its address.
    pub async fn tables(&self) -> Result<Tables, ConnectError> {
        let Some(access) = &self.lean else { return Ok(aws_sdk_dynamodb::Client::new(&self.sdk).into()) };
        let url = match self.stated_endpoint("DYNAMODB") {
            Some(url) => url,
            None => self.dynamodb_endpoint().await?,
        };
        let client = Lean::new(access.clone(), centinela_wire::dynamodb::SERVICE, &url)?;
        Ok(Tables::lean(DynamoDb::new(client, KEY, ATTRIBUTES)))
    }

    /// Kinesis.
    ///
    /// # Errors
    /// When the lean client cannot use its address.
    pub async fn streams(&self) -> Result<Streams, ConnectError> {
        let Some(access) = &self.lean else { return Ok(aws_sdk_kinesis::Client::new(&self.sdk).into()) };
        let url = match self.stated_endpoint("KINESIS") {
            Some(url) => url,
            None => self.kinesis_endpoint().await?,
        };
        Ok(Streams::lean(Lean::new(access.clone(), centinela_wire::kinesis::SERVICE, &url)?))
    }

    /// What code or environment says, in the SDK's order.
    fn stated_endpoint(&self, service: &str) -> Option<String> {
        let stated = self.sdk.endpoint_url().map(str::to_owned);
        let url = if self.sdk.get_origin("endpoint_url").is_client_config() {
            stated
        } else {
            let of_service = std::env::var(format!("{ENDPOINT}_{service}")).ok().filter(|url| !url.is_empty());
            of_service.or(stated)
        };
        url.filter(|url| !url.is_empty())
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
