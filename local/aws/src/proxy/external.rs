//! An external DynamoDB or Kinesis behind a proxy.
//!
//! Requests are signed anew, because a proxy changes their bodies. Only requests that are signed with the proxy's own access key id are
//! served, so that nobody who merely finds the port uses somebody's credentials.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use centinela_serve::BoxError;
use futures::future::BoxFuture;
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::upstream::{Answer, ProxiedService, Upstream, target};
use crate::external::client::AwsClient;

pub(super) struct External {
    pub(super) service: ProxiedService,
    pub(super) client: AwsClient,
    pub(super) access_key_id: String,
    /// One line when the server stops answering, not one per request.
    pub(super) is_complaining: AtomicBool,
}

impl Upstream for External {
    fn admit<'a>(&self, head: &'a Parts) -> Result<&'a str, Answer> {
        let authorization = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = target(head);
        if target.contains('.') && authorization.contains(&format!("Credential={}/", self.access_key_id)) {
            return Ok(target);
        }
        let message = "no operation, or not signed with this proxy's key";
        Err(self.service.refusal(StatusCode::BAD_REQUEST, "UnknownOperationException", message))
    }

    fn call<'a>(&'a self, target: &'a str, body: Bytes) -> BoxFuture<'a, Result<Answer, BoxError>> {
        Box::pin(async move {
            let answered = self.client.forward(target, body).await;
            let was_complaining = self.is_complaining.swap(answered.is_err(), Ordering::Relaxed);
            if let Err(error) = &answered
                && !was_complaining
            {
                tracing::warn!(service = self.service.name(), url = self.client.url(), error, "no answer");
            }
            answered
        })
    }
}
