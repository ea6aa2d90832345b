//! Reading numbers and texts of a file that may be cut short or lie.

/// A place in bytes; what is read moves it on.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next so many bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken =
            rest.get(..count).ok_or_else(|| format!("it ends at byte {}, in the middle of its header", self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    /// The next so many bytes, as the bytes of a number.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|bytes| bytes.try_into().expect("as many bytes as were taken"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of 64 bits that counts something.
    pub(super) fn size(&mut self) -> Result<usize, String> {
        let size = self.array().map(u64::from_le_bytes)?;
        usize::try_from(size).map_err(|_| format!("{size} is too large"))
    }

    /// How many things follow, each of at least so many bytes.
    pub(super) fn count(&mut self, bytes_each: usize) -> Result<usize, String> {
        let count = self.size()?;
        let left = self.bytes.len() - self.at;
        if count > left / bytes_each {
            return Err(format!("it ends before the {count} items that it announces"));
        }
        Ok(count)
    }

    /// A length and a text of so many bytes.
    pub(super) fn text(&mut self) -> Result<&'a str, String> {
        let length = self.count(1)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| format!("the text at byte {} is not UTF-8", self.at - length))
    }
}
