//! From counts to percentile ranks, in SciPy's order of operations.

use super::counts::Counts;

/// How equal values share a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The mean rank of all values equal to the query.
    Rank,
    /// The share of values at or below the query.
    Weak,
    /// The share of values below the query.
    Strict,
    /// The mean of weak and strict.
    Mean,
}

impl Kind {
    /// The kind that SciPy calls by this name.
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

/// What a NaN in the reference does. (A query that is NaN always has the percentile NaN.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanPolicy {
    /// All percentiles become NaN.
    Propagate,
    /// It is left out.
    Omit,
}

/// The percentile of each distinct query, from 0 to 100; NaN where the reference has nothing to compare with.
#[must_use]
pub fn percentiles(counts: &Counts, kind: Kind, nan_policy: NanPolicy) -> Vec<f64> {
    let n = match nan_policy {
        NanPolicy::Propagate if counts.n_missing() > 0 => 0,
        NanPolicy::Propagate | NanPolicy::Omit => counts.n() - counts.n_missing(),
    };
    if n == 0 {
        return vec![f64::NAN; counts.below().len()];
    }
    // The count is multiplied by the rounded quotient: dividing last would give other last bits.
    let (half, whole) = (50.0 / n as f64, 100.0 / n as f64);
    let pairs = counts.below().iter().zip(counts.at_or_below());
    pairs
        .map(|(&left, &right)| match kind {
            Kind::Rank => (left + right + u64::from(left < right)) as f64 * half,
            Kind::Weak => right as f64 * whole,
            Kind::Strict => left as f64 * whole,
            Kind::Mean => (left + right) as f64 * half,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::counts::{Queries, Tally};
    use super::*;

    fn one(reference: &[f64], query: f64, kind: Kind, nan_policy: NanPolicy) -> f64 {
        let queries = Queries::new([query]);
        let mut tally = Tally::new(&queries);
        tally.add(reference);
        percentiles(&tally.finish(), kind, nan_policy)[0]
    }

    #[test]
    fn ties_are_shared_by_kind() {
        let reference = [1., 2., 3., 4., 4., 4., 5., 6., 7., 8.];
        let expected = [("rank", 50.), ("weak", 60.), ("strict", 30.), ("mean", 45.)];
        for (name, percentile) in expected {
            let kind = Kind::from_name(name).unwrap();
            assert_eq!(one(&reference, 4., kind, NanPolicy::Propagate), percentile);
        }
        assert_eq!(Kind::from_name("Rank"), None);
    }

    #[test]
    fn the_quotient_is_rounded_before_the_product() {
        let percentile = one(&[1., 2., 3., 4., 5., 6.], 5., Kind::Weak, NanPolicy::Omit);
        assert_eq!(percentile, 5. * (100. / 6.));
        assert_ne!(percentile, 5. * 100. / 6.);
    }

    #[test]
    fn a_missing_value_propagates_or_is_omitted() {
        let reference = [1., f64::NAN, 2.];
        assert!(one(&reference, 1., Kind::Weak, NanPolicy::Propagate).is_nan());
        assert_eq!(one(&reference, 1., Kind::Weak, NanPolicy::Omit), 50.);
        assert!(one(&[f64::NAN], 1., Kind::Rank, NanPolicy::Omit).is_nan());
        assert!(one(&[], 1., Kind::Rank, NanPolicy::Omit).is_nan());
    }
}
