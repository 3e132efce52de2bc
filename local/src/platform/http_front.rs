//! The HTTP APIs of the stacks, and the issuer of tokens that stands for theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use centinela_http_front::{
    ApiCounts, ApiSpec, Authorizer, CorsSpec, Credentials, HttpFront, Issuer, Limits, RouteSpec,
};
use centinela_infra::{HttpApi, HttpAuthorizer, HttpRoute, Infrastructure, LAPTOP_ACCOUNT, Trigger, TriggerSource};
use centinela_lambda_host::FunctionHost;

use super::endpoints::Endpoints;
use super::error::PlatformError;

type Hosts = BTreeMap<String, Arc<FunctionHost>>;

/// The front and its issuer at work.
pub(super) struct HttpApis {
    front: HttpFront,
    issuer: Issuer,
}

impl HttpApis {
    /// Serves what the stacks declare; none where they declare no API. What one machine cannot ask of callers is closed, and said.
    pub(super) async fn start(
        infrastructure: &Infrastructure,
        hosts: &Hosts,
        port: Option<u16>,
        endpoints: &Endpoints,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Option<Self>, PlatformError> {
        let declared = infrastructure.http_apis();
        let specs: Vec<ApiSpec> = declared.iter().map(|api| api_spec(api, hosts, say)).collect();
        if specs.iter().all(|api| api.routes.is_empty()) {
            return Ok(None);
        }
        let issuer = Issuer::start(audience(&specs)).await?;
        let credentials = Credentials {
            account: LAPTOP_ACCOUNT.to_owned(),
            region: endpoints.region.clone(),
            access_key_id: endpoints.access_key_id.clone(),
            secret_access_key: endpoints.secret_access_key.clone(),
        };
        let front = HttpFront::start(port, specs, credentials, &issuer, Limits::default()).await?;
        Ok(Some(Self { front, issuer }))
    }

    /// Where the APIs are.
    pub(super) fn url(&self) -> String {
        self.front.url()
    }

    /// What was asked of each API since the last call, by its logical id in small letters.
    pub(super) fn take_counts(&self) -> BTreeMap<String, ApiCounts> {
        self.front.take_counts()
    }

    /// Where tokens come from.
    pub(super) fn issuer_url(&self) -> String {
        self.issuer.url()
    }

    /// Lets open requests finish for a while and ends.
    pub(super) async fn shutdown(self) -> Result<(), PlatformError> {
        let front = self.front.shutdown().await;
        self.issuer.shutdown().await?;
        Ok(front?)
    }
}

/// Whether a function is asked by callers who wait.
pub(super) fn is_asked(infrastructure: &Infrastructure, function: &str) -> bool {
    infrastructure.triggers.iter().any(|trigger| trigger.function == function && is_route(trigger))
}

/// Whether it is a route of an HTTP API.
pub(super) fn is_route(trigger: &Trigger) -> bool {
    matches!(trigger.source, TriggerSource::Http(_))
}

fn api_spec(api: &HttpApi, hosts: &Hosts, say: &(dyn Fn(&str) + Send + Sync)) -> ApiSpec {
    let cors = api.cors.as_ref().map(|cors| CorsSpec {
        origins: cors.origins.clone(),
        methods: cors.methods.clone(),
        headers: cors.headers.clone(),
        max_age_s: cors.max_age_s,
    });
    let routes = api.routes.iter().filter_map(|route| route_spec(route, hosts, say));
    ApiSpec { id: api.logical_id.to_lowercase(), routes: routes.collect(), cors }
}

fn route_spec(route: &HttpRoute, hosts: &Hosts, say: &(dyn Fn(&str) + Send + Sync)) -> Option<RouteSpec> {
    let function = Arc::clone(hosts.get(&route.function)?);
    let authorizer = match &route.authorizer {
        HttpAuthorizer::None => Authorizer::None,
        HttpAuthorizer::Iam => Authorizer::Iam,
        HttpAuthorizer::Jwt { audience, .. } => Authorizer::Jwt { audience: audience.clone() },
        HttpAuthorizer::Other(kind) => {
            say(&format!("route `{}` is closed: one machine has no authoriser of type {kind}", route.key));
            Authorizer::Closed
        }
    };
    Some(RouteSpec {
        key: route.key.clone(),
        authorizer,
        scopes: route.scopes.clone(),
        rate: route.rate,
        burst: route.burst,
        function,
    })
}

/// Whom the tokens of this machine are made for: the first that a route names.
fn audience(specs: &[ApiSpec]) -> String {
    let routes = specs.iter().flat_map(|api| &api.routes);
    let named = routes.filter_map(|route| match &route.authorizer {
        Authorizer::Jwt { audience } => audience.first().cloned(),
        _ => None,
    });
    named.into_iter().next().unwrap_or_default()
}
