//! Parts of a text from labels of its tokens: `B-` begins a part, `I-` goes on with it, `O` is outside of any (Ramshaw and
//! Marcus, 1995, arXiv:cmp-lg/9505040). A label without such a sign goes on with one of its kind.

use std::ops::Range;

use crate::model::Labels;
use crate::tokenizer::Place;

/// A part of a text with a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// As the model's files name it, without `B-` or `I-`.
    pub label: String,
    /// Where it is: bytes of the text, from and to the border of a character.
    pub bytes: Range<usize>,
    /// The mean over its tokens, from 0 to 1.
    pub score: f32,
}

/// A part that is not yet at its end.
struct Open<'a> {
    label: &'a str,
    bytes: Range<usize>,
    scores: f32,
    tokens: usize,
    /// The word that its last token is of.
    word: Option<u32>,
}

/// The parts of a text, in order and apart from each other. A token without a place is one that is not in the text.
///
/// # Shapes
/// `logits`: `[tokens, labels]`
pub(super) fn find(text: &str, places: &[Option<Place>], labels: &Labels, logits: &[f32]) -> Vec<Entity> {
    let (mut found, mut open): (Vec<Entity>, Option<Open<'_>>) = (Vec::new(), None);
    for (place, logits) in places.iter().zip(logits.chunks_exact(labels.names.len())) {
        let Some(place) = place.as_ref().filter(|place| !place.bytes.is_empty()) else { continue };
        let scores = labels.scores(logits).into_iter().enumerate();
        let Some((id, score)) = scores.max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let tag = tag(&labels.names[id]);
        match (&mut open, tag) {
            (Some(open), Some((is_begin, label))) if open.goes_on(is_begin, label, place) => {
                open.bytes.end = place.bytes.end;
                open.scores += score;
                open.tokens += 1;
                open.word = place.word;
            }
            (open, tag) => {
                let new = tag.map(|(_, label)| Open {
                    label,
                    bytes: place.bytes.clone(),
                    scores: score,
                    tokens: 1,
                    word: place.word,
                });
                close(std::mem::replace(open, new), text, &mut found);
            }
        }
    }
    close(open, text, &mut found);
    found
}

impl Open<'_> {
    /// Whether a token is part of it. Nothing begins within a word.
    fn goes_on(&self, is_begin: bool, label: &str, place: &Place) -> bool {
        let is_same_word = self.word.is_some() && self.word == place.word;
        self.label == label && (!is_begin || is_same_word)
    }
}

/// Whether a label begins a part, and of what kind; none if it is outside of any.
fn tag(name: &str) -> Option<(bool, &str)> {
    match name.split_at_checked(2) {
        _ if name == "O" => None,
        Some(("B-", label)) => Some((true, label)),
        Some(("I-", label)) => Some((false, label)),
        _ => Some((false, name)),
    }
}

/// Adds a part without white space around it; none if nothing is left of it behind the one before.
fn close(open: Option<Open<'_>>, text: &str, found: &mut Vec<Entity>) {
    let Some(Open { label, bytes, scores, tokens, .. }) = open else { return };
    let behind = found.last().map_or(0, |last| last.bytes.end);
    let start = text.floor_char_boundary(bytes.start).max(behind);
    let Some(part) = text.get(start..text.ceil_char_boundary(bytes.end)) else { return };
    let start = start + part.len() - part.trim_start().len();
    let part = part.trim();
    if !part.is_empty() {
        found.push(Entity { label: label.into(), bytes: start..start + part.len(), score: scores / tokens as f32 });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NAMES: [&str; 6] = ["O", "B-NAME", "I-NAME", "B-CITY", "I-CITY", "X"];

    fn labels() -> Labels {
        let names: serde_json::Map<_, _> = NAMES.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
        Labels::of_tokens(&json!({"id2label": names}), NAMES.len())
    }

    /// Finds parts where each token has a place, its word and the label that is far ahead.
    fn find_in(text: &str, tokens: &[(Range<usize>, u32, &str)]) -> Vec<(String, String)> {
        let places: Vec<Option<Place>> =
            tokens.iter().map(|(bytes, word, _)| Some(Place { bytes: bytes.clone(), word: Some(*word) })).collect();
        let row = |name: &str| NAMES.map(|other| if other == name { 100.0 } else { 0.0 });
        let logits: Vec<f32> = tokens.iter().flat_map(|(_, _, name)| row(name)).collect();
        let found = find(text, &places, &labels(), &logits);
        assert!(found.iter().all(|entity| (entity.score - 1.0).abs() < 1e-6));
        found.into_iter().map(|entity| (entity.label, text[entity.bytes].to_owned())).collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(label, part)| (label.into(), part.into())).into()
    }

    #[test]
    fn a_part_goes_on_until_its_label_ends_or_another_begins() {
        let text = "Ada Lovelace Bob Rome x";
        let tokens = [
            (0..3, 0, "B-NAME"),
            (4..8, 1, "I-NAME"),
            (8..12, 1, "I-NAME"),
            (13..16, 2, "B-NAME"),
            (17..21, 3, "I-CITY"),
            (22..23, 4, "O"),
        ];
        let expected = pairs([("NAME", "Ada Lovelace"), ("NAME", "Bob"), ("CITY", "Rome")]);
        assert_eq!(find_in(text, &tokens), expected);
    }

    #[test]
    fn nothing_begins_within_a_word() {
        let tokens = [(0..2, 0, "B-NAME"), (2..5, 0, "B-NAME"), (6..9, 1, "B-NAME")];
        assert_eq!(find_in("Adele Bob", &tokens), pairs([("NAME", "Adele"), ("NAME", "Bob")]));
    }

    #[test]
    fn a_label_without_a_sign_goes_on_with_its_kind() {
        let tokens = [(0..1, 0, "X"), (2..3, 1, "X"), (4..5, 2, "O"), (6..7, 3, "X")];
        assert_eq!(find_in("a b c d", &tokens), pairs([("X", "a b"), ("X", "d")]));
    }

    #[test]
    fn the_score_is_the_mean_over_the_tokens() {
        let place = |bytes| Some(Place { bytes, word: None });
        let logits = [[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0, 0.0]];
        let found = find("ab cd", &[place(0..2), place(3..5)], &labels(), logits.as_flattened());
        let score = |logit: f32| logit.exp() / (logit.exp() + 5.0);
        assert!((found[0].score - f32::midpoint(score(1.0), score(3.0))).abs() < 1e-6, "{found:?}");
    }

    proptest! {
        #[test]
        fn parts_lie_apart_in_order_on_borders_of_characters(
            text in "[a é𝄞 ]{0,12}",
            tokens in prop::collection::vec((0usize..40, 0usize..6, 0u32..3, 0usize..6), 0..12),
        ) {
            let places: Vec<Option<Place>> = tokens
                .iter()
                .map(|&(start, length, word, _)| {
                    let bytes = start.min(text.len())..(start + length).min(text.len());
                    (word < 2).then_some(Place { bytes, word: Some(word) })
                })
                .collect();
            let logits: Vec<f32> =
                tokens.iter().flat_map(|&(.., id)| (0..6).map(move |other| if other == id { 9.0 } else { 0.0 })).collect();
            let mut end = 0;
            for entity in find(&text, &places, &labels(), &logits) {
                let part = text.get(entity.bytes.clone()).expect("on borders of characters");
                prop_assert!(entity.bytes.start >= end && !part.is_empty() && part.trim() == part);
                end = entity.bytes.end;
            }
        }
    }
}
