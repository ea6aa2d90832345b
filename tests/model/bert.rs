//! BERT against transformers.

use super::expected::{TOLERANCE, TOLERANCE_TIGHT, check_classifier, check_encoder, open};

#[test]
fn encoder_computes_the_reference_vectors() {
    check_encoder("bert-encoder", TOLERANCE);
}

#[test]
fn classifier_computes_the_reference_logits() {
    check_classifier("bert-reranker", TOLERANCE);
}

#[test]
fn sharded_bf16_weights_compute_the_reference_vectors() {
    check_encoder("bert-bf16-sharded", TOLERANCE_TIGHT);
}

#[test]
fn sharded_f16_weights_compute_the_reference_vectors() {
    check_encoder("bert-f16-sharded", TOLERANCE_TIGHT);
}

#[test]
fn inputs_beyond_the_model_are_refused_by_name() {
    let (model, expected) = open("bert-encoder");
    for (row, reason) in [(vec![], "no tokens"), (vec![300], "token id 300"), (vec![5; 65], "65 tokens")] {
        let error = model.embed_ids(&[vec![5], row]).expect_err("out of range");
        assert!(error.contains("input 1") && error.contains(reason), "{error}");
    }
    assert!(model.embed_ids(&[vec![299; 64]]).is_ok(), "the longest input with the last token is in range");
    assert!(model.score_ids(&expected.input_ids).expect_err("no classifier").contains("no classifier"));
}
