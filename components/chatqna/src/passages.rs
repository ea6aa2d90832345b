//! The passages that an answer is made from: found, chosen by what fits the prompt, numbered.

use serde::{Deserialize, Serialize};
use tessera_sdk::Error;
use tessera_sdk::inference::Message;
use tessera_sdk::tokenize::{self, Input};

use crate::bindings::rag::prompt::prompt;
use crate::bindings::rag::retriever::retrieve;
use crate::decline::RIVALS;
use crate::question::Asked;
use crate::retrieval;
use crate::settings::Settings;

/// Tokens of what stands around a passage in the prompt: its number, and the line ends.
const AROUND_TOKENS: u32 = 8;

/// A passage, as clients see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Source {
    /// By which the answer cites it: `[1]`.
    pub(crate) n: u32,
    /// Tells it from all other passages of the collection.
    pub(crate) id: String,
    /// Id of the document.
    pub(crate) document: String,
    /// Its place among the document's passages.
    index: u32,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u32>,
    heading: Vec<String>,
    pub(crate) score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) similarity: Option<f32>,
    pub(crate) text: String,
    /// Bytes of the line of headings that the text begins with.
    #[serde(skip)]
    path_bytes: usize,
    /// Whether the answer cites it; told at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cited: Option<bool>,
}

/// What `dataprep` tells of a passage beside what the retriever has a place for.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    path_bytes: usize,
}

impl Source {
    /// A passage with the number that it is cited by.
    pub(crate) fn new(n: u32, passage: retrieve::Passage) -> Self {
        let Metadata { path_bytes } = serde_json::from_str(&passage.metadata).unwrap_or_default();
        let retrieve::Passage { document, index, name, title, page, start, end, heading, text, score, similarity, .. } =
            passage;
        let id = format!("{document}#{index}");
        let cited = None;
        Self { n, id, document, index, name, title, page, start, end, heading, score, similarity, text, path_bytes, cited }
    }

    /// What of it the model reads, to be counted in tokens.
    fn counted(&self) -> Input {
        format!("{}: {}", self.topic(), self.body()).into()
    }

    /// Its text without the line of headings that it begins with, which are long and may hold numbers of their own.
    fn body(&self) -> &str {
        self.text.get(self.path_bytes..).unwrap_or(&self.text)
    }

    /// What it is about, for the model to read: the innermost heading without its number, else the title of the document.
    fn topic(&self) -> &str {
        let topic = self.heading.last().or(self.title.as_ref()).map_or(self.name.as_str(), String::as_str);
        let words = topic.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
        if words.is_empty() { topic } else { words }
    }
}

/// What was found for a question.
pub(crate) struct Found {
    /// The best, numbered: as many as are wanted and nearly as good as the best.
    pub(crate) sources: Vec<Source>,
    /// The scores of all that was found.
    pub(crate) scores: Vec<f32>,
}

impl Found {
    /// Leaves as many of the best as fit the prompt with the conversation, one at least.
    pub(crate) async fn fit(&mut self, asked: &Asked, settings: &Settings, model: Option<&str>) -> Result<(), Error> {
        let inputs = [asked.conversation().into()].into_iter().chain(self.sources.iter().map(Source::counted)).collect();
        let counts = tokenize::count_each(inputs, model).await?;
        let (conversation, sources) = counts.split_first().ok_or_else(|| Error::internal("nothing was counted"))?;
        self.sources.truncate(fitting(sources, settings.prompt_tokens_max.saturating_sub(*conversation)));
        Ok(())
    }
}

/// Finds passages and chooses the best of them.
pub(crate) async fn find(asked: &Asked, settings: &Settings) -> Result<Found, Error> {
    let rivals = asked.search.k.max(RIVALS) - asked.search.k;
    let found = retrieval::retrieve(retrieve::Question { rivals: Some(rivals), ..asked.search.clone() }).await?;
    let scores: Vec<f32> = found.passages.iter().map(|passage| passage.score).chain(found.rivals).collect();
    let score_min = least(&scores, settings.score_drop_max);
    let good = found.passages.into_iter().filter(|passage| passage.score >= score_min);
    let sources = (1..).zip(good).map(|(n, passage)| Source::new(n, passage)).collect();
    Ok(Found { sources, scores })
}

/// The score of a passage that is just good enough beside the best. Small models answer from worse ones as readily.
fn least(scores: &[f32], drop_max: f32) -> f32 {
    scores.iter().copied().fold(f32::MIN, f32::max) - drop_max
}

/// How many of the first texts fit, one at least.
fn fitting(counts: &[u32], tokens_max: u32) -> usize {
    let sums = counts.iter().scan(0_u32, |sum, count| {
        *sum = sum.saturating_add(*count).saturating_add(AROUND_TOKENS);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= tokens_max).count().max(1)
}

/// What a model is asked.
pub(crate) struct Prompt {
    /// The question itself.
    pub(crate) question: String,
    /// The conversation that it stands in, with the passages.
    pub(crate) messages: Vec<Message>,
}

impl Prompt {
    /// The question with its passages, for the model.
    ///
    /// # Errors
    /// 400 for a template of the request's own that is malformed.
    pub(crate) async fn new(asked: Asked, sources: &[Source]) -> Result<Self, Error> {
        let has_template = asked.template.is_some();
        let passage =
            |source: &Source| prompt::Passage { number: source.n, title: source.topic().into(), text: source.body().into() };
        let message = |message: Message| prompt::Message { role: message.role, content: message.content };
        let question = asked.text;
        let task = prompt::Task {
            question: question.clone(),
            passages: sources.iter().map(passage).collect(),
            history: asked.history.into_iter().map(message).collect(),
            template: asked.template,
        };
        let messages = prompt::answer(task).await.map_err(|why| match has_template {
            true => Error::invalid("chat_template", &format!("can't be used: {why}")),
            false => Error::internal(format!("no prompt could be made: {why}")),
        })?;
        let messages = messages.into_iter().map(|message| Message::new(message.role, message.content)).collect();
        Ok(Self { question, messages })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A source with a number, a score and a text.
    pub(crate) fn source(n: u32, score: f32, text: &str) -> Source {
        let (name, text) = (format!("{n}.md"), text.to_owned());
        let passage = retrieve::Passage {
            document: name.clone(),
            index: 0,
            name,
            title: None,
            page: Some(2),
            start: None,
            end: None,
            heading: vec!["Pay".into()],
            text,
            score,
            similarity: Some(score),
            metadata: r#"{"type": "md", "path_bytes": 0}"#.into(),
        };
        Source::new(n, passage)
    }

    #[test]
    fn as_many_passages_are_taken_as_fit_and_one_at_least() {
        assert_eq!(fitting(&[100, 200, 300], 300 + 2 * AROUND_TOKENS), 2);
        assert_eq!(fitting(&[100, 200, 300], 299 + 2 * AROUND_TOKENS), 1);
        assert_eq!(fitting(&[100, 200, 300], 1000), 3);
        assert_eq!(fitting(&[100, 200, 300], 0), 1);
        assert_eq!(fitting(&[u32::MAX, 1], u32::MAX - 1), 1);
    }

    #[test]
    fn passages_are_held_against_the_best_wherever_it_stands() {
        assert_eq!(least(&[0.5, 0.75, 0.25], 0.25), 0.5);
    }

    #[test]
    fn the_model_reads_the_innermost_heading_and_the_text_below_it() {
        let source = |heading: &[&str], path: &str, text: &str| {
            let heading = heading.iter().map(|heading| (*heading).to_owned()).collect();
            let text = format!("{path}{text}");
            Source { title: Some("Guide".into()), heading, path_bytes: path.len(), ..source(1, 0.5, &text) }
        };
        let deep = source(&["4 Sensors", "4.3 Rain gauges"], "Guide > 4 Sensors > 4.3 Rain gauges\n", "One tip is 0.2 mm.");
        assert_eq!((deep.topic(), deep.body()), ("Rain gauges", "One tip is 0.2 mm."));
        let flat = source(&[], "", "Guide to all\nOne.");
        assert_eq!((flat.topic(), flat.body()), ("Guide", "Guide to all\nOne."));
        assert_eq!(source(&["2025"], "", "x").topic(), "2025");
    }

    #[test]
    fn a_source_tells_what_there_is_to_tell() {
        let json = serde_json::to_value(source(1, 0.5, "x")).expect("JSON");
        assert_eq!(
            (&json["id"], &json["page"], json.get("title"), json.get("cited")),
            (&"1.md#0".into(), &2.into(), None, None)
        );
    }
}
