//! An account in a region, and who calls which of its services.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use base64_simd::STANDARD;
use bytes::Bytes;
use centinela_rollout::{
    Bundle, Caller, ChangeRequest, ChangeSet, Cloud, CloudError, Concurrency, Event, FunctionFacts, Invoked, Live,
    StackFacts, StackResource, Zone,
};
use centinela_signed_http::{self as signed_http, Asked, Client, ConnectError, Service, encoded};
use http::Method;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::call::{ATTEMPT, Answered, Failure, call, unreadable};
use crate::xml::{self, Element};

/// The largest answer that is read: a page of a stack's events or changes is far below.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The largest bundle: Lambda takes 250 MB unpacked.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const BUNDLE_BYTES_MAX: u64 = 250 * 1024 * 1024;

/// Region and endpoint, for a person to see before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Such as `us-east-1`.
    pub region: String,
    /// Where every service is, if it is not AWS.
    pub endpoint: Option<String>,
}

/// An account of AWS.
pub struct Aws {
    runtime: Runtime,
    sdk: SdkConfig,
    region: String,
    /// A client for each service, and for each bucket.
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
}

impl Aws {
    /// The account of the environment's credentials, as any AWS client finds them. Nothing is asked yet.
    ///
    /// # Errors
    /// The environment says too little.
    pub fn connect() -> Result<Self, CloudError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(unreadable)?;
        let sdk = runtime.block_on(signed_http::settings());
        let region = sdk.region().ok_or_else(|| unreadable(ConnectError::NoRegion))?.to_string();
        Ok(Self { runtime, sdk, region, clients: Mutex::default() })
    }

    /// Where that is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { region: self.region.clone(), endpoint: self.endpoint("cloudformation") }
    }

    /// Where the environment says that a service is, by the name that it has in signatures.
    fn endpoint(&self, service: &str) -> Option<String> {
        let named = match service {
            "monitoring" => "CLOUDWATCH".to_owned(),
            "cloudcontrolapi" => "CLOUDCONTROL".to_owned(),
            service => service.to_uppercase(),
        };
        signed_http::endpoint(&self.sdk, &named)
    }

    fn client(&self, service: &'static str, bucket: Option<&str>) -> Result<Arc<Client>, CloudError> {
        let key = format!("{service} {}", bucket.unwrap_or_default());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(Arc::clone(client));
        }
        let described = Service { name: service, is_s3: bucket.is_some(), answer_bytes_max: ANSWER_BYTES_MAX };
        let base = |region: &str| base(service, bucket, region, self.endpoint(service));
        let client = Client::new(&self.sdk, described, base).map_err(unreadable)?;
        let client = Arc::new(client);
        clients.insert(key, Arc::clone(&client));
        Ok(client)
    }

    /// Asks a service and waits.
    pub(crate) fn ask(
        &self,
        service: &'static str,
        method: Method,
        asked: &Asked<'_>,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answered, Failure> {
        let client = self.client(service, None).map_err(Failure::Other)?;
        self.runtime.block_on(call(&client, service, method, asked, body, limit))
    }

    /// Asks for an object of a bucket and waits.
    pub(crate) fn ask_bucket(
        &self,
        bucket: &str,
        method: Method,
        asked: &Asked<'_>,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answered, Failure> {
        let client = self.client("s3", Some(bucket)).map_err(Failure::Other)?;
        self.runtime.block_on(call(&client, "s3", method, asked, body, limit))
    }

    /// An operation of a service that takes a form and answers XML.
    pub(crate) fn query(
        &self,
        service: &'static str,
        version: &str,
        action: &str,
        fields: &[(String, String)],
    ) -> Result<(Element, bool), Failure> {
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in fields {
            form.push_str(&format!("&{}={}", encoded(name, false), encoded(value, false)));
        }
        let headers = [("content-type", "application/x-www-form-urlencoded".to_owned())];
        let asked = Asked { path: "/", headers: &headers, ..Asked::default() };
        let answered = self.ask(service, Method::POST, &asked, form.into(), ATTEMPT)?;
        let tree = xml::parse(&answered.answer.body).map_err(|error| Failure::Other(unreadable(error)))?;
        Ok((tree, answered.is_repeated))
    }

    /// An operation of a service that takes JSON under the operation's name.
    pub(crate) fn target(
        &self,
        service: &'static str,
        minor: char,
        target: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value, Failure> {
        let headers =
            [("content-type", format!("application/x-amz-json-1.{minor}")), ("x-amz-target", target.to_owned())];
        let asked = Asked { path: "/", headers: &headers, ..Asked::default() };
        let answered = self.ask(service, Method::POST, &asked, body.to_string().into(), ATTEMPT)?;
        serde_json::from_slice(&answered.answer.body).map_err(|error| Failure::Other(unreadable(error)))
    }

    pub(crate) fn sleep(&self, time: Duration) {
        // A sleep must be made inside of the runtime that wakes it.
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }
}

/// Where a service is: under the name that it has in signatures, or at the endpoint.
fn base(service: &str, bucket: Option<&str>, region: &str, endpoint: Option<String>) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    match (endpoint, bucket) {
        // A server of one's own has no name per bucket: there the bucket is part of the path.
        (Some(url), Some(bucket)) => format!("{url}/{bucket}"),
        (Some(url), None) => url,
        (None, Some(bucket)) => format!("https://{bucket}.s3.{region}.{domain}"),
        (None, None) => format!("https://{service}.{region}.{domain}"),
    }
}

/// Reads a bundle that was built.
///
/// # Errors
/// It is not there, too large, or no zip.
pub fn bundle(file: &Path) -> Result<Bundle, String> {
    let named = |what: String| format!("{}: {what}", file.display());
    let bytes = std::fs::metadata(file).map_err(|error| named(error.to_string()))?.len();
    if bytes > BUNDLE_BYTES_MAX {
        return Err(named(format!("{bytes} bytes are more than the {BUNDLE_BYTES_MAX} that Lambda unpacks")));
    }
    let bytes = std::fs::read(file).map_err(|error| named(error.to_string()))?;
    if !bytes.starts_with(b"PK\x03\x04") {
        return Err(named("it is no zip; build it with infra/bundle".to_owned()));
    }
    let sha256 = STANDARD.encode_to_string(Sha256::digest(&bytes));
    Ok(Bundle { bytes, sha256 })
}

impl Cloud for Aws {
    fn caller(&self) -> Result<Caller, CloudError> {
        self.get_caller()
    }

    fn zones(&self) -> Result<Vec<Zone>, CloudError> {
        self.get_zones()
    }

    fn concurrency(&self) -> Result<Concurrency, CloudError> {
        self.get_concurrency()
    }

    fn reserved(&self, function: &str) -> Result<Option<u32>, CloudError> {
        self.get_reserved(function)
    }

    fn exists(&self, kind: &str, identifier: &str) -> Result<bool, CloudError> {
        self.get_exists(kind, identifier)
    }

    fn stack(&self, name: &str) -> Result<Option<StackFacts>, CloudError> {
        self.describe_stack(name)
    }

    fn resources(&self, stack: &str) -> Result<Vec<StackResource>, CloudError> {
        self.list_resources(stack)
    }

    fn events(&self, stack_id: &str) -> Result<Vec<Event>, CloudError> {
        self.describe_events(stack_id)
    }

    fn propose(&self, request: &ChangeRequest<'_>) -> Result<String, CloudError> {
        self.create_change_set(request)
    }

    fn change_set(&self, stack: &str, name: &str) -> Result<ChangeSet, CloudError> {
        self.describe_change_set(stack, name)
    }

    fn execute(&self, stack: &str, name: &str) -> Result<(), CloudError> {
        self.execute_change_set(stack, name)
    }

    fn discard(&self, stack: &str, name: &str) -> Result<(), CloudError> {
        self.delete_change_set(stack, name)
    }

    fn unstick(&self, stack: &str) -> Result<(), CloudError> {
        self.continue_rollback(stack)
    }

    fn delete(&self, stack: &str) -> Result<(), CloudError> {
        self.delete_stack(stack)
    }

    fn uploaded(&self, bucket: &str, key: &str) -> Result<Option<String>, CloudError> {
        self.head_object(bucket, key)
    }

    fn upload(&self, bucket: &str, key: &str, bundle: &Bundle) -> Result<(), CloudError> {
        self.put_object(bucket, key, bundle)
    }

    fn function(&self, name: &str) -> Result<Option<FunctionFacts>, CloudError> {
        self.get_function(name)
    }

    fn update_code(&self, function: &str, bucket: &str, key: &str) -> Result<(), CloudError> {
        self.update_function_code(function, bucket, key)
    }

    fn publish(&self, function: &str, code_sha256: &str) -> Result<String, CloudError> {
        self.publish_version(function, code_sha256)
    }

    fn alias(&self, function: &str, alias: &str) -> Result<Option<Live>, CloudError> {
        self.get_alias(function, alias)
    }

    fn point(&self, function: &str, alias: &str, live: &Live) -> Result<(), CloudError> {
        self.update_alias(function, alias, live)
    }

    fn invoke(&self, function: &str, qualifier: &str, event: &str) -> Result<Invoked, CloudError> {
        self.invoke_function(function, qualifier, event)
    }

    fn errors(&self, function: &str, alias: &str, version: &str, minutes: u32) -> Result<u64, CloudError> {
        self.sum_of_errors(function, alias, version, minutes)
    }

    fn alarms(&self, prefix: &str) -> Result<Vec<String>, CloudError> {
        self.speaking_alarms(prefix)
    }

    fn brokers(&self, cluster_arn: &str) -> Result<String, CloudError> {
        self.get_brokers(cluster_arn)
    }

    fn parameter(&self, name: &str) -> Result<Option<String>, CloudError> {
        self.get_parameter(name)
    }

    fn set_parameter(&self, name: &str, value: &str) -> Result<(), CloudError> {
        self.put_parameter(name, value)
    }

    fn delete_parameter(&self, name: &str) -> Result<(), CloudError> {
        self.remove_parameter(name)
    }

    fn pause(&self, time: Duration) {
        self.sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_the_digest_that_lambda_gives_and_must_be_a_zip() {
        let directory = std::env::temp_dir().join(format!("centinela-bundle-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("bootstrap.zip");
        std::fs::write(&file, b"PK\x03\x04").expect("a file");
        // printf 'PK\003\004' | openssl dgst -sha256 -binary | base64
        assert_eq!(bundle(&file).expect("a bundle").sha256, "jcx+YBYGIX87dUdmURGCqRaxfpomqUydiHEE66kum7I=");
        std::fs::write(&file, b"ELF").expect("a file");
        assert!(bundle(&file).expect_err("no zip").contains("it is no zip"));
        std::fs::remove_dir_all(&directory).expect("removed");
        assert!(bundle(&file).is_err());
    }

    #[test]
    fn a_pause_between_two_looks_ends() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let sdk = SdkConfig::builder().build();
        let aws = Aws { runtime, sdk, region: "us-east-1".to_owned(), clients: Mutex::default() };
        aws.pause(Duration::from_millis(1));
    }

    #[test]
    fn a_service_is_where_its_documentation_says() {
        assert_eq!(base("cloudformation", None, "eu-west-1", None), "https://cloudformation.eu-west-1.amazonaws.com");
        assert_eq!(base("cloudcontrolapi", None, "us-east-1", None), "https://cloudcontrolapi.us-east-1.amazonaws.com");
        assert_eq!(base("s3", Some("b"), "us-east-1", None), "https://b.s3.us-east-1.amazonaws.com");
        assert_eq!(base("lambda", None, "cn-north-1", None), "https://lambda.cn-north-1.amazonaws.com.cn");
    }
}
