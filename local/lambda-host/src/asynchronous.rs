//! Invocations that nobody waits for, as EventBridge, SNS and the type `Event` make them: one that fails is tried again after one minute
//! and after two more, and is given up then.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::host::FunctionHost;

/// Waits before the second and the third try.
const RETRIES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// Invokes a function up to three times. `why` says what invokes it, for logs.
pub async fn invoke_asynchronously(host: Arc<FunctionHost>, payload: Bytes, why: &'static str) {
    let function = host.spec().name.clone();
    for pause in RETRIES.map(Some).into_iter().chain([None]) {
        let Err(error) = host.invoke(payload.clone()).await else { return };
        match pause {
            Some(pause) => {
                let next_s = pause.as_secs();
                tracing::warn!(function, why, %error, next_s, "an invocation that nobody waits for failed; it is tried again");
                tokio::time::sleep(pause).await;
            }
            None => tracing::error!(function, why, %error, "an invocation failed three times and is given up"),
        }
    }
}
