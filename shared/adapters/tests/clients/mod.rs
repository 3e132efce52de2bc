//! What the tests of both clients share.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use centinela_local::aws::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};

/// The settings of an embedded service.
pub async fn sdk(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .load()
        .await
}

/// Each of these once with the lean client and once with the SDK's; they return the `TestResult` of their file.
macro_rules! by_both_clients {
    ($($name:ident,)*) => {$(
        mod $name {
            use super::WireClient;

            #[tokio::test]
            async fn lean() -> super::TestResult {
                super::$name(WireClient::Lean).await
            }

            #[tokio::test]
            async fn sdk() -> super::TestResult {
                super::$name(WireClient::Sdk).await
            }
        }
    )*};
}
