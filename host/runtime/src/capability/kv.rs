//! `tessera:kv`: small values by name.

use policy::KvVerb;
use store::{Place, kv as back};
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, HasSelf};

use super::stores::{Context, context, denied, named, place, rows};
use crate::bindings::tessera::kv::kv::{Entry, Expected, Host, HostWithStore, Page, Range};
use crate::bindings::tessera::store::types::Error;
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn get(host: &Accessor<Ctx, Self>, store: String, key: String) -> Result<Option<Entry>, Error> {
        let (context, place) = granted(host, KvVerb::Get, &store)?;
        let found = context.within(context.stores.values.get(&place, &key)).await?;
        Ok(found.map(entry))
    }

    async fn set(
        host: &Accessor<Ctx, Self>,
        store: String,
        key: String,
        value: Vec<u8>,
        expected: Expected,
    ) -> Result<u64, Error> {
        let (context, place) = granted(host, KvVerb::Set, &store)?;
        let expected = match expected {
            Expected::Anything => back::Expected::Anything,
            Expected::Nothing => back::Expected::Nothing,
            Expected::Revision(revision) => back::Expected::Revision(revision),
        };
        context.within(context.stores.values.set(&place, &key, value.into(), expected)).await
    }

    async fn delete(host: &Accessor<Ctx, Self>, store: String, key: String) -> Result<bool, Error> {
        let (context, place) = granted(host, KvVerb::Delete, &store)?;
        context.within(context.stores.values.delete(&place, &key)).await
    }

    async fn list(host: &Accessor<Ctx, Self>, store: String, range: Range) -> Result<Page, Error> {
        let (context, place) = granted(host, KvVerb::List, &store)?;
        let Range { prefix, after, is_reversed, entries_max } = range;
        let range = back::Range { prefix, after, is_reversed, entries_max: rows(entries_max, back::ENTRIES_MAX) };
        let page = context.within(context.stores.values.list(&place, range)).await?;
        Ok(Page { entries: page.entries.into_iter().map(entry).collect(), has_more: page.has_more })
    }
}

fn granted(host: &Accessor<Ctx, HasSelf<Ctx>>, verb: KvVerb, store: &str) -> Result<(Context, Place), Error> {
    let context = host.with(|mut store| context(store.as_context_mut()))?;
    let name = named(store)?;
    let permit = context.call.ask(|authority| authority.kv(verb, &name)).map_err(denied)?;
    Ok((context, place(permit)?))
}

fn entry(entry: back::Entry) -> Entry {
    let back::Entry { key, value, revision } = entry;
    Entry { key, value: value.into(), revision }
}
