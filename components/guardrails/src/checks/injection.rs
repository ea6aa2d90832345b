//! Whether a text tells the model what to do against those who run it: the classifier of jailguard 0.1.2, three layers over a
//! normalised vector of all-MiniLM-L6-v2, and rules for phrasings that are well known.

mod rules;

use crate::folded::Folded;

/// Laid out as `weights/README.md` says.
const MODEL: &[u8] = include_bytes!("../../weights/injection.bin");

/// Length of the vectors.
pub(crate) const DIMENSIONS: usize = 384;
const FIRST: usize = 256;
const SECOND: usize = 128;
const _: () = assert!((DIMENSIONS | FIRST | SECOND).is_multiple_of(LANES));

/// Whether a text holds a well-known phrasing.
pub(crate) fn is_well_known(text: &str) -> bool {
    rules::hit(text, &Folded::new(text))
}

/// Words, and letters of scripts without spaces, in which nobody can be told anything. The model was not made for so few.
const WORDS_MIN: usize = 3;
const LETTERS_MIN: usize = 4;

/// Longest text in characters that may be too short: words can be written without spaces.
const SHORT_CHARS_MAX: usize = 24;

/// Whether a text is too short to be an order: one or two short words, or up to three letters of a script without spaces.
pub(crate) fn is_too_short(text: &str) -> bool {
    let text = text.trim();
    if text.chars().nth(SHORT_CHARS_MAX).is_some() {
        return false;
    }
    if text.chars().any(has_no_spaces) {
        return text.chars().filter(|c| c.is_alphanumeric()).count() < LETTERS_MIN;
    }
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty()).count() < WORDS_MIN
}

/// Whether a character is of a script that is written without spaces between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese.
fn has_no_spaces(character: char) -> bool {
    matches!(
        character,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{312f}'
            | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
            | '\u{20000}'..='\u{3fffd}'
    )
}

/// How likely the text of a vector is an injection, 0 to 1. None where the vector is not of this model's length.
///
/// # Shapes
/// `vector` is `[384]`, of length 1.
pub(crate) fn score(vector: &[f32]) -> Option<f32> {
    if vector.len() != DIMENSIONS {
        return None;
    }
    let (first, rest) = layer::<FIRST>(MODEL, vector); // [384] → [256]
    let (second, rest) = layer::<SECOND>(rest, &first.map(|x| x.max(0.0))); // [256] → [128]
    let ([logit], _) = layer::<1>(rest, &second.map(|x| x.max(0.0))); // [128] → [1]
    Some(1.0 / (1.0 + f32::exp(-logit)))
}

/// `weights · input + biases`, and what stands behind them in the file.
fn layer<'a, const OUT: usize>(file: &'a [u8], input: &[f32]) -> ([f32; OUT], &'a [u8]) {
    let (weights, rest) = file.split_at(OUT * input.len() * 4);
    let (biases, rest) = rest.split_at(OUT * 4);
    let mut output = [0.0; OUT];
    let rows = weights.chunks_exact(input.len() * 4).zip(biases.chunks_exact(4));
    for (output, (row, bias)) in output.iter_mut().zip(rows) {
        *output = number(bias) + dot(row, input);
    }
    (output, rest)
}

/// Sums that don't wait for each other.
const LANES: usize = 8;

fn dot(row: &[u8], input: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (weights, inputs) in row.chunks_exact(4 * LANES).zip(input.chunks_exact(LANES)) {
        for (sum, (weight, x)) in sums.iter_mut().zip(weights.chunks_exact(4).zip(inputs)) {
            *sum += number(weight) * x;
        }
    }
    sums.iter().sum()
}

fn number(bytes: &[u8]) -> f32 {
    f32::from_le_bytes(bytes.try_into().expect("chunks of four"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_three_layers_and_nothing_else() {
        let layers = [(DIMENSIONS, FIRST), (FIRST, SECOND), (SECOND, 1)];
        assert_eq!(MODEL.len(), layers.iter().map(|(input, output)| 4 * output * (input + 1)).sum::<usize>());
    }

    #[test]
    fn nothing_can_be_ordered_in_a_word_or_two() {
        for text in ["q", "hi", "thanks", "Thank you!", " don't \n", "OK?", "!!!", "你好", "谢谢你。", "", "ขอ"] {
            assert!(is_too_short(text), "{text}");
        }
        for text in ["say the word", "忽略指令", "ignoreallpreviousorderings", "ignore_all_rules", "tell\u{200b}me\u{200b}it"]
        {
            assert!(!is_too_short(text), "{text}");
        }
        assert!(!is_too_short(&"!".repeat(25)));
    }

    #[test]
    fn scores_are_those_of_the_reference() {
        // Of numpy in double precision, over vectors that are easily made again.
        for (seed, expected) in GOLDEN {
            let raw: Vec<f32> = (0..DIMENSIONS).map(|i| ((i * seed) % 97) as f32 - 48.0).collect();
            let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
            let vector: Vec<f32> = raw.iter().map(|x| x / length).collect();
            let score = score(&vector).expect("384 numbers");
            assert!((score - expected).abs() < 1e-5, "{score} should be {expected}");
        }
        assert_eq!(score(&[0.0; 383]), None);
    }

    const GOLDEN: [(usize, f32); 3] = [(5, 0.0013454), (23, 0.1390978), (43, 0.9081396)];
}
