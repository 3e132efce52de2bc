//! Where the services of one platform are, in the form that clients want.

/// Addresses and credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Kafka bootstrap servers, `host:port`.
    pub kafka: String,
    /// DynamoDB endpoint URL.
    pub dynamodb: String,
    /// S3 endpoint URL; clients must use path-style addressing.
    pub s3: String,
    /// Kinesis endpoint URL.
    pub kinesis: String,
    /// Lambda endpoint URL, for `Invoke`, event source mappings and reserved concurrency.
    pub lambda: String,
    /// URL of the HTTP APIs of the stacks; empty until they run, and where there are none.
    pub api: String,
    /// URL of the issuer of tokens for them; empty like that.
    pub issuer: String,
    /// SNS endpoint URL, for `Publish`.
    pub sns: String,
    /// AWS region.
    pub region: String,
    /// AWS access key id.
    pub access_key_id: String,
    /// AWS secret access key.
    pub secret_access_key: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

impl Endpoints {
    /// The environment variables that point an unmodified AWS SDK at these endpoints. Kafka has no such variable.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let token = self.session_token.iter().map(|token| ("AWS_SESSION_TOKEN", token.clone()));
        let variables = vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.clone()),
            ("AWS_ENDPOINT_URL_S3", self.s3.clone()),
            ("AWS_ENDPOINT_URL_KINESIS", self.kinesis.clone()),
            ("AWS_ENDPOINT_URL_LAMBDA", self.lambda.clone()),
            ("AWS_ENDPOINT_URL_SNS", self.sns.clone()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
        ];
        variables.into_iter().chain(token).collect()
    }
}
