//! The goldens of `tests/golden` on a GPU; `make test-wgpu` runs them on software Vulkan.

use super::*;

#[test]
fn the_bert_goldens_hold_on_wgpu() {
    let golden = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    let expected = |folder: &Path| read_json(&folder.join("expected.json")).expect("reads").expect("is there");
    let rows = |value: &serde_json::Value| -> Vec<Vec<f32>> { serde_json::from_value(value.clone()).expect("rows of numbers") };
    let close = |ours: &[f32], theirs: &[f32]| {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-3)
    };
    for name in ["bert-encoder", "xlm-roberta-encoder", "bert-reranker"] {
        let folder = golden(name);
        let device = "wgpu".parse().expect("a device");
        let model = Model::open(&folder, device).expect("a Vulkan device: see `tessera doctor`");
        let expected = expected(&folder);
        let inputs: Vec<Vec<u32>> = serde_json::from_value(expected["input_ids"].clone()).expect("rows of ids");
        if name == "bert-reranker" {
            let ours = model.score_ids(&inputs).expect("scores");
            assert!(ours.iter().zip(rows(&expected["logits"])).all(|(ours, theirs)| close(ours, &theirs)), "{name}");
            continue;
        }
        let ours = model.embed_ids(&inputs).expect("embeds");
        assert!(
            ours.iter().zip(rows(&expected["mean_pooled_normalized"])).all(|(ours, theirs)| close(&ours.mean, &theirs)),
            "{name}"
        );
        assert!(
            ours.iter().zip(rows(&expected["cls_pooled_normalized"])).all(|(ours, theirs)| close(&ours.cls, &theirs)),
            "{name}"
        );
    }
}

#[test]
fn the_language_goldens_hold_on_wgpu() {
    for name in ["llama3-rope-scaled", "mistral-sliding", "qwen2", "qwen3", "falcon-40b-style", "falcon-rw-alibi"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
        let model = Model::open(&folder, "wgpu".parse().expect("a device")).expect("a Vulkan device: see `tessera doctor`");
        let expected = read_json(&folder.join("expected.json")).expect("reads").expect("is there");
        let numbers = |key: &str| -> Vec<f32> { serde_json::from_value(expected[key].clone()).expect("numbers") };
        let ids: Vec<u32> = serde_json::from_value(expected["input_ids"].clone()).expect("ids");
        let ours = model.greedy(&[ids[..3].to_vec(), ids], 24, 16).expect("runs").remove(1);
        let close = |ours: &[f32], theirs: Vec<f32>| ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-3);
        assert_eq!(serde_json::to_value(&ours.greedy_ids).expect("ids"), expected["greedy_ids"], "{name}");
        assert!(close(&ours.logits_last, numbers("logits_last")), "{name}");
        assert!(close(&ours.logits_after_greedy, numbers("logits_after_greedy")), "{name}");
    }
}
