//! How long acknowledgements took: counted from the time for which a record was meant, so that a producer that falls behind says so.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use centinela_audit::figures::{LONGEST_US, as_f64};
use hdrhistogram::Histogram;

use super::Stream;

/// The columns, as shares of the acknowledgements.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Times by stream.
#[derive(Debug)]
pub struct Latencies([Mutex<Histogram<u64>>; Stream::ALL.len()]);

impl Default for Latencies {
    fn default() -> Self {
        let empty =
            || Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 to an hour with 3 digits are valid bounds");
        Self(std::array::from_fn(|_| Mutex::new(empty())))
    }
}

impl Latencies {
    /// An acknowledgement took so long.
    pub fn note(&self, stream: usize, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_US);
        if let Some(histogram) = self.0.get(stream) {
            histogram.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
        }
    }

    /// A table of the streams that were acknowledged at all; empty when none was.
    pub fn table(&self) -> String {
        let mut table = String::new();
        for stream in Stream::ALL {
            let times = self.0[stream as usize].lock().unwrap_or_else(PoisonError::into_inner);
            if times.is_empty() {
                continue;
            }
            if table.is_empty() {
                let names: String = QUANTILES.iter().map(|(name, _)| format!("{name:>11}")).collect();
                table = format!("{:<14}{:>12}{names}{:>11}\n", "latency", "records", "max");
            }
            let ms = |micros: u64| format!("{:.1} ms", as_f64(micros) / 1_000.0);
            write!(table, "{:<14}{:>12}", stream.name(), times.len()).unwrap_or_default();
            for (_, quantile) in QUANTILES {
                write!(table, "{:>11}", ms(times.value_at_quantile(quantile))).unwrap_or_default();
            }
            writeln!(table, "{:>11}", ms(times.max())).unwrap_or_default();
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_stream_that_was_acknowledged() {
        let latencies = Latencies::default();
        assert_eq!(latencies.table(), "");
        for ms in 1..=100 {
            latencies.note(Stream::Transactions as usize, Duration::from_millis(ms));
        }
        latencies.note(Stream::Labels as usize, Duration::MAX);
        latencies.note(99, Duration::ZERO);
        let table = latencies.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[0].contains("p99.9") && lines[2].starts_with("labels"), "{table}");
        assert!(lines[1].contains("100") && lines[1].contains("50.0 ms") && lines[1].contains("99.0 ms"), "{table}");
    }
}
