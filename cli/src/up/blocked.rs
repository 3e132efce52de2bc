//! A blocked transaction in a line that a person reads, within the 80 columns of a terminal. The user is a hash.

use std::fmt;

use centinela_contracts::decision_v1::DecisionV1;
use centinela_domain::{AmountMinor, Currency, ReasonCode};

/// How many a look at a run shows.
pub const SHOWN: usize = 5;
/// What stands above such lines.
pub const HEADING: &str = "     last blocked  score  user      because of";
/// Columns for the reasons.
const REASONS_WIDTH: usize = 42;

/// What is shown of it.
#[derive(Clone, Debug)]
pub struct Blocked {
    amount: AmountMinor,
    currency: Currency,
    score: f32,
    user: u32,
    reasons: Vec<ReasonCode>,
}

impl Blocked {
    /// None when only the answer remains of the decision.
    pub fn of(decision: &DecisionV1) -> Option<Self> {
        let evidence = decision.evidence.as_ref()?;
        Some(Self {
            amount: evidence.amount,
            currency: evidence.currency,
            score: decision.score,
            user: decision.user_id.hash32(),
            reasons: evidence.reasons.iter().map(|reason| reason.code).collect(),
        })
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { currency, score, user, .. } = self;
        let amount = decimal(self.amount, *currency);
        write!(f, "{amount:>13} {}  {score:>5.2}  {user:08x}  {}", currency.as_str(), because(&self.reasons))
    }
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
        Blocked { amount, currency, score: 0.978, user: 0x3f_9a11, reasons: reasons.to_vec() }.to_string()
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
