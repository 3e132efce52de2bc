//! Amounts and their currencies.
//!
//! Codes and decimals are those of ISO 4217, kept by the crate `iso_currency`. What a unit is worth is known by its order of magnitude
//! only: enough to tell a purchase from a mistake and to compare amounts with each other, and nothing to calculate money with.

use crate::transaction::InvalidTransaction;

/// Largest accepted amount in any currency, in what is worth about a dollar.
pub const AMOUNT_DOLLARS_MAX: u64 = 10_000_000;
/// The largest amount that any currency allows, in its minor unit. JSON numbers are exact up to nine times as much.
pub const AMOUNT_MINOR_MAX: u64 = 1_000_000_000_000_000;

/// Amount in the minor unit of its currency (cents, pence); never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AmountMinor(u64);

impl AmountMinor {
    /// Accepts 0 (a card is often verified with an authorisation of nothing) to [`AMOUNT_MINOR_MAX`]; what a new transaction may
    /// have is its currency's to say, see [`Currency::amount`].
    pub fn new(minor: u64) -> Result<Self, InvalidTransaction> {
        if minor <= AMOUNT_MINOR_MAX { Ok(Self(minor)) } else { Err(InvalidTransaction::AmountOutOfRange(minor)) }
    }

    /// The integer.
    pub fn minor(self) -> u64 {
        self.0
    }
}

/// An ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency {
    code: [u8; 3],
    /// As the code says.
    decimals: u8,
}

impl Currency {
    /// What a transaction without a currency is in, unless the deployment says otherwise.
    pub const DEFAULT: Currency = Currency { code: *b"USD", decimals: 2 };

    /// Accepts the codes in which payments are made: those of ISO 4217 with decimals, which metals, units of account and the codes
    /// for tests and for no currency have not.
    pub fn new(code: &str) -> Result<Self, InvalidTransaction> {
        let (currency, iso) = Self::found(code)?;
        let is_paid_in = iso.is_some_and(|iso| !iso.flags().contains(&iso_currency::Flag::Special));
        if is_paid_in { Ok(currency) } else { Err(InvalidTransaction::NotPaidIn(currency)) }
    }

    /// Accepts any three capital ASCII letters: what was decided once is read again, whatever a later list of codes says.
    pub fn recorded(code: &str) -> Result<Self, InvalidTransaction> {
        Self::found(code).map(|(currency, _)| currency)
    }

    fn found(code: &str) -> Result<(Self, Option<iso_currency::Currency>), InvalidTransaction> {
        match code.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => {
                let iso = iso_currency::Currency::from_code(code);
                let decimals = iso.and_then(iso_currency::Currency::exponent).map_or(2, |exponent| exponent as u8);
                Ok((Self { code: [a, b, c], decimals }, iso))
            }
            _ => Err(InvalidTransaction::UnknownCurrency),
        }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// Digits after the decimal point.
    pub fn decimals(self) -> u32 {
        self.decimals.into()
    }

    /// The largest amount that is taken for a payment, in whole units: about ten million dollars' worth.
    pub fn amount_max(self) -> u64 {
        AMOUNT_DOLLARS_MAX * u64::from(self.units_per_dollar())
    }

    /// The largest amount that is taken for a payment.
    pub fn amount_minor_max(self) -> u64 {
        self.amount_max() * 10u64.pow(self.decimals())
    }

    /// An amount that a payment may have.
    pub fn amount(self, minor: u64) -> Result<AmountMinor, InvalidTransaction> {
        if minor <= self.amount_minor_max() {
            AmountMinor::new(minor)
        } else {
            Err(InvalidTransaction::AmountOutOfRange(minor))
        }
    }

    /// The amount in what is worth about a dollar.
    pub fn in_dollars(self, amount: AmountMinor) -> f32 {
        let units = 10f64.powi(self.decimals() as i32);
        (amount.minor() as f64 / (units * f64::from(self.units_per_dollar()))) as f32
    }

    /// How many units of a currency are about a dollar, where it takes four or more; of all others one unit counts as one, the dollar, the
    /// euro and the pound among them. Rounded to one or two digits; where a country has an official rate and another one, the one that
    /// people pay. As of 2025, to be compared with the U.S. Treasury's reporting rates of exchange
    /// (<https://fiscaldata.treasury.gov/datasets/treasury-reporting-rates-exchange/>). Codes that were replaced keep their last magnitude.
    ///
    /// A number that is wrong by a factor of two does no harm. A change of one makes later amounts of a user differ from the earlier ones.
    fn units_per_dollar(self) -> u32 {
        match &self.code {
            b"AED" | b"MYR" | b"PEN" | b"PGK" | b"PLN" | b"QAR" | b"RON" | b"SAR" | b"TMT" => 4,
            b"BOB" | b"BRL" | b"DKK" | b"UYI" => 6,
            b"CNY" | b"HRK" | b"TTD" => 7,
            b"GTQ" | b"HKD" | b"MOP" | b"SBD" => 8,
            b"MAD" | b"SVC" | b"TJS" => 9,
            b"COU" | b"GHS" | b"NOK" | b"SEK" => 10,
            b"BWP" | b"SCR" => 14,
            b"ERN" | b"MVR" => 15,
            b"LSL" | b"MDL" | b"MXN" | b"NAD" | b"SZL" | b"ZAR" => 18,
            b"CZK" | b"SLE" | b"STN" | b"ZMW" => 20,
            b"CUP" | b"HNL" | b"UYW" | b"ZWG" => 25,
            b"THB" | b"TWD" => 30,
            b"MRU" | b"NIO" | b"PHP" | b"SRD" | b"TRY" | b"UAH" | b"UYU" => 40,
            b"EGP" | b"MKD" | b"MUR" => 50,
            b"DOP" | b"MZN" => 60,
            b"AFN" | b"GMD" => 70,
            b"RUB" => 80,
            b"ALL" | b"BTN" | b"INR" | b"KGS" => 90,
            b"CVE" | b"RSD" | b"XPF" => 100,
            b"BDT" | b"ISK" | b"VUV" => 120,
            b"DZD" | b"HTG" | b"KES" => 130,
            b"ETB" | b"JMD" | b"JPY" | b"NPR" => 150,
            b"DJF" | b"LRD" => 180,
            b"GYD" | b"VED" | b"VES" => 200,
            b"HUF" | b"LKR" | b"PKR" => 300,
            b"AMD" | b"KMF" => 400,
            b"CRC" | b"KZT" | b"YER" => 500,
            b"SDG" | b"SOS" | b"XAF" | b"XOF" => 600,
            b"AOA" | b"CLP" => 900,
            b"KPW" => 1_000,
            b"IQD" => 1_300,
            b"ARS" | b"KRW" => 1_400,
            b"NGN" | b"RWF" => 1_500,
            b"MWK" => 1_700,
            b"CDF" | b"TZS" => 2_500,
            b"BIF" => 3_000,
            b"MNT" | b"UGX" => 3_500,
            b"COP" | b"KHR" | b"MGA" | b"MMK" => 4_000,
            b"SSP" => 4_500,
            b"PYG" => 7_000,
            b"GNF" => 9_000,
            b"SYP" => 11_000,
            b"UZS" => 12_000,
            b"IDR" => 16_000,
            b"LAK" | b"SLL" => 20_000,
            b"VND" => 26_000,
            b"ZWL" => 30_000,
            b"LBP" => 90_000,
            b"IRR" => 1_000_000,
            _ => 1,
        }
    }
}

impl std::fmt::Debug for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
