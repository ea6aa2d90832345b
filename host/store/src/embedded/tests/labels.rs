//! Who sees what: tenants, owners and labels.

use super::*;
use redb::ReadableTable;

use crate::embedded::dense::unit;
use crate::embedded::record::{DocumentRecord, Record};
use crate::embedded::truth::DOCUMENTS;
use crate::vector::{Condition, Filter, Test};

#[test]
fn tenants_with_the_same_names_never_see_each_others_rows() {
    let mut store = Fixture::new();
    for tenant in ["acme", "umbrella"] {
        let place = of_tenant(tenant, "docs");
        store.put(&place, document("d"), vec![chunk(&format!("secret of {tenant}"), &[1.0, 0.0])]).unwrap();
    }
    for _ in 0..2 {
        for tenant in ["acme", "umbrella"] {
            let (place, own) = (of_tenant(tenant, "docs"), format!("secret of {tenant}"));
            assert_eq!(texts(&store.find(&place, words("secret acme umbrella", 9))), [own.as_str()]);
            assert_eq!(texts(&store.find(&place, near(&[1.0, 0.0], 9))), [own.as_str()]);
        }
        store.reopen();
    }
    assert!(store.find(&of_tenant("nobody", "docs"), words("secret", 9)).is_empty());
    assert!(!store.config.folder.join("nobody").exists(), "looking makes nothing");
}

#[test]
fn owners_of_a_collection_share_nothing_but_its_room() {
    let store = Fixture::new();
    let owned = |owner: &str| Place { owner: Some(owner.into()), ..place("docs") };
    store.put(&owned("ann"), document("d"), vec![chunk("of ann", &[1.0])]).unwrap();
    assert!(store.find(&owned("bob"), words("ann", 9)).is_empty());
    assert!(store.find(&place("docs"), words("ann", 9)).is_empty());
    store.put(&owned("bob"), document("d"), vec![chunk("of bob", &[1.0])]).unwrap();
    let all = store.wait(store.store().collections(&"acme".parse().unwrap())).unwrap();
    assert_eq!(all.iter().map(|one| (one.documents, one.chunks)).collect::<Vec<_>>(), [(2, 2)]);
}

#[test]
fn what_a_reader_does_not_see_is_not_there_for_it() {
    let store = Fixture::new();
    let place = place("docs");
    store.put(&place, labelled("board", &["board"]), vec![chunk("secret plans", &[1.0, 0.0])]).unwrap();
    store.put(&place, document("open"), vec![chunk("open plans", &[0.0, 1.0])]).unwrap();
    let staff = reader(&["staff"]);
    assert_eq!(texts(&store.find_as(&staff, &place, words("plans", 9))), ["open plans"]);
    assert_eq!(texts(&store.find_as(&staff, &place, near(&[1.0, 0.0], 9))), ["open plans"]);
    assert_eq!(store.wait(Vectors::stat(store.store(), &place, "board", &staff)).unwrap(), None);
    assert!(store.wait(store.store().pieces(&place, "board", 0, 9, &staff)).unwrap().is_empty());
    let page = store.wait(store.store().documents(&place, Filter::default(), None, 9, &staff)).unwrap();
    assert_eq!(page.documents.len(), 1);
    assert!(!store.wait(Vectors::delete(store.store(), &place, "board", &staff)).unwrap());
    let taken = invalid(store.put_as(&staff, &place, document("board"), vec![chunk("mine now", &[1.0, 0.0])]));
    assert!(!taken.contains("plans"), "{taken}");
    invalid(store.wait(store.store().delete_collection(&place, &staff)));
    let board = reader(&["staff", "board"]);
    assert_eq!(store.find_as(&board, &place, words("plans", 9)).len(), 2);
    assert!(store.wait(store.store().delete_collection(&place, &board)).unwrap());
}

#[test]
fn a_label_that_is_given_meanwhile_keeps_a_draft_from_replacing() {
    let store = Fixture::new();
    let place = place("docs");
    let staff = reader(&["staff"]);
    let draft = store.wait(store.store().begin(&place, document("d"), None, &staff)).unwrap();
    store.put(&place, labelled("d", &["board"]), vec![chunk("secret", &[1.0])]).unwrap();
    invalid(store.wait(draft.commit()));
    assert_eq!(store.find(&place, words("secret", 9)).len(), 1);
}

#[test]
fn a_document_that_is_replaced_while_it_is_listed_is_shown_to_those_who_see_the_new_one() {
    let store = Fixture::new();
    let place = place("docs");
    store.put(&place, document("d"), vec![chunk("text", &[1.0])]).unwrap();
    store.find(&place, words("text", 1));
    // In the database already, in memory not yet.
    let lease = store.store().store.tenants.existing(&place.tenant).unwrap().unwrap();
    let relabel = |transaction: &redb::WriteTransaction| {
        let mut table = transaction.open_table(DOCUMENTS).unwrap();
        let (key, row) = table.first().unwrap().map(|(key, row)| (key.value().0, row.value().to_vec())).unwrap();
        let mut record = DocumentRecord::from_bytes(&row)?;
        record.document.labels = labels(&["board"]);
        record.document.digest = "new".into();
        table.insert((key, "d"), record.to_bytes().as_slice()).unwrap();
        Ok(())
    };
    lease.truth.write(relabel).unwrap();
    let listed = |filter: Filter, reader: Reader| {
        store.wait(store.store().documents(&place, filter, None, 9, &reader)).unwrap().documents.len()
    };
    assert_eq!(listed(Filter::default(), reader(&["staff"])), 0);
    assert_eq!(listed(Filter::default(), reader(&["board"])), 1);
    let old = Condition { field: "digest".into(), test: Test::Equals("".into()) };
    assert_eq!(listed(Filter { all: vec![old], ..Filter::default() }, reader(&["board"])), 0);
}

#[test]
fn a_page_of_large_documents_is_cut() {
    let store = Fixture::new();
    let place = place("docs");
    for number in 0..150 {
        let fields = vec![field("much", "x".repeat(60 << 10).as_str())];
        store.put(&place, Document { fields, ..document(&format!("d{number:03}")) }, Vec::new()).unwrap();
    }
    let page = |after: Option<&str>| {
        store.wait(store.store().documents(&place, Filter::default(), after, 1000, &Reader::Everything)).unwrap()
    };
    let first = page(None);
    assert!(first.has_more && first.documents.len() < 150);
    let rest = page(first.documents.last().map(|last| last.document.id.as_str()));
    assert!(!rest.has_more);
    assert_eq!(first.documents.len() + rest.documents.len(), 150);
}

/// Searches a collection of which a reader sees one document in a hundred, in every way.
fn search_among_the_invisible(exact_chunks_max: usize, index: &str) {
    let mut store = Fixture::with(|config| config.exact_chunks_max = exact_chunks_max);
    let place = place("docs");
    let mut chance = Chance(7);
    let vectors = chance.clustered(6000, 16, 20);
    let mut visible = Vec::new();
    let mut documents = Vec::new();
    for (number, vectors) in vectors.chunks(10).enumerate() {
        let is_visible = number % 100 == 0;
        let label = if is_visible { "staff" } else { "board" };
        let chunks = vectors.iter().map(|vector| chunk(&format!("plan {number}"), vector)).collect();
        documents.push((labelled(&format!("d{number}"), &[label]), chunks));
        if is_visible {
            visible.extend(vectors.iter().cloned());
        }
    }
    store.put_all(&place, documents);
    store.store().settle();
    for _ in 0..2 {
        let collection = store.wait(store.store().collections(&place.tenant)).unwrap().remove(0);
        assert_eq!(collection.index, index);
        let staff = reader(&["staff"]);
        for query in vectors.iter().step_by(500) {
            let hits = store.find_as(&staff, &place, near(query, 20));
            assert_eq!(hits.len(), 20);
            assert!(hits.iter().all(|hit| hit.piece.document[1..].parse::<usize>().unwrap() % 100 == 0));
            let cosine = |vector: &Vec<f32>| crate::embedded::dense::dot(&unit(query), &unit(vector));
            let best = visible.iter().map(cosine).fold(f32::MIN, f32::max);
            assert!((hits[0].similarity.unwrap() - best).abs() < 1e-5);
        }
        assert_eq!(store.find_as(&staff, &place, near(&vectors[0], 1000)).len(), visible.len());
        let hits = store.find_as(&staff, &place, words("plan", 1000));
        assert_eq!(hits.len(), visible.len());
        assert!(hits.iter().all(|hit| hit.piece.document[1..].parse::<usize>().unwrap() % 100 == 0));
        assert!(store.find_as(&reader(&["guest"]), &place, near(&vectors[0], 9)).is_empty());
        let one = Condition { field: "document".into(), test: Test::Equals("d1".into()) };
        let filter = Filter { any: vec![one], ..Filter::default() };
        assert!(store.find_as(&staff, &place, Query { filter: filter.clone(), ..near(&vectors[10], 9) }).is_empty());
        assert_eq!(store.find(&place, Query { filter, ..near(&vectors[10], 20) }).len(), 10);
        store.reopen();
        assert!(store.find_as(&reader(&["guest"]), &place, words("plan", 9)).is_empty());
        store.store().settle();
    }
}

#[test]
fn all_that_is_visible_is_found_among_much_that_is_not_one_by_one() {
    search_among_the_invisible(100_000, "exact");
}

#[test]
fn all_that_is_visible_is_found_among_much_that_is_not_in_a_graph() {
    search_among_the_invisible(1000, "hnsw");
}
