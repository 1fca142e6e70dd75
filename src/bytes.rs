//! Numbers as bytes and back, for label travels between processes: a word that says label it is, numbers of 64 bits in little-endian
//! order, lists with their lengths before them, and the SHA-256 of it all at the end.
//!
//! Bytes may come from anybody: nothing is read that is not there, and no more memory is taken than the bytes account for. What the
//! numbers mean is for the reader's caller to check; the checksum tells damage only.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::memory;

const WORD_BYTES: usize = size_of::<u64>();
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 32;

/// Bytes in the making.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins with the word that says label the bytes are; `n_bytes` are about to follow.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no memory for them.
    pub fn with_capacity(magic: [u8; WORD_BYTES], n_bytes: usize) -> Result<Self> {
        let mut bytes = memory::with_capacity(n_bytes.saturating_add(WORD_BYTES + CHECKSUM_BYTES))?;
        bytes.extend_from_slice(&magic);
        Ok(Self { bytes })
    }

    /// Adds a number.
    pub fn put(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// Adds a list of numbers.
    pub fn put_all(&mut self, numbers: impl ExactSizeIterator<Item = u64>) {
        self.put(numbers.len() as u64);
        numbers.for_each(|number| self.put(number));
    }

    /// The bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let checksum = Sha256::digest(&self.bytes);
        self.bytes.extend_from_slice(&checksum);
        self.bytes
    }
}

/// Bytes of which some are read.
#[derive(Debug)]
pub struct Reader<'a> {
    label: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Opens bytes that should begin with this word; `label` they are is for messages.
    ///
    /// # Errors
    /// [`Error::File`] when they begin otherwise, or are damaged.
    pub fn new(label: &'static str, magic: [u8; WORD_BYTES], bytes: &'a [u8]) -> Result<Self> {
        let reader = Self { label, rest: bytes };
        let Some(rest) = bytes.strip_prefix(&magic) else {
            return Err(reader.invalid("they begin otherwise"));
        };
        let Some((rest, checksum)) = rest.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(reader.invalid("they are truncated"));
        };
        let mut hasher = Sha256::new();
        hasher.update(magic);
        hasher.update(rest);
        if hasher.finalize().as_slice() != checksum {
            return Err(reader.invalid("they are damaged or truncated (their checksum is another one)"));
        }
        Ok(Self { label, rest })
    }

    /// The next number.
    ///
    /// # Errors
    /// [`Error::File`] when there is none.
    pub fn take(&mut self) -> Result<u64> {
        let Some((word, rest)) = self.rest.split_first_chunk::<WORD_BYTES>() else {
            return Err(self.invalid("they end too early"));
        };
        self.rest = rest;
        Ok(u64::from_le_bytes(*word))
    }

    /// The next list.
    ///
    /// # Errors
    /// [`Error::File`] when it is longer than the bytes; [`Error::Memory`].
    pub fn take_all(&mut self) -> Result<Vec<u64>> {
        let n = self.take()?;
        let bytes = usize::try_from(n).ok().and_then(|n| n.checked_mul(WORD_BYTES));
        let Some((list, rest)) = bytes.and_then(|bytes| self.rest.split_at_checked(bytes)) else {
            return Err(self.invalid("they end too early"));
        };
        self.rest = rest;
        let (words, _) = list.as_chunks::<WORD_BYTES>();
        memory::collected(words.iter().map(|word| u64::from_le_bytes(*word)))
    }

    /// Whether all has been read.
    ///
    /// # Errors
    /// [`Error::File`] when something is left.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.invalid("they go on behind their end"))
        }
    }

    /// A refusal of the bytes.
    #[must_use]
    pub fn invalid(&self, reason: &str) -> Error {
        Error::File(format!("not the bytes of {}: {reason}", self.label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let mut writer = Writer::with_capacity(*b"numbers1", 0).unwrap();
        writer.put(7);
        writer.put_all([1, u64::MAX].into_iter());
        let bytes = writer.finish();
        let read = |bytes: &[u8], magic: &[u8; 8]| {
            let mut reader = Reader::new("numbers", *magic, bytes)?;
            let numbers = (reader.take()?, reader.take_all()?);
            reader.end()?;
            Ok::<_, Error>(numbers)
        };
        assert_eq!(read(&bytes, b"numbers1").unwrap(), (7, vec![1, u64::MAX]));
        assert!(read(&bytes, b"numbers2").is_err());
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], b"numbers1").is_err());
        }
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert!(read(&damaged, b"numbers1").is_err(), "byte {index}");
        }
    }

    #[test]
    fn lists_that_claim_to_be_long_are_refused() {
        for n in [2, 1 << 40, u64::MAX, u64::MAX / 8 + 1] {
            let mut writer = Writer::with_capacity(*b"numbers1", 0).unwrap();
            writer.put(n);
            writer.put(1);
            let bytes = writer.finish();
            let mut reader = Reader::new("numbers", *b"numbers1", &bytes).unwrap();
            assert!(reader.take_all().is_err());
        }
        let bytes = Writer::with_capacity(*b"numbers1", 0).unwrap().finish();
        assert!(Reader::new("numbers", *b"numbers1", &bytes).unwrap().take().is_err());
    }
}
