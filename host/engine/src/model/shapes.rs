//! Sizes of well-known models, as their `config.json` state them: to measure the speed of a shape without its weights.

use serde_json::{Value, json};

use super::ModelError;

const NAMES: [&str; 10] = [
    "falcon-7b",
    "llama-3.1-8b",
    "llama-3.2-1b",
    "llama-3.2-3b",
    "mistral-7b-v0.3",
    "qwen2.5-0.5b",
    "qwen2.5-7b",
    "qwen3-0.6b",
    "qwen3-8b",
    "smollm2-135m",
];

/// The names that [`config`] knows.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

/// The configuration of a shape.
///
/// # Errors
/// When there is none of that name.
pub(super) fn config(name: &str) -> Result<Value, ModelError> {
    let llama3 = json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    // hidden, layers, heads, key heads, feed-forward, vocabulary
    let (model_type, sizes, more) = match name {
        "llama-3.1-8b" => ("llama", [4096, 32, 32, 8, 14_336, 128_256], json!({"rope_theta": 5e5, "rope_scaling": llama3})),
        "llama-3.2-1b" => (
            "llama",
            [2048, 16, 32, 8, 8192, 128_256],
            json!({"rope_theta": 5e5, "rope_scaling": llama3, "tie_word_embeddings": true}),
        ),
        "llama-3.2-3b" => (
            "llama",
            [3072, 28, 24, 8, 8192, 128_256],
            json!({"rope_theta": 5e5, "rope_scaling": llama3, "tie_word_embeddings": true}),
        ),
        "smollm2-135m" => ("llama", [576, 30, 9, 3, 1536, 49_152], json!({"rope_theta": 1e5, "tie_word_embeddings": true})),
        "mistral-7b-v0.3" => ("mistral", [4096, 32, 32, 8, 14_336, 32_768], json!({"rope_theta": 1e6})),
        "qwen2.5-0.5b" => ("qwen2", [896, 24, 14, 2, 4864, 151_936], json!({"rope_theta": 1e6, "tie_word_embeddings": true})),
        "qwen2.5-7b" => ("qwen2", [3584, 28, 28, 4, 18_944, 152_064], json!({"rope_theta": 1e6})),
        "qwen3-0.6b" => (
            "qwen3",
            [1024, 28, 16, 8, 3072, 151_936],
            json!({"rope_theta": 1e6, "head_dim": 128, "tie_word_embeddings": true}),
        ),
        "qwen3-8b" => ("qwen3", [4096, 36, 32, 8, 12_288, 151_936], json!({"rope_theta": 1e6, "head_dim": 128})),
        "falcon-7b" => {
            return Ok(json!({
                "model_type": "falcon", "vocab_size": 65_024, "hidden_size": 4544, "num_hidden_layers": 32,
                "num_attention_heads": 71, "multi_query": true, "parallel_attn": true, "bias": false,
                "new_decoder_architecture": false, "alibi": false,
            }));
        }
        _ => return Err(ModelError::Unsupported(format!("shape `{name}`; there are {}", NAMES.join(", ")))),
    };
    let [hidden, layers, heads, kv_heads, intermediate, vocabulary] = sizes;
    let mut config = json!({
        "model_type": model_type, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": intermediate, "vocab_size": vocabulary,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    });
    let fields = config.as_object_mut().expect("an object was just written");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_configuration_and_no_other_has() {
        assert!(NAMES.iter().all(|name| config(name).is_ok()));
        assert!(config("llama-9").expect_err("unknown").to_string().contains("qwen3-8b"));
    }
}
