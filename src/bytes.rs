//! Serialization of numbers for data that travels between processes.
//!
//! The bytes begin with a signature of eight bytes. Numbers of 64 bits in little-endian order follow, lists with their lengths
//! before them, and the SHA-256 of everything at the end.
//!
//! Untrusted input is safe: nothing is read beyond the end, and a list takes no more memory than its bytes account for. The
//! checksum detects damage only. The caller of a [`Reader`] checks that the numbers make sense.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::memory;

const WORD_BYTES: usize = size_of::<u64>();
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 32;

/// Bytes that are being written.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Creates a writer of `n_bytes` that follow the signature.
    ///
    /// # Errors
    /// [`Error::Memory`] when the memory cannot be allocated.
    pub fn with_capacity(signature: [u8; WORD_BYTES], n_bytes: usize) -> Result<Self> {
        let mut bytes = memory::with_capacity(n_bytes.saturating_add(WORD_BYTES + CHECKSUM_BYTES))?;
        bytes.extend_from_slice(&signature);
        Ok(Self { bytes })
    }

    /// Writes a number.
    pub fn put(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// Writes a list of numbers.
    pub fn put_all(&mut self, numbers: impl ExactSizeIterator<Item = u64>) {
        self.put(numbers.len() as u64);
        numbers.for_each(|number| self.put(number));
    }

    /// Appends the checksum and returns the bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let checksum = Sha256::digest(&self.bytes);
        self.bytes.extend_from_slice(&checksum);
        self.bytes
    }
}

/// Bytes that are being read.
#[derive(Debug)]
pub struct Reader<'a> {
    label: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Opens bytes that must begin with this signature; `label` names their content in messages.
    ///
    /// # Errors
    /// [`Error::File`] when they begin with another signature, or are damaged.
    pub fn new(label: &'static str, signature: [u8; WORD_BYTES], bytes: &'a [u8]) -> Result<Self> {
        let reader = Self { label, rest: bytes };
        let Some(rest) = bytes.strip_prefix(&signature) else {
            return Err(reader.invalid("the bytes begin with another signature"));
        };
        let Some((rest, checksum)) = rest.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(reader.invalid("the bytes are truncated"));
        };
        let mut hasher = Sha256::new();
        hasher.update(signature);
        hasher.update(rest);
        if hasher.finalize().as_slice() != checksum {
            return Err(reader.invalid("the bytes are damaged or truncated: the checksum does not match"));
        }
        Ok(Self { label, rest })
    }

    /// Reads the next number.
    ///
    /// # Errors
    /// [`Error::File`] when the bytes end before it.
    pub fn take(&mut self) -> Result<u64> {
        let Some((word, rest)) = self.rest.split_first_chunk::<WORD_BYTES>() else {
            return Err(self.invalid("the bytes end too early"));
        };
        self.rest = rest;
        Ok(u64::from_le_bytes(*word))
    }

    /// Reads the next list.
    ///
    /// # Errors
    /// [`Error::File`] when the list is longer than the bytes; [`Error::Memory`].
    pub fn take_all(&mut self) -> Result<Vec<u64>> {
        let n = self.take()?;
        let bytes = usize::try_from(n).ok().and_then(|n| n.checked_mul(WORD_BYTES));
        let Some((list, rest)) = bytes.and_then(|bytes| self.rest.split_at_checked(bytes)) else {
            return Err(self.invalid("the bytes end too early"));
        };
        self.rest = rest;
        let (words, _) = list.as_chunks::<WORD_BYTES>();
        memory::collected(words.iter().map(|word| u64::from_le_bytes(*word)))
    }

    /// Checks that everything has been read.
    ///
    /// # Errors
    /// [`Error::File`] when bytes are left.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.invalid("there are bytes after the end"))
        }
    }

    /// Makes the error for bytes that cannot be read.
    #[must_use]
    pub fn invalid(&self, reason: &str) -> Error {
        Error::File(format!("cannot read {}: {reason}", self.label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_written_numbers_are_read_back() {
        let mut writer = Writer::with_capacity(*b"numbers1", 0).unwrap();
        writer.put(7);
        writer.put_all([1, u64::MAX].into_iter());
        let bytes = writer.finish();
        let read = |bytes: &[u8], signature: &[u8; 8]| {
            let mut reader = Reader::new("numbers", *signature, bytes)?;
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
    fn lists_longer_than_their_bytes_are_refused() {
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
