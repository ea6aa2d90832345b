//! Regular expressions, by an engine whose time for one search grows with text and pattern and never beyond that. There is a search
//! for each fit, though, and callers may bring patterns: what those may cost is bounded.

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

/// What the patterns of a caller may cost on one text: bytes of text times bytes of compiled pattern.
const CALLER_COST_MAX: u64 = 1 << 31;

/// Whose a pattern is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// Trusted to know what a pattern costs.
    Operator,
    Caller,
}

/// How many fits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fits {
    /// One, if there is any.
    Any,
    All,
}

/// The patterns of callers would take too long on a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooCostly;

/// Patterns, each compiled.
#[derive(Debug, Default, Clone)]
pub(crate) struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    /// What a byte of text costs a caller, at the most; nothing counts against the operator's.
    cost: u64,
}

impl Patterns {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds patterns.
    ///
    /// # Errors
    /// What is wrong with one.
    pub(crate) fn add<'a>(&mut self, patterns: impl IntoIterator<Item = &'a str>, author: Author) -> Result<(), String> {
        for pattern in patterns {
            if pattern.len() > PATTERN_BYTES_MAX {
                return Err(format!("a pattern has {} bytes; {PATTERN_BYTES_MAX} at most", pattern.len()));
            }
            let number = self.0.len() + 1;
            if number > PATTERNS_MAX {
                return Err(format!("there are more than {PATTERNS_MAX} patterns"));
            }
            self.0.push(Pattern::new(pattern, author).map_err(|error| format!("pattern {number}: {error}"))?);
        }
        Ok(())
    }

    /// Where a text fits one of them, in no order. What fits nothing at all is no find.
    ///
    /// # Errors
    /// When those of callers would take too long.
    pub(crate) fn find(&self, text: &str, wanted: Fits) -> Result<Vec<Range<usize>>, TooCostly> {
        self.find_within(text, wanted, CALLER_COST_MAX)
    }

    fn find_within(&self, text: &str, wanted: Fits, cost_max: u64) -> Result<Vec<Range<usize>>, TooCostly> {
        let mut found = Vec::new();
        let mut left = cost_max;
        for pattern in &self.0 {
            let mut fits = pattern.regex.find_iter(text);
            let mut at = 0;
            loop {
                // A search may read on to the end of the text, wherever the fit is that it finds.
                left = left.checked_sub(pattern.cost * (text.len() - at) as u64).ok_or(TooCostly)?;
                let Some(fit) = fits.next() else { break };
                at = fit.end();
                if !fit.is_empty() {
                    found.push(fit.range());
                    if wanted == Fits::Any {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }
}

impl Pattern {
    fn new(pattern: &str, author: Author) -> Result<Self, regex_lite::Error> {
        let build = |bytes: usize| RegexBuilder::new(pattern).size_limit(bytes).nest_limit(NESTING_MAX).build();
        if author == Author::Operator {
            return Ok(Self { regex: build(COMPILED_BYTES_MAX)?, cost: 0 });
        }
        // The engine tells nobody how large a pattern became: the least power of two that is enough for it is near to that.
        let mut bytes = 512;
        loop {
            match build(bytes) {
                Ok(regex) => return Ok(Self { regex, cost: bytes as u64 }),
                Err(error) if bytes == COMPILED_BYTES_MAX => return Err(error),
                Err(_) => bytes *= 2,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fit_of_every_pattern_is_found() {
        let mut patterns = Patterns::default();
        patterns.add([r"PRJ-\d{4}", r"(?i)project\s+x", "z*"], Author::Operator).expect("good patterns");
        let text = "PRJ-1234, Project X, PRJ-12345";
        assert_eq!(patterns.find(text, Fits::All), Ok(vec![0..8, 21..29, 10..19]));
        assert_eq!(patterns.find(text, Fits::Any), Ok(vec![0..8; 1]));
    }

    #[test]
    fn what_can_not_be_compiled_is_said() {
        for author in [Author::Operator, Author::Caller] {
            let mut patterns = Patterns::default();
            assert!(patterns.add(["("], author).is_err_and(|text| text.starts_with("pattern 1")));
            assert!(Patterns::default().add(["(a{1000}){1000}"], author).is_err());
            assert!(Patterns::default().add(["a".repeat(2000).as_str()], author).is_err());
            assert!(Patterns::default().add(std::iter::repeat_n("a", PATTERNS_MAX + 1), author).is_err());
        }
    }

    fn of_caller(pattern: &str) -> Patterns {
        let mut patterns = Patterns::default();
        patterns.add([pattern], Author::Caller).expect("a good pattern");
        patterns
    }

    #[test]
    fn what_takes_callers_patterns_too_long_is_refused() {
        let text = "a".repeat(1 << 14);
        for pattern in ["a.*z|a", "(a.*z)?", "(a|b|c|d){900}z"] {
            assert_eq!(of_caller(pattern).find_within(&text, Fits::All, 1 << 26), Err(TooCostly), "{pattern}");
        }
        assert_eq!(of_caller("(a|b|c|d){900}z").find(&text.repeat(64), Fits::Any), Err(TooCostly));
        // Where any fit blocks, the first is enough: that is so of the operator's, too.
        assert_eq!(of_caller("a.*z|a").find(&text, Fits::Any), Ok(vec![0..1; 1]));
        let mut patterns = Patterns::default();
        patterns.add(["a.*z|a"], Author::Operator).expect("a good pattern");
        assert_eq!(patterns.find(&text, Fits::Any), Ok(vec![0..1; 1]));
    }

    #[test]
    fn callers_may_look_for_what_is_ordinary() {
        let text = "see PRJ-1234 of ".repeat(500);
        assert_eq!(of_caller(r"PRJ-\d{4}").find(&text, Fits::All).map(|found| found.len()), Ok(500));
        assert_eq!(of_caller(r"(?i)project\s+[xyz]").find(&"a".repeat(1 << 20), Fits::All), Ok(Vec::new()));
    }
}
