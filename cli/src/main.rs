//! `centinela`: the platform on one machine, and the tools around it.

mod args;
mod aws_credentials;
mod brake;
mod dead_letters;
mod dynamodb;
mod endpoints_file;
mod erase;
mod failure;
mod features;
mod function_build;
mod interrupt;
mod kafka_args;
mod open_files;
mod outfile;
mod pending_failures;
mod plan;
mod query;
mod send;
mod terminal;
mod traffic;
mod up;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use failure::Failure;
use interrupt::Interrupt;

/// What is logged unless `RUST_LOG` asks for something else: errors, and our own warnings. A name stands for all that begin with it. The
/// libraries that are off report what a client did wrong, which the client is told.
const LOGS_UNLESS_ASKED: &str = "error,rdkafka=off,librdkafka=off,s3s=off,centinela=warn";

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            terminal::print(&error.to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            terminal::note(&args::one_line(&error));
            return ExitCode::from(2);
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGS_UNLESS_ASKED));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::Beside)
        .with_ansi(terminal::takes_colours())
        // It would be written with `eprintln!`, which panics where the terminal has gone away.
        .log_internal_errors(false)
        .init();
    match run(command.unwrap_or_else(args::up_by_default)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::note(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = || tokio::runtime::Runtime::new().map_err(|error| Failure::failed(&error));
    match command {
        // Listens for interrupts itself, while it writes.
        Command::Features(arguments) => features::run(&arguments),
        // Calculates.
        Command::Plan(arguments) => plan::run(&arguments),
        // Reads, or writes once as a whole.
        Command::PendingFailures(arguments) => runtime()?.block_on(Box::pin(pending_failures::run(arguments))),
        Command::DeadLetters(arguments) => runtime()?.block_on(Box::pin(dead_letters::run(arguments))),
        // The function does it to the end whoever waits for it.
        Command::Brake(arguments) => runtime()?.block_on(Box::pin(brake::run(arguments))),
        Command::Erase(arguments) => runtime()?.block_on(Box::pin(erase::run(arguments))),
        Command::Up(arguments) => finish(runtime()?, |interrupt| Box::pin(up::run(*arguments, interrupt))),
        Command::Query(arguments) => finish(runtime()?, |interrupt| query::run(*arguments, interrupt)),
        Command::Send(arguments) => finish(runtime()?, |interrupt| send::run(*arguments, interrupt)),
    }
}

/// Runs a command to its end, whatever still runs beside it. A panic of the command ends it too, and goes on to the caller: a runtime
/// that is merely dropped would wait for its blocking threads, for ever and deaf to Ctrl-C.
fn finish<F>(runtime: Runtime, work: impl FnOnce(Interrupt) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let command = async {
        let interrupt = Interrupt::listen().map_err(|error| Failure::failed(&error))?;
        work(interrupt).await
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(command)));
    // A thread that waits for a broker that is gone must not hold up the end.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_panic_ends_the_command_although_a_blocking_thread_waits() {
        let (never, waits) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                finish(Runtime::new().unwrap(), |_| async move {
                    tokio::task::spawn_blocking(move || waits.recv());
                    panic!("on purpose")
                })
            }));
            ended.send(panicked.is_err()).unwrap();
        });
        assert_eq!(end.recv_timeout(Duration::from_secs(10)), Ok(true), "it hangs, or nobody learns of the panic");
        drop(never);
    }

    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<Vec<u8>>>);

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_terminal_shows_our_warnings_and_not_what_libraries_say_of_a_clients_mistakes() {
        let terminal = Terminal::default();
        let shown = terminal.clone();
        let logs = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(LOGS_UNLESS_ASKED))
            .with_ansi(false)
            .with_writer(move || shown.clone())
            .finish();
        tracing::subscriber::with_default(logs, || {
            tracing::error!(target: "s3s::ops", "op returns error");
            tracing::error!(target: "s3s_fs::error", "no such file");
            tracing::warn!(target: "hyper", "a library's warning");
            tracing::warn!(target: "centinela_lambda_host::mapping", "ours");
            tracing::warn!(target: "centinela_broker::store", "ours too");
            tracing::error!(target: "hyper", "a library's error");
        });
        let shown = String::from_utf8(terminal.0.lock().unwrap().clone()).unwrap();
        let ends: Vec<&str> = shown.lines().filter_map(|line| line.rsplit(": ").next()).collect();
        assert_eq!(ends, ["ours", "ours too", "a library's error"], "{shown}");
    }
}
