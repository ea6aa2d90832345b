//! `tessera:vector`: documents in pieces that are found by meaning and by words.

mod convert;
mod draft;

use policy::VectorVerb;
use store::Place;
use store::vector::{ROWS_MAX, Reader};
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, HasSelf, Resource};

use super::stores::{Context, context, denied, error, named, parsed, place, rows};
use crate::bindings::tessera::store::types::{Error, ErrorCode};
use crate::bindings::tessera::vector::vector::{
    Collection, Document, Filter, Hit, Host, HostWithStore, Page, Piece, Query, Stored,
};
use crate::sandbox::Ctx;

#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub use draft::Draft;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn begin(
        host: &Accessor<Ctx, Self>,
        collection: String,
        document: Document,
        embedder: Option<String>,
    ) -> Result<Resource<Draft>, Error> {
        let (context, place) = granted(host, VectorVerb::Upsert, &collection)?;
        let (document, embedder) = (convert::document(document)?, context.embedder(embedder)?);
        let begun = context.stores.vectors.begin(&place, document, embedder, &context.reader());
        let draft = Draft::new(context.within(begun).await?, context.call, named(&collection)?);
        let full = |_| error(ErrorCode::Overloaded, "this instance holds as many handles as it may: drop some");
        host.with(|mut store| store.get().table.push(draft)).map_err(full)
    }

    async fn delete(host: &Accessor<Ctx, Self>, collection: String, document: String) -> Result<bool, Error> {
        let (context, place) = granted(host, VectorVerb::Delete, &collection)?;
        context.within(context.stores.vectors.delete(&place, &document, &context.reader())).await
    }

    async fn delete_collection(host: &Accessor<Ctx, Self>, collection: String) -> Result<bool, Error> {
        let (context, place) = granted(host, VectorVerb::Delete, &collection)?;
        context.within(context.stores.vectors.delete_collection(&place, &context.reader())).await
    }

    async fn find(host: &Accessor<Ctx, Self>, collection: String, query: Query) -> Result<Vec<Hit>, Error> {
        let (context, place) = granted(host, VectorVerb::Find, &collection)?;
        let embedder = context.embedder(query.embedder.clone())?;
        let query = store::vector::Query { embedder, ..convert::query(query) };
        let hits = context.within(context.stores.vectors.find(&place, query, &context.reader())).await?;
        Ok(hits.into_iter().map(convert::hit).collect())
    }

    async fn stat(host: &Accessor<Ctx, Self>, collection: String, document: String) -> Result<Option<Stored>, Error> {
        let (context, place) = granted(host, VectorVerb::List, &collection)?;
        let found = context.within(context.stores.vectors.stat(&place, &document, &context.reader())).await?;
        Ok(found.map(convert::stored))
    }

    async fn documents(
        host: &Accessor<Ctx, Self>,
        collection: String,
        filter: Filter,
        after: Option<String>,
        documents_max: u32,
    ) -> Result<Page, Error> {
        let (context, place) = granted(host, VectorVerb::List, &collection)?;
        let (filter, documents_max) = (convert::filter(filter), rows(documents_max, ROWS_MAX));
        let page = context.stores.vectors.documents(&place, filter, after.as_deref(), documents_max, &context.reader());
        let page = context.within(page).await?;
        Ok(Page { documents: page.documents.into_iter().map(convert::stored).collect(), has_more: page.has_more })
    }

    async fn pieces(
        host: &Accessor<Ctx, Self>,
        collection: String,
        document: String,
        start: u32,
        pieces_max: u32,
    ) -> Result<Vec<Piece>, Error> {
        let (context, place) = granted(host, VectorVerb::List, &collection)?;
        let pieces_max = rows(pieces_max, ROWS_MAX);
        let pieces = context.stores.vectors.pieces(&place, &document, start, pieces_max, &context.reader());
        Ok(context.within(pieces).await?.into_iter().map(convert::piece).collect())
    }

    async fn collections(host: &Accessor<Ctx, Self>) -> Result<Vec<Collection>, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        context.call.ask(|authority| authority.collections()).map_err(denied)?;
        let tenant = parsed(context.call.caller.tenant().as_str())?;
        let mut found = context.within(context.stores.vectors.collections(&tenant)).await?;
        context.call.ask(|authority| found.retain(|one| is_shown(&authority, one.name.as_str())));
        Ok(found.into_iter().map(convert::collection).collect())
    }
}

fn is_shown(authority: &policy::Authority<'_>, name: &str) -> bool {
    name.parse().is_ok_and(|name| authority.shows_collection(&name))
}

fn granted(host: &Accessor<Ctx, HasSelf<Ctx>>, verb: VectorVerb, collection: &str) -> Result<(Context, Place), Error> {
    let context = host.with(|mut store| context(store.as_context_mut()))?;
    let name = named(collection)?;
    let permit = context.call.ask(|authority| authority.vector(verb, &name)).map_err(denied)?;
    Ok((context, place(permit)?))
}

impl Context {
    /// Who looks. Labels are no bar only where nobody has to say who they are.
    fn reader(&self) -> Reader {
        match self.call.caller.labels() {
            None => Reader::Everything,
            Some(labels) => Reader::Labels(labels.iter().map(ToString::to_string).collect()),
        }
    }

    /// What makes vectors: the model and the digest of its files, so that another model of the same name is another.
    fn embedder(&self, model: Option<String>) -> Result<Option<String>, Error> {
        let Some(model) = model else { return Ok(None) };
        let digest = self.inference.model(&model).map(|card| card.digest).ok_or_else(|| {
            let model: String = model.chars().take(128).collect();
            error(
                ErrorCode::InvalidInput,
                &format!("there is no model `{model}` on this server: name the one that made the vectors"),
            )
        })?;
        Ok(Some(if digest.is_empty() { model } else { format!("{model}@sha256:{digest}") }))
    }
}
