//! Conversion of a decimal, an integer with a number of decimal places, to the nearest f64.

/// The powers of ten that an f64 represents exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Returns the f64 nearest to `unscaled / 10^scale`, ties to even, as Python's `float` does for a `Decimal`.
#[must_use]
pub fn to_f64(unscaled: i128, scale: i32) -> f64 {
    let power = usize::try_from(scale).ok().and_then(|scale| POWERS.get(scale));
    match (i64::try_from(unscaled), power) {
        // One division of two exact numbers is rounded once.
        (Ok(exact), Some(power)) if exact.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS => exact as f64 / power,
        // Parsing is correctly rounded for any number of digits. An integer with an exponent is always a valid number.
        _ => format!("{unscaled}e{}", -i64::from(scale)).parse().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_rounded_to_the_nearest_double() {
        for (unscaled, scale, expected) in [
            (0, 0, 0.0),
            (15, 1, 1.5),
            (-12345, 4, -1.2345),
            (7, -3, 7000.0),
            (1, 22, 1e-22),
            (1, 23, 1e-23),
            (1, 38, 1e-38),
            ((1 << 53) + 1, 0, 9_007_199_254_740_992.0),
            ((1 << 53) + 3, 0, 9_007_199_254_740_996.0),
            (i128::MAX, 0, 1.701_411_834_604_692_3e38),
            (i128::MIN, 38, -1.701_411_834_604_692_3),
            (3, i32::MIN, f64::INFINITY),
            (3, i32::MAX, 0.0),
        ] {
            assert_eq!(
                to_f64(unscaled, scale).to_bits(),
                f64::to_bits(expected),
                "{unscaled} {scale}"
            );
        }
    }

    proptest! {
        #[test]
        fn dividing_gives_the_same_bits_as_parsing(unscaled in -(1_i128 << 54)..1 << 54, scale in -3_i32..40) {
            let parsed: f64 = format!("{unscaled}e{}", -scale).parse().unwrap();
            prop_assert_eq!(to_f64(unscaled, scale).to_bits(), parsed.to_bits());
        }
    }
}
