//! What counts as a word.

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer,
};

/// Longest word that is kept, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// Words in lower case without accents, as their stems where they are English; every two neighbours of a script that is written
/// without spaces.
pub(super) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(Words)
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(Stemmer::new(Language::English))
        .build()
}

/// The words of a text, each once.
pub(super) fn distinct(analyzer: &mut TextAnalyzer, text: &str, words_max: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut stream = analyzer.token_stream(text);
    while words.len() < words_max && stream.advance() {
        if seen.insert(stream.token().text.clone()) {
            words.push(stream.token().text.clone());
        }
    }
    words
}

#[derive(Clone)]
struct Words;

struct Stream<'a> {
    text: &'a str,
    /// How far it has come.
    at: usize,
    /// Where a run of a script without spaces ends.
    run_end: usize,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Stream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream<'a> {
        Stream { text, at: 0, run_end: 0, token: Token::default() }
    }
}

impl TokenStream for Stream<'_> {
    fn advance(&mut self) -> bool {
        if self.at >= self.run_end && !self.begin_word() {
            return false;
        }
        let end = if self.at < self.run_end { self.pair() } else { self.word() };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_to = end;
        self.token.text.clear();
        self.token.text.push_str(&self.text[self.token.offset_from..end]);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

impl Stream<'_> {
    /// Goes to the next word; false if there is none.
    fn begin_word(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(begin) = rest.find(char::is_alphanumeric) else { return false };
        self.at += begin;
        let rest = &self.text[self.at..];
        if rest.starts_with(is_unspaced) {
            self.run_end = self.at + rest.find(|c| !is_unspaced(c)).unwrap_or(rest.len());
        }
        true
    }

    /// Takes a word and gives its end.
    fn word(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.token.offset_from = self.at;
        self.at += rest.find(|c: char| !c.is_alphanumeric() || is_unspaced(c)).unwrap_or(rest.len());
        self.at
    }

    /// Takes two characters of a run, or the only one, and gives their end. The next pair begins with the second.
    fn pair(&mut self) -> usize {
        let run = &self.text[self.at..self.run_end];
        let end_of = |nth: usize| run.char_indices().nth(nth).map_or(self.run_end, |(at, _)| self.at + at);
        let (second, end) = (end_of(1), end_of(2));
        self.token.offset_from = self.at;
        self.at = if end == self.run_end { end } else { second };
        end
    }
}

/// Whether a character is of a script that is written without spaces between words, or with words that grow at their ends.
fn is_unspaced(c: char) -> bool {
    c.is_alphanumeric()
        && matches!(u32::from(c),
            // Thai and Lao, Myanmar, Khmer.
            0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff
            // Kana, Han and Hangul.
            | 0x2e80..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        distinct(&mut analyzer(), text, 100)
    }

    #[test]
    fn english_words_are_found_by_their_stems() {
        assert_eq!(words("Running QUICKLY, the runner's cafés!"), ["run", "quick", "the", "runner", "s", "cafe"]);
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_pairs() {
        assert_eq!(words("東京都"), ["東京", "京都"]);
        assert_eq!(words("水"), ["水"]);
        assert_eq!(words("GPU計算2台"), ["gpu", "計算", "2", "台"]);
    }

    #[test]
    fn nothing_but_signs_has_no_words() {
        assert!(words(" +-&|!(){}[]^\"~*?:\\/ ").is_empty());
    }
}
