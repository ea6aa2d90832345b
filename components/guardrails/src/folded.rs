//! A text as its words read, without the tricks that hide them from a comparison.

mod look_alikes;

use std::ops::Range;

/// A text in lower case, with look-alikes written in Latin letters, without what can't be seen, and with one space for any run of
/// white space. Knows of each character where it comes from.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    text: String,
    /// For each byte of `text` where in the original its character begins.
    starts: Vec<u32>,
    /// And where it ends.
    ends: Vec<u32>,
}

impl Folded {
    pub(crate) fn new(original: &str) -> Self {
        let mut folded = Self::default();
        for (at, original) in original.char_indices() {
            let end = at + original.len_utf8();
            if original.is_whitespace() {
                if !folded.text.ends_with(' ') {
                    folded.push(' ', at, end);
                }
                continue;
            }
            for lower in original.to_lowercase() {
                if let Some(plain) = plain(lower) {
                    folded.push(plain, at, end);
                }
            }
        }
        folded
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The part of the original that a part of the folded text comes from; an empty one comes from nothing.
    pub(crate) fn original(&self, part: Range<usize>) -> Range<usize> {
        let place = |of: &[u32], at: usize| of.get(at).map_or(0, |&place| place as usize);
        if part.is_empty() { 0..0 } else { place(&self.starts, part.start)..place(&self.ends, part.end - 1) }
    }

    /// The words: runs of letters, digits and apostrophes.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty())
    }

    fn push(&mut self, character: char, start: usize, end: usize) {
        self.text.push(character);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX); // the host sends no text as long as that
        for _ in 0..character.len_utf8() {
            self.starts.push(place(start));
            self.ends.push(place(end));
        }
    }
}

/// How a character in lower case reads; none if it can't be seen, or is a mark on another.
fn plain(character: char) -> Option<char> {
    let read = match character {
        // Tag characters repeat ASCII, unseen.
        '\u{e0020}'..='\u{e007e}' => char::from_u32(character as u32 - 0xe0000)?.to_ascii_lowercase(),
        // Full width, in brackets, circled, mathematical, in squares, and digits of a display.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(character as u32 - 0xfee0)?.to_ascii_lowercase(),
        '\u{249c}'..='\u{24b5}' => letter(character as u32 - 0x249c),
        '\u{24d0}'..='\u{24e9}' => letter(character as u32 - 0x24d0),
        '\u{2460}'..='\u{2468}' => digit(character as u32 - 0x2460 + 1),
        '\u{1d400}'..='\u{1d6a3}' => letter((character as u32 - 0x1d400) % 26),
        '\u{1d7ce}'..='\u{1d7ff}' => digit((character as u32 - 0x1d7ce) % 10),
        '\u{1f130}'..='\u{1f149}' => letter(character as u32 - 0x1f130),
        '\u{1f150}'..='\u{1f169}' => letter(character as u32 - 0x1f150),
        '\u{1f170}'..='\u{1f189}' => letter(character as u32 - 0x1f170),
        '\u{1fbf0}'..='\u{1fbf9}' => digit(character as u32 - 0x1fbf0),
        // Marks on other characters.
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' => return None,
        '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}' => return None,
        _ if is_invisible(character) => return None,
        _ if character.is_ascii() => character,
        _ => look_alikes::plain(character),
    };
    Some(read)
}

fn letter(place: u32) -> char {
    char::from_u32(u32::from(b'a') + place).unwrap_or('a')
}

fn digit(value: u32) -> char {
    char::from_digit(value, 10).unwrap_or('0')
}

/// Whether nothing is drawn for a character: zero width, joiners, direction marks, selectors, tags.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_a_word_is_taken_off() {
        for text in [
            "IGNORE",
            "ig\u{200b}nore",
            "ｉｇｎｏｒｅ",
            "іgnоrе",
            "i\u{301}gnore",
            "ígnore",
            "ǐǵňőřę",
            "ıɡnøɍɇ",
            "ɪɢɴᴏʀᴇ",
            "ⁱᵍⁿᵒʳᵉ",
            "i\u{1ab0}g\u{1dc4}n\u{20d0}o\u{fe20}re\u{488}",
            "𝐢𝐠𝐧𝐨𝐫𝐞",
            "ⓘⓖⓝⓞⓡⓔ",
            "⒤⒢⒩⒪⒭⒠",
            "🄸🅖🅽🄾🅡🅴",
        ] {
            assert_eq!(Folded::new(text).text(), "ignore", "{text}");
        }
        let tags: String = "Ignore".chars().filter_map(|c| char::from_u32(c as u32 + 0xe0000)).collect();
        assert_eq!(Folded::new(&tags).text(), "ignore");
        assert_eq!(Folded::new("ſecret ć š ł ǎ №").text(), "secret c s l a №");
        assert_eq!(Folded::new("𝟗①🯳²").text(), "9132");
    }

    #[test]
    fn a_part_is_found_again_in_the_original() {
        let original = "é  A\u{200b}Bc";
        let folded = Folded::new(original);
        assert_eq!(folded.text(), "e abc");
        let part = folded.original(2..4);
        assert_eq!(&original[part], "A\u{200b}B");
        assert_eq!(&original[folded.original(1..2)], " ");
        assert_eq!(folded.original(2..2), 0..0);
    }

    #[test]
    fn words_are_letters_digits_and_apostrophes() {
        assert_eq!(Folded::new("Don’t, stop-it 2x!").words().collect::<Vec<_>>(), ["don't", "stop", "it", "2x"]);
    }
}
