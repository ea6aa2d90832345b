//! Documents, queries, values and files, one at a time.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::*;
use crate::blob::{self, Blobs};
use crate::kv::{self, Expected, Values};
use crate::vector::{Condition, Filter, Test};

fn cats_and_dogs(store: &Fixture) -> Place {
    let place = place("animals");
    let fields = vec![field("lang", "en"), field("year", 2020.0)];
    let cats = Document { fields, ..document("cats") };
    let chunks = vec![chunk("Cats sleep all day.", &[1.0, 0.0, 0.0]), chunk("A cat hunts mice.", &[0.9, 0.1, 0.0])];
    store.put(&place, cats, chunks).unwrap();
    store.put(&place, document("dogs"), vec![chunk("Dogs run and dogs bark.", &[0.0, 1.0, 0.0])]).unwrap();
    place
}

#[test]
fn the_nearest_vectors_are_found_with_their_cosines() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    let hits = store.find(&place, near(&[2.0, 0.0, 0.0], 2));
    assert_eq!(texts(&hits), ["Cats sleep all day.", "A cat hunts mice."]);
    assert!((hits[0].similarity.unwrap() - 1.0).abs() < 1e-6);
    assert!((hits[1].similarity.unwrap() - 0.9 / 0.82_f32.sqrt()).abs() < 1e-6);
    assert_eq!(hits[0].score, hits[0].similarity.unwrap());
}

#[test]
fn words_are_found_at_once_and_nothing_in_them_is_special() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    assert_eq!(texts(&store.find(&place, words("dog", 5))), ["Dogs run and dogs bark."]);
    assert_eq!(texts(&store.find(&place, words("+cat -sleep text:\"(", 5))).len(), 2);
    assert!(store.find(&place, words("?!", 5)).is_empty());
}

#[test]
fn both_orders_are_put_together_by_their_ranks() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    let query = Query { text: Some("dogs".into()), ..near(&[1.0, 0.0, 0.0], 3) };
    let hits = store.find(&place, query);
    assert_eq!(hits[0].piece.document, "dogs");
    assert!((hits[0].score - (1.0 / 63.0 + 1.0 / 61.0)).abs() < 1e-6);
    assert!(hits[0].text_score.is_some() && hits[0].similarity.is_some());
    assert!(hits[1].text_score.is_none());
}

#[test]
fn filters_look_at_fields_of_documents_and_chunks() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    let own = vec![field("page", 7.0), field("lang", "de")];
    let chunks = vec![Chunk { fields: own, ..chunk("Ein Fisch", &[0.5, 0.5, 0.0]) }, chunk("A fish", &[0.5, 0.4, 0.0])];
    store.put(&place, Document { fields: vec![field("lang", "en")], ..document("fish") }, chunks).unwrap();
    let all = |field: &str, test| {
        let all = vec![Condition { field: field.into(), test }];
        let filter = Filter { all, ..Filter::default() };
        let found = store.find(&place, Query { filter, ..near(&[1.0, 1.0, 0.0], 9) });
        found.iter().map(|hit| hit.piece.text.clone()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(all("lang", Test::Equals("en".into())), 3);
    assert_eq!(all("lang", Test::Equals("de".into())), 1);
    assert_eq!(all("lang", Test::OneOf(vec!["de".into(), "en".into()])), 4);
    assert_eq!(all("page", Test::AtLeast(7.0)), 1);
    assert_eq!(all("page", Test::AtMost(6.9)), 0);
    assert_eq!(all("year", Test::Present), 2);
    assert_eq!(all("document", Test::Equals("dogs".into())), 1);
    let none = vec![Condition { field: "lang".into(), test: Test::Equals("en".into()) }];
    let hits = store.find(&place, Query { filter: Filter { none, ..Filter::default() }, ..words("dog cat fish fisch", 9) });
    assert_eq!(texts(&hits).into_iter().collect::<BTreeSet<_>>(), ["Dogs run and dogs bark.", "Ein Fisch"].into());
}

#[test]
fn a_chunks_own_field_is_told_before_the_documents() {
    let store = Fixture::new();
    let place = place("c");
    let own = Chunk { fields: vec![field("a", 1.0)], ..chunk("x", &[1.0]) };
    let both = vec![field("a", 0.0), field("b", 0.0)];
    store.put(&place, Document { fields: both, ..document("d") }, vec![own]).unwrap();
    let expected = vec![field("b", 0.0), field("a", 1.0)];
    assert_eq!(store.find(&place, near(&[1.0], 1))[0].piece.fields, expected);
    let pieces = store.wait(store.store().pieces(&place, "d", 0, 9, &Reader::Everything)).unwrap();
    assert_eq!(pieces[0].fields, expected);
}

#[test]
fn token_vectors_put_candidates_into_a_new_order_and_the_others_behind() {
    let store = Fixture::new();
    let place = place("c");
    let with = |text, vector: &[f32], tokens: &[f32]| Chunk { token_vectors: tokens.to_vec(), ..chunk(text, vector) };
    let chunks = vec![
        chunk("without", &[1.0, 0.0]),
        with("far", &[0.9, 0.1], &[1.0, 0.0]),
        with("near", &[0.8, 0.2], &[1.0, 0.0, 0.0, 3.0]),
    ];
    store.put(&place, document("d"), chunks).unwrap();
    let hits = store.find(&place, Query { token_vectors: vec![0.0, 2.0], ..near(&[1.0, 0.0], 3) });
    assert_eq!(texts(&hits), ["near", "far", "without"]);
    assert!((hits[0].token_score.unwrap() - 1.0).abs() < 0.01);
    assert_eq!(hits[2].token_score, None);
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
}

#[test]
fn what_is_less_similar_than_asked_is_left_out() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    let query = Query { similarity_min: Some(0.95), text: Some("dogs cats".into()), ..near(&[1.0, 0.0, 0.0], 9) };
    assert_eq!(store.find(&place, query).len(), 2);
}

#[test]
fn a_different_chunk_is_chosen_before_a_twin() {
    let store = Fixture::new();
    let place = place("c");
    let chunks = vec![chunk("a", &[1.0, 0.1]), chunk("twin", &[1.0, 0.1]), chunk("other", &[0.6, -0.8])];
    store.put(&place, document("d"), chunks).unwrap();
    let hits = store.find(&place, Query { relevance: Some(0.4), ..near(&[1.0, 0.0], 2) });
    assert_eq!(texts(&hits), ["a", "other"]);
}

#[test]
fn a_document_replaces_that_of_the_same_id() {
    let mut store = Fixture::new();
    let place = cats_and_dogs(&store);
    let stored = store.put(&place, document("cats"), vec![chunk("Only tigers.", &[0.0, 0.0, 1.0])]).unwrap();
    assert_eq!(stored.chunks, 1);
    for _ in 0..2 {
        assert!(store.find(&place, words("cats sleep", 9)).is_empty());
        assert_eq!(store.find(&place, near(&[1.0, 1.0, 1.0], 9)).len(), 2);
        assert_eq!(texts(&store.find(&place, words("tiger", 9))), ["Only tigers."]);
        let collection = store.wait(store.store().collections(&place.tenant)).unwrap().remove(0);
        assert_eq!((collection.documents, collection.chunks, collection.dimensions), (2, 2, 3));
        store.reopen();
    }
}

#[test]
fn a_deleted_document_is_found_by_nothing() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    assert!(store.wait(Vectors::delete(store.store(), &place, "cats", &Reader::Everything)).unwrap());
    assert!(!store.wait(Vectors::delete(store.store(), &place, "cats", &Reader::Everything)).unwrap());
    assert!(store.find(&place, words("cat", 9)).is_empty());
    assert_eq!(store.find(&place, near(&[1.0, 0.0, 0.0], 9)).len(), 1);
    assert_eq!(store.wait(Vectors::stat(store.store(), &place, "cats", &Reader::Everything)).unwrap(), None);
    assert!(store.wait(store.store().pieces(&place, "cats", 0, 9, &Reader::Everything)).unwrap().is_empty());
}

#[test]
fn a_deleted_collection_can_come_to_be_anew_with_another_model() {
    let mut store = Fixture::new();
    let place = cats_and_dogs(&store);
    assert!(store.wait(store.store().delete_collection(&place, &Reader::Everything)).unwrap());
    assert!(!store.wait(store.store().delete_collection(&place, &Reader::Everything)).unwrap());
    assert!(store.find(&place, words("cat", 9)).is_empty());
    store.put(&place, document("new"), vec![chunk("a cat", &[1.0])]).unwrap();
    store.store().settle();
    store.reopen();
    assert_eq!(store.find(&place, words("cat", 9)).len(), 1);
    assert_eq!(store.find(&place, near(&[1.0], 9)).len(), 1);
}

#[test]
fn a_draft_that_is_dropped_never_was() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    store.wait(async {
        let mut draft = store.store().begin(&place, document("birds"), None, &Reader::Everything).await.unwrap();
        draft.append(vec![chunk("Birds fly.", &[0.0, 0.0, 1.0])]).await.unwrap();
    });
    store.store().settle();
    assert!(store.find(&place, words("birds", 9)).is_empty());
    let lease = store.store().store.tenants.existing(&place.tenant).unwrap().unwrap();
    assert!(lease.truth.loose().unwrap().is_empty(), "nothing of it is left in the database");
    assert_eq!(lease.truth.rows().unwrap(), 2 + 3);
}

#[test]
fn nothing_of_a_draft_is_found_before_it_is_committed() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    let mut draft = store.wait(store.store().begin(&place, document("cats"), None, &Reader::Everything)).unwrap();
    store.wait(draft.append(vec![chunk("Lions", &[0.0, 0.0, 1.0])])).unwrap();
    assert_eq!(store.find(&place, words("cat lion", 9)).len(), 2);
    store.wait(draft.commit()).unwrap();
    assert_eq!(texts(&store.find(&place, words("cat lion", 9))), ["Lions"]);
}

#[test]
fn documents_and_pieces_come_in_pages() {
    let store = Fixture::new();
    let place = place("c");
    for id in ["b", "a", "c"] {
        store.put(&place, document(id), (0..3).map(|i| chunk(&format!("{id}{i}"), &[1.0])).collect()).unwrap();
    }
    let list = |after: Option<&str>| {
        store.wait(store.store().documents(&place, Filter::default(), after, 2, &Reader::Everything)).unwrap()
    };
    let ids = |page: &crate::vector::Page| page.documents.iter().map(|stored| stored.document.id.clone()).collect::<Vec<_>>();
    let first = list(None);
    assert_eq!((ids(&first), first.has_more), (vec!["a".into(), "b".into()], true));
    let second = list(Some("b"));
    assert_eq!((ids(&second), second.has_more), (vec!["c".into()], false));
    let pieces = store.wait(store.store().pieces(&place, "b", 1, 9, &Reader::Everything)).unwrap();
    assert_eq!(pieces.iter().map(|piece| (piece.index, piece.text.as_str())).collect::<Vec<_>>(), [(1, "b1"), (2, "b2")]);
}

#[test]
fn another_length_or_model_is_refused_by_name() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    let refused = invalid(store.put(&place, document("x"), vec![chunk("x", &[1.0])]));
    assert!(refused.contains("1 numbers") && refused.contains("have 3"), "{refused}");
    let refused = invalid(store.wait(store.store().find(&place, near(&[1.0, 2.0], 1), &Reader::Everything)));
    assert!(refused.contains("2 numbers") && refused.contains("have 3"), "{refused}");
    let begun = store.wait(store.store().begin(&place, document("x"), Some("other".into()), &Reader::Everything));
    let refused = invalid(begun.map(|_| ()));
    assert!(refused.contains("`embedder`") && refused.contains("`other`"), "{refused}");
    let query = Query { embedder: Some("other".into()), ..near(&[1.0, 0.0, 0.0], 1) };
    invalid(store.wait(store.store().find(&place, query, &Reader::Everything)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let store = Fixture::new();
    let place = cats_and_dogs(&store);
    let x = [1.0, 0.0, 0.0];
    let queries = [
        near(&x, 0),
        near(&x, 1001),
        near(&[0.0; 3], 1),
        near(&[f32::NAN, 0.0, 0.0], 1),
        near(&[f32::INFINITY, 0.0, 0.0], 1),
        Query { k: 1, ..Query::default() },
        Query { relevance: Some(1.1), ..near(&x, 1) },
        Query { similarity_min: Some(f32::NAN), ..near(&x, 1) },
        Query { similarity_min: Some(0.5), ..words("cat", 1) },
        Query { token_vectors: vec![1.0; 4], ..near(&x, 1) },
        Query { candidates: Some(1 << 20), ..near(&x, 1) },
    ];
    for query in queries {
        invalid(store.wait(store.store().find(&place, query, &Reader::Everything)));
    }
    let chunks = [
        chunk("", &[]),
        chunk(&"x".repeat(1 << 20), &x),
        chunk("x", &[0.0; 3]),
        Chunk { token_vectors: vec![1.0; 5], ..chunk("x", &x) },
        Chunk { fields: vec![field("", 1.0)], ..chunk("x", &x) },
        Chunk { fields: vec![field("a", f64::NAN)], ..chunk("x", &x) },
        Chunk { fields: vec![field("a", 1.0), field("a", 2.0)], ..chunk("x", &x) },
    ];
    for chunk in chunks {
        invalid(store.put(&place, document("x"), vec![chunk]));
    }
    invalid(store.put(&place, document(""), Vec::new()));
    invalid(store.put(&place, document(&"x".repeat(513)), Vec::new()));
    assert_eq!(store.wait(store.store().collections(&place.tenant)).unwrap()[0].documents, 2);
}

#[test]
fn a_full_place_takes_no_more_but_lets_a_document_be_replaced() {
    let store = Fixture::new();
    let place = Place { bytes_max: 3000, ..place("small") };
    let text = "x ".repeat(700);
    store.put(&place, document("a"), vec![chunk(&text, &[1.0])]).unwrap();
    let full = store.put(&place, document("b"), vec![chunk(&text, &[1.0])]);
    assert_eq!(full, Err(StoreError::Full { bytes_max: 3000 }));
    store.put(&place, document("a"), vec![chunk(&text, &[1.0])]).unwrap();
    store.wait(Vectors::delete(store.store(), &place, "a", &Reader::Everything)).unwrap();
    store.put(&place, document("b"), vec![chunk(&text, &[1.0])]).unwrap();
}

#[test]
fn values_are_changed_only_from_what_was_expected() {
    let store = Fixture::new();
    let place = place("kv");
    let set =
        |value: &str, expected| store.wait(store.store().set(&place, "k", Bytes::copy_from_slice(value.as_bytes()), expected));
    let first = set("a", Expected::Nothing).unwrap();
    assert_eq!(set("b", Expected::Nothing), Err(StoreError::Conflict));
    let second = set("b", Expected::Revision(first)).unwrap();
    assert!(second > first);
    assert_eq!(set("c", Expected::Revision(first)), Err(StoreError::Conflict));
    assert_eq!(store.wait(Values::get(store.store(), &place, "k")).unwrap().unwrap().value, "b");
    assert!(store.wait(Values::delete(store.store(), &place, "k")).unwrap());
    assert!(set("d", Expected::Nothing).unwrap() > second);
    invalid(store.wait(Values::get(store.store(), &place, "")));
    invalid(store.wait(store.store().set(&place, "k", vec![0; (1 << 20) + 1].into(), Expected::Anything)));
}

#[test]
fn values_are_listed_both_ways_in_bounded_pages() {
    let store = Fixture::new();
    let place = place("kv");
    for key in ["a", "b/1", "b/2", "b/3", "b0", "ü"] {
        store.wait(store.store().set(&place, key, Bytes::from_static(b"v"), Expected::Anything)).unwrap();
    }
    let list = |prefix: &str, after: Option<&str>, is_reversed, entries_max| {
        let range = kv::Range { prefix: prefix.into(), after: after.map(Into::into), is_reversed, entries_max };
        let page = store.wait(Values::list(store.store(), &place, range)).unwrap();
        (page.entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>().join(" "), page.has_more)
    };
    assert_eq!(list("", None, false, 9), ("a b/1 b/2 b/3 b0 ü".into(), false));
    assert_eq!(list("", None, true, 2), ("ü b0".into(), true));
    assert_eq!(list("b/", None, false, 2), ("b/1 b/2".into(), true));
    assert_eq!(list("b/", Some("b/2"), false, 2), ("b/3".into(), false));
    assert_eq!(list("b/", Some("b/2"), true, 2), ("b/1".into(), false));
    assert_eq!(list("b/", Some("a"), false, 9), ("b/1 b/2 b/3".into(), false));
    assert_eq!(list("b/", Some("z"), true, 9), ("b/3 b/2 b/1".into(), false));
    assert_eq!(list("b/", Some("z"), false, 9), (String::new(), false));
}

#[test]
fn owners_of_one_store_never_see_each_others_values_but_share_its_room() {
    let store = Fixture::new();
    let owned = |owner: Option<&str>| Place { owner: owner.map(Into::into), bytes_max: 400, ..place("kv") };
    let set =
        |owner, bytes: usize| store.wait(store.store().set(&owned(owner), "k", vec![b'x'; bytes].into(), Expected::Anything));
    set(Some("ann"), 100).unwrap();
    for other in [None, Some("bob"), Some("an"), Some("ann\0"), Some("")] {
        assert_eq!(store.wait(Values::get(store.store(), &owned(other), "k")).unwrap(), None, "{other:?}");
        let all = kv::Range { entries_max: 9, ..kv::Range::default() };
        assert_eq!(store.wait(Values::list(store.store(), &owned(other), all)).unwrap(), kv::Page::default());
    }
    set(None, 100).unwrap();
    assert_eq!(set(Some("bob"), 100), Err(StoreError::Full { bytes_max: 400 }));
}

fn body(parts: &[&'static [u8]]) -> blob::Body {
    stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part))).collect::<Vec<_>>()).boxed()
}

fn bytes_of(store: &Fixture, place: &Place, name: &str, range: blob::Range) -> Vec<u8> {
    let (_, body) = store.wait(Blobs::get(store.store(), place, name, range)).unwrap();
    store.wait(body.try_concat_vec()).unwrap()
}

trait Concat {
    async fn try_concat_vec(self) -> std::io::Result<Vec<u8>>;
}

impl Concat for blob::Body {
    async fn try_concat_vec(self) -> std::io::Result<Vec<u8>> {
        self.try_fold(Vec::new(), |mut all, part| async move {
            all.extend_from_slice(&part);
            Ok(all)
        })
        .await
    }
}

#[test]
fn a_file_reads_as_it_was_put_there_whole_and_in_parts() {
    let mut store = Fixture::new();
    let place = place("files");
    let info = store.wait(store.store().put(&place, "../a/b", "text/plain", body(&[b"hello ", b"", b"world"]))).unwrap();
    assert_eq!(info.digest, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    store.reopen();
    assert_eq!(store.wait(Blobs::stat(store.store(), &place, "../a/b")).unwrap(), Some(info));
    assert_eq!(bytes_of(&store, &place, "../a/b", blob::Range::default()), b"hello world");
    assert_eq!(bytes_of(&store, &place, "../a/b", blob::Range { start: 6, bytes: Some(3) }), b"wor");
    assert_eq!(bytes_of(&store, &place, "../a/b", blob::Range { start: 11, bytes: None }), b"");
    let behind = store.wait(Blobs::get(store.store(), &place, "../a/b", blob::Range { start: 12, bytes: None }));
    invalid(behind.map(|(info, _)| info));
    let page = store.wait(Blobs::list(store.store(), &place, "../", None, 9)).unwrap();
    assert_eq!(page.files.len(), 1);
}

#[test]
fn a_body_that_breaks_off_leaves_what_was_there() {
    let store = Fixture::new();
    let place = place("files");
    store.wait(store.store().put(&place, "f", "", body(&[b"old"]))).unwrap();
    let broken = stream::iter([Ok(Bytes::from_static(b"ne")), Err(std::io::Error::other("gone"))]).boxed();
    assert!(store.wait(store.store().put(&place, "f", "", broken)).is_err());
    drop(store.store().put(&place, "f", "", body(&[b"never"])));
    assert_eq!(bytes_of(&store, &place, "f", blob::Range::default()), b"old");
    assert_eq!(files_of(&store), 1);
    store.wait(store.store().put(&place, "f", "", body(&[b"new"]))).unwrap();
    assert_eq!(bytes_of(&store, &place, "f", blob::Range::default()), b"new");
    assert_eq!(files_of(&store), 1);
    assert!(store.wait(Blobs::delete(store.store(), &place, "f")).unwrap());
    assert_eq!(files_of(&store), 0);
    assert!(matches!(
        store.wait(Blobs::get(store.store(), &place, "f", blob::Range::default())).map(|(info, _)| info),
        Err(StoreError::NotFound { .. })
    ));
}

fn files_of(store: &Fixture) -> usize {
    std::fs::read_dir(store.config.folder.join("acme/blobs")).unwrap().count()
}

#[test]
fn a_body_larger_than_the_place_is_refused_before_its_end() {
    let store = Fixture::new();
    let place = Place { bytes_max: 1000, ..place("files") };
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 100]))).boxed();
    assert_eq!(store.wait(store.store().put(&place, "f", "", endless)), Err(StoreError::Full { bytes_max: 1000 }));
    assert_eq!(files_of(&store), 0);
}

#[test]
fn files_in_no_row_are_deleted_when_data_are_opened() {
    let mut store = Fixture::new();
    let place = place("files");
    store.wait(store.store().put(&place, "f", "", body(&[b"x"]))).unwrap();
    store.close();
    let blobs = store.config.folder.join("acme/blobs");
    std::fs::write(blobs.join("77"), b"orphan").unwrap();
    std::fs::write(blobs.join("78.part"), b"part").unwrap();
    store.reopen();
    assert_eq!(bytes_of(&store, &place, "f", blob::Range::default()), b"x");
    assert_eq!(files_of(&store), 1);
}
