//! The alert topic through SNS.
//!
//! Contract: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.

use aws_config::SdkConfig;
use centinela_brake::{Alerts, ControlError};
use centinela_domain::Millis;
use centinela_signed_http::{self as signed_http, Asked, Client, ConnectError, Service, encoded};
use http::Method;

use crate::call::{address, call};

const SNS: Service = Service { name: "sns", is_s3: false, answer_bytes_max: 64 * 1024 };
const VERSION: &str = "2010-03-31";
/// SNS takes 256 KB; nobody reads more than this.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A topic that people read.
pub struct SnsAlerts {
    client: Client,
    topic_arn: String,
}

impl SnsAlerts {
    /// The topic with region, credentials and endpoint of the environment, as every AWS client reads them. Nothing is asked yet.
    ///
    /// # Errors
    /// When the environment says too little.
    pub fn new(sdk: &SdkConfig, topic_arn: &str) -> Result<Self, ConnectError> {
        let base = |region: &str| signed_http::endpoint(sdk, "SNS").unwrap_or_else(|| address("sns", region));
        Ok(Self { client: Client::new(sdk, SNS, base)?, topic_arn: topic_arn.to_owned() })
    }
}

impl Alerts for SnsAlerts {
    async fn publish(&self, subject: &str, message: &str, deadline: Millis) -> Result<(), ControlError> {
        let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        let fields = [
            ("Action", "Publish"),
            ("Version", VERSION),
            ("TopicArn", &self.topic_arn),
            ("Subject", subject),
            ("Message", &message[..end]),
        ];
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encoded(value, false))).collect();
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
        let asked = Asked { path: "/", query: &[], headers: &headers };
        call(&self.client, SNS.name, Method::POST, &asked, form.join("&").into(), deadline).await.map(drop)
    }
}
