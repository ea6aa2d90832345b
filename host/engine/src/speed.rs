//! How fast a language model runs here, and how near that is to what the memory allows.

use std::time::Instant;

use serde::Serialize;

use crate::engine::{EngineConfig, StartError, thread_pool};
use crate::model::{Feed, Model};
use crate::task::generate::sampler::most_likely;

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct SpeedTest {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens to generate, one at a time, from an empty context.
    pub generate_tokens: usize,
    /// Bytes to read for the limit that the memory sets.
    pub read_bytes: usize,
}

/// Why a model's speed can't be measured.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// Only language models read prompts and generate.
    #[error("this is no language model")]
    NoLanguageModel,
    /// The test asks for nothing, or for more than the model reads.
    #[error("prompt and generation must each be of 1 to {tokens_max} tokens")]
    Tokens {
        /// The model's length.
        tokens_max: usize,
    },
    /// There are no threads.
    #[error(transparent)]
    Threads(#[from] StartError),
}

/// One round of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub generated_tokens: usize,
    /// Tokens of the prompt that a second reads.
    pub prefill_tokens_per_s: f64,
    /// Tokens that a second generates.
    pub decode_tokens_per_s: f64,
    /// Bytes of weights that one generated token reads.
    pub weight_bytes: usize,
    /// Bytes that all threads together read in a second.
    pub memory_bytes_per_s: f64,
}

impl Speed {
    /// The part of the memory's speed that decoding uses. For a model that fits into the processor's cache it can be above 1.
    pub fn memory_fraction(&self) -> f64 {
        self.decode_tokens_per_s * self.weight_bytes as f64 / self.memory_bytes_per_s
    }
}

impl Model {
    /// Measures a language model once, with the threads of the configuration.
    ///
    /// # Errors
    /// When it is no language model, the test does not fit it, or there are no threads.
    pub fn speed(&self, config: &EngineConfig, test: SpeedTest) -> Result<Speed, SpeedError> {
        if !self.is_language() {
            return Err(SpeedError::NoLanguageModel);
        }
        let tokens_max = self.card().tokens_max;
        if !(1..=tokens_max).contains(&test.prompt_tokens) || !(1..=tokens_max).contains(&test.generate_tokens) {
            return Err(SpeedError::Tokens { tokens_max });
        }
        Ok(thread_pool(config)?.install(|| Speed {
            prompt_tokens: test.prompt_tokens,
            generated_tokens: test.generate_tokens,
            prefill_tokens_per_s: self.prefill_speed(test.prompt_tokens),
            decode_tokens_per_s: self.decode_speed(test.generate_tokens),
            weight_bytes: self.bytes_per_token(),
            memory_bytes_per_s: read_speed(test.read_bytes),
        }))
    }

    fn prefill_speed(&self, tokens: usize) -> f64 {
        let vocabulary = u32::try_from(self.vocabulary()).unwrap_or(u32::MAX);
        // Spread over the vocabulary, so that rows of the embedding are not in the cache.
        let ids: Vec<u32> = (0u32..).take(tokens).map(|i| i.wrapping_mul(2_654_435_761) % vocabulary).collect();
        let mut cache = self.new_cache(tokens);
        let start = Instant::now();
        self.step(&mut [Feed { ids: &ids, cache: &mut cache, logits_after: vec![tokens - 1] }]);
        tokens as f64 / start.elapsed().as_secs_f64()
    }

    fn decode_speed(&self, tokens: usize) -> f64 {
        let mut cache = self.new_cache(tokens);
        let mut next = 1;
        let start = Instant::now();
        for _ in 0..tokens {
            let logits = self.step(&mut [Feed { ids: &[next], cache: &mut cache, logits_after: vec![0] }]);
            next = most_likely(&logits);
        }
        tokens as f64 / start.elapsed().as_secs_f64()
    }
}

/// Bytes a second that all threads of the current pool read from memory.
fn read_speed(bytes: usize) -> f64 {
    use rayon::prelude::*;
    let numbers = vec![1u64; (bytes / size_of::<u64>()).max(1)];
    let part = numbers.len().div_ceil(rayon::current_num_threads());
    let start = Instant::now();
    let sum: u64 = numbers.par_chunks(part).map(|part| part.iter().fold(0, |sum: u64, number| sum.wrapping_add(*number))).sum();
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(sum);
    (numbers.len() * size_of::<u64>()) as f64 / seconds
}
