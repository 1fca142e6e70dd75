//! Serialization of sketches.

use super::{Bucket, MAX_VALUES, Sketch, State, value};
use crate::bytes::{Reader, Writer};
use crate::error::Result;
use crate::memory;

const SIGNATURE: [u8; 8] = *b"isoxsk1\n";

impl Sketch {
    /// Serializes the sketch; equal values give equal bytes.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::error::Error::Memory).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        memory::check_available(&[(2, self.memory(0))])?;
        let mut flushed = self.clone();
        flushed.flush_pending();
        let n = match &flushed.state {
            State::Exact(counts) => counts.len(),
            State::Buckets(buckets) => buckets.len(),
        };
        let mut writer = Writer::with_capacity(SIGNATURE, memory::needed(&[(n, 24), (1, 256)]))?;
        let (low, high) = flushed.scope;
        let head = [
            low,
            high,
            flushed.lowest.unwrap_or(0),
            flushed.capacity as u64,
            flushed.n,
            flushed.n_missing,
            flushed.n_below,
        ];
        for number in head {
            writer.put(number);
        }
        match &flushed.state {
            State::Exact(counts) => {
                writer.put(0);
                writer.put_all(counts.iter().map(|&(ordinal, _)| ordinal));
                writer.put_all(counts.iter().map(|&(_, n)| n));
            }
            State::Buckets(buckets) => {
                writer.put(1);
                let non_empty: Vec<(usize, &Bucket)> = buckets.iter().enumerate().filter(|(_, b)| b.n > 0).collect();
                writer.put_all(non_empty.iter().map(|&(_, bucket)| bucket.n));
                writer.put_all(non_empty.iter().map(|&(_, bucket)| bucket.lowest));
                writer.put_all(non_empty.iter().map(|&(_, bucket)| bucket.highest));
            }
        }
        Ok(writer.finish())
    }

    /// Deserializes a sketch.
    ///
    /// # Errors
    /// [`Error::File`](crate::error::Error::File) when the bytes are not a valid sketch;
    /// [`Error::Memory`](crate::error::Error::Memory).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("a sketch", SIGNATURE, bytes)?;
        let scope = (reader.take()?, reader.take()?);
        let (lowest, capacity) = (reader.take()?, reader.take()?);
        let is_number = |ordinal: u64| !value(ordinal).is_nan() && super::ordinal(value(ordinal)) == ordinal;
        let capacity = usize::try_from(capacity).unwrap_or(0);
        if scope.0 > scope.1 || !is_number(scope.0) || !is_number(scope.1) || capacity < 2 || lowest > capacity as u64 {
            return Err(reader.invalid("its scope or capacity is invalid"));
        }
        let mut sketch = Self::empty(scope, Some(lowest).filter(|&lowest| lowest > 0), capacity);
        (sketch.n, sketch.n_missing, sketch.n_below) = (reader.take()?, reader.take()?, reader.take()?);
        let is_exact = match reader.take()? {
            0 => true,
            1 => false,
            _ => return Err(reader.invalid("the type of its state is unknown")),
        };
        let (first, second) = (reader.take_all()?, reader.take_all()?);
        let third = if is_exact {
            memory::copied(&first)?
        } else {
            reader.take_all()?
        };
        reader.end()?;
        // An exact state stores ordinals and counts; buckets store counts, lowest and highest ordinals.
        let (counts, lows, highs) = if is_exact {
            (second, first, third)
        } else {
            (first, second, third)
        };
        let sums = counts.iter().try_fold(sketch.n_below, |sum, &n| sum.checked_add(n));
        let in_order = lows.iter().skip(1).zip(&highs).all(|(next, last)| last < next);
        let in_scope = lows
            .iter()
            .zip(&highs)
            .all(|(&low, &high)| scope.0 <= low && low <= high && high <= scope.1 && is_number(low) && is_number(high));
        let same_lengths = (counts.len(), counts.len()) == (lows.len(), highs.len());
        let is_too_many = sketch.n > MAX_VALUES || sketch.n_missing > MAX_VALUES - sketch.n;
        if !same_lengths
            || !in_order
            || !in_scope
            || counts.contains(&0)
            || sums.is_none_or(|sum| sum > sketch.n)
            || is_too_many
        {
            return Err(reader.invalid("its counts contradict each other"));
        }
        // A value may be missing only if it is outside the scope or above enough of the lowest values.
        let (below, kept) = (sketch.n_below, sums.unwrap_or(0).saturating_sub(sketch.n_below));
        let none_below = scope.0 > super::ordinal(f64::NEG_INFINITY) || below == 0;
        let is_full = sketch.lowest.is_some_and(|lowest| kept >= lowest);
        let none_above = scope.1 < super::ordinal(f64::INFINITY) || is_full || sums == Some(sketch.n);
        if !none_below || !none_above {
            return Err(reader.invalid("values of its scope are missing"));
        }
        if is_exact {
            let n: u64 = counts.iter().rev().skip(1).sum();
            if lows.len() > capacity || (lowest > 0 && n >= lowest) {
                return Err(reader.invalid("it has more values than its capacity"));
            }
            memory::check_available(&[(1, sketch.memory(lows.len()))])?;
            sketch.insert_counts(&memory::collected(lows.into_iter().zip(counts))?);
            return Ok(sketch);
        }
        let shift = sketch.shift();
        let mut buckets = memory::filled(sketch.n_buckets(), Bucket::EMPTY)?;
        for ((n, lowest), highest) in counts.into_iter().zip(lows).zip(highs) {
            let bucket_index = (lowest - scope.0) >> shift;
            let bucket = &mut buckets[bucket_index as usize];
            if (highest - scope.0) >> shift != bucket_index || bucket.n > 0 || (n == 1 && lowest != highest) {
                return Err(reader.invalid("its buckets contradict each other"));
            }
            *bucket = Bucket { n, lowest, highest };
        }
        if sketch.lowest.is_some() || kept <= capacity as u64 {
            return Err(reader.invalid("it has buckets although its capacity is large enough for all values"));
        }
        sketch.state = State::Buckets(buckets);
        Ok(sketch)
    }
}
