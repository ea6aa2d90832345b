//! rampart-pii against onnxruntime, through the engine: weights of 4 bits in an ONNX file, labels of tokens, parts of texts.

use std::sync::OnceLock;

use engine::{ClassifyJob, DeviceSpec, Engine, EngineConfig, Entity, JobError, Model, ModelTask, Truncation};
use serde::Deserialize;
use tests::{golden, models};

use super::expected::assert_close;

const MODEL: &str = "rampart-pii";
const LABELS: usize = 35;
/// Sums are in another order than in the reference, over six layers; logits reach from -10 to 15.
const TOLERANCE: f32 = 2e-3;

#[derive(Deserialize)]
struct Reference {
    texts: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    text: String,
    ids: Vec<u32>,
    labels: Vec<String>,
    parts: Vec<(String, usize, usize, f32)>,
}

fn expected() -> Vec<Expected> {
    let text = std::fs::read(golden("rampart").join("reference.json")).expect("the golden file is there");
    serde_json::from_slice::<Reference>(&text).expect("the golden file is good").texts
}

/// The logits of each text. Shape `[tokens, labels]`.
fn expected_logits() -> Vec<Vec<f32>> {
    let bytes = std::fs::read(golden("rampart").join("logits.f32")).expect("the golden file is there");
    let mut values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    expected().iter().map(|text| values.by_ref().take(text.ids.len() * LABELS).collect()).collect()
}

/// One engine for all these tests, so that the model is loaded once.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let engine = Engine::start(&EngineConfig { models: models(), ..EngineConfig::default() }).expect("the engine starts");
        let card = engine.models().find(|card| card.name == MODEL);
        let card = card.unwrap_or_else(|| panic!("run `tessera pull {MODEL}` first: {:?}", engine.failures()));
        assert_eq!((card.task, card.labels, card.tokens_max), (ModelTask::ClassifyTokens, LABELS, 512));
        engine
    })
}

fn job<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> ClassifyJob {
    ClassifyJob {
        model: MODEL.into(),
        texts: texts.into_iter().map(Into::into).collect(),
        truncation: Truncation::Refuse,
        answer_bytes_max: usize::MAX,
        account: None,
    }
}

fn parts(entities: &[Entity]) -> Vec<(&str, usize, usize)> {
    entities.iter().map(|entity| (entity.label.as_str(), entity.bytes.start, entity.bytes.end)).collect()
}

#[test]
fn every_token_has_the_logits_and_the_label_that_onnxruntime_computes() {
    let model = Model::open(&models().join(MODEL), DeviceSpec::default()).expect("run `tessera pull rampart-pii` first");
    let (expected, logits) = (expected(), expected_logits());
    let names: serde_json::Value =
        serde_json::from_slice(&std::fs::read(models().join(MODEL).join("config.json")).expect("reads")).expect("is JSON");
    let ids: Vec<Vec<u32>> = expected.iter().map(|text| text.ids.clone()).collect();
    let actual = model.score_ids(&ids).expect("scores");
    assert_close(MODEL, &actual, &logits, TOLERANCE);
    for (text, actual) in expected.iter().zip(&actual) {
        assert_eq!(model.tokenize(&text.text).expect("tokenizes"), text.ids, "{}", text.text);
        let best = |row: &[f32]| (0..LABELS).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("there are labels");
        let labels = actual.chunks_exact(LABELS).map(|row| names["id2label"][best(row).to_string()].as_str().unwrap_or(""));
        assert_eq!(labels.collect::<Vec<_>>(), text.labels, "{}", text.text);
    }
}

#[tokio::test]
async fn parts_of_texts_are_those_of_the_reference_in_one_job_and_alone() {
    let expected = expected();
    let done = engine().find_entities(job(expected.iter().map(|text| text.text.as_str()))).await.expect("finds");
    let tokens = expected.iter().map(|text| text.ids.len()).collect::<Vec<_>>();
    assert_eq!(done.usage.iter().map(|usage| usage.tokens as usize).collect::<Vec<_>>(), tokens);
    for (text, found) in expected.iter().zip(&done.texts) {
        let places: Vec<_> = text.parts.iter().map(|(label, start, end, _)| (label.as_str(), *start, *end)).collect();
        assert_eq!(parts(found), places, "{}", text.text);
        let scores = |scores: Vec<f32>| [scores];
        let expected_scores = text.parts.iter().map(|part| part.3).collect();
        let found_scores = found.iter().map(|entity| entity.score).collect();
        assert_close(&text.text, &scores(found_scores), &scores(expected_scores), 1e-3);
        let alone = engine().find_entities(job([text.text.as_str()])).await.expect("finds");
        assert_eq!(parts(&alone.texts[0]), places, "{} alone", text.text);
    }
    assert!(done.texts.iter().map(Vec::len).sum::<usize>() > 20, "the reference has parts");
}

#[tokio::test]
async fn a_text_longer_than_the_model_reads_is_refused_or_cut() {
    let long = format!("My name is Ada Lovelace. {}My name is Grace Hopper.", "The river is cold. ".repeat(200));
    let refused = engine().find_entities(job(["short", &long])).await;
    assert_eq!(refused, Err(JobError::TooLong { index: 1, tokens_max: 512 }));
    let cut = engine().find_entities(ClassifyJob { truncation: Truncation::Cut, ..job([&long]) }).await.expect("is cut");
    assert_eq!((cut.usage[0].tokens, cut.usage[0].truncated), (512, true));
    assert!(cut.texts[0].iter().any(|entity| &long[entity.bytes.clone()] == "Ada"));
    assert!(cut.texts[0].iter().all(|entity| &long[entity.bytes.clone()] != "Grace"), "what is behind the cut is not read");
}

#[tokio::test]
async fn what_the_model_does_not_do_and_what_is_too_large_is_refused() {
    let error = engine().classify(job(["a"])).await.expect_err("labels tokens");
    assert!(matches!(&error, JobError::Unsupported(reason) if reason.contains("find-entities")), "{error}");
    let other = ClassifyJob { model: "all-minilm-l6-v2".into(), ..job(["a"]) };
    assert!(matches!(engine().find_entities(other).await, Err(JobError::Unsupported(_))));
    assert!(matches!(engine().find_entities(job::<&str>([])).await, Err(JobError::InvalidInput(_))));
    let small = ClassifyJob { answer_bytes_max: 100, ..job(["a river and a bridge"]) };
    let error = engine().find_entities(small).await.expect_err("too large").to_string();
    assert!(error.contains("fewer texts"), "{error}");
}
