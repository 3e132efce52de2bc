//! The flags of `centinela plan`.

use std::path::PathBuf;

use centinela_plan::Workload;

/// Rate when none is asked for.
const RATE_DEFAULT: &str = "100k";

/// `centinela plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It reads the stacks with an environment's parameters, multiplies what one transaction takes (infra/measured.json, from runs of the real
functions) by list prices (infra/prices.json, each with source and date), and says what is full first. Where the parameters do not carry a
rate, it grows them and says which. Nothing is asked of AWS.

The exit code is 0, 1 when --check finds a plan above infra/budget.json, 2 when the request cannot be carried out.

Examples:
  centinela plan
  centinela plan --rate 100k,1M,10M
  centinela plan --levers --options
  centinela plan --json --rate 1M
  centinela plan --svg plan.svg
  centinela plan --from 100k --to 1M
  centinela plan --set ScoreTransactionsMemoryMb=512 --as-is
  centinela plan --model
  centinela plan --check
  centinela plan --measure low.json --measure high.json --out infra/measured.json")]
pub struct Args {
    /// Environment whose parameters are planned.
    #[arg(long, value_name = "NAME", default_value = "prod")]
    pub env: String,
    /// Read the stacks from this directory instead of the ones that are built in.
    #[arg(long, value_name = "DIR")]
    pub infra: Option<PathBuf>,
    /// Transactions a minute, such as 100k or 1M; several are separated by commas.
    #[arg(long, value_name = "RATES", value_delimiter = ',', default_value = RATE_DEFAULT, value_parser = rate)]
    pub rate: Vec<f64>,
    /// Print the steps that lead from this rate to that of --to.
    #[arg(long, value_name = "RATE", requires = "to", value_parser = rate)]
    pub from: Option<f64>,
    /// The rate to grow to.
    #[arg(long, value_name = "RATE", requires = "from", value_parser = rate)]
    pub to: Option<f64>,
    /// Leave the parameters as they are, whatever the rate.
    #[arg(long)]
    pub as_is: bool,
    /// A parameter in the place of the environment's.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Show each lever of the bill: what it saves and what it costs.
    #[arg(long)]
    pub levers: bool,
    /// Show what could be otherwise, each with its price.
    #[arg(long)]
    pub options: bool,
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
    /// Draw the plan of the first rate into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Show the queueing model beside the runs that it was fitted to.
    #[arg(long, conflicts_with_all = ["levers", "options", "json", "svg", "from", "check"])]
    pub model: bool,
    /// Compare the plan with infra/budget.json and fail above it.
    #[arg(long, conflicts_with_all = ["levers", "options", "json", "svg", "from"])]
    pub check: bool,
    /// Measured units instead of infra/measured.json.
    #[arg(long, value_name = "FILE")]
    pub measured: Option<PathBuf>,
    /// Prices instead of infra/prices.json.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Make measured units of this report of `up --summary`; more than one at different rates fit better. The last one counts most.
    #[arg(long, value_name = "REPORT", requires = "out")]
    pub measure: Vec<PathBuf>,
    /// Where --measure writes them.
    #[arg(long, value_name = "FILE", requires = "measure")]
    pub out: Option<PathBuf>,
    /// What the reports of --measure ran on [default: what infra/measured.json says].
    #[arg(long, value_name = "TEXT", requires = "measure")]
    pub machine: Option<String>,
    /// The day of the reports of --measure.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "measure", value_parser = day)]
    pub day: Option<String>,
    /// User actions per transaction [default: 2].
    #[arg(long, value_name = "N", value_parser = amount)]
    pub actions: Option<f64>,
    /// Labels per transaction [default: 0.01].
    #[arg(long, value_name = "N", value_parser = amount)]
    pub labels: Option<f64>,
    /// Requests to the HTTP API a month [default: 10M].
    #[arg(long, value_name = "N", value_parser = amount)]
    pub api_requests: Option<f64>,
    /// Median and 99 % quantile of a call to DynamoDB or Kinesis, in ms [default: 5,12].
    #[arg(long, value_name = "P50,P99", value_parser = call)]
    pub call: Option<(f64, f64)>,
    /// Months that the lake has been filled for [default: 12].
    #[arg(long, value_name = "N", value_parser = amount)]
    pub lake_months: Option<f64>,
}

impl Args {
    /// Puts what was asked for in the place of the assumptions.
    pub(super) fn adjust(&self, workload: &mut Workload) {
        let mut set = |value: Option<f64>, field: fn(&mut Workload) -> &mut f64| {
            if let Some(value) = value {
                *field(workload) = value;
            }
        };
        set(self.actions, |workload| &mut workload.actions_per_transaction);
        set(self.labels, |workload| &mut workload.labels_per_transaction);
        set(self.api_requests, |workload| &mut workload.api_requests_month);
        set(self.lake_months, |workload| &mut workload.lake_months);
        set(self.call.map(|call| call.0), |workload| &mut workload.call_ms_p50);
        set(self.call.map(|call| call.1), |workload| &mut workload.call_ms_p99);
    }
}

/// A number with k or M behind it.
fn scaled(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 1e3),
        Some('M' | 'm') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let number: f64 = digits.parse().map_err(|_| format!("\"{text}\" is no number such as 100000, 100k or 1M"))?;
    let number = number * factor;
    if number.is_finite() { Ok(number) } else { Err(format!("\"{text}\" is no finite number")) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = scaled(text)?;
    if (1.0..=100_000_000.0).contains(&rate) {
        return Ok(rate);
    }
    Err(format!("{text} transactions a minute: between 1 and 100M can be planned"))
}

fn amount(text: &str) -> Result<f64, String> {
    let amount = scaled(text)?;
    if (0.0..=1e12).contains(&amount) { Ok(amount) } else { Err(format!("{text} is not between 0 and 10^12")) }
}

fn call(text: &str) -> Result<(f64, f64), String> {
    let refuse = || format!("\"{text}\" is no pair of milliseconds such as 5,12, the second not below the first");
    let (p50, p99) = text.split_once(',').ok_or_else(refuse)?;
    let parse = |text: &str| text.trim().trim_end_matches("ms").parse::<f64>().map_err(|_| refuse());
    let (p50, p99) = (parse(p50)?, parse(p99)?);
    if (0.0..=10_000.0).contains(&p50) && (p50..=10_000.0).contains(&p99) { Ok((p50, p99)) } else { Err(refuse()) }
}

fn day(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_day = matches!(parts[..], [year, month, day] if [year.len(), month.len(), day.len()] == [4, 2, 2])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_day { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is no day such as 2026-11-29")) }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_thousands_and_refused_outside_of_what_can_be_planned() {
        let near = |text: &str, expected: f64| (rate(text).expect(text) - expected).abs() < 1e-6;
        assert!(near("100k", 1e5) && near("1M", 1e6) && near("2.5k", 2_500.0) && near("60", 60.0));
        for bad in ["", "k", "ten", "0", "-5k", "101M", "NaN", "inf", "1e400"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_call_is_a_pair_in_order() {
        assert!(call("5,12").is_ok() && call("5ms, 12ms").is_ok() && call("0,0").is_ok());
        for bad in ["5", "12,5", "a,b", "-1,2", "1,99999"] {
            assert!(call(bad).is_err(), "{bad}");
        }
    }
}
