//! What was found, with what is known of it.

use serde::Serialize;
use serde_json::{Map, Value};
use tessera_sdk::vector::{Hit, Value as Held};

/// A passage. As JSON it is its metadata: all but its text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Passage {
    /// Id of the document.
    pub(crate) document: String,
    /// Its place among the document's passages.
    pub(crate) index: u32,
    /// Name of the document.
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<u32>,
    /// The headings above it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) heading: Vec<String>,
    pub(crate) score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) similarity: Option<f32>,
    #[serde(skip)]
    pub(crate) text: String,
    /// Fields of other names.
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

impl Passage {
    /// What was chosen by marginal relevance. The host's score is what the hit added to those before it, which is less than how
    /// well it fits; the order tells that already, and the score stays that of the step before.
    pub(crate) fn chosen(hit: Hit) -> Self {
        let score = hit.token_score.or(hit.similarity).unwrap_or(hit.score);
        Self::from(Hit { score, ..hit })
    }

    /// Tells it from all others of its collection.
    pub(crate) fn id(&self) -> String {
        format!("{}#{}", self.document, self.index)
    }
}

impl From<Hit> for Passage {
    fn from(hit: Hit) -> Self {
        let piece = hit.piece;
        let mut passage = Self {
            name: piece.document.clone(),
            document: piece.document,
            index: piece.index,
            title: None,
            page: None,
            start: None,
            end: None,
            heading: Vec::new(),
            score: hit.score,
            similarity: hit.similarity,
            text: piece.text,
            others: Map::new(),
        };
        for field in piece.fields {
            passage.take(field.name, field.value);
        }
        passage
    }
}

impl Passage {
    /// Puts a field in its place. One of another type than it should have stays what it is, among the others.
    fn take(&mut self, name: String, value: Held) {
        match (name.as_str(), value) {
            ("name", Held::Text(text)) => self.name = text,
            ("title", Held::Text(text)) => self.title = Some(text),
            ("heading", Held::Texts(texts)) => self.heading = texts,
            ("page" | "start" | "end", Held::Number(number)) if whole(number).is_some() => match name.as_str() {
                "page" => self.page = whole(number),
                "start" => self.start = whole(number),
                _ => self.end = whole(number),
            },
            // These are the passage's own.
            ("document" | "index" | "name" | "title" | "page" | "start" | "end" | "heading" | "score" | "similarity", _) => {}
            (_, value) => drop(self.others.insert(name, json(value))),
        }
    }
}

/// A number without a fraction, if it is one that counts something.
fn whole(number: f64) -> Option<u32> {
    let fits = (0.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as u32)
}

fn json(value: Held) -> Value {
    match value {
        Held::Text(text) => text.into(),
        Held::Number(number) => whole(number).map_or_else(|| number.into(), Value::from),
        Held::Truth(truth) => truth.into(),
        Held::Texts(texts) => texts.into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use tessera_sdk::vector::{Field, Piece};

    use super::*;

    fn hit(fields: Vec<Field>) -> Hit {
        let piece = Piece { document: "d".into(), index: 3, text: "a passage".into(), fields };
        Hit { piece, score: 0.75, similarity: Some(0.5), text_score: None, token_score: None }
    }

    pub(crate) fn passage(fields: Vec<Field>) -> Passage {
        Passage::from(hit(fields))
    }

    #[test]
    fn the_score_of_what_was_chosen_is_how_well_it_fits() {
        let score = |token_score, similarity| {
            let hit = Hit { score: 0.25, token_score, similarity, ..hit(Vec::new()) };
            Passage::chosen(hit).score
        };
        assert_eq!(score(Some(0.875), Some(0.5)), 0.875);
        assert_eq!(score(None, Some(0.5)), 0.5);
        assert_eq!(score(None, None), 0.25);
    }

    #[test]
    fn fields_have_their_places_and_the_others_stay() {
        let heading = Field { name: "heading".into(), value: Held::Texts(vec!["A".into(), "B".into()]) };
        let fields = vec![
            Field::text("name", "a.pdf"),
            Field::text("title", "A title"),
            Field::number("page", 2),
            Field::number("start", 10),
            Field::number("end", 20),
            heading,
            Field::text("type", "pdf"),
            Field::number("weight", 0.5),
        ];
        let passage = passage(fields);
        assert_eq!((passage.id().as_str(), passage.text.as_str()), ("d#3", "a passage"));
        assert_eq!(
            serde_json::to_value(&passage).expect("JSON"),
            json!({
                "document": "d", "index": 3, "name": "a.pdf", "title": "A title", "page": 2, "start": 10, "end": 20,
                "heading": ["A", "B"], "score": 0.75, "similarity": 0.5, "type": "pdf", "weight": 0.5,
            })
        );
    }

    #[test]
    fn a_document_without_a_name_has_that_of_its_id() {
        assert_eq!(passage(Vec::new()).name, "d");
    }

    #[test]
    fn a_field_of_another_type_does_not_take_the_place_of_one_of_ours() {
        let fields = vec![
            Field::text("page", "ii"),
            Field::number("start", -1),
            Field::number("end", 1.5),
            Field::number("score", 9),
            Field::text("document", "other"),
        ];
        let passage = passage(fields);
        assert_eq!((passage.page, passage.start, passage.end, passage.score), (None, None, None, 0.75));
        assert_eq!((passage.document.as_str(), passage.others.len()), ("d", 0));
    }

    #[test]
    fn a_number_that_is_none_is_null() {
        let passage = passage(vec![Field::number("weight", f64::NAN)]);
        assert_eq!(passage.others["weight"], Value::Null);
    }
}
