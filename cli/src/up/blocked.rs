//! A blocked transaction in a line that a person reads, within the 80 columns of a terminal. The user is a hash.

use centinela_audit::blocked::Blocked;
use centinela_domain::{AmountMinor, Currency, ReasonCode};

/// What stands above such lines.
pub const HEADING: &str = "     last blocked  score  user      because of";
/// Columns for the reasons.
const REASONS_WIDTH: usize = 42;

pub fn line(blocked: &Blocked) -> String {
    let Blocked { currency, score, user, .. } = blocked;
    let amount = decimal(blocked.amount, *currency);
    format!("{amount:>13} {}  {score:>5.2}  {user:08x}  {}", currency.as_str(), because(&blocked.reasons))
}

/// As many reasons as there is room for, the strongest first, and at least that one.
fn because(reasons: &[ReasonCode]) -> String {
    let mut text = String::new();
    for words in reasons.iter().map(|reason| reason.describe()) {
        if !text.is_empty() {
            if text.len() + ", ".len() + words.len() > REASONS_WIDTH {
                break;
            }
            text.push_str(", ");
        }
        text.push_str(words);
    }
    text
}

fn decimal(amount: AmountMinor, currency: Currency) -> String {
    let (minor, decimals) = (amount.minor(), currency.decimals());
    let unit = 10u64.pow(decimals);
    match decimals {
        0 => minor.to_string(),
        _ => format!("{}.{:0width$}", minor / unit, minor % unit, width = decimals as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(minor: u64, currency: &str, reasons: &[ReasonCode]) -> String {
        let amount = AmountMinor::new(minor).unwrap();
        let currency = Currency::new(currency).unwrap();
        line(&Blocked { amount, currency, score: 0.978, user: 0x3f_9a11, reasons: reasons.to_vec() })
    }

    #[test]
    fn an_amount_has_the_decimals_of_its_currency() {
        let of = |minor, currency| blocked(minor, currency, &[]).trim().split("  ").next().unwrap().to_owned();
        assert_eq!(of(120_405, "EUR"), "1204.05 EUR");
        assert_eq!(of(7, "EUR"), "0.07 EUR");
        assert_eq!(of(120_405, "JPY"), "120405 JPY");
        assert_eq!(of(120_405, "KWD"), "120.405 KWD");
    }

    #[test]
    fn a_line_has_the_strongest_reasons_in_words_and_fits_into_80_columns() {
        let line = blocked(1_099, "EUR", &[ReasonCode::NewDevice, ReasonCode::AmountUnusual]);
        assert_eq!(line, "        10.99 EUR   0.98  003f9a11  new device, unusual amount");
        for first in ReasonCode::ALL {
            for second in ReasonCode::ALL {
                let line =
                    blocked(1_000_000_000, "EUR", &[first, second, ReasonCode::NewNetwork, ReasonCode::NewDevice]);
                assert!(line.contains(first.describe()), "{line}");
                assert!(line.len() < 80, "{} columns: {line}", line.len());
            }
        }
    }
}
