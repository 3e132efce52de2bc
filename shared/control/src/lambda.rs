//! Functions and their mappings through Lambda's API.
//!
//! Contract: <https://docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html>,
//! <https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionConcurrency.html> and their neighbours.

use aws_config::SdkConfig;
use bytes::Bytes;
use centinela_brake::{Control, ControlError, Mapping};
use centinela_domain::Millis;
use centinela_signed_http::{self as signed_http, Asked, Client, ConnectError, Service, encoded};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::call::{address, call};

const LAMBDA: Service = Service { name: "lambda", is_s3: false, answer_bytes_max: 1024 * 1024 };
const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
/// The most that a page holds.
const PAGE: &str = "100";
/// More pages than an account has mappings for.
const PAGES_MAX: usize = 20;

/// Lambda's API.
pub struct LambdaControl(Client);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    event_source_mappings: Vec<Described>,
    next_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(rename = "UUID")]
    uuid: String,
    state: String,
    /// With the alias behind it where the mapping invokes one.
    #[serde(default)]
    function_arn: String,
    #[serde(default)]
    topics: Vec<String>,
    event_source_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reserved {
    reserved_concurrent_executions: Option<u32>,
}

impl Described {
    /// Whether it invokes a function, or a version or an alias of it.
    fn invokes(&self, function: &str) -> bool {
        let named = self.function_arn.rsplit_once(":function:").map_or(self.function_arn.as_str(), |(_, named)| named);
        named.split(':').next() == Some(function)
    }
}

impl From<Described> for Mapping {
    fn from(described: Described) -> Self {
        let Described { uuid, state, mut topics, event_source_arn, .. } = described;
        let of_arn = || event_source_arn.as_deref().and_then(|arn| arn.rsplit('/').next()).unwrap_or("?").to_owned();
        let source = if topics.is_empty() { of_arn() } else { topics.swap_remove(0) };
        Self { id: uuid, source, state }
    }
}

impl LambdaControl {
    /// The API with region, credentials and endpoint of the environment, as every AWS client reads them. Nothing is asked yet.
    ///
    /// # Errors
    /// When the environment says too little.
    pub fn new(sdk: &SdkConfig) -> Result<Self, ConnectError> {
        let base = |region: &str| signed_http::endpoint(sdk, "LAMBDA").unwrap_or_else(|| address("lambda", region));
        Client::new(sdk, LAMBDA, base).map(Self)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<serde_json::Value>,
        deadline: Millis,
    ) -> Result<Bytes, ControlError> {
        let headers = [("content-type", "application/json".to_owned())];
        let asked = Asked { path, query, headers: if body.is_some() { &headers } else { &[] } };
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        call(&self.0, LAMBDA.name, method, &asked, body.into(), deadline).await
    }
}

fn unreadable(error: serde_json::Error) -> ControlError {
    ControlError::Refused(Box::new(error))
}

impl Control for LambdaControl {
    async fn mappings(&self, function: &str, deadline: Millis) -> Result<Vec<Mapping>, ControlError> {
        let (mut mappings, mut marker) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            // Of the account: a mapping that invokes an alias is not one of the bare function's.
            let mut query = vec![("MaxItems", PAGE)];
            query.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let page = self.call(Method::GET, MAPPINGS, &query, None, deadline).await?;
            let page: Page = serde_json::from_slice(&page).map_err(unreadable)?;
            let of_function = page.event_source_mappings.into_iter().filter(|mapping| mapping.invokes(function));
            mappings.extend(of_function.map(Mapping::from));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(mappings);
            }
        }
        Err(ControlError::Refused(format!("the list of mappings of {function} does not end").into()))
    }

    async fn set_mapping(&self, id: &str, is_on: bool, deadline: Millis) -> Result<(), ControlError> {
        let path = format!("{MAPPINGS}/{}", encoded(id, false));
        self.call(Method::PUT, &path, &[], Some(json!({ "Enabled": is_on })), deadline).await.map(drop)
    }

    async fn concurrency(&self, function: &str, deadline: Millis) -> Result<Option<u32>, ControlError> {
        let path = format!("/2019-09-30/functions/{}/concurrency", encoded(function, false));
        let answer = self.call(Method::GET, &path, &[], None, deadline).await?;
        let reserved: Reserved = serde_json::from_slice(&answer).map_err(unreadable)?;
        Ok(reserved.reserved_concurrent_executions)
    }

    async fn set_concurrency(
        &self,
        function: &str,
        reserved: Option<u32>,
        deadline: Millis,
    ) -> Result<(), ControlError> {
        let path = format!("/2017-10-31/functions/{}/concurrency", encoded(function, false));
        let (method, body) = match reserved {
            Some(reserved) => (Method::PUT, Some(json!({ "ReservedConcurrentExecutions": reserved }))),
            None => (Method::DELETE, None),
        };
        self.call(method, &path, &[], body, deadline).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_of_an_alias_is_one_of_its_function() {
        let invokes = |arn: &str, function: &str| {
            let described = json!({ "UUID": "u", "State": "Enabled", "FunctionArn": arn });
            serde_json::from_value::<Described>(described).expect("a mapping").invokes(function)
        };
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:dev-score-transactions";
        assert!(invokes(arn, "dev-score-transactions"));
        assert!(invokes(&format!("{arn}:live"), "dev-score-transactions"));
        assert!(!invokes(&format!("{arn}-2"), "dev-score-transactions"));
        assert!(!invokes("", "dev-score-transactions"));
    }
}
