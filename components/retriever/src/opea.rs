//! `POST /v1/retrieval` as OPEA has it: EmbedDoc, RetrievalRequest and ChatCompletionRequest, each with its answer
//! (GenAIComps, `comps/retrievers` and `comps/cores/proto`).

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tessera_sdk::opea::{self, SearchType};
use tessera_sdk::{Error, Response, id, json};

use crate::filter;
use crate::passage::Passage;
use crate::search::{Mode, Names, Search};

/// A request: what is looked for, and in which shape the answer is wanted.
#[derive(Debug)]
pub(crate) struct Call {
    shape: Shape,
    top_n: u32,
}

/// Whose answer is wanted.
#[derive(Debug)]
enum Shape {
    /// EmbedDoc in, SearchedDoc out: the question.
    Embed(String),
    /// RetrievalRequest in, RetrievalResponse out.
    Retrieval,
    /// ChatCompletionRequest in; the same out, with the passages in it.
    Chat(Map<String, Value>),
}

/// Fields of all three shapes.
#[derive(Debug, Deserialize)]
struct Body {
    text: Option<String>,
    input: Option<Value>,
    messages: Option<IgnoredAny>,
    embedding: Option<Embedding>,
    search_type: Option<SearchType>,
    k: Option<u32>,
    fetch_k: Option<u32>,
    lambda_mult: Option<f32>,
    score_threshold: Option<f32>,
    distance_threshold: Option<f32>,
    constraints: Option<Value>,
    index_name: Option<String>,
    top_n: Option<u32>,
    mode: Option<HowToSearch>,
    rerank: Option<bool>,
    filter: Option<Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HowToSearch {
    Dense,
    Text,
    Hybrid,
}

/// A vector as it is, or the answer of an embeddings service with one vector in it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a list of numbers, or an embeddings response with one")]
enum Embedding {
    Vector(Vec<f32>),
    Response { data: [Embedded; 1] },
}

#[derive(Debug, Deserialize)]
struct Embedded {
    embedding: Vec<f32>,
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 that names the field at fault.
    pub(crate) fn parse(body: &[u8]) -> Result<(Self, Search), Error> {
        let fields: Body = json::parse(body)?;
        let (text_name, text, shape) = match &fields {
            Body { messages: Some(_), .. } => {
                let chat: Map<String, Value> = json::parse(body)?;
                ("messages", opea::question(&chat)?, Shape::Chat(chat))
            }
            Body { text: Some(text), .. } => ("text", text.clone(), Shape::Embed(text.clone())),
            Body { input: Some(Value::String(input)), .. } => ("input", input.clone(), Shape::Retrieval),
            Body { input: Some(_), .. } => return Err(Error::invalid("input", "must be a string")),
            Body { .. } => return Err(Error::missing_one_of(&["text", "input", "messages"])),
        };
        let top_n = fields.top_n.unwrap_or(1);
        let (search, names) = search(fields, text, text_name)?;
        search.check(&names)?;
        Ok((Self { shape, top_n }, search))
    }

    /// The response: the passages, the best first.
    pub(crate) fn into_reply(self, passages: &[Passage]) -> Response {
        match self.shape {
            Shape::Embed(question) => Response::json(200, &Searched::new(&question, passages, self.top_n)),
            Shape::Retrieval => Response::json(200, &Retrieved { retrieved_docs: found(passages) }),
            Shape::Chat(mut chat) => {
                let texts: Vec<&str> = passages.iter().map(|passage| passage.text.as_str()).collect();
                chat.insert("documents".to_owned(), texts.into());
                chat.remove("retrieved_docs");
                Response::json(200, &Chat { chat: &chat, retrieved_docs: found(passages) })
            }
        }
    }
}

/// What the fields mean together. `text_name` is the field that the question came from.
fn search(fields: Body, text: String, text_name: &'static str) -> Result<(Search, Names), Error> {
    let embedding = fields.embedding.map(Embedding::into_vector).transpose()?;
    // Whoever gives no more than a vector wants what is near to it.
    let (mode, rerank) = match &embedding {
        Some(_) => (if text.trim().is_empty() { Mode::Dense } else { Mode::Hybrid }, false),
        None => (Mode::Hybrid, true),
    };
    let mut tests = fields.filter.as_ref().map(|filter| filter::parse(filter, "filter")).transpose()?.unwrap_or_default();
    if let Some(constraints) = &fields.constraints {
        filter::merge(&mut tests, filter::parse_constraints(constraints)?);
    }
    let mut search = Search {
        text,
        embedding,
        collection: fields.index_name,
        mode: fields.mode.map_or(mode, Mode::from),
        k: fields.k.unwrap_or(SearchType::K),
        candidates: None,
        rerank: fields.rerank.unwrap_or(rerank),
        score_min: None,
        similarity_min: None,
        relevance: None,
        filter: tests,
    };
    let mut names = Names {
        text: text_name,
        candidates: "fetch_k",
        score_min: "score_threshold",
        similarity_min: "score_threshold",
        relevance: "lambda_mult",
    };
    match fields.search_type.unwrap_or_default() {
        SearchType::Similarity => search.candidates = fields.fetch_k,
        SearchType::SimilarityScoreThreshold => {
            search.candidates = fields.fetch_k;
            search.similarity_min = Some(fields.score_threshold.unwrap_or(SearchType::SCORE_THRESHOLD));
        }
        SearchType::SimilarityDistanceThreshold => {
            let distance = fields.distance_threshold.ok_or_else(|| {
                let message = "missing required parameter `distance_threshold`, which `similarity_distance_threshold` needs";
                Error::new(400, "missing_required_parameter", message).with_param("distance_threshold")
            })?;
            search.candidates = fields.fetch_k;
            search.similarity_min = Some(1.0 - distance);
            names.similarity_min = "distance_threshold";
        }
        SearchType::Mmr => {
            search.candidates = Some(fields.fetch_k.unwrap_or(SearchType::FETCH_K));
            search.relevance = Some(fields.lambda_mult.unwrap_or(SearchType::LAMBDA_MULT));
        }
    }
    Ok((search, names))
}

impl Embedding {
    fn into_vector(self) -> Result<Vec<f32>, Error> {
        let vector = match self {
            Self::Vector(vector) => vector,
            Self::Response { data: [embedded] } => embedded.embedding,
        };
        // A number of JSON may be greater than any of 32 bits.
        if vector.is_empty() || !vector.iter().all(|number| number.is_finite()) {
            return Err(Error::invalid("embedding", "must have at least one number, and finite ones"));
        }
        Ok(vector)
    }
}

impl From<HowToSearch> for Mode {
    fn from(how: HowToSearch) -> Self {
        match how {
            HowToSearch::Dense => Self::Dense,
            HowToSearch::Text => Self::Words,
            HowToSearch::Hybrid => Self::Hybrid,
        }
    }
}

/// OPEA's SearchedDoc.
#[derive(Serialize)]
struct Searched<'a> {
    id: String,
    retrieved_docs: Vec<TextDoc<'a>>,
    initial_query: &'a str,
    top_n: u32,
    metadata: &'a [Passage],
}

/// OPEA's TextDoc.
#[derive(Serialize)]
struct TextDoc<'a> {
    downstream_black_list: [&'a str; 0],
    id: String,
    text: &'a str,
}

impl<'a> Searched<'a> {
    fn new(question: &'a str, passages: &'a [Passage], top_n: u32) -> Self {
        let doc = |passage: &'a Passage| TextDoc { downstream_black_list: [], id: passage.id(), text: &passage.text };
        let retrieved_docs = passages.iter().map(doc).collect();
        Self { id: id::new(), retrieved_docs, initial_query: question, top_n, metadata: passages }
    }
}

/// OPEA's RetrievalResponse.
#[derive(Serialize)]
struct Retrieved<'a> {
    retrieved_docs: Vec<Found<'a>>,
}

/// OPEA's RetrievalResponseData.
#[derive(Serialize)]
struct Found<'a> {
    text: &'a str,
    metadata: &'a Passage,
}

/// A chat with what was found for it.
#[derive(Serialize)]
struct Chat<'a> {
    #[serde(flatten)]
    chat: &'a Map<String, Value>,
    retrieved_docs: Vec<Found<'a>>,
}

fn found(passages: &[Passage]) -> Vec<Found<'_>> {
    passages.iter().map(|passage| Found { text: &passage.text, metadata: passage }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tessera_sdk::vector::Field;

    use super::*;
    use crate::passage::tests::passage;

    fn parse(body: &Value) -> Result<(Call, Search), Error> {
        Call::parse(body.to_string().as_bytes())
    }

    fn search_of(body: Value) -> Search {
        parse(&body).unwrap_or_else(|error| panic!("{body}: {error}")).1
    }

    fn reply(body: &Value) -> Value {
        let (call, _) = parse(body).expect("fits");
        let response = call.into_reply(&[passage(vec![Field::text("name", "a.md")])]);
        serde_json::from_slice(response.whole().expect("whole")).expect("JSON")
    }

    #[test]
    fn an_embed_doc_becomes_a_searched_doc() {
        let answer = reply(&json!({"text": "q", "embedding": [0.5, 1]}));
        assert_eq!((&answer["initial_query"], &answer["top_n"]), (&json!("q"), &json!(1)));
        assert_eq!(answer["retrieved_docs"], json!([{"downstream_black_list": [], "id": "d#3", "text": "a passage"}]));
        assert_eq!(answer["metadata"][0]["name"], "a.md");
        assert_eq!(answer["id"].as_str().map(str::len), Some(id::LENGTH));
    }

    #[test]
    fn a_retrieval_request_gets_texts_with_metadata() {
        let answer = reply(&json!({"input": "q"}));
        assert_eq!(answer["retrieved_docs"][0]["text"], "a passage");
        assert_eq!(answer["retrieved_docs"][0]["metadata"]["score"], 0.75);
    }

    #[test]
    fn a_chat_comes_back_with_what_was_found() {
        let body = json!({"messages": [{"role": "user", "content": "q"}], "model": "m", "retrieved_docs": []});
        let answer = reply(&body);
        assert_eq!((&answer["messages"], &answer["model"]), (&body["messages"], &json!("m")));
        assert_eq!((&answer["documents"], &answer["retrieved_docs"][0]["text"]), (&json!(["a passage"]), &json!("a passage")));
        assert_eq!(search_of(body).text, "q");
        assert_eq!(search_of(json!({"messages": "m", "input": "i"})).text, "i");
    }

    #[test]
    fn a_question_alone_is_searched_in_both_ways_and_reranked() {
        let search = search_of(json!({"text": "q"}));
        assert_eq!((search.mode, search.rerank, search.k, search.candidates), (Mode::Hybrid, true, 4, None));
    }

    #[test]
    fn a_vector_is_taken_as_it_is_or_from_an_embeddings_response() {
        let row = json!({"embedding": [1, 2.5], "index": 0, "object": "embedding"});
        for embedding in [json!([1, 2.5]), json!({"object": "list", "data": [row]})] {
            let search = search_of(json!({"input": "q", "embedding": embedding}));
            assert_eq!((search.embedding, search.rerank), (Some(vec![1.0, 2.5]), false));
        }
        let search = search_of(json!({"text": "", "embedding": [1]}));
        assert_eq!(search.mode, Mode::Dense);
    }

    #[test]
    fn search_types_are_thresholds_or_a_choice() {
        let body = |of: Value| {
            let mut body = json!({"text": "q", "k": 5, "fetch_k": 30, "lambda_mult": 0.25, "score_threshold": 0.5, "distance_threshold": 0.75});
            body["search_type"] = of;
            let search = search_of(body);
            (search.similarity_min, search.relevance, search.candidates)
        };
        assert_eq!(body(json!("similarity")), (None, None, Some(30)));
        assert_eq!(body(json!("similarity_score_threshold")), (Some(0.5), None, Some(30)));
        assert_eq!(body(json!("similarity_distance_threshold")), (Some(0.25), None, Some(30)));
        assert_eq!(body(json!("mmr")), (None, Some(0.25), Some(30)));
    }

    #[test]
    fn search_types_have_the_defaults_of_opea() {
        let search = search_of(json!({"text": "q", "search_type": "similarity_score_threshold"}));
        assert_eq!(search.similarity_min, Some(0.2));
        let search = search_of(json!({"text": "q", "search_type": "mmr"}));
        assert_eq!((search.relevance, search.candidates), (Some(0.5), Some(20)));
    }

    #[test]
    fn filters_and_constraints_hold_together() {
        let search = search_of(json!({"text": "q", "filter": {"type": "pdf"}, "constraints": {"page": [">=", 2]}}));
        assert_eq!(search.filter.all.len(), 2);
    }

    #[test]
    fn nulls_are_as_good_as_nothing() {
        let body = json!({
            "text": "q", "embedding": null, "search_type": null, "k": null, "constraints": null, "index_name": null,
            "distance_threshold": null, "input": null, "messages": null,
        });
        assert_eq!(search_of(body).k, 4);
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            (json!({}), "text"),
            (json!({"text": ""}), "text"),
            (json!({"text": 5}), "text"),
            (json!({"input": ["q"]}), "input"),
            (json!({"input": ""}), "input"),
            (json!({"messages": []}), "messages"),
            (json!({"text": "q", "k": 0}), "k"),
            (json!({"text": "q", "k": 101}), "k"),
            (json!({"text": "q", "k": -1}), "k"),
            (json!({"text": "q", "fetch_k": 0}), "fetch_k"),
            (json!({"text": "q", "embedding": []}), "embedding"),
            (json!({"text": "q", "embedding": "x"}), "embedding"),
            (json!({"text": "q", "embedding": [1e300]}), "embedding"),
            (json!({"text": "q", "embedding": {"data": []}}), "embedding"),
            (json!({"text": "q", "search_type": "best"}), "search_type"),
            (json!({"text": "q", "search_type": "similarity_distance_threshold"}), "distance_threshold"),
            (
                json!({"text": "q", "search_type": "similarity_distance_threshold", "distance_threshold": 3}),
                "distance_threshold",
            ),
            (json!({"text": "q", "search_type": "similarity_score_threshold", "score_threshold": 2}), "score_threshold"),
            (json!({"text": "q", "search_type": "mmr", "lambda_mult": 2}), "lambda_mult"),
            (json!({"text": "q", "search_type": "mmr", "mode": "text"}), "lambda_mult"),
            (json!({"text": "q", "mode": "best"}), "mode"),
            (json!({"text": "q", "filter": 5}), "filter"),
            (json!({"text": "q", "constraints": {"a": null}}), "constraints.a"),
        ];
        for (body, param) in cases {
            let error = parse(&body).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}: {error}");
        }
    }
}
