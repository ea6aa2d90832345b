//! One search, whoever asks for it: what is looked for, checked, and how the host is asked.

use tessera_sdk::embed::{self, Options, Prompt};
use tessera_sdk::inference;
use tessera_sdk::vector::{self, Filter, Query};
use tessera_sdk::{Error, config, store};

use crate::passage::Passage;

/// Most passages of one answer.
pub(crate) const PASSAGES_MAX: u32 = 100;

/// Most passages that a search finds to choose from.
pub(crate) const CANDIDATES_MAX: u32 = 1000;

/// Longest question, in bytes. What a model does not read of it is cut off.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Where documents are if nobody says otherwise.
const COLLECTION: &str = "documents";

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By meaning and by words.
    Hybrid,
    /// By meaning.
    Dense,
    /// By words.
    Words,
}

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) text: String,
    /// The question's vector; none to have the host embed the text.
    pub(crate) embedding: Option<Vec<f32>>,
    pub(crate) collection: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) k: u32,
    pub(crate) candidates: Option<u32>,
    pub(crate) rerank: bool,
    pub(crate) score_min: Option<f32>,
    pub(crate) similarity_min: Option<f32>,
    pub(crate) relevance: Option<f32>,
    pub(crate) filter: Filter,
}

/// What clients call the fields of a search, for messages that name them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) text: &'static str,
    pub(crate) candidates: &'static str,
    pub(crate) score_min: &'static str,
    pub(crate) similarity_min: &'static str,
    pub(crate) relevance: &'static str,
}

impl Names {
    /// The names of WIT, as they are written in JSON.
    pub(crate) const WIT: Self = Self {
        text: "text",
        candidates: "candidates",
        score_min: "score_min",
        similarity_min: "similarity_min",
        relevance: "relevance",
    };
}

impl Search {
    /// Refuses what is out of its range.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(crate) fn check(&self, names: &Names) -> Result<(), Error> {
        if self.text.trim().is_empty() && self.needs_text() {
            return Err(Error::invalid(names.text, "cannot be empty"));
        }
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(Error::invalid(names.text, &format!("is longer than {TEXT_BYTES_MAX} bytes")));
        }
        if !(1..=PASSAGES_MAX).contains(&self.k) {
            return Err(Error::invalid("k", &format!("must be 1 to {PASSAGES_MAX}")));
        }
        if self.candidates.is_some_and(|count| !(1..=CANDIDATES_MAX).contains(&count)) {
            return Err(Error::invalid(names.candidates, &format!("must be 1 to {CANDIDATES_MAX}")));
        }
        if self.score_min.is_some_and(|score| !score.is_finite()) {
            return Err(Error::invalid(names.score_min, "must be a number"));
        }
        if self.similarity_min.is_some_and(|cosine| !(-1.0..=1.0).contains(&cosine)) {
            return Err(Error::invalid(names.similarity_min, "is out of the range of cosines"));
        }
        if self.relevance.is_some_and(|relevance| !(0.0..=1.0).contains(&relevance)) {
            return Err(Error::invalid(names.relevance, "must be 0 to 1"));
        }
        let of_meaning = [
            ("embedding", self.embedding.is_some()),
            (names.similarity_min, self.similarity_min.is_some()),
            (names.relevance, self.relevance.is_some()),
        ];
        match of_meaning.iter().find(|(_, is_given)| *is_given && self.mode == Mode::Words) {
            Some((name, _)) => Err(Error::invalid(name, "needs a search by meaning: the mode `dense` or `hybrid`")),
            None => Ok(()),
        }
    }

    /// Whether the text is read at all.
    fn needs_text(&self) -> bool {
        self.mode != Mode::Dense || self.rerank || self.embedding.is_none()
    }

    /// Finds the passages, the best first.
    ///
    /// # Errors
    /// Those of the host, as the client shall see them.
    pub(crate) async fn run(self) -> Result<Vec<Passage>, Error> {
        let collection = self.collection.clone().or_else(|| config::get("collection"));
        let collection = collection.unwrap_or_else(|| COLLECTION.to_owned());
        let (score_min, has_embedding) = (self.score_min, self.embedding.is_some());
        let passage = if self.relevance.is_some() { Passage::chosen } else { Passage::from };
        let vectors = self.embed().await.inspect_err(|error| error.log_if_internal("embedding the question"))?;
        let hits = vector::find(&collection, self.into_query(vectors)).await.map_err(|error| refused(error, has_embedding))?;
        let passages = hits.into_iter().map(passage);
        Ok(passages.filter(|passage| score_min.is_none_or(|least| passage.score >= least)).collect())
    }

    /// Embeds the question, once: as a whole, or with its tokens where those are wanted.
    async fn embed(&self) -> Result<Vectors, inference::Error> {
        let options = Options { prompt: Prompt::Query, truncate: true, ..Options::default() };
        if self.rerank {
            let made = embed::embed_tokens([self.text.as_str()], options).await?;
            return Ok(Vectors { model: Some(made.model), whole: Some(made.pooled), tokens: made.values });
        }
        if self.mode == Mode::Words || self.embedding.is_some() {
            return Ok(Vectors::default());
        }
        let made = embed::embed([self.text.as_str()], options).await?;
        Ok(Vectors { model: Some(made.model), whole: Some(made.values), tokens: Vec::new() })
    }

    fn into_query(self, vectors: Vectors) -> Query {
        // A vector of the client's own was made by a model that nobody has named.
        let (vector, embedder) = match (self.mode, self.embedding) {
            (Mode::Words, _) => (None, vectors.model),
            (_, Some(embedding)) => (Some(embedding), None),
            (_, None) => (vectors.whole, vectors.model),
        };
        Query {
            vector,
            embedder,
            text: (self.mode != Mode::Dense).then_some(self.text),
            token_vectors: vectors.tokens,
            filter: self.filter,
            k: self.k,
            candidates: self.candidates.map(|count| count.max(self.k)),
            similarity_min: self.similarity_min,
            relevance: self.relevance,
        }
    }
}

/// The vectors of a question, those that are needed.
#[derive(Debug, Default)]
struct Vectors {
    /// Registry name of the model that made them.
    model: Option<String>,
    whole: Option<Vec<f32>>,
    tokens: Vec<f32>,
}

/// What the store says against a vector that the client gave, as its length, is about the client's `embedding`.
fn refused(error: store::Error, has_embedding: bool) -> Error {
    let is_of_vector = has_embedding && error.code == store::ErrorCode::InvalidInput && error.message.starts_with("`vector`");
    if is_of_vector {
        return Error::bad_request(error.message.replacen("`vector`", "`embedding`", 1)).with_param("embedding");
    }
    error.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn search() -> Search {
        Search {
            text: "q".into(),
            embedding: None,
            collection: None,
            mode: Mode::Hybrid,
            k: 4,
            candidates: None,
            rerank: true,
            score_min: None,
            similarity_min: None,
            relevance: None,
            filter: Filter::default(),
        }
    }

    fn vectors() -> Vectors {
        Vectors { model: Some("m".into()), whole: Some(vec![1.0]), tokens: vec![2.0, 3.0] }
    }

    #[test]
    fn the_mode_says_what_is_looked_for() {
        let query = |mode| Search { mode, ..search() }.into_query(vectors());
        let hybrid = query(Mode::Hybrid);
        assert_eq!((hybrid.vector, hybrid.text, hybrid.embedder), (Some(vec![1.0]), Some("q".into()), Some("m".into())));
        let dense = query(Mode::Dense);
        assert_eq!((dense.vector, dense.text), (Some(vec![1.0]), None));
        let words = query(Mode::Words);
        assert_eq!((words.vector, words.text, words.token_vectors), (None, Some("q".into()), vec![2.0, 3.0]));
    }

    #[test]
    fn a_vector_of_the_client_is_taken_in_the_place_of_ours() {
        let query = Search { embedding: Some(vec![7.0]), ..search() }.into_query(vectors());
        assert_eq!((query.vector, query.embedder), (Some(vec![7.0]), None));
    }

    #[test]
    fn there_are_as_many_candidates_as_passages_at_least() {
        let candidates = |count| Search { candidates: count, ..search() }.into_query(vectors()).candidates;
        assert_eq!([candidates(None), candidates(Some(2)), candidates(Some(20))], [None, Some(4), Some(20)]);
    }

    #[test]
    fn what_is_out_of_its_range_is_named() {
        let cases = [
            ("text", Search { text: " ".into(), ..search() }),
            ("text", Search { text: " ".into(), embedding: Some(vec![1.0]), ..search() }),
            ("text", Search { text: "a".repeat(TEXT_BYTES_MAX + 1), ..search() }),
            ("k", Search { k: 0, ..search() }),
            ("k", Search { k: PASSAGES_MAX + 1, ..search() }),
            ("candidates", Search { candidates: Some(0), ..search() }),
            ("candidates", Search { candidates: Some(CANDIDATES_MAX + 1), ..search() }),
            ("score_min", Search { score_min: Some(f32::NAN), ..search() }),
            ("similarity_min", Search { similarity_min: Some(1.5), ..search() }),
            ("relevance", Search { relevance: Some(-0.1), ..search() }),
            ("embedding", Search { mode: Mode::Words, embedding: Some(vec![1.0]), ..search() }),
            ("similarity_min", Search { mode: Mode::Words, similarity_min: Some(0.5), ..search() }),
            ("relevance", Search { mode: Mode::Words, relevance: Some(0.5), ..search() }),
        ];
        for (param, search) in cases {
            let error = search.check(&Names::WIT).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{error}");
        }
    }

    #[test]
    fn a_vector_alone_is_a_question_by_meaning() {
        let search = Search { text: String::new(), embedding: Some(vec![1.0]), mode: Mode::Dense, rerank: false, ..search() };
        assert_eq!(search.check(&Names::WIT), Ok(()));
    }

    #[test]
    fn what_the_store_says_of_a_vector_is_about_the_embedding_of_the_client() {
        let error = |message: &str| store::Error::new(store::ErrorCode::InvalidInput, message);
        let of_embedding = refused(error("`vector` has 3 numbers, the collection's vectors have 4"), true);
        assert_eq!((of_embedding.status(), of_embedding.param()), (400, Some("embedding")));
        assert_eq!(of_embedding.message(), "`embedding` has 3 numbers, the collection's vectors have 4");
        assert_eq!(refused(error("`vector` is zero"), false).param(), None);
        assert_eq!(refused(error("the name is too long"), true).param(), None);
    }
}
