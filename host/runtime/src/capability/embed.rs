//! `tessera:embed`: texts to vectors.

use engine::{EmbedJob, EmbedTokensJob, Normalize, Truncation};
use policy::Cost;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, HasSelf};

use super::{answer_bytes_max, context, denied, granted_models, usage, within};
use crate::bindings::tessera::embed::embed::{Embeddings, Host, HostWithStore, Input, Options, Prompt, TokenEmbeddings};
use crate::bindings::tessera::inference::types::Error;
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn embed(host: &Accessor<Ctx, Self>, inputs: Vec<Input>, options: Options) -> Result<Embeddings, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let asked = options.model.as_deref();
        let cost = cost(&inputs);
        let permit = context.call.ask(|authority| authority.embed(asked, cost)).map_err(|denial| denied(&denial, asked))?;
        let done = within(&context.call, context.inference.embed(permit, job(inputs, options))).await?;
        let dimensions = u32::try_from(done.dimensions).unwrap_or(u32::MAX);
        Ok(Embeddings { model: done.model, dimensions, values: done.values, usage: usage(done.usage) })
    }

    async fn embed_tokens(host: &Accessor<Ctx, Self>, inputs: Vec<Input>, options: Options) -> Result<TokenEmbeddings, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let asked = options.model.as_deref();
        let cost = cost(&inputs);
        let permit = context.call.ask(|authority| authority.embed(asked, cost)).map_err(|denial| denied(&denial, asked))?;
        let answer_bytes_max = answer_bytes_max(&context.call);
        let job = EmbedTokensJob { embed: job(inputs, options), answer_bytes_max };
        let done = within(&context.call, context.inference.embed_tokens(permit, job)).await?;
        Ok(TokenEmbeddings {
            model: done.model,
            dimensions: u32::try_from(done.dimensions).unwrap_or(u32::MAX),
            tokens: done.usage.iter().map(|usage| usage.tokens).collect(),
            values: done.values,
            pooled: done.pooled,
            usage: usage(done.usage),
        })
    }

    fn models(mut host: Access<'_, Ctx, Self>) -> Vec<String> {
        granted_models(host.as_context_mut(), "embed")
    }
}

fn cost(inputs: &[Input]) -> Cost {
    let tokens = |input: &Input| match input {
        Input::Text(text) => Cost::of_text(text.len()).input_tokens,
        Input::Tokens(ids) => ids.len() as u64,
    };
    Cost { input_tokens: inputs.iter().map(tokens).sum(), output_tokens: 0 }
}

fn job(inputs: Vec<Input>, options: Options) -> EmbedJob {
    let input = |input| match input {
        Input::Text(text) => engine::Input::Text(text),
        Input::Tokens(ids) => engine::Input::Ids(ids),
    };
    EmbedJob {
        model: String::new(), // the permit's
        inputs: inputs.into_iter().map(input).collect(),
        prompt: match options.prompt {
            Prompt::Standard => engine::Prompt::Standard,
            Prompt::Query => engine::Prompt::Query,
            Prompt::Document => engine::Prompt::Document,
            Prompt::Named(name) => engine::Prompt::Named(name),
        },
        truncation: if options.truncate { Truncation::Cut } else { Truncation::Refuse },
        normalize: match options.normalize {
            None => Normalize::AsModel,
            Some(true) => Normalize::Always,
            Some(false) => Normalize::Never,
        },
        dimensions: options.dimensions.map(|dimensions| usize::try_from(dimensions).unwrap_or(usize::MAX)),
        account: None,
    }
}
