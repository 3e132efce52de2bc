//! Buckets and objects of an external S3.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::client::{AwsClient, CallError};
use super::error::EndpointError;
use crate::access::REGION;

/// Creates the buckets that are missing.
///
/// # Errors
/// When the service cannot be reached or refuses us.
pub async fn prepare_buckets(client: &AwsClient, region: &str, buckets: &[String]) -> Result<(), EndpointError> {
    for bucket in buckets {
        let path = format!("/{bucket}");
        let asked = client.object_request(Method::HEAD, &path, Bytes::new()).await;
        let (found, _) = asked.map_err(|error| client.failed(format!("looking for bucket {bucket}"), error))?;
        if found.is_success() {
            continue;
        }
        if found != StatusCode::NOT_FOUND {
            return Err(client.failed(format!("looking for bucket {bucket}"), refused(found)));
        }
        // <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>: the first region must not be named.
        let place = if region == REGION {
            String::new()
        } else {
            format!(
                "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        let made = client.object_request(Method::PUT, &path, place.into()).await;
        let (made, _) = made.map_err(|error| client.failed(format!("creating bucket {bucket}"), error))?;
        if !made.is_success() {
            return Err(client.failed(format!("creating bucket {bucket}"), refused(made)));
        }
    }
    Ok(())
}

/// An object; none where there is none.
///
/// # Errors
/// When the service cannot be reached or refuses us.
pub async fn read_object(client: &AwsClient, bucket: &str, key: &str) -> Result<Option<Bytes>, EndpointError> {
    // `=` stands in the keys of partitions, and is encoded as a signature has it.
    let path = format!("/{bucket}/{}", key.replace('=', "%3D"));
    let asked = client.object_request(Method::GET, &path, Bytes::new()).await;
    let (status, body) = asked.map_err(|error| client.failed(format!("reading object {key}"), error))?;
    match status {
        StatusCode::OK => Ok(Some(body)),
        StatusCode::NOT_FOUND => Ok(None),
        other => Err(client.failed(format!("reading object {key}"), refused(other))),
    }
}

fn refused(status: StatusCode) -> CallError {
    CallError::Refused { code: status.as_str().to_owned(), message: status.canonical_reason().unwrap_or("").to_owned() }
}
