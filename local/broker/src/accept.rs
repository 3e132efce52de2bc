//! Accepting connections where the operating system may have none to give.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};

/// Rest after a refusal; doubles with each further one.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Every listener of the process meets the same limit, so all of them together say it this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

static SAID: Mutex<Option<Instant>> = Mutex::new(None);

/// Waits for the next connection. While none can be accepted it rests, and says why once a minute; callers wait meanwhile, as the
/// kernel keeps them.
pub(crate) async fn accept(listener: &TcpListener, service: &'static str) -> TcpStream {
    let mut pause = PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => say(service, &error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn say(service: &'static str, error: &std::io::Error) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_some_and(|at| at.elapsed() < SAY_EVERY) {
        return;
    }
    *said = Some(Instant::now());
    let open_files_max = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    tracing::warn!(
        service,
        %error,
        open_files_max,
        "further connections wait until others are closed; a higher limit of open files (`ulimit -n`) takes more"
    );
}
