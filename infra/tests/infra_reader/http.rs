//! HTTP APIs: who may call which route, and how often.

use centinela_infra::{HttpApi, HttpAuthorizer, HttpRoute, Infrastructure};

use super::{load, with_parameters};

fn api<'a>(apis: &'a [HttpApi], id: &str) -> &'a HttpApi {
    apis.iter().find(|api| api.logical_id == id).unwrap_or_else(|| panic!("no API {id}"))
}

fn route<'a>(api: &'a HttpApi, key: &str) -> &'a HttpRoute {
    api.routes.iter().find(|route| route.key == key).unwrap_or_else(|| panic!("no route {key}"))
}

#[test]
fn machines_sign_and_people_have_tokens_with_the_scope_of_the_route() {
    let apis = load("local").http_apis();
    let (machines, people) = (api(&apis, "MachinesApi"), api(&apis, "PeopleApi"));
    let keys =
        |api: &HttpApi| api.routes.iter().map(|route| route.key.clone()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(keys(machines), keys(people));
    assert!(machines.routes.iter().all(|route| route.authorizer == HttpAuthorizer::Iam), "{machines:?}");
    let token =
        HttpAuthorizer::Jwt { issuer: "https://issuer.example".to_owned(), audience: vec!["centinela".to_owned()] };
    for (key, scopes) in [
        ("POST /v1/decisions", &["decide"][..]),
        ("GET /v1/users/{user_id}", &["read:user"][..]),
        ("$default", &[][..]),
    ] {
        let route = route(people, key);
        assert_eq!(
            (&route.authorizer, route.scopes.as_slice()),
            (&token, scopes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
            "{key}"
        );
        assert_eq!(route.function, "decisions-api");
    }
    assert_eq!(route(people, "GET /v1/health").authorizer, HttpAuthorizer::None);
}

#[test]
fn throttles_are_the_stage_s_unless_the_route_has_its_own() {
    let apis = load("local").http_apis();
    for api in &apis {
        let decide = route(api, "POST /v1/decisions");
        assert_eq!((decide.rate, decide.burst), (Some(500.0), Some(1000)));
        assert_eq!(route(api, "GET /v1/metrics").rate, Some(10.0));
    }
}

#[test]
fn without_an_issuer_there_is_no_api_for_people_and_cors_is_off_unless_it_is_set() {
    assert_eq!(load("prod").http_apis().len(), 1);
    let apis = load("local").http_apis();
    assert!(apis.iter().all(|api| api.cors.is_none()));
    let sources = with_parameters("local", &[("DecisionsApiCorsOrigins", "https://a.example,https://b.example")]);
    let apis = Infrastructure::from_sources(&sources).expect("the stacks are in order").http_apis();
    let cors = api(&apis, "PeopleApi").cors.clone().expect("CORS");
    assert_eq!((cors.origins.len(), cors.max_age_s), (2, Some(600)));
    assert_eq!(api(&apis, "MachinesApi").cors, None);
    // A browser's question comes without a token, and must not meet `$default`, which wants one.
    let open = route(api(&apis, "PeopleApi"), "OPTIONS /{proxy+}");
    assert_eq!(open.authorizer, HttpAuthorizer::None);
}

#[test]
fn scopes_have_the_issuer_s_prefix() {
    let sources = with_parameters("local", &[("DecisionsApiScopePrefix", "centinela/")]);
    let infrastructure = Infrastructure::from_sources(&sources).expect("the stacks are in order");
    let apis = infrastructure.http_apis();
    let scopes: Vec<_> = api(&apis, "PeopleApi").routes.iter().flat_map(|route| &route.scopes).collect();
    assert!(!scopes.is_empty() && scopes.iter().all(|scope| scope.starts_with("centinela/")), "{scopes:?}");
    let function = infrastructure.functions.iter().find(|function| function.name == "decisions-api").expect("it");
    assert_eq!(function.environment.get("SCOPE_PREFIX").map(String::as_str), Some("centinela/"));
}
