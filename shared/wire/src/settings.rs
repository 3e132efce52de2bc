//! What the environment says to every client of a service: where it is, and who asks.

use aws_config::SdkConfig;

use crate::failure::ConnectError;
use crate::identity::is_plain;

/// Set where every service is another server than the region's. <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
/// Who asks, as the SDKs put it into their user agent: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-appid.html>.
const APP_ID: &str = "AWS_SDK_UA_APP_ID";

/// Which of two clients makes a batch's calls: the variable `WIRE_CLIENT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireClient {
    /// The one of this crate.
    #[default]
    Lean,
    /// The SDK's own.
    Sdk,
}

impl WireClient {
    /// The words of a configuration.
    pub const NAMES: &'static str = "lean or sdk";

    /// The client of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "lean" => Some(Self::Lean),
            "sdk" => Some(Self::Sdk),
            _ => None,
        }
    }
}

/// Where code or environment says that a service is, such as `DYNAMODB`, in the SDK's order and without a slash at the end; none where it is
/// the region's.
#[must_use]
pub fn endpoint(sdk: &SdkConfig, service: &str) -> Option<String> {
    let is_of_code = sdk.get_origin("endpoint_url").is_client_config();
    let of_service = std::env::var(format!("{ENDPOINT}_{service}")).ok();
    chosen(sdk.endpoint_url(), is_of_code, of_service.as_deref())
}

/// What code says wins, then what is said of the one service. An empty word says nothing.
fn chosen(stated: Option<&str>, is_of_code: bool, of_service: Option<&str>) -> Option<String> {
    let said =
        |url: Option<&str>| url.map(|url| url.trim_end_matches('/')).filter(|url| !url.is_empty()).map(str::to_owned);
    let stated = said(stated);
    if is_of_code { stated } else { said(of_service).or(stated) }
}

/// What every request says of who asks.
///
/// # Errors
/// When the application's name cannot stand in a header.
pub fn user_agent() -> Result<String, ConnectError> {
    let app = std::env::var(APP_ID).ok().filter(|name| !name.is_empty());
    if !app.as_deref().is_none_or(is_plain) {
        return Err(ConnectError::Header { what: APP_ID });
    }
    let app = app.map(|name| format!(" app/{name}")).unwrap_or_default();
    Ok(format!("centinela/{}{app}", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearest_says_where_a_service_is_and_an_empty_word_says_nothing() {
        let (all, one) = (Some("http://all:1/"), Some("http://one:2"));
        for (stated, is_of_code, of_service, expected) in [
            (None, false, None, None),
            (all, false, None, Some("http://all:1")),
            (all, false, one, Some("http://one:2")),
            (all, false, Some(""), Some("http://all:1")),
            (all, true, one, Some("http://all:1")),
            (Some(""), false, Some("/"), None),
        ] {
            assert_eq!(chosen(stated, is_of_code, of_service).as_deref(), expected, "{stated:?} {of_service:?}");
        }
    }
}
