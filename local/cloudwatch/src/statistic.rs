//! Which figure of a period an alarm looks at.

use std::fmt;

/// A statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// How many values.
    SampleCount,
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// The value that so many per cent of them do not exceed.
    Percentile(f64),
}

impl Statistic {
    /// Reads `Sum`, `p99.9` and so on; none for statistics that are not evaluated here (trimmed means and ranks).
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "SampleCount" => Self::SampleCount,
            "Sum" => Self::Sum,
            "Average" => Self::Average,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => {
                let per_cent: f64 = text.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&per_cent).then_some(Self::Percentile(per_cent))?
            }
        })
    }

    /// Samples of a period below which a percentile says nothing: 10 / (1 - share) above the median and 10 / share below it; none of other
    /// statistics. <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html>
    #[must_use]
    pub fn samples_needed(self) -> Option<f64> {
        let Self::Percentile(per_cent) = self else { return None };
        let share = per_cent / 100.0;
        Some(if share >= 0.5 { 1_000.0 / (100.0 - per_cent) } else { 10.0 / share })
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(per_cent) => write!(formatter, "p{per_cent}"),
            other => write!(formatter, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_known_by_their_names() {
        for name in ["SampleCount", "Sum", "Average", "Minimum", "Maximum", "p99", "p99.9", "p50"] {
            assert_eq!(Statistic::parse(name).map(|statistic| statistic.to_string()).as_deref(), Some(name));
        }
        for other in ["sum", "p101", "p-1", "tm99", "PR(1:2)", "p", "pNaN", ""] {
            assert_eq!(Statistic::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_tail_needs_a_thousand_samples() {
        let needed = ["p99", "p50", "p10"].map(|name| Statistic::parse(name).and_then(Statistic::samples_needed));
        assert_eq!(
            needed.map(|needed| needed.map(|needed| needed.round().to_string())),
            [Some("1000".to_owned()), Some("20".to_owned()), Some("100".to_owned())]
        );
        assert_eq!(Statistic::Sum.samples_needed(), None);
    }
}
