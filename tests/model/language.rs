//! Language models against transformers: alone, in a batch of unequal lengths, and with the prompt in pieces.

use engine::{DeviceSpec, Greedy, Model};
use serde::Deserialize;
use tests::golden;

use super::expected::{TOLERANCE, assert_close};

/// `expected.json` of a language model.
#[derive(Deserialize)]
struct Expected {
    input_ids: Vec<u32>,
    logits_row0: Vec<f32>,
    logits_last: Vec<f32>,
    greedy_ids: Vec<u32>,
    logits_after_greedy: Vec<f32>,
}

/// Checks a model of `tests/golden`.
fn check(name: &str) {
    let folder = golden(name);
    let model = Model::open(&folder, DeviceSpec::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = std::fs::read(folder.join("expected.json")).expect("expected.json is there");
    let expected: Expected = serde_json::from_slice(&text).expect("expected.json is good");
    let ids = &expected.input_ids;
    let run = |inputs: &[Vec<u32>], chunk: usize| {
        let reports = model.greedy(inputs, expected.greedy_ids.len(), chunk).expect("runs");
        assert_eq!(reports.len(), inputs.len());
        reports
    };
    let whole = usize::MAX;
    compare(&format!("{name}, alone"), &run(std::slice::from_ref(ids), whole)[0], &expected);
    let others = [ids[..1].to_vec(), ids.clone(), ids[..ids.len() / 2].to_vec(), [&ids[..], &ids[..7]].concat()];
    compare(&format!("{name}, in a batch"), &run(&others, whole)[1], &expected);
    compare(&format!("{name}, in pieces of 5"), &run(std::slice::from_ref(ids), 5)[0], &expected);
    compare(&format!("{name}, a batch in pieces of 9"), &run(&others, 9)[1], &expected);
}

fn compare(what: &str, ours: &Greedy, expected: &Expected) {
    let close = |part: &str, ours: &[f32], theirs: &[f32]| {
        assert_close(&format!("{what}: {part}"), &[ours.to_vec()], &[theirs.to_vec()], TOLERANCE);
    };
    close("first", &ours.logits_row0, &expected.logits_row0);
    close("last", &ours.logits_last, &expected.logits_last);
    assert_eq!(ours.greedy_ids, expected.greedy_ids, "{what}");
    close("after greedy", &ours.logits_after_greedy, &expected.logits_after_greedy);
}

/// A test for each model.
macro_rules! goldens {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name);
        })*

        /// Every folder with a language model is checked by a test above.
        #[test]
        fn no_language_model_of_the_goldens_is_left_out() {
            let folders = std::fs::read_dir(golden("")).expect("lists").map(|entry| entry.expect("an entry").path());
            let is_language = |folder: &std::path::PathBuf| {
                let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap_or_default();
                expected.contains("causal-lm")
            };
            let name = |folder: std::path::PathBuf| folder.file_name().expect("a name").to_string_lossy().into_owned();
            let mut found: Vec<String> = folders.filter(is_language).map(name).collect();
            found.sort();
            let mut checked = vec![$($name),*];
            checked.sort_unstable();
            assert_eq!(found, checked);
        }
    };
}

goldens! {
    falcon_of_the_7b_kind: "falcon-7b-style";
    falcon_of_the_7b_kind_with_biases: "falcon-7b-bias";
    falcon_of_the_40b_kind: "falcon-40b-style";
    falcon_of_the_40b_kind_with_one_norm: "falcon2-one-norm";
    falcon_with_alibi: "falcon-rw-alibi";
    falcon_with_alibi_and_other_sizes: "falcon-rw-small";
    falcon_with_alibi_for_six_heads: "falcon-alibi-six-heads";
    llama_with_grouped_queries_and_a_tied_head: "llama-gqa-tied";
    llama_with_biases: "llama-biased";
    llama_in_bf16: "llama-bf16";
    llama_in_f16_and_shards: "llama-f16-sharded";
    llama_with_linear_scaling: "llama-linear-rope-v4";
    llama_with_yarn_scaling: "llama-yarn-rope-v4";
    llama_3_scaling: "llama3-rope-scaled";
    llama_3_scaling_as_version_4_writes_it: "llama3-rope-v4";
    mistral_without_a_window: "mistral-no-window";
    mistral_with_a_window: "mistral-sliding";
    qwen2: "qwen2";
    qwen2_with_windows: "qwen2-windowed-v4";
    qwen3: "qwen3";
    qwen3_with_layer_types: "qwen3-layer-types";
}

#[test]
fn a_prompt_beyond_the_model_is_refused_by_name() {
    let model = Model::open(&golden("qwen2"), DeviceSpec::default()).expect("loads");
    for (ids, reason) in [(vec![], "no tokens"), (vec![384], "token id 384"), (vec![1; 513], "513 tokens")] {
        let error = model.greedy(&[vec![5], ids], 0, 8).expect_err("out of range");
        assert!(error.contains("input 1") && error.contains(reason), "{error}");
    }
    assert!(model.greedy(&[vec![5; 500]], 13, 8).expect_err("too long").contains("beyond"));
}

#[test]
fn encoders_and_language_models_are_told_apart() {
    let encoder = Model::open(&golden("bert-encoder"), DeviceSpec::default()).expect("loads");
    assert!(encoder.greedy(&[vec![5]], 1, 8).expect_err("an encoder").contains("no language model"));
    let language = Model::open(&golden("qwen2"), DeviceSpec::default()).expect("loads");
    assert!(language.embed_ids(&[vec![5]]).expect_err("a language model").contains("language model"));
}
