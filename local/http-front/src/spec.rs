//! What is declared.

use std::sync::Arc;

use centinela_lambda_host::FunctionHost;

/// An HTTP API.
#[derive(Clone)]
pub struct ApiSpec {
    /// Stands for the identifier that AWS would assign.
    pub id: String,
    /// Its routes.
    pub routes: Vec<RouteSpec>,
    /// Pages of other origins that may call it.
    pub cors: Option<CorsSpec>,
}

/// A route to a function.
#[derive(Clone)]
pub struct RouteSpec {
    /// Method and path, such as `GET /v1/users/{user_id}`, or `$default`.
    pub key: String,
    /// Who may call it.
    pub authorizer: Authorizer,
    /// Scopes of which a token must have one.
    pub scopes: Vec<String>,
    /// Requests a second; none is without limit.
    pub rate: Option<f64>,
    /// Requests that may come at once.
    pub burst: Option<u32>,
    /// What answers.
    pub function: Arc<FunctionHost>,
}

/// Who may call a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorizer {
    /// Anybody.
    None,
    /// Who signs with the credentials of this machine.
    Iam,
    /// Who has a token of the local issuer for one of these audiences.
    Jwt {
        /// Whom it must be made for.
        audience: Vec<String>,
    },
    /// Nobody: what is declared cannot be asked here.
    Closed,
}

/// What pages of other origins may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the headers")]
pub struct CorsSpec {
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub max_age_s: Option<i64>,
}

/// The credentials that sign, as clients of this machine have them.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
