//! Thresholds as f32, in which values are compared.

/// Returns the largest f32 at or below `threshold`. An f32 value is at or below the result exactly if it is at or below
/// `threshold`.
#[must_use]
pub fn round_down(threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if f64::from(nearest) > threshold {
        nearest.next_down()
    } else {
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rounding_down_keeps_every_comparison(threshold in any::<f64>(), value in any::<f32>(), near in -2_i32..=2) {
            let mut close = threshold as f32;
            for _ in 0..near.abs() {
                close = if near < 0 { close.next_down() } else { close.next_up() };
            }
            for value in [value, close] {
                prop_assert_eq!(value <= round_down(threshold), f64::from(value) <= threshold);
            }
        }
    }

    #[test]
    fn infinite_and_missing_thresholds_keep_their_meaning() {
        for threshold in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e300, -1e300, -0.0] {
            for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, 0.0] {
                assert_eq!(value <= round_down(threshold), f64::from(value) <= threshold);
            }
        }
    }
}
