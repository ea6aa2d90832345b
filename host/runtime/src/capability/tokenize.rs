//! `tessera:tokenize`: text to a model's tokens and back.

use engine::TokenizeInput;
use policy::{Cost, Permit, Tokenize};
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, HasSelf};

use super::{Context, context, denied, granted_models, messages, within};
use crate::bindings::tessera::inference::types::Error;
use crate::bindings::tessera::tokenize::tokenize::{Host, HostWithStore, Input};
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn tokenize(host: &Accessor<Ctx, Self>, model: Option<String>, input: Input) -> Result<Vec<u32>, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        Ok(ids(&context, model, vec![input]).await?.into_iter().next().unwrap_or_default())
    }

    async fn count(host: &Accessor<Ctx, Self>, model: Option<String>, inputs: Vec<Input>) -> Result<Vec<u32>, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let ids = ids(&context, model, inputs).await?;
        Ok(ids.iter().map(|ids| u32::try_from(ids.len()).unwrap_or(u32::MAX)).collect())
    }

    async fn detokenize(host: &Accessor<Ctx, Self>, model: Option<String>, ids: Vec<u32>) -> Result<String, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let permit = permit(&context, model.as_deref())?;
        within(&context.call, context.inference.detokenize(permit, ids)).await
    }

    fn models(mut host: Access<'_, Ctx, Self>) -> Vec<String> {
        granted_models(host.as_context_mut(), "tokenize")
    }
}

fn permit(context: &Context, asked: Option<&str>) -> Result<Permit<Tokenize>, Error> {
    // No device works for it, and no quota counts it.
    context.call.ask(|authority| authority.tokenize(asked, Cost::default())).map_err(|denial| denied(&denial, asked))
}

async fn ids(context: &Context, model: Option<String>, inputs: Vec<Input>) -> Result<Vec<Vec<u32>>, Error> {
    let permit = permit(context, model.as_deref())?;
    let input = |input| match input {
        Input::Text(text) => TokenizeInput::Text { text, special: false },
        Input::WholeText(text) => TokenizeInput::Text { text, special: true },
        Input::Chat(conversation) => TokenizeInput::Chat(messages(conversation)),
    };
    let inputs = inputs.into_iter().map(input).collect();
    within(&context.call, context.inference.tokenize(permit, inputs)).await
}
