//! Regular expressions of the operator's, by an engine whose time grows with the text and never beyond that.

use std::ops::Range;

use regex_lite::{Regex, RegexBuilder};

/// Most patterns.
pub(crate) const PATTERNS_MAX: usize = 100;

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// Memory that one pattern may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 18;

/// How deeply groups may be nested.
const NESTING_MAX: u32 = 32;

/// Patterns, each compiled.
#[derive(Debug, Default, Clone)]
pub(crate) struct Patterns(Vec<Regex>);

impl Patterns {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds patterns.
    ///
    /// # Errors
    /// What is wrong with one.
    pub(crate) fn add<'a>(&mut self, patterns: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        for pattern in patterns {
            if pattern.len() > PATTERN_BYTES_MAX {
                return Err(format!("a pattern has {} bytes; {PATTERN_BYTES_MAX} at most", pattern.len()));
            }
            let built = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).nest_limit(NESTING_MAX).build();
            let number = self.0.len() + 1;
            self.0.push(built.map_err(|error| format!("pattern {number}: {error}"))?);
        }
        if self.0.len() > PATTERNS_MAX { Err(format!("{} patterns; {PATTERNS_MAX} at most", self.0.len())) } else { Ok(()) }
    }

    /// Where a text fits one of them, in no order. What fits nothing at all is no find.
    pub(crate) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let finds = self.0.iter().flat_map(|pattern| pattern.find_iter(text));
        finds.map(|found| found.range()).filter(|range| !range.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fit_of_every_pattern_is_found() {
        let mut patterns = Patterns::default();
        patterns.add([r"PRJ-\d{4}", r"(?i)project\s+x", "z*"]).expect("good patterns");
        assert_eq!(patterns.find("PRJ-1234, Project X, PRJ-12345"), [0..8, 21..29, 10..19]);
    }

    #[test]
    fn what_can_not_be_compiled_is_said() {
        let mut patterns = Patterns::default();
        assert!(patterns.add(["("]).is_err_and(|text| text.starts_with("pattern 1")));
        assert!(Patterns::default().add(["(a{1000}){1000}"]).is_err());
        assert!(Patterns::default().add(["a".repeat(2000).as_str()]).is_err());
        assert!(Patterns::default().add(std::iter::repeat_n("a", PATTERNS_MAX + 1)).is_err());
    }
}
