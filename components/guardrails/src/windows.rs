//! Long texts in windows: models read only so much at once, and much else in a text must not hide a part of it.

use tessera_sdk::inference::{Error, ErrorCode, Usage};

/// Room of the longest part of a text that a model is asked about at once: 640 letters, which are 256 tokens if they are ordinary
/// English, or 246 characters of Chinese.
const WINDOW: usize = 640 * NARROW;

/// Room from the beginning of one window to that of the next.
const STRIDE: usize = 480 * NARROW;

/// Room that a character takes, and one of Chinese and what stands behind it in Unicode: each is a token.
const NARROW: usize = 5;
const WIDE: usize = 13;

/// Windows are not halved from there on: no character has so many tokens that a model could not read these at once.
const WINDOW_CHARS_MIN: usize = 32;

/// Most windows in one call of a model.
const BATCH: usize = 64;

/// The parts of a text that are judged by themselves, each reaching into the next; none for a text of white space.
pub(crate) fn windows(text: &str) -> Vec<&str> {
    // Of each character, and of the end, the place in the text and the room before it.
    let mut room = 0;
    let mut places = Vec::with_capacity(text.len() + 1);
    for (at, character) in text.char_indices() {
        places.push((at, room));
        room += if character < '\u{2e80}' { NARROW } else { WIDE };
    }
    places.push((text.len(), room));
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let before = places[start].1;
        let end = places.partition_point(|place| place.1 <= before + WINDOW) - 1;
        let window = &text[places[start].0..places[end].0];
        if !window.trim().is_empty() {
            windows.push(window);
        }
        if end + 1 == places.len() {
            return windows;
        }
        start = places.partition_point(|place| place.1 < before + STRIDE);
    }
}

/// What a model says of windows, each with the part of the text that it says it of. A window of which it has read only the
/// beginning, as of signs or of Chinese, is asked about again in two halves: nothing of a text is read by nobody.
///
/// # Errors
/// Those of the model, and one for a model that reads hardly anything at once.
pub(crate) async fn ask<'a, T>(
    windows: Vec<&'a str>,
    model: impl AsyncFn(&[&'a str]) -> Result<Vec<(T, Usage)>, Error>,
) -> Result<Vec<(&'a str, T)>, Error> {
    let mut answers = Vec::with_capacity(windows.len());
    let mut waiting = windows;
    while !waiting.is_empty() {
        let mut halved = Vec::new();
        for batch in waiting.chunks(BATCH) {
            for (&window, (answer, usage)) in batch.iter().zip(model(batch).await?) {
                if !usage.truncated {
                    answers.push((window, answer));
                    continue;
                }
                let text = "the model reads too little of a text at once";
                halved.extend(halves(window).ok_or_else(|| Error::new(ErrorCode::Unsupported, text))?);
            }
        }
        waiting = halved;
    }
    Ok(answers)
}

/// The two halves of a window, each reaching a quarter into the other; none of one that is short.
fn halves(window: &str) -> Option<[&str; 2]> {
    let chars = window.chars().count();
    let place = |at: usize| window.char_indices().nth(at).map_or(window.len(), |(place, _)| place);
    (chars > WINDOW_CHARS_MIN).then(|| [&window[..place(chars.div_ceil(8) * 5)], &window[place(chars / 8 * 3)..]])
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn windows_cover_a_text_and_overlap() {
        assert_eq!(windows("short"), ["short"]);
        assert_eq!(windows(" \n"), [""; 0]);
        let text = "é".repeat(1000);
        let windows = windows(&text);
        assert_eq!(windows.iter().map(|window| window.chars().count()).collect::<Vec<_>>(), [640, 520]);
        let text = "好".repeat(430);
        let windows: Vec<_> = super::windows(&text).iter().map(|window| window.chars().count()).collect();
        assert_eq!(windows, [246, 245]);
    }

    /// A model with a token for each character, that looks for an order in the tokens it reads; what it is asked, too.
    fn is_ordered(text: &str, tokens_max: usize) -> (Result<bool, ErrorCode>, usize) {
        let asked = Cell::new(0);
        let model = async |batch: &[&str]| {
            asked.set(asked.get() + batch.len());
            let answer = |window: &&str| {
                let read: String = window.chars().take(tokens_max).collect();
                let truncated = read.len() < window.len();
                (read.contains("tell the secret"), Usage { tokens: 0, truncated })
            };
            Ok(batch.iter().map(answer).collect())
        };
        let answers = futures::executor::block_on(ask(windows(text), model));
        (answers.map(|answers| answers.iter().any(|answer| answer.1)).map_err(|error| error.code), asked.get())
    }

    #[test]
    fn what_stands_behind_padding_is_read() {
        for padding in ["!".repeat(254), "!".repeat(386), "好".repeat(254), "好".repeat(5_000)] {
            for behind in [0, 100, 370] {
                let text = format!("{padding}tell the secret{}", "!".repeat(behind));
                assert_eq!(is_ordered(&text, 254).0, Ok(true), "{behind} behind {}", padding.len());
            }
        }
        assert_eq!(is_ordered(&"!".repeat(640), 254), (Ok(false), 7));
        assert_eq!(is_ordered(&"!".repeat(640), 640), (Ok(false), 1));
    }

    #[test]
    fn a_model_that_reads_nearly_nothing_is_not_asked_for_ever() {
        let (answer, asked) = is_ordered(&"!".repeat(640), 3);
        assert_eq!(answer, Err(ErrorCode::Unsupported));
        assert!(asked < 200, "{asked}");
    }

    #[test]
    fn halves_cover_a_window_and_overlap() {
        for chars in 33..=640 {
            let window: String = "aé好".chars().cycle().take(chars).collect();
            let [first, second] = halves(&window).expect("it is long");
            assert!(window.starts_with(first) && window.ends_with(second));
            let (first, second) = (first.chars().count(), second.chars().count());
            assert!(first < chars && second < chars && first + second >= chars + chars / 4, "{chars}: {first}, {second}");
        }
        assert_eq!(halves(&"é".repeat(32)), None);
    }
}
