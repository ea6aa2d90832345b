//! How toxic a text is: five linear support vector machines over the words of a text, each calibrated to a probability, as
//! alt-profanity-check 1.9.1 has them; its scores are met within a millionth.

use std::collections::BTreeMap;

/// Laid out as `weights/README.md` says.
const MODEL: &[u8] = include_bytes!("../../weights/toxicity.bin");
const MACHINES: usize = 5;
const HEAD_BYTES: usize = 8;
const CALIBRATION_BYTES: usize = 3 * 8;
/// Of a word: how rare it is, and its weight in each machine.
const WORD_BYTES: usize = 4 * (1 + MACHINES);

/// Words that are judged together, and words from the beginning of one such window to that of the next.
const WINDOW_WORDS: usize = 12;
const STRIDE_WORDS: usize = 6;

/// How toxic a text is, 0 to 1: as a whole or in the most toxic of its windows, so that much else doesn't hide a part of it.
pub(crate) fn highest(text: &str) -> f64 {
    let words = places(text);
    let starts = (0..words.len().saturating_sub(STRIDE_WORDS)).step_by(STRIDE_WORDS);
    let windows = starts.map(|start| &words[start..words.len().min(start + WINDOW_WORDS)]);
    windows.chain([words.as_slice()]).map(score).fold(0.0, f64::max)
}

/// Where the words of a text stand among those of the model; none for one that it doesn't know.
fn places(text: &str) -> Vec<Option<usize>> {
    words(&text.to_lowercase()).map(index).collect()
}

/// The mean of what the machines say of words together.
fn score(words: &[Option<usize>]) -> f64 {
    let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
    for index in words.iter().flatten() {
        *counts.entry(*index).or_default() += 1.0;
    }
    let mut square = 0.0;
    let mut sums = [0.0; MACHINES];
    for (&index, count) in &counts {
        let numbers = WORDS_START + index * WORD_BYTES;
        let value = count * f32_at(numbers);
        square += value * value;
        for (machine, sum) in sums.iter_mut().enumerate() {
            *sum += value * f32_at(numbers + 4 * (1 + machine));
        }
    }
    let length = if square > 0.0 { f64::sqrt(square) } else { 1.0 };
    let probability = |(machine, sum): (usize, &f64)| {
        let at = HEAD_BYTES + machine * CALIBRATION_BYTES;
        let distance = sum / length + f64_at(at);
        1.0 / (1.0 + f64::exp(f64_at(at + 8) * distance + f64_at(at + 16)))
    };
    sums.iter().enumerate().map(probability).sum::<f64>() / MACHINES as f64
}

/// Runs of two or more letters, digits and underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let runs = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    runs.filter(|run| run.chars().nth(1).is_some())
}

const WORDS_START: usize = HEAD_BYTES + MACHINES * CALIBRATION_BYTES;

/// Where a word stands among those of the model.
fn index(word: &str) -> Option<usize> {
    let count = u32_at(0);
    let ends = WORDS_START + count * WORD_BYTES;
    let bytes = ends + 4 * count;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        let start = if middle == 0 { 0 } else { u32_at(ends + 4 * (middle - 1)) };
        let there = &MODEL[bytes + start..bytes + u32_at(ends + 4 * middle)];
        match there.cmp(word.as_bytes()) {
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

fn bytes_at<const N: usize>(at: usize) -> [u8; N] {
    MODEL[at..at + N].try_into().expect("N bytes are N bytes")
}

fn u32_at(at: usize) -> usize {
    u32::from_le_bytes(bytes_at(at)) as usize
}

fn f32_at(at: usize) -> f64 {
    f64::from(f32::from_le_bytes(bytes_at(at)))
}

fn f64_at(at: usize) -> f64 {
    f64::from_le_bytes(bytes_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_as_long_as_it_says() {
        assert_eq!((u32_at(0), u32_at(4)), (15442, MACHINES));
        let ends = WORDS_START + u32_at(0) * WORD_BYTES;
        assert_eq!(MODEL.len(), ends + 4 * u32_at(0) + u32_at(ends + 4 * (u32_at(0) - 1)));
    }

    #[test]
    fn scores_are_those_of_the_reference() {
        let golden: Vec<(String, f64)> =
            serde_json::from_str(include_str!("../../weights/toxicity.golden.json")).expect("texts with scores");
        assert!(golden.len() > 250, "{}", golden.len());
        for (text, expected) in golden {
            let score = score(&places(&text));
            assert!((score - expected).abs() < 1e-6, "{score} should be {expected}: {text:?}");
        }
    }

    #[test]
    fn much_else_does_not_hide_what_is_toxic() {
        let text = format!("{}You are an idiot. {}", "The train leaves at nine. ".repeat(60), "It is late. ".repeat(90));
        assert!(highest(&text) > 0.8, "{}", highest(&text));
        assert!(score(&places(&text)) < 0.1);
        assert!((highest("") - score(&[])).abs() < 1e-9);
    }

    #[test]
    fn the_first_and_the_last_word_are_found_and_no_others() {
        assert_eq!(index("00"), Some(0));
        assert_eq!(["", "zzzzzzzz", "\u{10ffff}", "not a word"].map(index), [None; 4]);
    }
}
