//! Where sentences end.

/// Words before a dot that does not end a sentence.
const ABBREVIATIONS: [&str; 24] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "no", "nr", "vol", "fig", "p", "pp", "cf", "vs", "etc", "e.g", "i.e", "z.b", "bzw",
    "ca", "al", "inc", "ltd", "approx",
];

/// Places behind the sentences of a text, blanks included; the last one is its end.
pub(super) fn ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        if is_wide_end(character) {
            while rest.next_if(|&(_, c)| is_closing(c) || c.is_whitespace()).is_some() {}
            ends.extend(rest.peek().map(|&(next, _)| next));
            continue;
        }
        if !matches!(character, '.' | '!' | '?' | '…') {
            continue;
        }
        while rest.next_if(|&(_, c)| is_closing(c) || matches!(c, '.' | '!' | '?')).is_some() {}
        if rest.next_if(|(_, c)| c.is_whitespace()).is_none() {
            continue;
        }
        while rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some(&(next, first)) = rest.peek() else { break };
        let is_new = !first.is_lowercase() && !matches!(first, ',' | ';' | ':' | ')');
        if is_new && (character != '.' || !is_abbreviated(&text[..at])) {
            ends.push(next);
        }
    }
    ends.push(text.len());
    ends
}

/// What ends a sentence without a blank behind it.
fn is_wide_end(character: char) -> bool {
    matches!(character, '。' | '！' | '？')
}

fn is_closing(character: char) -> bool {
    matches!(character, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '」' | '』')
}

/// Whether the word before a dot is a single capital or a usual abbreviation.
fn is_abbreviated(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '"' | '“')).next().unwrap_or_default();
    let mut letters = word.chars();
    let is_initial = matches!((letters.next(), letters.next()), (Some(letter), None) if letter.is_uppercase());
    is_initial || (word.len() <= 6 && ABBREVIATIONS.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(text: &str) -> Vec<&str> {
        let ends = ends(text);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends.iter().copied()).map(|(start, end)| &text[start..end]).collect()
    }

    #[test]
    fn sentences_end_at_marks_with_a_new_beginning_behind_them() {
        assert_eq!(sentences("One. Two!  \"Three?\" Four 1.5 m"), ["One. ", "Two!  ", "\"Three?\" ", "Four 1.5 m"]);
        assert_eq!(sentences("これは。はい！ 次"), ["これは。", "はい！ ", "次"]);
        assert_eq!(sentences("no end"), ["no end"]);
    }

    #[test]
    fn abbreviations_and_initials_end_nothing() {
        assert_eq!(sentences("Dr. Who met J. R. Smith, e.g. Here."), ["Dr. Who met J. R. Smith, e.g. Here."]);
        assert_eq!(sentences("the U.S. and so on"), ["the U.S. and so on"]);
    }

    #[test]
    fn an_empty_text_has_one_end() {
        assert_eq!(ends(""), [0]);
    }
}
