//! `tessera:rerank`: scores of documents for a query.

use engine::{RerankJob, Truncation};
use policy::{Authority, Cost};
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, HasSelf};

use super::{context, denied, granted_models, usage, within};
use crate::bindings::tessera::inference::types::Error;
use crate::bindings::tessera::rerank::rerank::{Host, HostWithStore, Options, Scores};
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn rerank(
        host: &Accessor<Ctx, Self>,
        query: String,
        documents: Vec<String>,
        options: Options,
    ) -> Result<Scores, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let asked = options.model.as_deref();
        // A cross-encoder reads the query again with each document.
        let bytes = documents.iter().map(|document| document.len().saturating_add(query.len())).sum();
        let ask = |authority: Authority<'_>| authority.rerank(asked, Cost::of_text(bytes));
        let permit = context.call.ask(ask).map_err(|denial| denied(&denial, asked))?;
        let truncation = if options.truncate { Truncation::Cut } else { Truncation::Refuse };
        let model = String::new(); // the permit's
        let job = RerankJob { model, query, documents, truncation, raw_scores: options.raw_scores, account: None };
        let done = within(&context.call, context.inference.rerank(permit, job)).await?;
        Ok(Scores { model: done.model, values: done.values, usage: usage(done.usage) })
    }

    fn models(mut host: Access<'_, Ctx, Self>) -> Vec<String> {
        granted_models(host.as_context_mut(), "rerank")
    }
}
