//! all-MiniLM-L6-v2 against sentence-transformers, through the engine.

use std::sync::OnceLock;

use engine::{
    EmbedJob, EmbedTokensJob, Embeddings, Engine, EngineConfig, Input, JobError, Normalize, Prompt, RerankJob, Truncation,
};
use futures::future::join_all;
use serde::Deserialize;
use tests::{golden, models};

use super::expected::assert_close;

const MODEL: &str = "all-minilm-l6-v2";
const WIDTH: usize = 384;

/// `reference.json`, as far as it is compared.
#[derive(Deserialize)]
struct Reference {
    labels: Vec<String>,
    tokens: Vec<u32>,
    truncated: Vec<bool>,
    ids: Vec<IdsOfText>,
}

#[derive(Deserialize)]
struct IdsOfText {
    text: usize,
    ids: Vec<u32>,
}

/// `rerank.json`, as far as it is compared.
#[derive(Deserialize)]
struct RerankReference {
    query: String,
    documents: Vec<String>,
    query_tokens: u32,
    document_tokens: Vec<u32>,
    scores: Vec<f32>,
    order: Vec<usize>,
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read(golden("minilm").join(name)).expect("the golden file is there");
    serde_json::from_slice(&text).expect("the golden file is good")
}

fn texts() -> Vec<String> {
    read("texts.json")
}

fn reference_vectors() -> Vec<Vec<f32>> {
    let bytes = std::fs::read(golden("minilm").join("vectors.f32")).expect("the golden file is there");
    let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    values.chunks_exact(WIDTH).map(<[f32]>::to_vec).collect()
}

/// One engine for all these tests, so that the model is loaded once.
fn minilm() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| start(EngineConfig::default().batch_tokens_max))
}

fn start(batch_tokens_max: usize) -> Engine {
    let config = EngineConfig { models: models(), batch_tokens_max, ..EngineConfig::default() };
    let engine = Engine::start(&config).expect("the engine starts");
    assert!(engine.models().any(|card| card.name == MODEL), "run `make models` first: {:?}", engine.failures());
    engine
}

fn job(inputs: Vec<Input>) -> EmbedJob {
    EmbedJob {
        model: MODEL.into(),
        inputs,
        prompt: Prompt::Standard,
        truncation: Truncation::Cut,
        normalize: Normalize::AsModel,
        dimensions: None,
        account: None,
    }
}

fn job_of(texts: &[&str]) -> EmbedJob {
    job(texts.iter().map(|&text| Input::Text(text.into())).collect())
}

fn rows(embeddings: &Embeddings) -> Vec<Vec<f32>> {
    embeddings.values.chunks_exact(embeddings.dimensions).map(<[f32]>::to_vec).collect()
}

/// Every text's vector when all are one job: what the other tests compare with.
async fn all_vectors() -> Vec<Vec<f32>> {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    rows(&minilm().embed(job_of(&texts)).await.expect("embeds"))
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn every_text_has_the_vector_that_sentence_transformers_computes() {
    let (reference, expected): (Reference, _) = (read("reference.json"), reference_vectors());
    let vectors = all_vectors().await;
    assert!(expected.len() >= 60, "the goldens hold at least 60 texts");
    assert_eq!(vectors.len(), expected.len());
    for ((label, vector), expected) in reference.labels.iter().zip(&vectors).zip(&expected) {
        let cosine = cosine(vector, expected);
        assert!(cosine >= 0.9999, "{label}: cosine {cosine}");
    }
    assert_close("minilm", &vectors, &expected, 1e-4);
}

#[tokio::test]
async fn token_counts_and_cuts_are_those_of_the_reference() {
    let reference: Reference = read("reference.json");
    let done = minilm().embed(job(texts().into_iter().map(Input::Text).collect())).await.expect("embeds");
    assert_eq!(done.usage.iter().map(|usage| usage.tokens).collect::<Vec<_>>(), reference.tokens);
    assert_eq!(done.usage.iter().map(|usage| usage.truncated).collect::<Vec<_>>(), reference.truncated);
    assert!(reference.truncated.contains(&true) && reference.truncated.contains(&false));
}

#[tokio::test]
async fn a_text_alone_has_the_vector_that_it_has_in_a_batch() {
    let together = all_vectors().await;
    for (text, together) in texts().iter().zip(together) {
        let alone = minilm().embed(job_of(&[text])).await.expect("embeds");
        assert_close(text, &rows(&alone), &[together], 1e-5);
    }
}

#[tokio::test]
async fn a_text_has_the_same_vector_in_any_batch() {
    let (texts, together) = (texts(), all_vectors().await);
    let small = start(300);
    for (seed, engine) in [(1, minilm()), (2, minilm()), (3, &small)] {
        let groups = shuffled_groups(texts.len(), seed);
        let jobs = groups.iter().map(|group| {
            let texts: Vec<&str> = group.iter().map(|&index| texts[index].as_str()).collect();
            engine.embed(job_of(&texts))
        });
        for (group, done) in groups.iter().zip(join_all(jobs).await) {
            let expected: Vec<_> = group.iter().map(|&index| together[index].clone()).collect();
            assert_close(&format!("seed {seed}, texts {group:?}"), &rows(&done.expect("embeds")), &expected, 1e-5);
        }
    }
}

/// All indices, in random order, in groups of random length: the same for the same seed.
fn shuffled_groups(count: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut state = seed;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits fit") % limit
    };
    let mut left: Vec<usize> = (0..count).collect();
    let mut groups = Vec::new();
    while !left.is_empty() {
        let length = 1 + below(left.len().min(17));
        groups.push((0..length).map(|_| left.swap_remove(below(left.len()))).collect());
    }
    groups
}

#[tokio::test]
async fn token_ids_have_the_vector_of_their_text() {
    let (reference, texts): (Reference, _) = (read("reference.json"), texts());
    assert!(!reference.ids.is_empty());
    for IdsOfText { text, ids } in reference.ids {
        let done = minilm().embed(job(vec![Input::Text(texts[text].clone()), Input::Ids(ids.clone())])).await.expect("embeds");
        let rows = rows(&done);
        assert_close(&reference.labels[text], &rows[1..], &rows[..1], 1e-5);
        assert_eq!(done.usage[1].tokens as usize, ids.len());
    }
}

#[tokio::test]
async fn too_long_an_input_is_refused_where_cutting_is_not_allowed() {
    let long = "river ".repeat(300);
    for input in [Input::Text(long.clone()), Input::Ids(vec![2314; 257])] {
        let refused = EmbedJob { truncation: Truncation::Refuse, ..job(vec![Input::Text("short".into()), input.clone()]) };
        assert_eq!(minilm().embed(refused).await.err(), Some(JobError::TooLong { index: 1, tokens_max: 256 }));
        let cut = minilm().embed(job(vec![input])).await.expect("is cut");
        assert_eq!((cut.usage[0].tokens, cut.usage[0].truncated), (256, true));
    }
}

#[tokio::test]
async fn fewer_dimensions_are_the_first_ones_scaled_to_length_1() {
    let whole = rows(&minilm().embed(job_of(&["a lamp"])).await.expect("embeds")).remove(0);
    let done = minilm().embed(EmbedJob { dimensions: Some(64), ..job_of(&["a lamp"]) }).await.expect("embeds");
    let length = whole[..64].iter().map(|value| value * value).sum::<f32>().sqrt();
    let expected = whole[..64].iter().map(|value| value / length).collect();
    assert_eq!(done.dimensions, 64);
    assert_close("64 dimensions", &rows(&done), &[expected], 1e-6);
    for dimensions in [0, 385] {
        let error = minilm().embed(EmbedJob { dimensions: Some(dimensions), ..job_of(&["a lamp"]) }).await;
        assert!(matches!(error, Err(JobError::InvalidInput(reason)) if reason.contains("1 to 384")), "{dimensions}");
    }
}

#[tokio::test]
async fn vectors_that_are_not_normalised_differ_in_length_only() {
    let vector =
        async |normalize| rows(&minilm().embed(EmbedJob { normalize, ..job_of(&["a lamp"]) }).await.expect("embeds")).remove(0);
    let (raw, unit) = (vector(Normalize::Never).await, vector(Normalize::Always).await);
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() > 0.1, "the raw vector has another length than 1: {length}");
    assert_close("scaled", &[raw.iter().map(|value| value / length).collect()], &[unit], 1e-6);
}

#[tokio::test]
async fn late_interaction_scores_are_those_of_the_reference() {
    let expected: RerankReference = read("rerank.json");
    let RerankReference { query, documents, .. } = expected;
    let job =
        RerankJob { model: MODEL.into(), query, documents, truncation: Truncation::Cut, raw_scores: false, account: None };
    let scores = minilm().rerank(job.clone()).await.expect("scores");
    assert_close("scores", std::slice::from_ref(&scores.values), std::slice::from_ref(&expected.scores), 1e-4);
    let mut order: Vec<usize> = (0..scores.values.len()).collect();
    order.sort_by(|&a, &b| scores.values[b].total_cmp(&scores.values[a]));
    assert_eq!(order, expected.order);
    let mut tokens = expected.document_tokens;
    tokens[0] += expected.query_tokens;
    assert_eq!(scores.usage.iter().map(|usage| usage.tokens).collect::<Vec<_>>(), tokens);
    for (document, score) in job.documents.iter().zip(&scores.values) {
        let alone = minilm().rerank(RerankJob { documents: vec![document.clone()], ..job.clone() }).await.expect("scores");
        assert_close(document, &[alone.values], &[vec![*score]], 1e-5);
    }
}

#[tokio::test]
async fn token_vectors_give_the_scores_of_a_rerank_and_the_vectors_of_an_embed() {
    let RerankReference { query, documents, .. } = read("rerank.json");
    let rerank = RerankJob {
        model: MODEL.into(),
        query: query.clone(),
        documents: documents.clone(),
        truncation: Truncation::Cut,
        raw_scores: false,
        account: None,
    };
    let scores = minilm().rerank(rerank).await.expect("scores");
    let texts: Vec<&str> = std::iter::once(&query).chain(&documents).map(String::as_str).collect();
    let embed = job_of(&texts);
    let whole = minilm().embed(embed.clone()).await.expect("embeds");
    let before = minilm().stats().tokens;
    let made = minilm().embed_tokens(EmbedTokensJob { embed, answer_bytes_max: usize::MAX }).await.expect("embeds");
    assert_eq!((made.dimensions, &made.usage), (WIDTH, &whole.usage));
    assert!(minilm().stats().tokens > before, "the model has read them");
    assert_close("pooled", &[made.pooled], std::slice::from_ref(&whole.values), 1e-5);
    let mut tokens = made.values.chunks_exact(WIDTH);
    let mut inputs = made.usage.iter().map(|usage| tokens.by_ref().take(usage.tokens as usize).collect::<Vec<_>>());
    let query = inputs.next().expect("the query is first");
    let best = |document: &[&[f32]], token: &[f32]| document.iter().map(|other| cosine(token, other)).fold(f32::MIN, f32::max);
    let max_sim = |document: Vec<&[f32]>| query.iter().map(|token| best(&document, token)).sum::<f32>() / query.len() as f32;
    assert_close("scores", &[inputs.map(max_sim).collect()], &[scores.values], 1e-5);
}

#[tokio::test]
async fn prompts_of_the_models_files_go_before_the_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let prompted = folder.path().join("prompted");
    std::fs::create_dir(&prompted).expect("a folder");
    for entry in std::fs::read_dir(models().join(MODEL)).expect("run `make models` first") {
        let entry = entry.expect("lists");
        std::os::unix::fs::symlink(entry.path(), prompted.join(entry.file_name())).expect("links");
    }
    // What follows is not the model that was recorded.
    std::fs::remove_file(prompted.join(engine::RECORD)).expect("MiniLM was pulled");
    let config = prompted.join("config_sentence_transformers.json");
    std::fs::remove_file(&config).expect("MiniLM has this file");
    std::fs::write(&config, r#"{"prompts": {"query": "question: ", "passage": "answer: "}, "default_prompt_name": "passage"}"#)
        .expect("writes");
    let engine = Engine::start(&EngineConfig { models: folder.path().into(), ..EngineConfig::default() }).expect("starts");
    let embed = async |prompt| engine.embed(EmbedJob { model: "prompted".into(), prompt, ..job_of(&["a lamp"]) }).await;
    for (prompt, text) in [
        (Prompt::Standard, "answer: a lamp"),
        (Prompt::Query, "question: a lamp"),
        (Prompt::Document, "answer: a lamp"),
        (Prompt::Named("query".into()), "question: a lamp"),
    ] {
        let plain = minilm().embed(job_of(&[text])).await.expect("embeds");
        assert_close(text, &rows(&embed(prompt).await.expect("embeds")), &rows(&plain), 1e-5);
    }
    let error = embed(Prompt::Named("no-such".into())).await.expect_err("unknown prompt");
    assert!(error.to_string().contains("passage, query"), "{error}");
    let plain = minilm().embed(EmbedJob { prompt: Prompt::Query, ..job_of(&["a lamp"]) }).await.expect("no prompt, no change");
    assert_close(
        "a model without prompts",
        &rows(&plain),
        &rows(&minilm().embed(job_of(&["a lamp"])).await.expect("embeds")),
        1e-6,
    );
}
