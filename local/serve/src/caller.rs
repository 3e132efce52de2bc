//! Who asks: the application id that an AWS SDK puts into its user agent.
//!
//! It is for figures only and proves nothing. <https://docs.aws.amazon.com/sdkref/latest/guide/feature-appid.html>

use hyper::HeaderMap;
use hyper::header::USER_AGENT;

const AMZ_USER_AGENT: &str = "x-amz-user-agent";
const MARK: &str = "app/";

/// The application that a request names, if it does.
#[must_use]
pub fn caller(headers: &HeaderMap) -> Option<&str> {
    let agents = [headers.get(AMZ_USER_AGENT), headers.get(USER_AGENT)].into_iter().flatten();
    agents
        .filter_map(|agent| agent.to_str().ok())
        .find_map(|agent| agent.split(' ').find_map(|part| part.strip_prefix(MARK)).filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_application_is_found_among_what_an_sdk_says_of_itself() {
        let mut headers = HeaderMap::new();
        assert_eq!(caller(&headers), None);
        headers.insert(USER_AGENT, HeaderValue::from_static("aws-sdk-rust/1.3.10 os/linux lang/rust/1.95.0"));
        assert_eq!(caller(&headers), None);
        let agent = "aws-sdk-rust/1.3.10 ua/2.1 api/s3/1.0 os/linux lang/rust/1.95.0 m/E,b app/archive-records";
        headers.insert(AMZ_USER_AGENT, HeaderValue::from_static(agent));
        assert_eq!(caller(&headers), Some("archive-records"));
    }
}
