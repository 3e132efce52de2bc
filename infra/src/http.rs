//! HTTP APIs: their routes, who may call them, and how often.

use serde_json::Value;

use super::Infrastructure;
use super::model::{Resource, TriggerSource};

/// An HTTP API.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpApi {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Its routes to functions.
    pub routes: Vec<HttpRoute>,
    /// Pages of other origins that may call it; none where that is off.
    pub cors: Option<Cors>,
}

/// A route to a function.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// Method and path, such as `GET /v1/users/{user_id}`, or `$default`.
    pub key: String,
    /// Name of the function, prefix included.
    pub function: String,
    /// Who may call it.
    pub authorizer: HttpAuthorizer,
    /// Scopes of which a token must have one; any token will do where there are none.
    pub scopes: Vec<String>,
    /// Requests a second; none is without limit.
    pub rate: Option<f64>,
    /// Requests that may come at once.
    pub burst: Option<u32>,
}

/// Who may call a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAuthorizer {
    /// Anybody.
    None,
    /// Who signs with credentials of the account that IAM allows it.
    Iam,
    /// Who has a token.
    Jwt {
        /// Who gives the tokens.
        issuer: String,
        /// Whom they must be made for.
        audience: Vec<String>,
    },
    /// Something that one machine cannot ask, by its type.
    Other(String),
}

/// What pages of other origins may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// Their origins.
    pub origins: Vec<String>,
    /// The methods that they may use.
    pub methods: Vec<String>,
    /// The headers that they may send.
    pub headers: Vec<String>,
    /// How long a browser remembers the answer.
    pub max_age_s: Option<i64>,
}

impl Infrastructure {
    /// The HTTP APIs, with those routes of theirs that invoke functions.
    #[must_use]
    pub fn http_apis(&self) -> Vec<HttpApi> {
        let apis = self.resources.iter().filter(|resource| resource.kind == "AWS::ApiGatewayV2::Api");
        apis.map(|api| self.http_api(api)).filter(|api| !api.routes.is_empty()).collect()
    }

    fn http_api(&self, api: &Resource) -> HttpApi {
        let stage = self.belonging(api, "AWS::ApiGatewayV2::Stage").next();
        let routes = self.belonging(api, "AWS::ApiGatewayV2::Route").filter_map(|route| self.http_route(route, stage));
        HttpApi {
            file: api.file.clone(),
            logical_id: api.logical_id.clone(),
            routes: routes.collect(),
            cors: api.properties.get("CorsConfiguration").map(cors),
        }
    }

    fn belonging<'a>(&'a self, api: &'a Resource, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |one| {
            one.file == api.file && one.kind == kind && text(&one.properties, "ApiId") == Some(&api.logical_id)
        })
    }

    fn http_route(&self, route: &Resource, stage: Option<&Resource>) -> Option<HttpRoute> {
        let trigger = self
            .triggers
            .iter()
            .find(|trigger| trigger.file == route.file && trigger.logical_id == route.logical_id)?;
        let TriggerSource::Http(key) = &trigger.source else { return None };
        let setting = |name: &str| {
            let stage = &stage?.properties;
            let own = stage.get("RouteSettings").and_then(|all| all.get(key)).and_then(|settings| settings.get(name));
            number(own.or_else(|| stage.get("DefaultRouteSettings")?.get(name))?)
        };
        Some(HttpRoute {
            key: key.clone(),
            function: trigger.function.clone(),
            authorizer: self.http_authorizer(route),
            scopes: texts(route.properties.get("AuthorizationScopes")),
            rate: setting("ThrottlingRateLimit"),
            burst: setting("ThrottlingBurstLimit").map(|burst| burst as u32),
        })
    }

    fn http_authorizer(&self, route: &Resource) -> HttpAuthorizer {
        match text(&route.properties, "AuthorizationType") {
            None | Some("NONE") => HttpAuthorizer::None,
            Some("AWS_IAM") => HttpAuthorizer::Iam,
            Some("JWT") => {
                let named = text(&route.properties, "AuthorizerId");
                let authorizer = self.resources.iter().find(|one| {
                    one.file == route.file
                        && one.kind == "AWS::ApiGatewayV2::Authorizer"
                        && Some(one.logical_id.as_str()) == named
                });
                let tokens = authorizer.and_then(|one| one.properties.get("JwtConfiguration"));
                HttpAuthorizer::Jwt {
                    issuer: tokens.and_then(|tokens| text(tokens, "Issuer")).unwrap_or_default().to_owned(),
                    audience: texts(tokens.and_then(|tokens| tokens.get("Audience"))),
                }
            }
            Some(other) => HttpAuthorizer::Other(other.to_owned()),
        }
    }
}

fn cors(declared: &Value) -> Cors {
    Cors {
        origins: texts(declared.get("AllowOrigins")),
        methods: texts(declared.get("AllowMethods")),
        headers: texts(declared.get("AllowHeaders")),
        max_age_s: declared.get("MaxAge").and_then(number).map(|seconds| seconds as i64),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
