//! Long texts in windows: models read only so much at once, and much else in a text must not hide a part of it.

/// Longest part of a text that one vector is made of, in characters: what fits the embedder, 256 tokens, in English.
const WINDOW_CHARS: usize = 640;

/// Characters from the beginning of one window to that of the next.
const STRIDE_CHARS: usize = 480;

/// The parts of a text that are judged by themselves, each reaching into the next; none for a text of white space.
pub(crate) fn windows(text: &str) -> Vec<&str> {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let chars = places.len() - 1;
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let end = (start + WINDOW_CHARS).min(chars);
        let window = &text[places[start]..places[end]];
        if !window.trim().is_empty() {
            windows.push(window);
        }
        if end == chars {
            return windows;
        }
        start += STRIDE_CHARS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_text_and_overlap() {
        assert_eq!(windows("short"), ["short"]);
        assert_eq!(windows(" \n"), [""; 0]);
        let text = "é".repeat(1000);
        let windows = windows(&text);
        assert_eq!(windows.iter().map(|window| window.chars().count()).collect::<Vec<_>>(), [640, 520]);
    }
}
