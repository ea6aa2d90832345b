//! Data of names and values, as in JSON, YAML and XML, to lines of `name: value`. What belongs to one record is one block.

use crate::document::{Builder, Kind, collapse};
use crate::limits::{DEPTH_MAX, ParseError};

/// A record that is longer is more than one block, in bytes.
const RECORD_BYTES_MAX: usize = 4000;

/// Writes values under the names they have from the outermost to their own.
#[derive(Debug)]
pub(super) struct Records<'b, 'a> {
    builder: &'b mut Builder<'a>,
    path: Vec<String>,
    lines: String,
}

impl<'b, 'a> Records<'b, 'a> {
    pub(super) fn new(builder: &'b mut Builder<'a>) -> Self {
        Self { builder, path: Vec::new(), lines: String::new() }
    }

    /// Goes into what has a name; an empty one for an element of a list.
    ///
    /// # Errors
    /// It is nested too deeply.
    pub(super) fn enter(&mut self, name: &str) -> Result<(), ParseError> {
        if self.path.len() >= DEPTH_MAX {
            return Err(ParseError::TooDeep);
        }
        self.path.push(collapse(name));
        Ok(())
    }

    /// Comes out again.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// Goes on behind an element of a list: one of the outermost list was a record.
    ///
    /// # Errors
    /// Those of the builder.
    pub(super) fn next_element(&mut self) -> Result<(), ParseError> {
        if self.path.len() == 1 { self.end() } else { Ok(()) }
    }

    /// Writes a value.
    ///
    /// # Errors
    /// Those of the builder.
    pub(super) fn value(&mut self, value: &str) -> Result<(), ParseError> {
        self.builder.budget.tick()?;
        if value.trim().is_empty() {
            return Ok(());
        }
        if self.lines.len() + value.len() > RECORD_BYTES_MAX {
            self.end()?;
        }
        if !self.lines.is_empty() {
            self.lines.push('\n');
        }
        let names: Vec<&str> = self.path.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        if !names.is_empty() {
            self.lines.push_str(&names.join("."));
            self.lines.push_str(": ");
        }
        self.lines.push_str(value.trim());
        Ok(())
    }

    /// Ends a record.
    ///
    /// # Errors
    /// Those of the builder.
    pub(super) fn end(&mut self) -> Result<(), ParseError> {
        let lines = std::mem::take(&mut self.lines);
        self.builder.push(Kind::Paragraph, &lines)
    }

    /// Looks at the clock in what has no values.
    ///
    /// # Errors
    /// The time is over.
    pub(super) fn tick(&mut self) -> Result<(), ParseError> {
        self.builder.budget.tick()
    }
}
