//! Opening, closing and erasing.

use std::time::Instant;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryFutureExt, stream};

use super::*;
use crate::blob::Blobs;
use crate::kv::{Expected, Values};

fn set(store: &Fixture, tenant: &str) -> Result<u64> {
    store.wait(store.store().set(&of_tenant(tenant, "kv"), "k", Bytes::from_static(b"v"), Expected::Anything))
}

#[test]
fn an_erased_tenant_has_nothing_and_others_have_all() {
    let store = Fixture::new();
    for tenant in ["acme", "umbrella"] {
        let place = of_tenant(tenant, "docs");
        store.put(&place, document("d"), vec![chunk("text", &[1.0]), chunk("more", &[1.0])]).unwrap();
        set(&store, tenant).unwrap();
        let body = stream::once(async { Ok(Bytes::from_static(b"x")) }).boxed();
        store.wait(store.store().put(&place, "f", "", body)).unwrap();
    }
    let acme = "acme".parse().unwrap();
    assert_eq!(store.store().erase(&acme).unwrap(), 1 + 2 + 1 + 1);
    assert_eq!(store.store().erase(&acme).unwrap(), 0);
    assert!(!store.config.folder.join("acme").exists());
    assert!(store.find(&place("docs"), words("text", 9)).is_empty());
    assert_eq!(store.find(&of_tenant("umbrella", "docs"), words("text", 9)).len(), 1);
    set(&store, "acme").unwrap();
}

#[test]
fn a_draft_of_an_erased_tenant_is_refused() {
    let store = Fixture::new();
    set(&store, "acme").unwrap();
    let place = place("docs");
    let mut draft = store.wait(store.store().begin(&place, document("d"), None, &Reader::Everything)).unwrap();
    store.wait(draft.append(vec![chunk("text", &[1.0])])).unwrap();
    store.store().erase(&place.tenant).unwrap();
    let refused = store.wait(draft.append(vec![chunk("text", &[1.0])]));
    assert_eq!(refused, Err(StoreError::Conflict));
    assert_eq!(store.wait(draft.commit()), Err(StoreError::Conflict));
    assert!(store.find(&place, words("text", 9)).is_empty());
}

#[test]
fn a_file_of_an_erased_tenant_is_refused_and_takes_no_other_with_it() {
    let store = Fixture::new();
    let place = place("files");
    let begin = |name: &str| {
        let (begun, is_begun) = oneshot::channel();
        let (end, is_ended) = oneshot::channel();
        let first =
            stream::once(async { begun.send(()).map(|()| Bytes::new()).map_err(|()| std::io::ErrorKind::Other.into()) });
        let last = stream::once(is_ended.map_ok(|()| Bytes::from_static(b"x")).map_err(std::io::Error::other));
        let upload = store.runtime.spawn(store.store().put(&place, name, "", first.chain(last).boxed()));
        store.wait(is_begun).unwrap();
        (upload, end)
    };
    let (old, end_old) = begin("old");
    store.store().erase(&place.tenant).unwrap();
    let (new, end_new) = begin("new");
    end_old.send(()).unwrap();
    assert_eq!(store.wait(old).unwrap(), Err(StoreError::Conflict));
    end_new.send(()).unwrap();
    assert_eq!(store.wait(new).unwrap().unwrap().bytes, 1);
}

#[test]
fn what_could_not_be_deleted_is_deleted_with_the_next_erasure() {
    let store = Fixture::new();
    let folder = |name| store.config.folder.join(name);
    for name in [".erased-acme-7", ".erased-acme-2-7"] {
        std::fs::create_dir(folder(name)).unwrap();
        std::fs::write(folder(name).join("truth.redb"), "secret").unwrap();
    }
    assert_eq!(store.store().erase(&"acme".parse().unwrap()).unwrap(), 0);
    assert!(!folder(".erased-acme-7").exists());
    assert!(folder(".erased-acme-2-7").exists());
}

#[test]
fn data_that_another_has_open_are_neither_used_nor_erased() {
    let store = Fixture::new();
    set(&store, "acme").unwrap();
    let second = Embedded::open(store.config.clone()).unwrap();
    let refused = store.wait(second.set(&place("kv"), "k", Bytes::new(), Expected::Anything));
    assert!(matches!(&refused, Err(StoreError::Failed(text)) if text.contains("another process")), "{refused:?}");
    let refused = second.erase(&"acme".parse().unwrap());
    assert!(matches!(&refused, Err(StoreError::Failed(text)) if text.contains("stop it first")), "{refused:?}");
    assert!(store.wait(Values::get(store.store(), &place("kv"), "k")).unwrap().is_some());
}

#[test]
fn more_tenants_than_may_be_open_are_served() {
    let store = Fixture::new();
    for tenant in 0..70 {
        set(&store, &format!("t{tenant}")).unwrap();
    }
    let open = (0..70).filter(|tenant| store.store().store.tenants.opened(&format!("t{tenant}").parse().unwrap()).is_some());
    assert_eq!(open.count(), 64);
    for tenant in 0..70 {
        assert!(store.wait(Values::get(store.store(), &of_tenant(&format!("t{tenant}"), "kv"), "k")).unwrap().is_some());
    }
}

#[test]
fn what_is_only_tended_counts_as_unused() {
    let store = Fixture::new();
    let acme = "acme".parse().unwrap();
    set(&store, "acme").unwrap();
    let used = Instant::now();
    let tenants = &store.store().store.tenants;
    tenants.opened(&acme).unwrap().rest();
    tenants.close_unused_since(used);
    assert!(tenants.opened(&acme).is_none());
    set(&store, "acme").unwrap();
    tenants.close_unused_since(used);
    assert!(tenants.opened(&acme).is_some());
}

#[test]
fn more_operations_than_may_wait_are_refused() {
    let store = Fixture::with(|config| config.threads_max = 1);
    let operations: FuturesUnordered<_> = (0..100)
        .map(|number| store.store().set(&place("kv"), &format!("{number}"), Bytes::from_static(b"v"), Expected::Anything))
        .collect();
    let results: Vec<Result<u64>> = store.wait(operations.collect());
    let refused = results.iter().filter(|result| matches!(result, Err(StoreError::Overloaded))).count();
    assert!(refused > 0 && results.iter().filter(|result| result.is_ok()).count() >= 17, "{refused} are refused");
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(StoreError::Overloaded))));
}

#[test]
fn documents_that_are_committed_at_one_time_are_all_found() {
    let store = Fixture::with(|config| config.threads_max = 8);
    let place = place("docs");
    let put = |number: usize| {
        let place = &place;
        let store = store.store();
        async move {
            let mut draft = store.begin(place, document(&format!("d{}", number % 20)), None, &Reader::Everything).await?;
            draft.append(vec![chunk(&format!("number {number}"), &[1.0, number as f32])]).await?;
            draft.commit().await
        }
    };
    let results: Vec<Result<Stored>> = store.wait(stream::iter((0..60).map(put)).buffer_unordered(12).collect());
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let found = store.find(&place, words("number", 100));
    assert_eq!(found.len(), 20);
    let by_vector = store.find(&place, near(&[1.0, 1.0], 100));
    let set = |hits: &[Hit]| hits.iter().map(|hit| hit.piece.text.clone()).collect::<BTreeSet<_>>();
    assert_eq!(set(&found), set(&by_vector));
}
