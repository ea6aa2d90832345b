//! RoBERTa and XLM-RoBERTa against transformers.

use super::expected::{TOLERANCE, TOLERANCE_TIGHT, check_classifier, check_encoder, open};

#[test]
fn roberta_encoder_computes_the_reference_vectors() {
    check_encoder("roberta-encoder", TOLERANCE_TIGHT);
}

#[test]
fn roberta_classifier_computes_the_reference_logits() {
    check_classifier("roberta-reranker", TOLERANCE_TIGHT);
}

#[test]
fn xlm_roberta_encoder_computes_the_reference_vectors() {
    check_encoder("xlm-roberta-encoder", TOLERANCE);
}

#[test]
fn positions_end_after_the_padding_id() {
    let (model, _) = open("roberta-encoder");
    assert!(model.embed_ids(&[vec![5; 64]]).is_ok());
    assert!(model.embed_ids(&[vec![5; 65]]).expect_err("66 positions hold 64 tokens").contains("65 tokens"));
}
