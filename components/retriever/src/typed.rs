//! The interface that other components call, and that is a tool for agents.

use tessera_sdk::vector::Filter;
use tessera_sdk::{Error, json};

use crate::bindings::exports::rag::retriever::retrieve as wit;
use crate::filter;
use crate::passage::Passage;
use crate::search::{self, Names, PASSAGES_MAX, Search};

/// The component.
#[derive(Debug)]
pub(crate) struct Retriever;

impl wit::Guest for Retriever {
    async fn retrieve(question: wit::Question) -> Result<wit::Found, wit::Error> {
        let (search, k) = search(question)?;
        Ok(found(search.run().await?, k))
    }
}

/// The search for the passages that are wanted and their rivals, and how many passages are wanted.
fn search(question: wit::Question) -> Result<(Search, u32), Error> {
    let filter = match &question.filter {
        Some(text) => filter::parse(&json::parse(text.as_bytes()).map_err(|error| error.with_param("filter"))?, "filter")?,
        None => Filter::default(),
    };
    let search = Search {
        text: question.text,
        embedding: None,
        collection: question.collection,
        mode: match question.mode {
            wit::Mode::Hybrid => search::Mode::Hybrid,
            wit::Mode::Dense => search::Mode::Dense,
            wit::Mode::Words => search::Mode::Words,
        },
        k: question.k,
        candidates: question.candidates,
        rerank: question.rerank,
        score_min: question.score_min,
        similarity_min: question.similarity_min,
        relevance: question.relevance,
        filter,
    };
    search.check(&Names::WIT)?;
    let rivals = question.rivals.unwrap_or_default();
    if rivals > PASSAGES_MAX {
        return Err(Error::invalid("rivals", &format!("must be 0 to {PASSAGES_MAX}")));
    }
    let k = search.k;
    Ok((Search { k: k + rivals, ..search }, k))
}

fn found(mut passages: Vec<Passage>, k: u32) -> wit::Found {
    let rivals = passages.split_off(passages.len().min(k as usize));
    wit::Found {
        passages: passages.into_iter().map(wit::Passage::from).collect(),
        rivals: rivals.iter().map(|passage| passage.score).collect(),
    }
}

impl From<Passage> for wit::Passage {
    fn from(passage: Passage) -> Self {
        Self {
            metadata: serde_json::to_string(&passage.others).expect("keys of a map of JSON are texts"),
            document: passage.document,
            index: passage.index,
            name: passage.name,
            title: passage.title,
            page: passage.page,
            start: passage.start,
            end: passage.end,
            heading: passage.heading,
            text: passage.text,
            score: passage.score,
            similarity: passage.similarity,
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        let code = match (error.status(), error.code()) {
            (403, _) => wit::Code::Denied,
            (429, "quota_exceeded") => wit::Code::Quota,
            (429 | 503, _) => wit::Code::Busy,
            (504, _) => wit::Code::Deadline,
            (_, "cancelled") => wit::Code::Cancelled,
            // A model that is not loaded is the operator's matter here: nobody asked for it by name.
            (_, "model_not_found") => wit::Code::Unavailable,
            (400..500, _) => wit::Code::Invalid,
            _ => wit::Code::Internal,
        };
        Self { code, message: error.message().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use tessera_sdk::vector::Field;
    use tessera_sdk::{inference, store};

    use super::*;
    use crate::passage::tests::passage;

    fn question() -> wit::Question {
        wit::Question {
            text: "q".into(),
            collection: None,
            mode: wit::Mode::Hybrid,
            k: 4,
            rivals: Some(16),
            candidates: None,
            rerank: true,
            score_min: None,
            similarity_min: None,
            relevance: None,
            filter: Some(r#"{"type": "pdf"}"#.into()),
        }
    }

    #[test]
    fn a_question_is_a_search() {
        let (search, k) = search(question()).expect("a good question");
        assert_eq!((search.text.as_str(), search.filter.all.len()), ("q", 1));
        assert_eq!((search.k, k), (20, 4), "rivals are searched as well");
    }

    #[test]
    fn a_malformed_question_is_invalid_and_the_message_says_why() {
        for (question, name) in [
            (wit::Question { filter: Some("{".into()), ..question() }, "JSON"),
            (wit::Question { filter: Some("[]".into()), ..question() }, "filter"),
            (wit::Question { k: 0, ..question() }, "k"),
            (wit::Question { rivals: Some(101), ..question() }, "rivals"),
        ] {
            let error = wit::Error::from(search(question).expect_err(name));
            assert!(matches!(error.code, wit::Code::Invalid) && error.message.contains(name), "{error:?}");
        }
    }

    #[test]
    fn of_rivals_there_are_scores_alone() {
        let scored = |score| Passage { score, ..passage(Vec::new()) };
        let found = |k| found([0.75, 0.5, 0.25].map(scored).into(), k);
        assert_eq!((found(1).passages.len(), found(1).rivals), (1, vec![0.5, 0.25]));
        assert_eq!((found(4).passages.len(), found(4).rivals), (3, vec![]));
    }

    #[test]
    fn what_the_host_says_has_its_word() {
        let of_store = |code| wit::Error::from(Error::from(store::Error::new(code, "m"))).code;
        let of_model = |code| wit::Error::from(Error::from(inference::Error::new(code, "m"))).code;
        assert!(matches!(of_store(store::ErrorCode::Denied), wit::Code::Denied));
        assert!(matches!(of_store(store::ErrorCode::Quota), wit::Code::Quota));
        assert!(matches!(of_store(store::ErrorCode::Overloaded), wit::Code::Busy));
        assert!(matches!(of_store(store::ErrorCode::Internal), wit::Code::Internal));
        assert!(matches!(of_model(inference::ErrorCode::Overloaded), wit::Code::Busy));
        assert!(matches!(of_model(inference::ErrorCode::Deadline), wit::Code::Deadline));
        assert!(matches!(of_model(inference::ErrorCode::UnknownModel), wit::Code::Unavailable));
        assert!(matches!(of_model(inference::ErrorCode::Cancelled), wit::Code::Cancelled));
    }

    #[test]
    fn fields_without_a_place_are_metadata() {
        let passage = wit::Passage::from(passage(vec![Field::text("type", "pdf"), Field::number("page", 2)]));
        assert_eq!((passage.page, passage.metadata.as_str()), (Some(2), r#"{"type":"pdf"}"#));
    }
}
