//! Generation through the engine: streams, stops, settings, sharing a device, and giving up.

use std::time::Duration;

use engine::{
    EmbedJob, Engine, EngineConfig, FinishReason, ForwardJob, GenerateEvent, GenerateJob, GeneratePrompt, Generation, Input,
    JobError, Message, Normalize, Outcome, Outputs, Piece, Prompt, Sampling, TokenizeInput, Truncation,
};
use futures::future::join_all;
use tests::{golden, models};

const CHAT: &str = "smollm2-135m-instruct";

/// An engine with the small models of `tests/golden`, which have no tokenizers.
fn small(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig { models: golden(""), threads: 1, ..EngineConfig::default() };
    change(&mut config);
    Engine::start(&config).expect("the engine starts")
}

/// An engine with the models that `tessera pull` has brought.
fn real() -> Engine {
    Engine::start(&EngineConfig { models: models(), ..EngineConfig::default() }).expect("the engine starts")
}

fn job(model: &str, prompt: GeneratePrompt, tokens_max: usize) -> GenerateJob {
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    GenerateJob {
        model: model.into(),
        prompt,
        tokens_max: Some(tokens_max),
        stop: Vec::new(),
        sampling,
        logprobs: None,
        account: None,
    }
}

fn ids_job(ids: &[u32], tokens_max: usize) -> GenerateJob {
    GenerateJob { logprobs: Some(2), ..job("llama-gqa-tied", GeneratePrompt::Ids(ids.to_vec()), tokens_max) }
}

fn chat_job(text: &str, tokens_max: usize) -> GenerateJob {
    job(CHAT, GeneratePrompt::Chat(vec![Message { role: "user".into(), content: text.into() }]), tokens_max)
}

/// Reads a generation to its end.
async fn collect(mut generation: Generation) -> Result<(Vec<Piece>, Outcome), JobError> {
    let mut pieces = Vec::new();
    while let Some(event) = generation.next().await {
        match event? {
            GenerateEvent::Piece(piece) => pieces.push(piece),
            GenerateEvent::Done(outcome) => {
                assert!(generation.next().await.is_none(), "nothing comes after the end");
                return Ok((pieces, outcome));
            }
        }
    }
    Err(JobError::Stopped)
}

async fn ids_of(engine: &Engine, job: GenerateJob) -> Vec<u32> {
    let (pieces, _) = collect(engine.generate(job).await.expect("starts")).await.expect("ends well");
    pieces.iter().flat_map(|piece| &piece.tokens).map(|token| token.token.id).collect()
}

async fn text_of(engine: &Engine, job: GenerateJob) -> (String, Outcome) {
    let (pieces, outcome) = collect(engine.generate(job).await.expect("starts")).await.expect("ends well");
    (pieces.into_iter().map(|piece| piece.text).collect(), outcome)
}

/// Waits until no generation is under way: for what the device does after its step.
async fn idle(engine: &Engine) {
    while engine.stats().sequences > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_generation_through_the_queue_is_the_models_own_greedy_one() {
    let engine = small(|config| config.step_tokens_max = 4);
    let model = engine::Model::open(&golden("llama-gqa-tied"), engine::DeviceSpec::default()).expect("loads");
    let prompts: Vec<Vec<u32>> = (1..12).map(|len| (0..len).map(|i| 7 + 31 * i % 300).collect()).collect();
    let together = join_all(prompts.iter().map(|ids| ids_of(&engine, ids_job(ids, 20)))).await;
    for (ids, together) in prompts.iter().zip(together) {
        let alone = model.greedy(std::slice::from_ref(ids), 20, usize::MAX).expect("runs").remove(0).greedy_ids;
        let until_end: Vec<u32> = alone.into_iter().take_while(|&id| id != 2).collect(); // 2 ends a generation
        assert_eq!(together, until_end, "{ids:?}");
    }
    assert_eq!((engine.stats().sequences, engine.stats().cache_bytes), (0, 0));
}

#[tokio::test]
async fn what_is_refused_says_why_and_the_next_answer_is_right() {
    let engine = small(|_| {});
    let expected = ids_of(&engine, ids_job(&[5, 6, 7], 4)).await;
    let ids = |ids: &[u32]| GeneratePrompt::Ids(ids.to_vec());
    let with = |sampling: Sampling| GenerateJob { sampling, ..ids_job(&[5], 4) };
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    for (job, error) in [
        (job("gpt", ids(&[5]), 4), "there is no model `gpt`"),
        (job("bert-encoder", ids(&[5]), 4), "no language model"),
        (ids_job(&[], 4), "the prompt has no tokens"),
        (ids_job(&[384], 4), "token id 384"),
        (ids_job(&[5], 0), "at least 1"),
        (ids_job(&[5; 513], 1), "the prompt has 513"),
        (ids_job(&[5; 500], 13), "13 were to be generated"),
        (GenerateJob { tokens_max: None, ..ids_job(&[5; 512], 1) }, "maximum context length is 512 tokens"),
        (job("llama-gqa-tied", GeneratePrompt::Text("text".into()), 4), "no tokenizer.json"),
        (GenerateJob { stop: vec![String::new()], ..ids_job(&[5], 4) }, "stop texts"),
        (GenerateJob { logprobs: Some(21), ..ids_job(&[5], 4) }, "at most 20"),
        (with(Sampling { temperature: f32::NAN, ..greedy.clone() }), "temperature"),
        (with(Sampling { logit_bias: vec![(384, 1.0)], ..greedy }), "logit_bias"),
    ] {
        let text = engine.generate(job).await.expect_err(error).to_string();
        assert!(text.contains(error), "{text}");
        assert_eq!(ids_of(&engine, ids_job(&[5, 6, 7], 4)).await, expected);
    }
}

#[tokio::test]
async fn a_generation_that_nobody_reads_any_more_frees_its_memory_at_the_next_step() {
    let engine = small(|_| {});
    let mut generation = engine.generate(ids_job(&[5], 500)).await.expect("starts");
    assert!(matches!(generation.next().await, Some(Ok(GenerateEvent::Piece(_)))));
    assert!(engine.stats().cache_bytes > 0);
    drop(generation);
    idle(&engine).await;
    let tokens = engine.stats().tokens;
    assert_eq!(engine.stats().cache_bytes, 0);
    assert!(tokens < 500, "it was stopped before its end");
    assert!(!ids_of(&engine, ids_job(&[5], 3)).await.is_empty());
    assert!(engine.stats().tokens <= tokens + 4, "nothing of the first went on");
}

#[tokio::test]
async fn generations_beyond_the_limits_are_refused_until_there_is_room() {
    let engine = small(|config| config.generations_max = 1);
    let first = engine.generate(ids_job(&[5], 400)).await.expect("starts");
    assert_eq!(engine.generate(ids_job(&[5], 1)).await.expect_err("one is under way"), JobError::Overloaded);
    drop(first);
    idle(&engine).await;
    assert!(engine.generate(ids_job(&[5], 1)).await.is_ok());
    let engine = small(|config| config.cache_bytes_max = 1 << 10);
    let never = engine.generate(ids_job(&[5], 400)).await.expect_err("there will never be room").to_string();
    assert!(never.contains("at most 1024 are for all generations"), "{never}");
}

#[tokio::test]
async fn without_a_length_a_generation_goes_on_to_the_end_of_the_context() {
    let engine = small(|_| {});
    let job = GenerateJob { tokens_max: None, ..ids_job(&[5], 1) };
    let (_, outcome) = collect(engine.generate(job).await.expect("starts")).await.expect("ends well");
    assert_eq!((outcome.reason, outcome.prompt_tokens + outcome.generated_tokens), (FinishReason::Length, 512));
}

#[tokio::test]
async fn a_generation_that_nobody_reads_waits_and_goes_on_later() {
    let engine = small(|_| {});
    let alone = ids_of(&engine, ids_job(&[5], 300)).await;
    let before = engine.stats().tokens;
    let generation = engine.generate(ids_job(&[5], 300)).await.expect("starts");
    let fed = || engine.stats().tokens - before;
    while fed() < 60 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Others are served meanwhile, and much more than the rest of it would take.
    for _ in 0..3 {
        assert_eq!(ids_of(&engine, GenerateJob { model: "qwen2".into(), ..ids_job(&[6], 100) }).await.len(), 100);
    }
    assert!(engine.stats().tokens - before - 300 < 70, "it waits for its reader");
    let (pieces, _) = collect(generation).await.expect("ends well");
    assert_eq!(pieces.iter().flat_map(|piece| &piece.tokens).map(|token| token.token.id).collect::<Vec<_>>(), alone);
}

#[tokio::test]
async fn an_engine_that_ends_ends_its_generations() {
    let engine = small(|_| {});
    let generation = engine.generate(ids_job(&[5], 500)).await.expect("starts");
    drop(engine);
    assert_eq!(collect(generation).await.expect_err("the engine is gone"), JobError::Stopped);
}

#[tokio::test]
async fn raw_outputs_are_hidden_states_or_logits() {
    let engine = small(|_| {});
    let forward = async |model: &str, inputs: Vec<Vec<u32>>| {
        engine.forward(ForwardJob { model: model.into(), inputs, account: None }).await
    };
    let encoder = forward("bert-encoder", vec![vec![5, 6], vec![7]]).await.expect("runs");
    assert_eq!((encoder.outputs, encoder.width), (Outputs::Hidden, 48));
    assert_eq!(encoder.values.iter().map(Vec::len).collect::<Vec<_>>(), [96, 48]);
    let language = forward("qwen3", vec![vec![5, 6], vec![7]]).await.expect("runs");
    let model = engine::Model::open(&golden("qwen3"), engine::DeviceSpec::default()).expect("loads");
    let alone = model.greedy(&[vec![5, 6], vec![7]], 0, usize::MAX).expect("runs");
    assert_eq!((language.outputs, language.width), (Outputs::Logits, 384));
    for (ours, alone) in language.values.iter().zip(&alone) {
        assert!(ours.iter().zip(&alone.logits_last).all(|(a, b)| (a - b).abs() < 1e-4));
    }
    assert!(forward("qwen3", vec![vec![400]]).await.expect_err("refused").to_string().contains("input 0 has token id 400"));
    assert!(forward("qwen3", vec![]).await.expect_err("refused").to_string().contains("at least one"));
}

#[tokio::test]
async fn a_chat_streams_whole_characters_and_ends_by_itself() {
    let engine = real();
    let (text, outcome) = text_of(&engine, chat_job("What is the capital of France?", 40)).await;
    assert_eq!(text, "The capital of France is Paris.");
    assert_eq!((outcome.reason, outcome.generated_tokens), (FinishReason::Stop, 8));
    let (cut, outcome) = text_of(&engine, chat_job("What is the capital of France?", 3)).await;
    assert!(text.starts_with(&cut) && cut.len() < text.len(), "{cut}");
    assert_eq!((outcome.reason, outcome.generated_tokens), (FinishReason::Length, 3));
}

#[tokio::test]
async fn a_stop_text_ends_it_and_is_not_part_of_it() {
    let engine = real();
    let job =
        GenerateJob { stop: vec!["France is".into(), "nowhere".into()], ..chat_job("What is the capital of France?", 40) };
    let (text, outcome) = text_of(&engine, job).await;
    assert_eq!((text.as_str(), outcome.reason), ("The capital of ", FinishReason::Stop));
}

#[tokio::test]
async fn a_seed_repeats_and_another_differs() {
    let engine = real();
    let with = |seed| {
        let sampling = Sampling { temperature: 1.5, seed: Some(seed), ..Sampling::default() };
        GenerateJob { sampling, ..chat_job("Tell me a story.", 24) }
    };
    let [first, again, other] =
        [text_of(&engine, with(1)).await.0, text_of(&engine, with(1)).await.0, text_of(&engine, with(2)).await.0];
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[tokio::test]
async fn log_probabilities_are_those_of_the_picked_token_and_the_best() {
    let engine = real();
    let job = GenerateJob { logprobs: Some(3), ..chat_job("What is the capital of France?", 40) };
    let (pieces, outcome) = collect(engine.generate(job).await.expect("starts")).await.expect("ends well");
    let tokens: Vec<_> = pieces.iter().flat_map(|piece| &piece.tokens).collect();
    assert_eq!(tokens.len() as u32, outcome.generated_tokens - 1, "the token that ends it has no text");
    for token in &tokens {
        assert_eq!((token.top.len(), &token.top[0]), (3, &token.token), "the greedy token is the best");
        assert!(token.top.windows(2).all(|pair| pair[0].logprob >= pair[1].logprob) && token.token.logprob <= 0.0);
    }
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.token.bytes.clone()).collect();
    assert_eq!(String::from_utf8(bytes).expect("whole characters"), "The capital of France is Paris.");
}

#[tokio::test]
async fn text_goes_to_ids_and_back() {
    let engine = real();
    let text = "Ein Café, naïve 東京 🦀 <|im_end|>";
    let input = TokenizeInput::Text { text: text.into(), special: true };
    let [ids] = engine.tokenize(CHAT, vec![input]).await.expect("tokenizes").try_into().expect("of one input");
    assert!(!ids.contains(&2), "special tokens in a text are only text");
    assert_eq!(engine.detokenize(CHAT, ids).await.expect("ids of the model"), text);
    assert!(engine.detokenize(CHAT, vec![u32::MAX]).await.expect_err("no such id").to_string().contains("beyond"));
}

#[tokio::test]
async fn chats_a_long_prompt_and_embeddings_share_the_device() {
    let engine = real();
    let long = GeneratePrompt::Ids((0..1000).map(|i| 1000 + i * 13 % 40_000).collect());
    let embed = |text: &str| EmbedJob {
        model: "all-minilm-l6-v2".into(),
        inputs: vec![Input::Text(text.into())],
        prompt: Prompt::Standard,
        truncation: Truncation::Cut,
        normalize: Normalize::AsModel,
        dimensions: None,
        account: None,
    };
    let questions = ["What is the capital of France?", "How many legs has a spider?"];
    let (mut alone, mut chats) = (Vec::new(), Vec::new());
    for question in questions {
        alone.push(text_of(&engine, chat_job(question, 30)).await.0);
    }
    for question in questions {
        chats.push(engine.generate(chat_job(question, 30)).await.expect("starts"));
    }
    let prefill = engine.generate(job(CHAT, long, 1)).await.expect("starts");
    let embeddings = async {
        for i in 0..5 {
            engine.embed(embed(&format!("text {i}"))).await.expect("embeds");
        }
    };
    let chats = join_all(chats.into_iter().map(collect));
    let (chats, prefill, ()) = tokio::join!(chats, collect(prefill), embeddings);
    let text = |chat: Result<(Vec<Piece>, Outcome), JobError>| -> String {
        chat.expect("ends well").0.into_iter().map(|piece| piece.text).collect()
    };
    assert_eq!(chats.into_iter().map(text).collect::<Vec<_>>(), alone, "what runs beside it changes nothing");
    assert_eq!(prefill.expect("ends well").1.prompt_tokens, 1000);
    let stats = engine.stats();
    assert_eq!((stats.failed_batches, stats.sequences, stats.cache_bytes), (0, 0, 0));
}
