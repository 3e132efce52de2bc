//! Which currencies there are, and what is too much to be a payment in each.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use centinela_domain::money::{AMOUNT_DOLLARS_MAX, AMOUNT_MINOR_MAX};
use centinela_domain::{AmountMinor, Currency, InvalidTransaction};
use proptest::prelude::*;

/// Market rates of late 2025, in units per dollar, to the digits that a newspaper prints: found without the table that is tested.
const RATES: &[(&str, f64)] = &[
    ("USD", 1.0),
    ("EUR", 0.86),
    ("GBP", 0.75),
    ("CHF", 0.80),
    ("KWD", 0.307),
    ("BHD", 0.377),
    ("JOD", 0.709),
    ("OMR", 0.385),
    ("AUD", 1.52),
    ("CAD", 1.39),
    ("SGD", 1.29),
    ("BRL", 5.35),
    ("CNY", 7.11),
    ("HKD", 7.78),
    ("AED", 3.67),
    ("SAR", 3.75),
    ("PLN", 3.64),
    ("SEK", 9.41),
    ("NOK", 9.98),
    ("DKK", 6.41),
    ("ZAR", 17.3),
    ("MXN", 18.4),
    ("TRY", 41.9),
    ("THB", 32.4),
    ("TWD", 30.6),
    ("INR", 88.0),
    ("RUB", 81.0),
    ("PHP", 58.2),
    ("EGP", 47.7),
    ("CZK", 20.9),
    ("HUF", 335.0),
    ("ISK", 121.5),
    ("JPY", 151.0),
    ("KES", 129.2),
    ("PKR", 283.0),
    ("NGN", 1_465.0),
    ("ARS", 1_430.0),
    ("CLP", 950.0),
    ("KRW", 1_425.0),
    ("COP", 3_870.0),
    ("TZS", 2_450.0),
    ("UGX", 3_450.0),
    ("PYG", 7_050.0),
    ("GNF", 8_690.0),
    ("UZS", 12_100.0),
    ("IDR", 16_600.0),
    ("LAK", 21_700.0),
    ("VND", 26_330.0),
    ("LBP", 89_600.0),
    ("IRR", 1_070_000.0),
    ("XOF", 564.0),
    ("XAF", 564.0),
    ("CLF", 0.0241),
    ("BIF", 2_950.0),
    ("MMK", 2_099.0),
    ("KHR", 4_020.0),
    ("IQD", 1_310.0),
    ("TND", 2.93),
];

fn known() -> impl Iterator<Item = Currency> {
    let letters = || b'A'..=b'Z';
    let codes = letters().flat_map(move |a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
    codes.filter_map(|code| Currency::new(std::str::from_utf8(&code).unwrap()).ok())
}

#[test]
fn every_currency_has_the_decimals_that_decisions_were_published_with() {
    let mut exceptions: Vec<(String, u32)> = known()
        .filter(|currency| currency.decimals() != 2)
        .map(|currency| (currency.as_str().to_owned(), currency.decimals()))
        .collect();
    exceptions.sort();
    let of = |codes: &str, decimals| codes.split(' ').map(move |code| (code.to_owned(), decimals)).collect::<Vec<_>>();
    let none = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
    let mut expected = [of(none, 0), of("BHD IQD JOD KWD LYD OMR TND", 3), of("CLF UYW", 4)].concat();
    expected.sort();
    assert_eq!(exceptions, expected);
    assert!((160..=185).contains(&known().count()), "{}", known().count());
}

#[test]
fn a_code_that_nothing_is_paid_in_is_refused_by_name_and_still_read_back() {
    for code in ["XYZ", "ZZZ", "XXX", "XTS", "XAU", "XDR", "XAD"] {
        let problem = Currency::new(code).unwrap_err();
        assert!(problem.to_string().contains(code), "{problem}");
        let recorded = Currency::recorded(code).unwrap();
        assert_eq!((recorded.as_str(), recorded.decimals()), (code, 2));
    }
    for code in ["eur", "EURO", "€", ""] {
        assert_eq!(Currency::new(code), Err(InvalidTransaction::UnknownCurrency));
        assert_eq!(Currency::recorded(code), Err(InvalidTransaction::UnknownCurrency));
    }
}

#[test]
fn dollars_and_euros_have_the_limit_and_the_value_that_they_always_had() {
    for code in ["USD", "EUR", "GBP"] {
        let currency = Currency::new(code).unwrap();
        assert_eq!(currency.amount_minor_max(), 1_000_000_000);
        for minor in [0, 1, 99, 1_234, 33_333_333, 999_999_999] {
            let value = currency.in_dollars(AmountMinor::new(minor).unwrap());
            assert_eq!(value.to_bits(), ((minor as f64 / 100.0) as f32).to_bits(), "{minor} {code}");
        }
    }
}

#[test]
fn no_currency_allows_more_than_an_amount_can_hold() {
    for currency in known() {
        assert!(currency.amount_minor_max() <= AMOUNT_MINOR_MAX, "{currency:?}");
        assert!(AMOUNT_DOLLARS_MAX <= currency.amount_max(), "{currency:?}");
    }
}

proptest! {
    #[test]
    fn a_purchase_passes_in_every_currency_and_a_billion_does_not(
        currency in prop::sample::select(known().collect::<Vec<_>>()),
        cents in 1u64..=100_000_000,
        billions in 1u64..=1_000,
    ) {
        // What a unit is worth by the limit itself; the next test has rates of its own.
        let unit = currency.amount_max() as f64 / AMOUNT_DOLLARS_MAX as f64 * 10f64.powi(currency.decimals() as i32);
        prop_assert!(currency.amount((cents as f64 / 100.0 * unit) as u64).is_ok());
        prop_assert!(currency.amount((billions as f64 * 1e9 * unit) as u64).is_err());
    }

    #[test]
    fn by_the_rates_of_a_newspaper_a_million_passes_and_a_billion_does_not(
        (code, rate) in prop::sample::select(RATES),
        cents in 1u64..=100_000_000,
    ) {
        let currency = Currency::new(code).unwrap();
        let unit = rate * 10f64.powi(currency.decimals() as i32);
        let amount = currency.amount((cents as f64 / 100.0 * unit) as u64);
        prop_assert!(amount.is_ok());
        prop_assert!(currency.amount((1e9 * unit) as u64).is_err());
        // A unit of which it takes fewer than four counts as a dollar, and the dearest is worth 40.
        if cents >= 1_000 {
            let value = f64::from(currency.in_dollars(amount.unwrap())) / (cents as f64 / 100.0);
            prop_assert!((0.02..4.0).contains(&value), "{} dollars count as {} times as much", cents, value);
        }
    }
}
