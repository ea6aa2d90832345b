//! Models: what runs is what was recorded, and is told with its digest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Engine, EngineConfig, RECORD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Setup, golden};

/// A models folder with a small model, and a record of it.
struct Models(TempDir);

impl Models {
    fn new() -> Models {
        let models = Models(tempfile::tempdir().expect("a temporary folder"));
        std::fs::create_dir(models.folder()).expect("a folder");
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(golden("bert-encoder").join(file), models.folder().join(file)).expect("copies");
        }
        models
    }

    fn recorded() -> Models {
        let models = Models::new();
        let files = engine::contents(&models.folder()).expect("reads");
        models.write_record(&json!({
            "name": "small", "format": "safetensors", "asked": "hf:somebody/small", "source": "hf:somebody/small",
            "revision": "abc", "licence": "MIT", "added_by": "somebody", "added_unix_s": 7, "files": files,
        }));
        models
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("small")
    }

    fn write_record(&self, record: &Value) {
        std::fs::write(self.folder().join(RECORD), record.to_string()).expect("writes");
    }

    fn start(&self) -> Engine {
        self.start_with(false)
    }

    fn start_with(&self, models_recorded: bool) -> Engine {
        let config = EngineConfig { models: self.0.path().into(), models_recorded, threads: 1, ..EngineConfig::default() };
        Engine::start(&config).expect("the engine starts")
    }

    /// Why the model is not loaded.
    fn refused(&self) -> String {
        reason(&self.start())
    }
}

fn reason(engine: &Engine) -> String {
    assert_eq!(engine.models().count(), 0);
    engine.failures().iter().map(|failure| failure.error.to_string()).collect()
}

fn alter_a_byte(file: &Path) {
    let mut bytes = std::fs::read(file).expect("reads");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(file, bytes).expect("writes");
}

#[test]
fn a_model_is_told_with_its_digest_and_where_it_came_from() {
    let models = Models::recorded();
    let engine = models.start();
    let card = engine.models().next().expect("is loaded").clone();
    assert_eq!(card.digest, engine::digest(&models.folder()).expect("reads"));
    let server = Setup::new(Arc::new(engine)).start();
    assert_eq!(server.get("/v1/models").json()["data"][0]["digest"], card.digest);
    let registry = server.get("/admin/models").json();
    let expected = json!({"models": [{
        "name": "small", "task": "embed", "family": "bert", "digest": card.digest, "is_recorded": true,
        "source": "hf:somebody/small", "revision": "abc", "licence": "MIT", "added_by": "somebody", "added_unix_s": 7,
    }]});
    assert_eq!(registry, expected);
}

#[test]
fn a_model_of_which_one_byte_differs_is_refused_with_both_digests_and_the_remedy() {
    let models = Models::recorded();
    assert_eq!(models.start().models().count(), 1);
    let file = models.folder().join("model.safetensors");
    let before = engine::Content::of_file(&file).expect("reads").sha256;
    alter_a_byte(&file);
    let after = engine::Content::of_file(&file).expect("reads").sha256;
    let told = models.refused();
    let remedy = "tessera pull hf:somebody/small --as small --force";
    for words in ["model.safetensors", &before.to_string(), &after.to_string(), remedy] {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_configuration_that_was_changed_is_refused_even_if_it_would_load() {
    let models = Models::recorded();
    let file = models.folder().join("config.json");
    let config = std::fs::read_to_string(&file).expect("reads");
    std::fs::write(&file, format!("{config} ")).expect("writes");
    assert!(models.refused().contains("config.json is not the file that was recorded"));
}

#[test]
fn files_that_are_gone_or_came_later_are_told() {
    let models = Models::recorded();
    std::fs::write(models.folder().join("tokenizer_config.json"), "{}").expect("writes");
    let told = models.refused();
    assert!(told.contains("tokenizer_config.json was not there") && told.contains("tessera model add small"), "{told}");
    std::fs::remove_file(models.folder().join("tokenizer_config.json")).expect("removes");
    assert_eq!(models.start().models().count(), 1);
    std::fs::remove_file(models.folder().join("config.json")).expect("removes");
    std::fs::write(models.folder().join("model.gguf"), "").expect("writes");
    assert!(models.refused().contains("config.json was recorded and is not there"));
}

#[test]
fn a_record_that_can_not_be_read_is_no_missing_one() {
    let models = Models::recorded();
    for garbage in [json!(1), json!({"files": {}}), json!({"source": "x", "added_unix_s": 1, "files": {"a": {"bytes": 1}}})] {
        models.write_record(&garbage);
        assert!(models.refused().contains("source.json can't be read"), "{garbage}");
    }
}

#[test]
fn a_model_without_a_record_runs_unless_records_are_wanted() {
    let models = Models::new();
    let engine = models.start();
    let card = engine.models().next().expect("is loaded");
    assert_eq!((card.origin.is_none(), card.digest.len()), (true, 64));
    let told = reason(&models.start_with(true));
    assert!(told.contains("models_recorded = true") && told.contains("tessera model add small --source"), "{told}");
    assert_eq!(Models::recorded().start_with(true).models().count(), 1);
}
