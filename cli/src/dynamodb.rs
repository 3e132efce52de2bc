//! DynamoDB for the commands that ask it themselves: a server that was named, or AWS.

use std::error::Error;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::{Credentials, ProvideCredentials as _};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use centinela_audit::errors::one_line;
use centinela_local::aws::AwsClient;

use crate::aws_credentials;
use crate::failure::Failure;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take; the SDK asks three times.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A client, and the database in words; asks for nothing yet.
///
/// # Errors
/// When the URL is none, or region or credentials are missing.
pub async fn open(url: Option<&str>) -> Result<(Client, String), Failure> {
    match url {
        Some(url) => Ok((at_url(url)?, format!("dynamodb at {url}"))),
        None => in_aws().await,
    }
}

/// What a failed call means; `advice` is for a table that is not there.
pub fn failed<E>(doing: &str, table: &str, database: &str, advice: &str, error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let code = error.as_service_error().map(|refusal| refusal.code().unwrap_or("no code"));
    match code {
        Some("ResourceNotFoundException") => Failure::Usage(format!("{database} has no table `{table}`; {advice}")),
        Some(code) => {
            let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
            Failure::Failed(format!("{database} refused to {doing} table `{table}`: {code}: {message}"))
        }
        None => Failure::Failed(format!("{database} cannot be reached: {}", innermost(&error))),
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).operation_attempt_timeout(ANSWER_LIMIT).build()
}

/// A client of the database at a URL, with the credentials that `up` uses for it.
fn at_url(url: &str) -> Result<Client, Failure> {
    let access = aws_credentials::from_environment(false)?;
    // It has the rules for a URL.
    AwsClient::new("dynamodb", url, &access).map_err(|error| Failure::usage(&error))?;
    let credentials =
        Credentials::new(access.access_key_id, access.secret_access_key, access.session_token, None, "centinela");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(access.region))
        .credentials_provider(credentials)
        .timeout_config(timeouts())
        .build();
    Ok(Client::from_conf(config))
}

/// A client of AWS, with region and credentials as every AWS client finds them.
async fn in_aws() -> Result<(Client, String), Failure> {
    let loaded = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts());
    let sdk = Box::pin(loaded.load()).await;
    let Some(region) = sdk.region().cloned() else {
        return Err(Failure::Usage("no region: set AWS_REGION, or name a DynamoDB with --dynamodb URL".to_owned()));
    };
    let credentials = match sdk.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.map(drop).map_err(|error| one_line(&error)),
        None => Err("there is no provider".to_owned()),
    };
    credentials.map_err(|problem| {
        Failure::Usage(format!(
            "no credentials for AWS: {problem}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a DynamoDB with \
             --dynamodb URL"
        ))
    })?;
    Ok((Client::new(&sdk), format!("dynamodb in {region}")))
}

/// The last cause: that the connection was refused, not that a dispatch failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
