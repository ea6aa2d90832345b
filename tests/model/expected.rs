//! What the reference implementation computed for a model of `tests/golden`, and the comparison with ours.

use engine::{DeviceSpec, Model};
use serde::Deserialize;
use tests::golden;

/// What the reference vectors allow.
pub(super) const TOLERANCE: f32 = 1e-3;
/// What f32 arithmetic allows: the reference is rounded to six digits, and sums are in another order.
pub(super) const TOLERANCE_TIGHT: f32 = 2e-5;

/// `expected.json`.
#[derive(Deserialize)]
pub(super) struct Expected {
    pub(super) input_ids: Vec<Vec<u32>>,
    #[serde(default)]
    mean_pooled_normalized: Vec<Vec<f32>>,
    #[serde(default)]
    cls_pooled_normalized: Vec<Vec<f32>>,
    #[serde(default)]
    logits: Vec<Vec<f32>>,
}

/// A model of `tests/golden`, and what is expected of it.
pub(super) fn open(name: &str) -> (Model, Expected) {
    let folder = golden(name);
    let model = Model::open(&folder, DeviceSpec::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = std::fs::read(folder.join("expected.json")).expect("expected.json is there");
    (model, serde_json::from_slice(&text).expect("expected.json is good"))
}

/// Checks an encoder: both poolings, all rows in one batch and each row alone.
pub(super) fn check_encoder(name: &str, tolerance: f32) {
    let (model, expected) = open(name);
    let together = model.embed_ids(&expected.input_ids).expect("embeds");
    let mean: Vec<_> = together.iter().map(|pooled| pooled.mean.clone()).collect();
    let cls: Vec<_> = together.iter().map(|pooled| pooled.cls.clone()).collect();
    assert_close(&format!("{name}, mean"), &mean, &expected.mean_pooled_normalized, tolerance);
    assert_close(&format!("{name}, cls"), &cls, &expected.cls_pooled_normalized, tolerance);
    for (row, pooled) in expected.input_ids.iter().zip(&together) {
        let alone = model.embed_ids(std::slice::from_ref(row)).expect("embeds");
        assert_close(&format!("{name}, alone"), std::slice::from_ref(&alone[0].mean), std::slice::from_ref(&pooled.mean), 1e-5);
    }
}

/// Checks a classifier: all rows in one batch and each row alone.
pub(super) fn check_classifier(name: &str, tolerance: f32) {
    let (model, expected) = open(name);
    let together = model.score_ids(&expected.input_ids).expect("scores");
    assert_close(name, &together, &expected.logits, tolerance);
    for (row, logits) in expected.input_ids.iter().zip(&together) {
        let alone = model.score_ids(std::slice::from_ref(row)).expect("scores");
        assert_close(&format!("{name}, alone"), &alone, std::slice::from_ref(logits), 1e-5);
    }
}

/// Fails when the rows are not of the same number and length, or a number is off by more than the tolerance.
pub(super) fn assert_close(what: &str, actual: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    let lengths = |rows: &[Vec<f32>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
    assert!(!expected.is_empty(), "{what}: nothing is expected");
    assert_eq!(lengths(actual), lengths(expected), "{what}: shapes");
    let pairs = actual.iter().flatten().zip(expected.iter().flatten());
    let off =
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, |worst: f32, off| if off > worst || off.is_nan() { off } else { worst });
    assert!(off <= tolerance, "{what}: off by {off:e}, more than {tolerance:e}");
}
