//! Classifiers of texts and of tokens against transformers, and the same weights from ONNX files against onnxruntime.

use engine::{ClassifyJob, Engine, EngineConfig, JobError, LabelScore, Model, ModelCard, ModelTask, RerankJob, Truncation};
use serde_json::json;
use tests::golden;

use super::expected::{TOLERANCE, TOLERANCE_TIGHT, assert_close, check_classifier, open};

#[test]
fn classifiers_of_texts_compute_the_reference_logits() {
    check_classifier("bert-classifier", TOLERANCE_TIGHT);
    check_classifier("roberta-classifier", TOLERANCE_TIGHT);
}

#[test]
fn classifiers_of_tokens_compute_the_reference_logits_of_every_token() {
    check_classifier("bert-token-classifier", TOLERANCE_TIGHT);
    check_classifier("roberta-token-classifier", TOLERANCE_TIGHT);
}

#[test]
fn onnx_files_compute_what_onnxruntime_does_with_them() {
    check_classifier("bert-token-classifier-onnx", TOLERANCE);
    check_classifier("bert-token-classifier-q4-onnx", TOLERANCE);
    check_classifier("bert-token-classifier-q8-onnx", TOLERANCE);
}

#[test]
fn an_onnx_file_of_plain_numbers_is_the_model_it_was_made_of() {
    let [(safetensors, expected), (onnx, _)] = ["bert-token-classifier", "bert-token-classifier-onnx"].map(open);
    let logits = |model: &Model| model.score_ids(&expected.input_ids).expect("scores");
    assert_close("logits", &logits(&onnx), &logits(&safetensors), 1e-6);
    let names =
        |name: &str| Model::tensors(&golden(name)).expect("reads").into_iter().map(|tensor| (tensor.name, tensor.shape));
    let mut stored: Vec<_> = names("bert-token-classifier").collect();
    stored.retain(|(name, _)| !name.ends_with("position_ids"));
    assert_eq!(names("bert-token-classifier-onnx").collect::<Vec<_>>(), stored);
}

#[test]
fn models_are_known_by_what_they_classify() {
    let tasks = [
        ("bert-classifier", ModelTask::Classify, 3),
        ("roberta-classifier", ModelTask::Classify, 2),
        ("bert-token-classifier-q4-onnx", ModelTask::ClassifyTokens, 5),
        ("roberta-token-classifier", ModelTask::ClassifyTokens, 5),
        ("bert-reranker", ModelTask::Rerank, 1),
    ];
    let installed = engine::installed(&golden("")).expect("lists");
    for (name, task, labels) in tasks {
        let card: ModelCard = open(name).0.card().clone();
        assert_eq!((card.task, card.labels), (task, labels), "{name}");
        let listed = installed.iter().find(|model| model.name == name).expect("is in the folder");
        assert_eq!(listed.task, Some(task), "{name} is listed as what it is");
    }
}

/// An engine with the classifiers of `tests/golden`, whose texts are the words `w5` to `w299`, each a token of that number.
fn engine() -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder");
    let vocabulary: serde_json::Map<_, _> = (5..300).map(|id| (format!("w{id}"), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "decoder": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w5"},
    });
    for name in ["bert-classifier", "roberta-classifier", "bert-reranker", "roberta-token-classifier"] {
        let model = folder.path().join(name);
        std::fs::create_dir(&model).expect("a folder");
        for file in ["config.json", "model.safetensors"] {
            std::os::unix::fs::symlink(golden(name).join(file), model.join(file)).expect("links");
        }
        std::fs::write(model.join("tokenizer.json"), tokenizer.to_string()).expect("writes");
    }
    let engine = Engine::start(&EngineConfig { models: folder.path().into(), ..EngineConfig::default() }).expect("starts");
    assert_eq!(engine.models().count(), 4, "{:?}", engine.failures());
    (folder, engine)
}

fn job(model: &str, texts: &[&str]) -> ClassifyJob {
    ClassifyJob {
        model: model.into(),
        texts: texts.iter().map(|&text| text.into()).collect(),
        truncation: Truncation::Refuse,
        answer_bytes_max: usize::MAX,
        account: None,
    }
}

#[tokio::test]
async fn labels_of_a_text_are_scored_as_the_model_says_and_the_best_comes_first() {
    let (_folder, engine) = engine();
    let sum = |labels: &[LabelScore]| labels.iter().map(|label| label.score).sum::<f32>();
    let done = engine.classify(job("bert-classifier", &["w7 w8 w9", "w200"])).await.expect("labels");
    let logits = open("bert-classifier").0.score_ids(&[vec![7, 8, 9], vec![200]]).expect("scores");
    for (labels, logits) in done.texts.iter().zip(&logits) {
        let best = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("three");
        assert_eq!(labels[0].label, ["calm", "angry", "sad"][best]);
        assert!(labels.is_sorted_by(|a, b| a.score >= b.score) && (sum(labels) - 1.0).abs() < 1e-5, "{labels:?}");
    }
    let done = engine.classify(job("roberta-classifier", &["w7 w8 w9"])).await.expect("labels");
    let logits = open("roberta-classifier").0.score_ids(&[vec![7, 8, 9]]).expect("scores").concat();
    let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
    for (name, logit) in ["work", "home"].into_iter().zip(logits) {
        let found = done.texts[0].iter().find(|label| label.label == name).expect("all labels are told");
        assert!((found.score - sigmoid(logit)).abs() < 1e-5, "each label has a score of its own: {found:?}");
    }
    let done = engine.classify(job("bert-reranker", &["w7"])).await.expect("labels");
    assert_eq!(done.texts[0].iter().map(|label| label.label.as_str()).collect::<Vec<_>>(), ["LABEL_0"]);
}

#[tokio::test]
async fn an_answer_with_too_many_labels_is_refused() {
    let (_folder, engine) = engine();
    let texts = vec!["w7"; 1000];
    let job = ClassifyJob { answer_bytes_max: 1000, ..job("bert-classifier", &texts) };
    assert!(matches!(engine.classify(job).await, Err(JobError::InvalidInput(reason)) if reason.contains("fewer texts")));
}

#[tokio::test]
async fn a_classifier_of_tokens_ranks_nothing() {
    let (_folder, engine) = engine();
    let rerank = RerankJob {
        model: "roberta-token-classifier".into(),
        query: "w7".into(),
        documents: vec!["w8".into()],
        truncation: Truncation::Refuse,
        raw_scores: false,
        account: None,
    };
    assert!(matches!(engine.rerank(rerank).await, Err(JobError::Unsupported(reason)) if reason.contains("5 labels")));
}
