//! The engine as its users see it: what it refuses, that it goes on afterwards, and how it ends.

use engine::{EmbedJob, Engine, EngineConfig, Input, JobError, ModelTask, Normalize, Prompt, RerankJob, Truncation};
use futures::future::join_all;
use futures::poll;
use tests::golden;

/// An engine with the small models of `tests/golden`, which have no tokenizers.
fn start(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig { models: golden(""), threads: 1, ..EngineConfig::default() };
    change(&mut config);
    Engine::start(&config).expect("the engine starts")
}

fn job(model: &str, inputs: Vec<Input>) -> EmbedJob {
    EmbedJob {
        model: model.into(),
        inputs,
        prompt: Prompt::Standard,
        truncation: Truncation::Cut,
        normalize: Normalize::AsModel,
        dimensions: None,
        account: None,
    }
}

fn good() -> EmbedJob {
    job("bert-encoder", vec![Input::Ids(vec![5, 6, 7])])
}

fn rerank_job(model: &str, documents: &[&str]) -> RerankJob {
    let documents = documents.iter().map(|&document| document.into()).collect();
    RerankJob {
        model: model.into(),
        query: "q".into(),
        documents,
        truncation: Truncation::Cut,
        raw_scores: false,
        account: None,
    }
}

#[test]
fn every_folder_with_a_config_is_a_model() {
    let engine = start(|_| {});
    let tasks: Vec<(&str, ModelTask)> = engine.models().map(|card| (card.name.as_str(), card.task)).collect();
    assert!(
        tasks.contains(&("bert-reranker", ModelTask::Rerank)) && tasks.contains(&("roberta-encoder", ModelTask::Embed)),
        "{tasks:?}"
    );
    assert!(engine.failures().is_empty(), "{:?}", engine.failures());
}

#[test]
fn a_models_folder_that_is_not_there_holds_no_models() {
    let engine = start(|config| config.models = golden("no-such-folder"));
    assert_eq!(engine.models().count(), 0);
}

#[test]
fn a_model_that_does_not_load_is_told_and_the_others_work() {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(golden("bert-encoder"), folder.path().join("good")).expect("links");
    for (name, config) in
        [("damaged", "{"), ("unknown", r#"{"model_type": "mamba"}"#), ("weightless", r#"{"model_type": "bert"}"#)]
    {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
        std::fs::write(folder.path().join(name).join("config.json"), config).expect("writes");
    }
    std::fs::create_dir(folder.path().join(".hidden")).expect("a folder");
    std::fs::write(folder.path().join(".hidden/config.json"), "{").expect("writes");
    let engine = start(|config| config.models = folder.path().into());
    assert_eq!(engine.models().map(|card| card.name.as_str()).collect::<Vec<_>>(), ["good"]);
    let failures: Vec<(&str, String)> =
        engine.failures().iter().map(|failure| (failure.name.as_str(), failure.error.to_string())).collect();
    assert_eq!(failures.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["damaged", "unknown", "weightless"]);
    assert!(failures[1].1.contains("`mamba`") && failures[1].1.contains("roberta"), "{failures:?}");
}

#[tokio::test]
async fn what_is_refused_says_why_and_the_next_answer_is_right() {
    let engine = start(|_| {});
    let expected = engine.embed(good()).await.expect("embeds");
    let ids = |ids: &[u32]| vec![Input::Ids(ids.to_vec())];
    for (job, error) in [
        (job("gpt", ids(&[5])), "there is no model `gpt`"),
        (job("bert-encoder", vec![]), "at least one input"),
        (job("bert-encoder", ids(&[])), "input 0 has no tokens"),
        (job("bert-encoder", vec![Input::Ids(vec![5]), Input::Ids(vec![300])]), "input 1 has token id 300"),
        (job("bert-encoder", ids(&[u32::MAX])), "token id 4294967295"),
        (job("bert-encoder", vec![Input::Text("text".into())]), "no tokenizer.json"),
        (EmbedJob { dimensions: Some(0), ..good() }, "from 1 to 48"),
        (EmbedJob { dimensions: Some(usize::MAX), ..good() }, "from 1 to 48"),
        (EmbedJob { prompt: Prompt::Named("x".into()), ..good() }, "no prompt of that name"),
        (EmbedJob { truncation: Truncation::Refuse, ..job("bert-encoder", ids(&[5; 65])) }, "more than 64 tokens"),
    ] {
        let text = engine.embed(job).await.expect_err(error).to_string();
        assert!(text.contains(error), "{text}");
        assert_eq!(engine.embed(good()).await.as_ref(), Ok(&expected));
    }
}

#[tokio::test]
async fn reranking_without_documents_model_or_tokenizer_is_refused() {
    let engine = start(|_| {});
    let refused = async |job| engine.rerank(job).await.expect_err("refused");
    assert!(matches!(refused(rerank_job("bert-encoder", &[])).await, JobError::InvalidInput(_)));
    assert!(matches!(refused(rerank_job("gpt", &["a"])).await, JobError::UnknownModel(_)));
    assert_eq!(refused(rerank_job("bert-encoder", &["a"])).await, JobError::NoTokenizer);
    assert_eq!(refused(rerank_job("bert-reranker", &["a"])).await, JobError::NoTokenizer);
}

#[tokio::test]
async fn more_tokens_than_the_queue_holds_are_refused_and_it_goes_on() {
    let engine = start(|config| config.queue_tokens_max = 10);
    let of = |inputs| job("bert-encoder", vec![Input::Ids(vec![5; 4]); inputs]);
    let never = engine.embed(of(3)).await.expect_err("12 tokens never fit");
    assert!(matches!(&never, JobError::InvalidInput(text) if text.contains("at most 10")), "{never}");
    assert_eq!(engine.embed(of(2)).await.expect("fits").usage.len(), 2);
    assert_eq!(engine.stats().waiting_tokens, 0);
}

#[tokio::test]
async fn jobs_at_one_time_all_get_their_own_answer() {
    let engine = start(|config| config.batch_tokens_max = 20);
    let job_of = |id: u32| job("bert-encoder", vec![Input::Ids(vec![id]), Input::Ids(vec![id, id + 1, id + 2])]);
    let together = join_all((5..60).map(|id| engine.embed(job_of(id)))).await;
    for (id, together) in (5..60).zip(together) {
        let (together, alone) = (together.expect("embeds"), engine.embed(job_of(id)).await.expect("embeds"));
        let off = together.values.iter().zip(&alone.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "job {id} is off by {off}");
    }
    let stats = engine.stats();
    assert_eq!((stats.inputs, stats.tokens, stats.failed_batches), (2 * 2 * 55, 2 * 4 * 55, 0));
}

#[tokio::test]
async fn an_engine_with_abandoned_work_ends() {
    let engine = start(|config| config.batch_tokens_max = 1);
    for id in 5..50 {
        let job = engine.embed(job("roberta-encoder", vec![Input::Ids(vec![id; 60]); 50]));
        // One poll hands the job over; then its owner goes away.
        let _ = poll!(std::pin::pin!(job));
    }
    assert_eq!(engine.embed(good()).await.expect("is not stuck behind abandoned work").dimensions, 48);
    drop(engine);
}
