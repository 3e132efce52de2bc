//! Threads of their own for the embedded services, so that what they cost can be told from what the platform costs.
//!
//! The services share one process with the mapping, the function host and whoever sends and reads. Linux counts CPU time by
//! thread and keeps a thread's name beside it, so a runtime with named threads is an account of its own. The name of a thread is
//! all that is looked at: nothing here knows what a service does. Elsewhere than on Linux there is no account.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Name of the embedded broker's threads. Linux keeps 15 bytes of a name.
pub const BROKER_THREADS: &str = "kafka-broker";
/// Name of the threads that serve DynamoDB, Kinesis and S3.
pub const AWS_THREADS: &str = "aws-emulators";
/// How librdkafka's threads begin: the clients of the mapping, the producer and the readers.
const KAFKA_CLIENT_THREADS: &str = "rdk:";
/// Threads that serve one kind of service.
const THREADS_PER_SERVICE: usize = 1;
/// Threads for a service's blocking calls, such as those on files.
const BLOCKING_THREADS_MAX: usize = 4;
/// A thread that ends takes its account along, so a service's threads stay as long as the service.
const KEPT_ALIVE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Threads that run a service and nothing else. Dropping them ends them without waiting.
#[derive(Debug)]
pub struct ServiceThreads {
    runtime: Option<Runtime>,
}

impl ServiceThreads {
    /// Starts the threads under a name of at most 15 bytes.
    ///
    /// # Errors
    /// When the operating system gives no thread or no poller.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS_PER_SERVICE)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_keep_alive(KEPT_ALIVE)
            .thread_name(name)
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` on these threads, and everything that it spawns; returns what it returns. A panic goes on in the caller.
    pub async fn run<F>(&self, work: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(runtime) = &self.runtime else { unreachable!("the runtime is taken on drop only") };
        match runtime.spawn(work).await {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for ServiceThreads {
    fn drop(&mut self) {
        // A runtime that is merely dropped would wait, which a thread of another runtime must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// User and system time of this process, by what its threads do. Resolution 10 ms a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// The embedded broker; none when it does not run here.
    pub broker: Option<Duration>,
    /// The embedded DynamoDB, Kinesis and S3; none when none of them runs here.
    pub aws_emulators: Option<Duration>,
    /// The threads of the Kafka client library.
    pub kafka_clients: Duration,
    /// Everything else: mapping, function host, producer, readers, account.
    pub platform: Duration,
}

impl CpuTimes {
    /// From the time of the whole process, ended threads included, and of threads by name.
    fn of<'a>(total: Duration, threads: impl Iterator<Item = (&'a str, Duration)>) -> Self {
        let mut times = Self::default();
        for (name, time) in threads {
            match name {
                BROKER_THREADS => *times.broker.get_or_insert_default() += time,
                AWS_THREADS => *times.aws_emulators.get_or_insert_default() += time,
                other if other.starts_with(KAFKA_CLIENT_THREADS) => times.kafka_clients += time,
                _ => {}
            }
        }
        times.platform = total.saturating_sub(times.named());
        times
    }

    fn named(&self) -> Duration {
        self.broker.unwrap_or_default() + self.aws_emulators.unwrap_or_default() + self.kafka_clients
    }

    /// What was spent since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less =
            |now: Option<Duration>, then: Option<Duration>| now.map(|now| now.saturating_sub(then.unwrap_or_default()));
        Self {
            broker: less(self.broker, earlier.broker),
            aws_emulators: less(self.aws_emulators, earlier.aws_emulators),
            kafka_clients: self.kafka_clients.saturating_sub(earlier.kafka_clients),
            platform: self.platform.saturating_sub(earlier.platform),
        }
    }
}

/// Keeps the times of threads that end: a client of Kafka takes its threads along. What a thread spent after the last look at it
/// counts as the platform's.
#[derive(Clone, Debug, Default)]
pub struct CpuLedger {
    total: Duration,
    /// The name and time of every thread when it was last seen, by its id.
    threads: HashMap<u32, (String, Duration)>,
    /// The same of threads whose id was given to another thread since.
    replaced: Vec<(String, Duration)>,
}

impl CpuLedger {
    /// Looks at every thread of this process. Costs some 20 µs a thread. Sees nothing where there is no procfs.
    pub fn look(&mut self) {
        if let Some(total) = centinela_procfs::cpu_time(std::process::id()) {
            self.total = total;
        }
        for (id, stat) in centinela_procfs::threads() {
            self.saw(id, stat.name, stat.cpu);
        }
    }

    fn saw(&mut self, id: u32, name: String, time: Duration) {
        if let Some((before, spent)) = self.threads.insert(id, (name, time))
            && time < spent
        {
            self.replaced.push((before, spent));
        }
    }

    /// All looks together; none where there is no procfs.
    #[must_use]
    pub fn times(&self) -> Option<CpuTimes> {
        let threads = self.threads.values().chain(&self.replaced);
        let times = CpuTimes::of(self.total, threads.map(|(name, time)| (name.as_str(), *time)));
        (!self.threads.is_empty()).then_some(times)
    }
}

/// Highest resident memory of this process so far, in MB (rounded up); none where there is no procfs.
#[must_use]
pub fn rss_mb_max() -> Option<u32> {
    centinela_procfs::rss_mb_max(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_names_of_services_are_not_cut_by_the_kernel() {
        assert!(BROKER_THREADS.len() <= 15 && AWS_THREADS.len() <= 15);
    }

    #[test]
    fn what_no_named_thread_accounts_for_is_the_platforms() {
        let threads = [("kafka-broker", 30), ("rdk:main", 5), ("rdk:broker1", 6), ("tokio-rt-worker", 20)];
        let times = CpuTimes::of(ms(100), threads.into_iter().map(|(name, time)| (name, ms(time))));
        let expected = CpuTimes { broker: Some(ms(30)), aws_emulators: None, kafka_clients: ms(11), platform: ms(59) };
        assert_eq!(times, expected);
    }

    #[test]
    fn a_thread_that_ended_keeps_its_time_even_when_its_id_is_used_again() {
        let mut ledger = CpuLedger { total: ms(100), ..CpuLedger::default() };
        ledger.saw(7, "rdk:broker1".to_owned(), ms(20));
        ledger.saw(7, "rdk:broker1".to_owned(), ms(40));
        ledger.saw(7, "kafka-broker".to_owned(), ms(5));
        let times = ledger.times().expect("threads were seen");
        assert_eq!((times.broker, times.kafka_clients, times.platform), (Some(ms(5)), ms(40), ms(55)));
        let then = CpuTimes { broker: None, aws_emulators: None, kafka_clients: ms(10), platform: ms(15) };
        let spent = times.since(&then);
        assert_eq!((spent.broker, spent.kafka_clients, spent.platform), (Some(ms(5)), ms(30), ms(40)));
    }

    #[tokio::test]
    async fn what_a_service_spawns_is_accounted_under_its_name() {
        let threads = ServiceThreads::start(AWS_THREADS).expect("threads can be started");
        let name = || std::thread::current().name().map(str::to_owned);
        let spawned = threads.run(async move {
            let inner = tokio::spawn(async move { name() });
            let blocking = tokio::task::spawn_blocking(name);
            (inner.await, blocking.await)
        });
        let (inner, blocking) = spawned.await;
        for found in [inner, blocking] {
            assert_eq!(found.expect("nothing panics").as_deref(), Some(AWS_THREADS));
        }
        if cfg!(target_os = "linux") {
            let mut ledger = CpuLedger::default();
            ledger.look();
            assert!(ledger.times().expect("there is a procfs").aws_emulators.is_some());
        }
    }
}
