//! Citations in a text that is being written: those of passages that there are stay, others are taken out.

use std::collections::BTreeSet;

/// Longest citation that is waited for: `[1, 2, 3, 4]`.
const BYTES_MAX: usize = 16;

/// Reads a text piece by piece, and gives it back with citations that hold.
#[derive(Debug, Default)]
pub(crate) struct Citations {
    sources: u32,
    /// What may be a citation that is not complete yet, from its bracket on.
    held: String,
    cited: BTreeSet<u32>,
}

impl Citations {
    /// For a text that may cite passages 1 to `sources`.
    pub(crate) fn of(sources: usize) -> Self {
        Self { sources: u32::try_from(sources).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// Takes the next piece; gives what is sure.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        let mut sure = String::with_capacity(self.held.len() + piece.len());
        for c in piece.chars() {
            match (self.held.is_empty(), c) {
                (true, '[') => self.held.push(c),
                (true, _) => sure.push(c),
                (false, '0'..='9' | ',' | ' ') if self.held.len() < BYTES_MAX => self.held.push(c),
                (false, ']') => {
                    self.held.push(c);
                    let held = std::mem::take(&mut self.held);
                    sure.push_str(&self.checked(held));
                }
                (false, _) => {
                    sure.push_str(&std::mem::take(&mut self.held));
                    if c == '[' { self.held.push(c) } else { sure.push(c) }
                }
            }
        }
        sure
    }

    /// The text is over: gives what was held.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The passages that are cited.
    pub(crate) fn cited(&self) -> &BTreeSet<u32> {
        &self.cited
    }

    /// Cites the passage that has most of an answer's words in it, if there is none that the answer cites itself. Words that the
    /// question does not have count twice, and a word that several passages have counts less. Where no word is shared, none is cited.
    pub(crate) fn cite_nearest(&mut self, answer: &str, question: &str, sources: &[(u32, &str)]) -> Option<String> {
        if !self.cited.is_empty() {
            return None;
        }
        let [answer, question] = [answer, question].map(str::to_lowercase);
        let said: BTreeSet<&str> = words(&answer).collect();
        if said.is_empty() {
            return None;
        }
        let asked: BTreeSet<&str> = words(&question).collect();
        let shared =
            |text: &str| words(&text.to_lowercase()).filter_map(|word| said.get(word).copied()).collect::<BTreeSet<&str>>();
        let texts: Vec<(u32, BTreeSet<&str>)> = sources.iter().map(|(n, text)| (*n, shared(text))).collect();
        let weight = |word: &&str| {
            let holders = texts.iter().filter(|(_, shared)| shared.contains(word)).count();
            let worth = if asked.contains(word) { 1.0 } else { 2.0 };
            worth / holders as f64
        };
        // Of several with as much the first, which was found to be the best.
        let scored = texts.iter().rev().map(|(n, shared)| (*n, shared.iter().map(weight).sum::<f64>()));
        let (n, _) = scored.max_by(|(_, a), (_, b)| a.total_cmp(b)).filter(|(_, score)| *score > 0.0)?;
        self.cited.insert(n);
        Some(format!(" [{n}]"))
    }

    /// A pair of brackets: as it is if it is no citation, else what is right of it.
    fn checked(&mut self, brackets: String) -> String {
        let inside = brackets[1..brackets.len() - 1].trim();
        let numbers: Option<Vec<u32>> = inside.split(',').map(|number| number.trim().parse().ok()).collect();
        let Some(numbers) = numbers else { return brackets };
        let sources = 1..=self.sources;
        let right: Vec<u32> = numbers.into_iter().filter(|number| sources.contains(number)).collect();
        self.cited.extend(&right);
        right.iter().map(|number| format!("[{number}]")).collect()
    }
}

/// The words of a text in small letters that say something, without the commonest endings; numbers with what is behind their point.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == ',')).map(|word| word.trim_matches(['.', ',']));
    words.filter_map(|word| match word.contains(|c: char| c.is_ascii_digit()) {
        true => Some(word),
        false => (word.chars().count() > 3).then(|| stem(word)),
    })
}

/// A word without its ending, as far as four letters are left.
fn stem(word: &str) -> &str {
    let endings = ["ing", "ed", "es", "s"];
    let stems = endings.iter().filter_map(|ending| word.strip_suffix(ending));
    stems.filter(|stem| stem.chars().count() > 3).min_by_key(|stem| stem.len()).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(pieces: &[&str], sources: usize) -> (String, Vec<u32>) {
        let mut citations = Citations::of(sources);
        let mut text: String = pieces.iter().map(|piece| citations.push(piece)).collect();
        text.push_str(&citations.finish());
        (text, citations.cited().iter().copied().collect())
    }

    #[test]
    fn a_citation_is_the_same_however_it_comes() {
        for pieces in [vec!["Blue [2]."], vec!["Blue [", "2", "]."], vec!["Blue ", "[2]", "."]] {
            assert_eq!(filtered(&pieces, 2), ("Blue [2].".to_owned(), vec![2]));
        }
    }

    #[test]
    fn a_passage_that_is_not_there_is_not_cited() {
        assert_eq!(filtered(&["Blue [7]", " or red [1, 9]."], 2), ("Blue  or red [1].".to_owned(), vec![1]));
        assert_eq!(filtered(&["[0][1]"], 1), ("[1]".to_owned(), vec![1]));
    }

    #[test]
    fn several_in_one_pair_of_brackets_are_told_one_by_one() {
        assert_eq!(filtered(&["Both [1,2]"], 3), ("Both [1][2]".to_owned(), vec![1, 2]));
    }

    #[test]
    fn other_brackets_stay_as_they_are() {
        for text in ["a[i]", "[x] done", "[", "[[1", "[]", "[ ]", "[12345678901234567890]", "a [1st] é [é]"] {
            assert_eq!(filtered(&[text], 3), (text.to_owned(), vec![]), "{text}");
        }
        assert_eq!(filtered(&["[[1]"], 3), ("[[1]".to_owned(), vec![1]));
    }

    #[test]
    fn an_answer_without_citations_gets_that_of_the_nearest_passage() {
        let sources = [(1, "Hotels are booked by the travel desk."), (2, "Hotels cost up to 1,180.50 euro a night.")];
        let nearest = |answer: &str, question: &str| Citations::of(2).cite_nearest(answer, question, &sources);
        assert_eq!(nearest("Up to 1,180.50 euro.", "What may hotels cost?").as_deref(), Some(" [2]"));
        assert_eq!(nearest("The travel desk books them.", "Who books hotels?").as_deref(), Some(" [1]"));
        assert_eq!(nearest("?", "?"), None, "nothing is shared");
        assert_eq!(nearest("", "Who books hotels?"), None, "nothing is said");
        assert_eq!(Citations::of(0).cite_nearest("x", "y", &[]), None);
        let mut citations = Citations::of(2);
        citations.push("It does [1].");
        assert_eq!(citations.cite_nearest("1,180.50 euro", "", &sources), None, "it cites one itself");
    }

    #[test]
    fn words_are_compared_without_their_endings() {
        let words: Vec<&str> = words("painted, paints: 4.90, the e12.").collect();
        assert_eq!(words, ["paint", "paint", "4.90", "e12"]);
    }
}
