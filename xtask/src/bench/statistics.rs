//! Medians, percentiles and the spread that says whether a figure may be believed.

/// The middle of `values`, the mean of the two middle ones for an even count; `None` for none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// The smallest value that at least `percent` of `sorted` do not exceed; `None` for none.
pub(crate) fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Smallest and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of `values`; `None` for none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let (first, rest) = values.split_first()?;
        let start = Self {
            min: *first,
            max: *first,
        };
        Some(rest.iter().fold(start, |spread, value| Self {
            min: spread.min.min(*value),
            max: spread.max.max(*value),
        }))
    }

    /// Whether ratios lie so far apart over the rounds that their median says little.
    pub(crate) fn is_noisy(self) -> bool {
        self.max - self.min > NOISY_RATIO_SPREAD
    }
}

/// Two runs of the same program on a quiet machine stay within a third of this.
const NOISY_RATIO_SPREAD: f64 = 0.15;

/// A count as a real number.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is counted here stays far below 2^53, where the first integer is rounded"
)]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// Rounds to so many decimals: further digits of a measurement are noise.
pub(crate) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_order_and_outliers() {
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([1.0, 1000.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), Some(50));
        assert_eq!(percentile(&hundred, 99), Some(99));
        assert_eq!(percentile(&hundred, 100), Some(100));
        assert_eq!(percentile(&[7], 1), Some(7));
        assert_eq!(percentile(&[1, 2, 3], 99), Some(3));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn ratios_that_wander_are_noisy() {
        let steady = Spread::of(&[0.55, 0.60, 0.69]).expect("there are values");
        assert_eq!(
            steady,
            Spread {
                min: 0.55,
                max: 0.69
            }
        );
        assert!(!steady.is_noisy());
        assert!(Spread::of(&[0.50, 0.66]).is_some_and(Spread::is_noisy));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn rounding_keeps_the_asked_decimals() {
        assert_eq!(rounded(0.123_456, 3).to_string(), "0.123");
        assert_eq!(rounded(17.25, 0).to_string(), "17");
    }
}
