//! `centinela features`: the rows that a model is trained on, computed by the code that serves.
//!
//! History, simulated or from a file, passes through the users' and devices' states in order of arrival; each row is what a
//! decision would have seen; what is no transaction is left out and counted. It trains nothing and judges nothing. What simulated users do
//! besides buying reaches their profiles. Labels count from their arrival on, unless `--labels off` shows what a system without them sees.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use centinela_contracts::payload::PayloadProblem;
use centinela_contracts::transaction_v1;
use centinela_domain::risk::{Label, Verdict};
use centinela_domain::{Currency, DecisionId, DeviceId, EventId, InvalidTransaction, Millis, Transaction, UserId};
use centinela_traffic::{Event, FeatureFold, Generator, Labels as TruthLabels, MatrixWriter, TrafficConfig, Truth};
use clap::ValueEnum;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::args::Key;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::outfile;
use crate::terminal;
use crate::traffic::input::{Input, InputError, Rule};

const DAY_MS: i64 = 86_400_000;
/// When the label of a file's transaction is taken to be known.
const LABEL_DELAY_MS: i64 = 7 * DAY_MS;

/// `centinela features`.
#[derive(Debug, clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Writes one NumPy file: a structured array with transaction_id, user_id, kind, timestamp, arrived_at, amount_minor, label, late and
one float32 column per feature. Read it with numpy.load(FILE, mmap_mode='r').

Examples:
  centinela features --days 120 --users 3000 --seed 101 --out history.npy
  centinela features --input payments.parquet --labels on --out payments.npy"
)]
pub struct Args {
    /// Simulated days.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,
    /// Customers of the simulated world.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Seed of the simulated world.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Whether labels change the state when they arrive (those of a file seven days after their transaction) [default: on, where it is
    /// known which transactions are fraud].
    #[arg(long, value_enum)]
    pub labels: Option<Labels>,
    /// Take the transactions of this file, in its order, instead of simulating: JSON lines or CSV, plain or compressed, or Parquet.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["days", "users", "seed"])]
    pub input: Option<PathBuf>,
    /// Where the rows go: a file, replaced once all of them are written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Whether labels change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Labels {
    /// No label is applied.
    Off,
    /// Labels are applied from their arrival on.
    On,
}

#[derive(Debug, thiserror::Error)]
enum FeaturesError {
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{} does not say which transactions are fraud, which `--labels on` needs; leave it out", path.display())]
    NoLabels { path: PathBuf },
    #[error("{} holds no transaction; {left_out} rows or lines were something else", path.display())]
    Nothing { path: PathBuf, left_out: u64 },
    #[error("the simulated world made something that is no transaction")]
    Simulated(#[from] InvalidTransaction),
    #[error("the simulated world made something that is no action or event")]
    Told(#[from] PayloadProblem),
    #[error("interrupted")]
    Interrupted,
}

/// Writes the rows. The file appears only when it is complete; until then, and after an interrupt, there is what was there before.
///
/// # Errors
/// When the input cannot be read or the output not be written, or on an interrupt.
pub fn run(arguments: &Args) -> Result<(), Failure> {
    let out = outfile::ordinary("--out", &arguments.out)?;
    if arguments.input.as_deref().and_then(outfile::place).is_some_and(|input| input == out) {
        let path = arguments.out.display();
        return Err(Failure::Usage(format!("--input and --out are the same file {path}; give each its own")));
    }
    let runtime = Runtime::new().map_err(|error| Failure::failed(&error))?;
    let interrupt = runtime.block_on(async { Interrupt::listen() }).map_err(|error| Failure::failed(&error))?;
    let line = write_rows(arguments, &out, &interrupt.finish).map_err(|error| match error {
        FeaturesError::Interrupted => Failure::Interrupted,
        FeaturesError::Simulated(_) | FeaturesError::Told(_) => Failure::failed(&error),
        error => Failure::usage(&error),
    })?;
    terminal::print(&line);
    Ok(())
}

/// Writes the whole table and returns what to tell about it.
fn write_rows(arguments: &Args, out: &Path, interrupted: &CancellationToken) -> Result<String, FeaturesError> {
    let unwritable = |source| FeaturesError::Write { path: arguments.out.clone(), source };
    let file = outfile::beside(out).map_err(unwritable)?;
    let rows = file.as_file().try_clone().map_err(unwritable)?;
    let mut table = Table {
        fold: FeatureFold::default(),
        writer: MatrixWriter::new(BufWriter::with_capacity(1 << 20, rows)).map_err(unwritable)?,
        frauds: 0,
        left_out: 0,
        interrupted,
    };
    match &arguments.input {
        Some(path) => from_file(path, arguments.labels, &mut table, &unwritable)?,
        None => simulated(arguments, arguments.labels != Some(Labels::Off), &mut table, &unwritable)?,
    }
    let Table { fold, writer, frauds, left_out, .. } = table;
    let rows = writer.finish().map_err(unwritable)?;
    file.persist(out).map_err(|error| unwritable(error.error))?;
    let (out, device_writes) = (arguments.out.display(), fold.device_writes());
    Ok(format!(
        "{out}: {rows} rows, {frauds} frauds, {device_writes} writes of device items, {left_out} left out as no transaction\n"
    ))
}

struct Table<'a> {
    fold: FeatureFold,
    writer: MatrixWriter<BufWriter<File>>,
    frauds: u64,
    left_out: u64,
    interrupted: &'a CancellationToken,
}

impl Table<'_> {
    fn go_on(&self) -> Result<(), FeaturesError> {
        if self.interrupted.is_cancelled() { Err(FeaturesError::Interrupted) } else { Ok(()) }
    }

    fn add(&mut self, transaction: &Transaction, truth: Truth<'_>) -> std::io::Result<()> {
        let row = self.fold.transaction(transaction);
        self.frauds += u64::from(truth.fraud);
        self.writer.write(transaction, &row, truth)
    }
}

/// What will be said of a file's transaction.
struct Said {
    transaction: DecisionId,
    user: UserId,
    device: DeviceId,
    label: Label,
}

impl Said {
    fn of(transaction: Transaction, fraud: bool) -> Result<Self, InvalidTransaction> {
        let known_at = Millis(transaction.occurred_at.0 + LABEL_DELAY_MS);
        let verdict = if fraud { Verdict::Chargeback } else { Verdict::ConfirmedGood };
        let label = Label::new(verdict, known_at, known_at, EventId::new("event_id", transaction.id.as_str())?);
        let decision = transaction.decision_id();
        Ok(Self { transaction: decision, user: transaction.user_id, device: transaction.device_id, label })
    }
}

type Unwritable<'a> = dyn Fn(std::io::Error) -> FeaturesError + 'a;

fn simulated(
    arguments: &Args,
    labels: bool,
    table: &mut Table<'_>,
    unwritable: &Unwritable<'_>,
) -> Result<(), FeaturesError> {
    // As many labels as a live system gets: one that learnt from more would take their absence for a sign.
    let config = TrafficConfig {
        users: arguments.users as usize,
        labels: TruthLabels::LIVE,
        ..TrafficConfig::history(arguments.seed)
    };
    let end = Millis(config.start.0 + i64::from(arguments.days) * DAY_MS);
    for event in Generator::new(config).take_while(|event| event.arrived_at() < end) {
        table.go_on()?;
        match event {
            Event::Transaction(sent) => {
                let truth =
                    Truth { kind: sent.kind.as_str(), fraud: sent.is_fraud(), arrived_at_ms: sent.arrived_at.0 };
                table.add(&sent.fields.to_transaction()?, truth).map_err(unwritable)?;
            }
            Event::Action(sent) => table.fold.action(&sent.fields.to_json(), sent.arrived_at)?,
            Event::Label(label) if labels => table.fold.label(&label.to_json(), label.arrived_at)?,
            Event::Label(_) => {}
        }
    }
    Ok(())
}

fn from_file(
    path: &Path,
    labels: Option<Labels>,
    table: &mut Table<'_>,
    unwritable: &Unwritable<'_>,
) -> Result<(), FeaturesError> {
    let input = Input { key: Key::TransactionId, limit: None, default_currency: Currency::DEFAULT };
    let (reading, mut input) = (input, input.open(path, Rule::Anything)?);
    if labels == Some(Labels::On) && !input.is_labelled() {
        return Err(FeaturesError::NoLabels { path: path.to_owned() });
    }
    let labels = labels != Some(Labels::Off) && input.is_labelled();
    let mut waiting: VecDeque<Said> = VecDeque::new();
    let mut taken = 0_u64;
    while let Some(message) = input.next()? {
        table.go_on()?;
        let Ok(transaction) = transaction_v1::parse(&message.value) else {
            table.left_out += 1;
            continue;
        };
        let at = transaction.occurred_at;
        while let Some(said) = waiting.pop_front_if(|said| said.label.at <= at) {
            table.fold.count(said.transaction, &said.user, &said.device, said.label);
        }
        let fraud = message.fraud.unwrap_or(false);
        let truth = Truth { kind: if fraud { "fraud" } else { "genuine" }, fraud, arrived_at_ms: at.0 };
        table.add(&transaction, truth).map_err(unwritable)?;
        if labels {
            waiting.push_back(Said::of(transaction, fraud)?);
        }
        taken += 1;
    }
    if taken == 0 {
        // A table of something else is told so.
        reading.open(path, Rule::Transactions)?;
        return Err(FeaturesError::Nothing { path: path.to_owned(), left_out: table.left_out });
    }
    Ok(())
}
