//! Numbers as their text says, never through a float.

/// A decimal number: `coefficient * 10^exponent`, where the coefficient does not end in 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) negative: bool,
    /// `None` when it has more than 64 bits.
    coefficient: Option<u64>,
    exponent: i64,
}

/// The number as a 64-bit integer.
pub(crate) fn integer(number: &[u8]) -> Result<i64, Misfit> {
    let (negative, digits) = match number.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, number),
    };
    // Nearly every number that is read is a short run of digits.
    if digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) {
        let magnitude = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        return Ok(if negative { -magnitude } else { magnitude });
    }
    let decimal = Decimal::of(number);
    let magnitude = i64::try_from(decimal.magnitude(0)?).map_err(|_| Misfit::TooLarge)?;
    Ok(if decimal.negative { -magnitude } else { magnitude })
}

/// Why a number is no 64-bit integer at a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It has digits below the scale.
    TooFine,
    /// It is larger than 64 bits.
    TooLarge,
}

impl Decimal {
    /// Reads a number that the reader has found to be well formed.
    pub(crate) fn of(number: &[u8]) -> Self {
        let negative = number.first() == Some(&b'-');
        let unsigned = &number[usize::from(negative)..];
        let (mantissa, power) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&unsigned[..at], power(&unsigned[at + 1..])),
            None => (unsigned, 0),
        };
        let whole_digits = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
        let mut coefficient = Some(0u64);
        let mut exponent = 0;
        let mut zeros = 0u32;
        for (index, digit) in mantissa.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').enumerate() {
            if digit == 0 {
                zeros = zeros.saturating_add(1);
                continue;
            }
            let shift = if coefficient == Some(0) { Some(1) } else { 10u64.checked_pow(zeros.saturating_add(1)) };
            coefficient = coefficient
                .zip(shift)
                .and_then(|(value, shift)| value.checked_mul(shift)?.checked_add(u64::from(digit)));
            exponent = power.saturating_add(whole_digits as i64 - 1 - index as i64);
            zeros = 0;
        }
        Self { negative, coefficient, exponent }
    }

    /// Its size, counted in units of `10^-decimals`, exactly; the sign is left out.
    pub(crate) fn magnitude(self, decimals: u32) -> Result<u64, Misfit> {
        let exponent = self.exponent.saturating_add(i64::from(decimals));
        if self.coefficient == Some(0) {
            return Ok(0);
        }
        if exponent < 0 {
            return Err(Misfit::TooFine);
        }
        let scale = u32::try_from(exponent).ok().and_then(|exponent| 10u64.checked_pow(exponent));
        self.coefficient.zip(scale).and_then(|(value, scale)| value.checked_mul(scale)).ok_or(Misfit::TooLarge)
    }
}

fn power(text: &[u8]) -> i64 {
    let negative = text.first() == Some(&b'-');
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_to_write_a_number_is_the_same_number() {
        for text in ["12.34", "1234e-2", "0.1234E2", "12.3400000000000000000000000000", "0.000000000000000000001234e22"]
        {
            assert_eq!(Decimal::of(text.as_bytes()).magnitude(2), Ok(1234), "{text}");
        }
        assert_eq!(Decimal::of(b"-0").magnitude(2), Ok(0));
        assert_eq!(Decimal::of(b"0e999999999999999999999").magnitude(2), Ok(0));
        assert_eq!(Decimal::of(b"1000000").magnitude(2), Ok(100_000_000));
        assert_eq!([integer(b"-17e2"), integer(b"-1700"), integer(b"-1700.0")], [Ok(-1700); 3]);
        assert_eq!(integer(b"-9223372036854775807"), Ok(-i64::MAX));
        assert_eq!(integer(b"9223372036854775808"), Err(Misfit::TooLarge));
    }

    #[test]
    fn nothing_is_rounded_and_nothing_overflows() {
        assert_eq!(Decimal::of(b"12.345").magnitude(2), Err(Misfit::TooFine));
        assert_eq!(Decimal::of(b"1e-400").magnitude(2), Err(Misfit::TooFine));
        assert_eq!(Decimal::of(b"1e308").magnitude(2), Err(Misfit::TooLarge));
        assert_eq!(Decimal::of(b"1e99999999999999999999999").magnitude(2), Err(Misfit::TooLarge));
        assert_eq!(Decimal::of(b"12.340000000000000000000000000000000000000001").magnitude(2), Err(Misfit::TooFine));
        assert_eq!(Decimal::of(b"9007199254740993").magnitude(0), Ok(9_007_199_254_740_993));
        assert_eq!(Decimal::of(b"1234567890123456789012345678901234567891").magnitude(2), Err(Misfit::TooLarge));
    }

    proptest! {
        #[test]
        fn an_amount_survives_its_text(minor in 0..=u64::MAX, decimals in 0u32..5) {
            let mut text = Vec::new();
            crate::json::push_decimal(&mut text, minor, decimals);
            prop_assert_eq!(Decimal::of(&text).magnitude(decimals), Ok(minor));
        }
    }
}
