//! Percentile ranks from counts, in SciPy's order of operations.
//!
//! The percentile for [`Tail::Lower`] is that of the negated query among the negated reference. The values above a query are those
//! that are not at or below it, so the counts of negated values are differences, and nothing is negated (the lowest integer has no
//! negative).

use super::counts::Counts;

/// The rank that equal values share; SciPy's `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mean rank of all values equal to the query.
    Rank,
    /// Share of values at or below the query.
    Weak,
    /// Share of values below the query.
    Strict,
    /// Mean of weak and strict.
    Mean,
}

impl Kind {
    /// Returns the kind with SciPy's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "rank" => Some(Self::Rank),
            "weak" => Some(Self::Weak),
            "strict" => Some(Self::Strict),
            "mean" => Some(Self::Mean),
            _ => None,
        }
    }
}

/// Handling of NaN in the reference. A query that is NaN always has the percentile NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanPolicy {
    /// All percentiles become NaN.
    Propagate,
    /// NaN are left out.
    Omit,
}

/// The side from which a value is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// High values have high percentiles, as in SciPy.
    Upper,
    /// Low values have high percentiles: those of the negated values.
    Lower,
    /// The side where the percentile is higher.
    Two,
}

impl Tail {
    /// Returns the tail with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "upper" => Some(Self::Upper),
            "lower" => Some(Self::Lower),
            "two" => Some(Self::Two),
            _ => None,
        }
    }
}

/// The definition of a percentile rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// The rank that equal values share.
    pub kind: Kind,
    /// The side from which a value is ranked.
    pub tail: Tail,
    /// The handling of NaN in the reference.
    pub nan_policy: NanPolicy,
}

/// The rank of one value in a reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rank {
    /// Percentile from 0 to 100; NaN if there is nothing to compare with.
    pub percentile: f64,
    /// 1 if the upper percentile is at least the lower one, else -1; 0 if the percentile is NaN.
    pub direction: i8,
}

impl Rank {
    /// The rank of a value that cannot be compared.
    pub const NONE: Self = Self {
        percentile: f64::NAN,
        direction: 0,
    };
}

/// Returns the rank of each distinct query.
#[must_use]
pub fn ranks(counts: &Counts, definition: Definition) -> Vec<Rank> {
    let n = match definition.nan_policy {
        NanPolicy::Propagate if counts.n_missing() > 0 => 0,
        NanPolicy::Propagate | NanPolicy::Omit => counts.n() - counts.n_missing(),
    };
    let pairs = counts.below().iter().zip(counts.at_or_below());
    pairs
        .map(|(&below, &at_or_below)| rank(below, at_or_below, n, definition))
        .collect()
}

/// Returns the rank of a value, given how many of `n` values are below it, and at or below it.
pub(super) fn rank(below: u64, at_or_below: u64, n: u64, definition: Definition) -> Rank {
    if n == 0 {
        return Rank::NONE;
    }
    // SciPy multiplies the count by the rounded quotient; dividing last would give other last bits.
    let (half, whole) = (50.0 / n as f64, 100.0 / n as f64);
    let percentile = |left: u64, right: u64| match definition.kind {
        Kind::Rank => (left + right + u64::from(left < right)) as f64 * half,
        Kind::Weak => right as f64 * whole,
        Kind::Strict => left as f64 * whole,
        Kind::Mean => (left + right) as f64 * half,
    };
    let upper = || percentile(below, at_or_below);
    let lower = || percentile(n - at_or_below, n - below);
    Rank {
        percentile: match definition.tail {
            Tail::Upper => upper(),
            Tail::Lower => lower(),
            Tail::Two => upper().max(lower()),
        },
        // The two percentiles compare as these two counts do, for every kind.
        direction: if below + at_or_below >= n - at_or_below + (n - below) {
            1
        } else {
            -1
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::counts::{Counter, Queries};
    use super::*;

    fn rank_of(reference: &[f64], query: f64, kind: Kind, tail: Tail, nan_policy: NanPolicy) -> Rank {
        let queries = Queries::new([query]);
        let mut counter = Counter::new(&queries);
        counter.add(reference);
        let definition = Definition { kind, tail, nan_policy };
        ranks(&counter.finish(), definition)[0]
    }

    fn upper_percentile(reference: &[f64], query: f64, kind: Kind, nan_policy: NanPolicy) -> f64 {
        rank_of(reference, query, kind, Tail::Upper, nan_policy).percentile
    }

    #[test]
    fn equal_values_share_the_rank_of_the_kind() {
        let reference = [1., 2., 3., 4., 4., 4., 5., 6., 7., 8.];
        let expected = [("rank", 50.), ("weak", 60.), ("strict", 30.), ("mean", 45.)];
        for (name, percentile) in expected {
            let kind = Kind::from_name(name).unwrap();
            assert_eq!(upper_percentile(&reference, 4., kind, NanPolicy::Propagate), percentile);
        }
        assert_eq!(Kind::from_name("Rank"), None);
    }

    #[test]
    fn the_quotient_is_rounded_before_the_product() {
        let percentile = upper_percentile(&[1., 2., 3., 4., 5., 6.], 5., Kind::Weak, NanPolicy::Omit);
        assert_eq!(percentile, 5. * (100. / 6.));
        assert_ne!(percentile, 5. * 100. / 6.);
    }

    #[test]
    fn a_missing_value_propagates_or_is_omitted() {
        let reference = [1., f64::NAN, 2.];
        assert!(upper_percentile(&reference, 1., Kind::Weak, NanPolicy::Propagate).is_nan());
        assert_eq!(upper_percentile(&reference, 1., Kind::Weak, NanPolicy::Omit), 50.);
        assert!(upper_percentile(&[f64::NAN], 1., Kind::Rank, NanPolicy::Omit).is_nan());
        assert!(upper_percentile(&[], 1., Kind::Rank, NanPolicy::Omit).is_nan());
    }

    #[test]
    fn the_direction_is_the_side_of_the_higher_percentile() {
        let reference = [1., 2., 3., 4.];
        for (query, upper, lower, direction) in [(1., 25., 100., -1), (2.5, 50., 50., 1), (9., 100., 0., 1)] {
            for (name, percentile) in [("upper", upper), ("lower", lower), ("two", f64::max(upper, lower))] {
                let tail = Tail::from_name(name).unwrap();
                let actual = rank_of(&reference, query, Kind::Rank, tail, NanPolicy::Omit);
                assert_eq!(actual, Rank { percentile, direction });
            }
        }
        assert_eq!(Tail::from_name("both"), None);
        assert_eq!(
            rank_of(&[f64::NAN], 1., Kind::Rank, Tail::Two, NanPolicy::Propagate).direction,
            0
        );
    }
}
