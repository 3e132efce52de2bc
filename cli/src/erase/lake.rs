//! The list of erased users in the lake's bucket, which the compaction goes by.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use centinela_domain::{Millis, UserId};
use centinela_lake::keys;
use centinela_lake::store::{Condition, ObjectStore as _};
use centinela_object_store::S3Lake;

use super::{Args, now};
use crate::aws_credentials;
use crate::failure::Failure;

/// How long the object store is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists the user. Once more is no mistake.
pub(super) async fn list(user: &UserId, arguments: &Args) -> Result<(), Failure> {
    let sdk = settings(arguments).await?;
    let lake = S3Lake::new(&sdk, &arguments.bucket, arguments.s3.as_deref());
    let lake = lake.map_err(|error| Failure::usage(&error))?;
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let body = format!(r#"{{"version":1,"erased_at":{}}}"#, milliseconds(now()));
    let deadline = Millis(milliseconds(now() + PATIENCE));
    let put = lake.put(&keys::erasure(user.as_str()), body.into(), Condition::None, deadline).await;
    put.map(drop).map_err(|error| {
        let Failure::Failed(why) = Failure::failed(&error) else { return Failure::failed(&error) };
        Failure::Failed(format!(
            "the user was not listed in bucket `{}`, and nothing was erased: {why}",
            arguments.bucket
        ))
    })
}

/// Region and credentials: those of the server that was named, or as every AWS client finds them.
async fn settings(arguments: &Args) -> Result<SdkConfig, Failure> {
    if arguments.s3.is_none() {
        return Ok(Box::pin(aws_config::defaults(BehaviorVersion::latest()).load()).await);
    }
    let access = aws_credentials::from_environment(false)?;
    let credentials =
        Credentials::new(access.access_key_id, access.secret_access_key, access.session_token, None, "centinela");
    Ok(SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(access.region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build())
}
