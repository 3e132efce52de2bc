//! The producer over the API: in an open loop as the one of Kafka, with a bounded number of requests on their way.
//!
//! A request that gets no answer, or one that asks to come again, is made again: transactions, actions and labels have ids of their own, so
//! nothing counts twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use centinela_local::aws::{AwsClient, CallError};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::input::InputError;
use super::producer::{Pace, Until};
use super::progress::Progress;
use super::{Message, Source, Stream};

/// Requests on their way at a time.
const REQUESTS_MAX: usize = 128;
/// How long one request may take, and how long the same records are tried.
const ATTEMPT: Duration = Duration::from_secs(35);
const PATIENCE: Duration = Duration::from_secs(30);
/// Pauses between attempts.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// What comes between transactions goes out when so many have gathered, or the first has waited so long at the next transaction.
const BESIDE_MAX: usize = 500;
const BESIDE_WAIT: Duration = Duration::from_millis(200);
/// Longest rest between two looks at a request to stop.
const REST_MAX: Duration = Duration::from_millis(50);
/// How much of a refusal is shown.
const SHOWN_MAX: usize = 300;

/// What is asked of the API.
pub struct ApiSender {
    /// Where, and who asks.
    pub client: AwsClient,
    /// Instead of a signature.
    pub token: Option<String>,
    /// Wait for each decision.
    pub decide: bool,
    /// Transactions of a request.
    pub batch: usize,
    /// What was done so far.
    pub progress: Arc<Progress>,
}

/// Records that go out together, each with the time for which it was meant.
#[derive(Default)]
struct Gathered(Vec<(Vec<u8>, Instant)>);

impl Gathered {
    /// One object, or a list of them.
    fn body(&self, is_list: bool) -> Bytes {
        let values: Vec<&[u8]> = self.0.iter().map(|(value, _)| value.as_slice()).collect();
        match values.as_slice() {
            [only] if !is_list => Bytes::copy_from_slice(only),
            values => [b"[".as_slice(), &values.join(&b","[..]), b"]"].concat().into(),
        }
    }

    fn is_due(&self) -> bool {
        self.0.first().is_some_and(|(_, first)| BESIDE_WAIT <= first.elapsed())
    }
}

impl ApiSender {
    /// Sends until the source ends, `until` is reached or somebody asks to stop; then waits for the answers.
    ///
    /// # Errors
    /// When the source cannot be read on.
    pub async fn run(self, source: &mut Source, pace: Pace, until: Until) -> Result<(), InputError> {
        let sender = Arc::new(self);
        let mut requests = Requests {
            sender: Arc::clone(&sender),
            slots: Arc::new(Semaphore::new(REQUESTS_MAX)),
            tasks: JoinSet::new(),
        };
        let mut gathered: [Gathered; Stream::ALL.len()] = std::array::from_fn(|_| Gathered::default());
        let outcome = sender.send_all(source, pace, until, &mut requests, &mut gathered).await;
        for (stream, rest) in Stream::ALL.into_iter().zip(gathered) {
            requests.begin(stream, rest).await;
        }
        while requests.tasks.join_next().await.is_some() {}
        outcome
    }

    async fn send_all(
        &self,
        source: &mut Source,
        pace: Pace,
        until: Until,
        requests: &mut Requests,
        gathered: &mut [Gathered; Stream::ALL.len()],
    ) -> Result<(), InputError> {
        let (started, progress) = (Instant::now(), &self.progress);
        let mut sent = 0u64;
        while !progress.stop.load(Ordering::Relaxed) && until.count.is_none_or(|count| sent < count) {
            let Some(Message { stream, value, .. }) = source.next()? else { break };
            if stream != Stream::Transactions {
                let beside = &mut gathered[stream as usize];
                beside.0.push((value, Instant::now()));
                if BESIDE_MAX <= beside.0.len() {
                    requests.begin(stream, std::mem::take(beside)).await;
                }
                continue;
            }
            let Some(at) = self.next_time(pace, until.elapsed, started, sent).await else { break };
            // What users did before goes before.
            for beside in Stream::BESIDE {
                if gathered[beside as usize].is_due() {
                    requests.begin(beside, std::mem::take(&mut gathered[beside as usize])).await;
                }
            }
            let transactions = &mut gathered[Stream::Transactions as usize];
            transactions.0.push((value, at));
            if self.batch <= transactions.0.len() {
                requests.begin(Stream::Transactions, std::mem::take(transactions)).await;
            }
            sent += 1;
            progress.handed_over(sent, at);
        }
        Ok(())
    }

    /// Waits for the time of the next record and returns it; none when sending has to end before.
    async fn next_time(
        &self,
        pace: Pace,
        elapsed_max: Option<Duration>,
        started: Instant,
        sent: u64,
    ) -> Option<Instant> {
        let due = pace.due(started, sent);
        let end = elapsed_max.map(|elapsed| started + elapsed);
        loop {
            let now = Instant::now();
            let at = due.unwrap_or(now);
            if end.is_some_and(|end| end <= at) || self.progress.stop.load(Ordering::Relaxed) {
                return None;
            }
            let rest = at.saturating_duration_since(now).min(REST_MAX);
            if rest.is_zero() {
                return Some(at);
            }
            tokio::time::sleep(rest).await;
        }
    }

    fn path(&self, stream: Stream) -> &'static str {
        match stream {
            Stream::Transactions if self.decide => "/v1/decisions",
            Stream::Transactions => "/v1/transactions",
            Stream::Actions => "/v1/user-actions",
            Stream::Labels => "/v1/labels",
        }
    }

    /// Asks until there is an answer that counts, and notes it for every record.
    async fn deliver(&self, stream: Stream, records: Gathered) {
        let count = records.0.len() as u64;
        let body = records.body(1 < self.batch || stream != Stream::Transactions);
        match self.ask(self.path(stream), body).await {
            Ok(is_decided) => {
                for (_, meant) in &records.0 {
                    self.progress.took(stream as usize, meant.elapsed());
                }
                self.progress.acknowledged_of(stream as usize).fetch_add(count, Ordering::Relaxed);
                self.progress.decided.fetch_add(if is_decided { count } else { 0 }, Ordering::Relaxed);
            }
            Err(why) => {
                self.progress.note_error(&why);
                self.progress.failed.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Whether the answer held the decision; why there is none that counts.
    async fn ask(&self, path: &str, body: Bytes) -> Result<bool, String> {
        let until = Instant::now() + PATIENCE;
        let mut pause = PAUSE_FIRST;
        loop {
            let answer = self.client.post_json(path, body.clone(), self.token.as_deref(), ATTEMPT).await;
            let (why, comes_again) = match answer {
                Ok((status, _)) if status.is_success() => return Ok(self.decide && status.as_u16() == 200),
                Ok((status, said)) => {
                    (format!("{path} answered {status}: {}", shown(&said)), matches!(status.as_u16(), 429 | 502..=504))
                }
                Err(error @ CallError::Unreachable(_)) => (format!("{path}: {error}"), true),
                Err(error) => (format!("{path}: {error}"), false),
            };
            if !comes_again || until <= Instant::now() + pause {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// What a refusal says, shortened.
fn shown(body: &[u8]) -> String {
    let said: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = ["detail", "title", "message"].iter().find_map(|name| said[*name].as_str().map(str::to_owned));
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    text.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect()
}

/// The requests on their way.
struct Requests {
    sender: Arc<ApiSender>,
    slots: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Requests {
    /// Sends these records as soon as there is room for a request.
    async fn begin(&mut self, stream: Stream, records: Gathered) {
        if records.0.is_empty() {
            return;
        }
        // It is never closed.
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
        while self.tasks.try_join_next().is_some() {}
        if stream != Stream::Transactions {
            records.0.iter().for_each(|_| self.sender.progress.sent_beside(stream));
        }
        let sender = Arc::clone(&self.sender);
        self.tasks.spawn(async move {
            sender.deliver(stream, records).await;
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_is_an_object_and_several_are_a_list() {
        let gathered = |values: &[&str]| {
            Gathered(values.iter().map(|value| (value.as_bytes().to_vec(), Instant::now())).collect())
        };
        assert_eq!(gathered(&["{}"]).body(false), "{}");
        assert_eq!(gathered(&["{}"]).body(true), "[{}]");
        assert_eq!(gathered(&["{}", r#"{"a":1}"#]).body(false), r#"[{},{"a":1}]"#);
    }

    #[test]
    fn a_refusal_is_shown_in_one_short_line() {
        assert_eq!(shown(br#"{"title":"t","detail":"the amount\nis wrong"}"#), "the amountis wrong");
        assert_eq!(shown(b"nonsense"), "nonsense");
        assert_eq!(shown(&[0xff; 1_000]).chars().count(), SHOWN_MAX);
    }
}
