//! `tessera:classify`: labels of texts and of parts of texts.

use engine::{ClassifyJob, Truncation};
use policy::{Classify, Cost, Permit};
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, HasSelf};

use super::{Context, answer_bytes_max, context, denied, granted_models, usage, within};
use crate::bindings::tessera::classify::classify::{Entities, Entity, Host, HostWithStore, Labels, Options, Score};
use crate::bindings::tessera::inference::types::Error;
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn classify(host: &Accessor<Ctx, Self>, texts: Vec<String>, options: Options) -> Result<Labels, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let (permit, job) = asked(&context, texts, options)?;
        let done = within(&context.call, context.inference.classify(permit, job)).await?;
        let score = |engine::LabelScore { label, score }| Score { label, score };
        let texts = done.texts.into_iter().map(|labels| labels.into_iter().map(score).collect()).collect();
        Ok(Labels { model: done.model, texts, usage: usage(done.usage) })
    }

    async fn find_entities(host: &Accessor<Ctx, Self>, texts: Vec<String>, options: Options) -> Result<Entities, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let (permit, job) = asked(&context, texts, options)?;
        let done = within(&context.call, context.inference.find_entities(permit, job)).await?;
        let texts = done.texts.into_iter().map(|parts| parts.into_iter().map(entity).collect()).collect();
        Ok(Entities { model: done.model, texts, usage: usage(done.usage) })
    }

    fn models(mut host: Access<'_, Ctx, Self>) -> Vec<String> {
        granted_models(host.as_context_mut(), "classify")
    }
}

/// Asks for the right to classify these texts.
fn asked(context: &Context, texts: Vec<String>, options: Options) -> Result<(Permit<Classify>, ClassifyJob), Error> {
    let asked = options.model.as_deref();
    let cost = Cost::of_text(texts.iter().map(String::len).sum());
    let permit = context.call.ask(|authority| authority.classify(asked, cost)).map_err(|denial| denied(&denial, asked))?;
    let job = ClassifyJob {
        model: String::new(), // the permit's
        texts,
        truncation: if options.truncate { Truncation::Cut } else { Truncation::Refuse },
        answer_bytes_max: answer_bytes_max(&context.call),
        account: None,
    };
    Ok((permit, job))
}

fn entity(engine::Entity { label, bytes, score }: engine::Entity) -> Entity {
    let place = |byte| u32::try_from(byte).unwrap_or(u32::MAX);
    Entity { label, start: place(bytes.start), end: place(bytes.end), score }
}
