//! What one file may take, so that a hostile one ends in an error of its own and not in the end of the instance.

use std::time::{Duration, Instant};

/// The limits of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) file_bytes_max: usize,
    /// Time for parsing one file.
    pub(crate) file_ms_max: u64,
    /// Pages of a PDF, slides of a presentation.
    pub(crate) pages_max: u32,
    /// Extracted text.
    pub(crate) text_bytes_max: usize,
    /// Paragraphs, list items, table rows and so on.
    pub(crate) blocks_max: usize,
    /// Chunks that one file may be divided into.
    pub(crate) chunks_max: usize,
    /// What compressed parts of a file may come to, all together.
    pub(crate) inflated_bytes_max: u64,
    /// What is kept in memory of a file while it is read, beside the file itself and one part of it.
    pub(crate) held_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 32 << 20,
            file_ms_max: 60_000,
            pages_max: 2000,
            text_bytes_max: 16 << 20,
            blocks_max: 200_000,
            chunks_max: 20_000,
            inflated_bytes_max: 256 << 20,
            held_bytes_max: 128 << 20,
        }
    }
}

/// Deepest nesting of elements, objects or lists that is followed.
pub(crate) const DEPTH_MAX: usize = 128;

/// Steps between two looks at the clock.
const TICKS_A_LOOK: u32 = 256;

/// How much of its limits a file has used up.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    deadline: Instant,
    inflated_bytes: u64,
    held_bytes: usize,
    ticks: u32,
}

impl Budget {
    /// A budget whose time begins now.
    pub(crate) fn new(limits: Limits) -> Self {
        let deadline = Instant::now() + Duration::from_millis(limits.file_ms_max);
        Self { limits, deadline, inflated_bytes: 0, held_bytes: 0, ticks: 0 }
    }

    /// One small step of work.
    ///
    /// # Errors
    /// The time is over.
    pub(crate) fn tick(&mut self) -> Result<(), ParseError> {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_A_LOOK) { self.look() } else { Ok(()) }
    }

    /// Looks at the clock, before or behind a step that is not small.
    ///
    /// # Errors
    /// The time is over.
    pub(crate) fn look(&self) -> Result<(), ParseError> {
        if Instant::now() >= self.deadline {
            return Err(ParseError::TooSlow { ms_max: self.limits.file_ms_max });
        }
        Ok(())
    }

    /// Bytes that may still be inflated.
    pub(crate) fn inflatable_bytes(&self) -> u64 {
        self.limits.inflated_bytes_max - self.inflated_bytes
    }

    /// Takes note of bytes that were inflated.
    ///
    /// # Errors
    /// It is more than the limit.
    pub(crate) fn inflate(&mut self, bytes: u64) -> Result<(), ParseError> {
        if bytes > self.inflatable_bytes() {
            return Err(self.bomb());
        }
        self.inflated_bytes += bytes;
        self.look()
    }

    /// Takes note of bytes that are kept in memory.
    ///
    /// # Errors
    /// It is more than the limit, all together.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), ParseError> {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        let max = self.limits.held_bytes_max;
        if self.held_bytes > max {
            return Err(ParseError::TooLong { what: "content", max: max as u64, unit: "bytes in memory" });
        }
        Ok(())
    }

    /// Takes note that bytes which were held are not kept any more.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    /// The error of a file that comes to more bytes than its limit.
    pub(crate) fn bomb(&self) -> ParseError {
        ParseError::Bomb { bytes_max: self.limits.inflated_bytes_max }
    }
}

/// Why a file is not read. The text is for who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("it is encrypted: remove its password and send it again")]
    Encrypted,
    #[error("{0}")]
    Unsupported(String),
    #[error("it is no well-formed {format}: {why}")]
    Malformed { format: &'static str, why: String },
    #[error("it has more {what} than the limit of {max} {unit}: divide it")]
    TooLong { what: &'static str, max: u64, unit: &'static str },
    #[error("it is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    #[error(
        "its compressed parts come to more than {bytes_max} bytes, or to far more than is usual: it looks like a decompression bomb"
    )]
    Bomb { bytes_max: u64 },
    #[error("reading it took longer than the limit of {ms_max} ms: divide it")]
    TooSlow { ms_max: u64 },
    #[error("{0}")]
    Empty(&'static str),
}

impl ParseError {
    /// A file that breaks the rules of its format.
    pub(crate) fn malformed(format: &'static str, why: impl ToString) -> Self {
        let why: String = why.to_string().chars().filter(|c| !c.is_control()).take(WHY_CHARS_MAX).collect();
        Self::Malformed { format, why }
    }

    /// The code for programs, and the status if all files of a request end so.
    pub(crate) fn code(&self) -> (&'static str, u16) {
        match self {
            Self::Encrypted => ("encrypted", 422),
            Self::Unsupported(_) => ("unsupported_format", 415),
            Self::Malformed { .. } => ("malformed", 422),
            Self::TooLong { .. } => ("too_long", 413),
            Self::TooDeep => ("too_deep", 422),
            Self::Bomb { .. } => ("decompression_bomb", 413),
            Self::TooSlow { .. } => ("too_slow", 422),
            Self::Empty(_) => ("no_text", 422),
        }
    }
}

/// Longest reason of a library that is passed on, in characters: it may hold parts of the file.
const WHY_CHARS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_time_is_over_is_told() {
        let mut budget = Budget::new(Limits { file_ms_max: 0, ..Limits::default() });
        let over = (0..TICKS_A_LOOK).find_map(|_| budget.tick().err());
        assert_eq!(over, Some(ParseError::TooSlow { ms_max: 0 }));
    }

    #[test]
    fn inflated_bytes_are_counted_together() {
        let mut budget = Budget::new(Limits { inflated_bytes_max: 10, ..Limits::default() });
        assert_eq!(budget.inflate(6), Ok(()));
        assert_eq!(budget.inflate(5), Err(ParseError::Bomb { bytes_max: 10 }));
        assert_eq!(budget.inflate(4), Ok(()));
    }

    #[test]
    fn bytes_that_are_held_are_counted_until_they_are_released() {
        let mut budget = Budget::new(Limits { held_bytes_max: 10, ..Limits::default() });
        assert_eq!(budget.hold(6), Ok(()));
        budget.release(4);
        assert_eq!(budget.hold(8), Ok(()));
        let error = budget.hold(1).expect_err("too much");
        assert_eq!((error.code().0, error.to_string().contains("10 bytes in memory")), ("too_long", true), "{error}");
    }
}
