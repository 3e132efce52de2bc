//! What all AWS clients share.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

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
