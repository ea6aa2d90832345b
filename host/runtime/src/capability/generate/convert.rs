//! A generation's values between the guest's types and the engine's.

use engine::{FinishReason, GenerateJob, GeneratePrompt, LOGPROBS_MAX, Piece, STOPS_MAX, Sampling};

use policy::Cost;

use super::super::{error, messages};
use crate::bindings::tessera::generate::types::{self as wit, Event, Options, Outcome, Prompt};
use crate::bindings::tessera::inference::types::{Error, ErrorCode};

/// Tokens with a bias.
const LOGIT_BIASES_MAX: usize = 1024;

/// Tokens that are set aside for a generation; those beyond are taken from the quota as they come.
const TOKENS_RESERVED_MAX: u64 = 256;

/// What a generation will cost, about: the engine counts what it does cost.
pub(super) fn cost(prompt: &Prompt, options: &Options) -> Cost {
    let input_tokens = match prompt {
        Prompt::Text(text) => Cost::of_text(text.len()).input_tokens,
        Prompt::Tokens(ids) => ids.len() as u64,
        Prompt::Chat(conversation) => {
            Cost::of_text(conversation.iter().map(|message| message.content.len()).sum()).input_tokens
        }
    };
    Cost { input_tokens, output_tokens: options.tokens_max.map_or(TOKENS_RESERVED_MAX, u64::from).min(TOKENS_RESERVED_MAX) }
}

/// What the engine is asked for; the engine checks what it knows the range of.
pub(super) fn job(prompt: Prompt, options: Options) -> Result<GenerateJob, Error> {
    let invalid = |message: String| Err(error(ErrorCode::InvalidInput, message));
    if options.stop.len() > STOPS_MAX || options.stop.iter().any(String::is_empty) {
        return invalid(format!("`stop` takes up to {STOPS_MAX} texts, none of them empty"));
    }
    if options.logprobs.is_some_and(|count| size(count) > LOGPROBS_MAX) {
        return invalid(format!("`logprobs` is {LOGPROBS_MAX} at the most"));
    }
    if options.sampling.logit_bias.len() > LOGIT_BIASES_MAX {
        return invalid(format!("`logit-bias` takes up to {LOGIT_BIASES_MAX} tokens"));
    }
    Ok(GenerateJob {
        model: String::new(), // the permit's
        prompt: match prompt {
            Prompt::Text(text) => GeneratePrompt::Text(text),
            Prompt::Tokens(ids) => GeneratePrompt::Ids(ids),
            Prompt::Chat(conversation) => GeneratePrompt::Chat(messages(conversation)),
        },
        tokens_max: options.tokens_max.map(size),
        stop: options.stop,
        sampling: sampling(options.sampling),
        logprobs: options.logprobs.map(size),
        account: None,
    })
}

fn sampling(sampling: wit::Sampling) -> Sampling {
    Sampling {
        temperature: sampling.temperature,
        top_k: sampling.top_k.map(size),
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        typical_p: sampling.typical_p,
        repetition_penalty: sampling.repetition_penalty,
        frequency_penalty: sampling.frequency_penalty,
        presence_penalty: sampling.presence_penalty,
        logit_bias: sampling.logit_bias,
        seed: sampling.seed,
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn event(piece: Piece) -> Event {
    let logprob = |one: engine::Logprob| wit::Logprob { id: one.id, bytes: one.bytes, logprob: one.logprob };
    let token = |token: engine::TokenLogprobs| wit::Token {
        picked: logprob(token.token),
        top: token.top.into_iter().map(logprob).collect(),
    };
    Event { text: piece.text, tokens: piece.tokens.into_iter().map(token).collect() }
}

pub(super) fn outcome(outcome: engine::Outcome) -> Outcome {
    let reason = match outcome.reason {
        FinishReason::Stop => wit::FinishReason::Stop,
        FinishReason::Length => wit::FinishReason::Length,
    };
    Outcome { reason, prompt_tokens: outcome.prompt_tokens, generated_tokens: outcome.generated_tokens }
}
