//! Who asks a DynamoDB, Kinesis or S3 that was named on the command line.

use centinela_local::aws::AwsAccess;

use crate::failure::Failure;
use crate::kafka_args;

/// The environment's credentials, or those of the emulators where it has none.
///
/// # Errors
/// When half of them is set, or none although they are needed.
pub fn from_environment(are_needed: bool) -> Result<AwsAccess, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let local = AwsAccess::default();
    let region = kafka_args::region().unwrap_or_else(|| local.region.clone());
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Ok(AwsAccess { region, access_key_id, secret_access_key, session_token: variable("AWS_SESSION_TOKEN") })
        }
        (None, None) if !are_needed => Ok(AwsAccess { region, ..local }),
        (None, None) => Err(Failure::Usage("--kafka-iam needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned())),
        _ => Err(Failure::Usage("set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or none of them".to_owned())),
    }
}
