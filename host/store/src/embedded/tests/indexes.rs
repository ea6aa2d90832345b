//! Indexes that are made from the database: how well they find, and that they are made again.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::embedded::dense::{dot, unit};

/// A collection with so many chunks of clustered vectors, ten a document, and its vectors. A graph of them is made of all at
/// once, and so always the same.
fn filled(exact_chunks_max: usize, count: usize, dimensions: usize) -> (Fixture, Place, Vec<Vec<f32>>) {
    let mut store = Fixture::with(|config| config.exact_chunks_max = usize::MAX);
    let place = place("docs");
    let vectors = Chance(42).clustered(count, dimensions, 50);
    let document = |(number, vectors): (usize, &[Vec<f32>])| {
        let chunk = |(at, vector): (usize, &Vec<f32>)| chunk(&format!("word{} of many", number * 10 + at), vector);
        (document(&format!("d{number}")), vectors.iter().enumerate().map(chunk).collect())
    };
    store.put_all(&place, vectors.chunks(10).enumerate().map(document).collect());
    store.config.exact_chunks_max = exact_chunks_max;
    store.reopen();
    assert_eq!(texts(&store.find(&place, words("word7", 1))), ["word7 of many"]);
    store.store().settle();
    (store, place, vectors)
}

/// The mean part of the ten nearest that is found.
fn recall(store: &Fixture, place: &Place, vectors: &[Vec<f32>], step: usize) -> f64 {
    let units: Vec<Vec<f32>> = vectors.iter().map(|vector| unit(vector)).collect();
    let mut found = 0;
    let mut queries = 0;
    for query in units.iter().step_by(step) {
        let mut exact: Vec<(u64, f32)> = (0..).zip(&units).map(|(at, vector)| (at, dot(query, vector))).collect();
        crate::embedded::dense::nearest(&mut exact, 10);
        let least = exact[9].1 - 1e-6;
        found += store.find(place, near(query, 10)).iter().filter(|hit| hit.similarity.unwrap() >= least).count();
        queries += 10;
    }
    found as f64 / queries as f64
}

fn index(store: &Fixture, place: &Place) -> &'static str {
    store.wait(store.store().collections(&place.tenant)).unwrap()[0].index
}

#[test]
fn a_graph_finds_nearly_all_that_comparing_finds() {
    let (store, place, vectors) = filled(1000, 5000, 32);
    assert_eq!(index(&store, &place), "hnsw");
    let recall = recall(&store, &place, &vectors, 25);
    assert!(recall >= 0.98, "recall@10 is {recall}");
}

#[test]
fn no_vector_of_a_graph_is_out_of_reach() {
    let (store, place, vectors) = filled(500, 1500, 16);
    assert_eq!(index(&store, &place), "hnsw");
    let is_found = |number: usize| {
        let text = format!("word{number} of many");
        store.find(&place, near(&vectors[number], 10)).iter().any(|hit| hit.piece.text == text)
    };
    let lost: Vec<usize> = (0..vectors.len()).filter(|&number| !is_found(number)).collect();
    assert!(lost.is_empty(), "{lost:?} are not found");
}

#[test]
fn comparing_finds_all() {
    let (store, place, vectors) = filled(10_000, 1000, 32);
    assert_eq!(index(&store, &place), "exact");
    assert!(recall(&store, &place, &vectors, 50) > 0.999);
}

#[test]
fn what_is_new_or_deleted_after_a_graph_was_built_is_found_or_not() {
    let (mut store, place, vectors) = filled(1000, 3000, 16);
    assert_eq!(index(&store, &place), "hnsw");
    store.put(&place, document("new"), vec![chunk("novelty", &[1.0; 16])]).unwrap();
    assert!(store.wait(Vectors::delete(store.store(), &place, "d0", &Reader::Everything)).unwrap());
    for _ in 0..2 {
        assert_eq!(texts(&store.find(&place, near(&[1.0; 16], 1))), ["novelty"]);
        let near_deleted = store.find(&place, near(&vectors[3], 20));
        assert!(near_deleted.iter().all(|hit| hit.piece.document != "d0"));
        assert!(store.find(&place, words("word3", 9)).is_empty());
        store.reopen();
    }
    assert_eq!(index(&store, &place), "hnsw");
}

fn folder(store: &Fixture, kind: &str) -> PathBuf {
    let mut inner = fs::read_dir(store.config.folder.join("acme").join(kind)).unwrap();
    inner.next().expect("there is one collection").unwrap().path()
}

type Damage = fn(&std::path::Path);

/// What may happen to the files of an index while nobody looks.
fn damages() -> [(&'static str, Damage); 4] {
    [
        ("deleted", |folder| fs::remove_dir_all(folder).unwrap()),
        ("emptied", |folder| each_file(folder, |file| fs::write(file, b"").unwrap())),
        ("cut", |folder| {
            each_file(folder, |file| {
                let bytes = fs::read(file).unwrap();
                fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
            });
        }),
        ("flipped", |folder| {
            each_file(folder, |file| {
                let mut bytes = fs::read(file).unwrap();
                let middle = bytes.len() / 2;
                bytes.iter_mut().skip(middle).take(8).for_each(|byte| *byte ^= 0x55);
                fs::write(file, bytes).unwrap();
            });
        }),
    ]
}

fn each_file(folder: &std::path::Path, change: impl Fn(&std::path::Path)) {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .for_each(|path| change(&path));
}

#[test]
fn indexes_that_are_damaged_are_built_again() {
    let (mut store, place, vectors) = filled(500, 1500, 16);
    for (damage, change) in damages() {
        assert_eq!(index(&store, &place), "hnsw", "before it was {damage}");
        store.close();
        change(&folder(&store, "text"));
        change(&folder(&store, "dense"));
        store.reopen();
        let hit = |query| texts(&store.find(&place, query)).first().map(ToString::to_string);
        for _ in 0..2 {
            assert_eq!(hit(words("word77", 1)).as_deref(), Some("word77 of many"), "{damage}");
            assert_eq!(hit(near(&vectors[1234], 1)).as_deref(), Some("word1234 of many"), "{damage}");
            store.store().settle();
        }
        assert_eq!(index(&store, &place), "hnsw", "after it was {damage}");
    }
}

#[test]
fn indexes_of_another_time_are_brought_up_to_the_database() {
    let (mut store, place, vectors) = filled(500, 1000, 16);
    store.close();
    let acme = store.config.folder.join("acme");
    let kept = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        fs::create_dir_all(to).unwrap();
        each_file(from, |file| {
            fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
        });
    };
    for kind in ["text", "dense"] {
        copy(&folder(&store, kind), &kept.path().join(kind));
    }
    store.reopen();
    store.put(&place, document("late"), vec![chunk("latecomer", &[1.0; 16])]).unwrap();
    store.wait(Vectors::delete(store.store(), &place, "d0", &Reader::Everything)).unwrap();
    store.close();
    for kind in ["text", "dense"] {
        let folder = folder(&store, kind);
        fs::remove_dir_all(&folder).unwrap();
        copy(&kept.path().join(kind), &folder);
    }
    assert!(acme.exists());
    store.reopen();
    assert_eq!(texts(&store.find(&place, words("latecomer", 9))), ["latecomer"]);
    assert_eq!(texts(&store.find(&place, near(&[1.0; 16], 1))), ["latecomer"]);
    assert!(store.find(&place, words("word3", 9)).is_empty());
    assert!(store.find(&place, near(&vectors[3], 30)).iter().all(|hit| hit.piece.document != "d0"));
}

#[test]
fn a_graph_of_which_most_is_gone_is_built_anew() {
    let (store, place, vectors) = filled(200, 2000, 8);
    let delete = |number| store.wait(store.store().delete(&place, &format!("d{number}"), &Reader::Everything)).unwrap();
    assert!((0..102).all(delete));
    store.store().settle();
    assert_eq!(removed(&store, &place), 1020);
    assert!(delete(102));
    store.store().settle();
    assert_eq!(removed(&store, &place), 0, "it is built anew");
    assert!((103..170).all(delete));
    store.store().settle();
    assert_eq!(index(&store, &place), "hnsw");
    assert!(recall(&store, &place, &vectors[1700..], 10) >= 0.98);
    assert_eq!(store.find(&place, near(&vectors[0], 1000)).len(), 300);
}

/// Vectors that were taken out of a graph.
fn removed(store: &Fixture, place: &Place) -> usize {
    let lease = store.store().store.tenants.opened(&place.tenant).unwrap();
    let collection = lease.collection(place);
    collection.peek().unwrap().dense.graph.as_ref().unwrap().removed()
}

#[test]
fn a_file_that_a_killed_process_left_in_a_text_index_does_not_keep_it_from_being_changed() {
    let (mut store, place, _) = filled(10_000, 100, 4);
    // All words in one segment.
    store.close();
    fs::remove_dir_all(folder(&store, "text")).unwrap();
    store.reopen();
    assert_eq!(texts(&store.find(&place, words("word7", 1))), ["word7 of many"]);
    store.close();
    let kept = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        each_file(from, |file| {
            fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
        });
    };
    copy(&folder(&store, "text"), kept.path());
    store.reopen();
    assert!(store.wait(Vectors::delete(store.store(), &place, "d0", &Reader::Everything)).unwrap());
    store.close();
    // As if it had been killed when the deletions were written and the list of files was not.
    let name = |file: &std::path::Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    let orphans = std::cell::Cell::new(0);
    each_file(&folder(&store, "text"), |file| match name(file).ends_with(".del") {
        true => orphans.set(orphans.get() + 1),
        false => fs::remove_file(file).unwrap(),
    });
    assert_eq!(orphans.get(), 1);
    copy(kept.path(), &folder(&store, "text"));
    store.reopen();
    assert!(store.find(&place, words("word7", 9)).is_empty());
    assert_eq!(texts(&store.find(&place, words("word17", 1))), ["word17 of many"]);
    store.put(&place, document("late"), vec![chunk("latecomer", &[1.0; 4])]).unwrap();
    assert_eq!(texts(&store.find(&place, words("latecomer", 9))), ["latecomer"]);
}
