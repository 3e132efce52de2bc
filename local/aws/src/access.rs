//! Who asks AWS, or what stands for it.

use std::fmt;

/// The AWS region that every emulator answers for.
pub const REGION: &str = "us-east-1";
/// The access key id that the emulators accept.
pub const ACCESS_KEY_ID: &str = "centinela";
/// The secret that belongs to [`ACCESS_KEY_ID`]. Not a secret: it opens servers on 127.0.0.1 only.
pub const SECRET_ACCESS_KEY: &str = "centinela-local";

/// Who asks, and in which region.
#[derive(Clone, PartialEq, Eq)]
pub struct AwsAccess {
    /// The region.
    pub region: String,
    /// The access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

impl Default for AwsAccess {
    /// What the embedded emulators accept. Not a secret: it opens servers on 127.0.0.1 only.
    fn default() -> Self {
        Self {
            region: REGION.to_owned(),
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
            session_token: None,
        }
    }
}

impl fmt::Debug for AwsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsAccess")
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}
