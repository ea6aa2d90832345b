//! Whatever is done in whatever order: the store has what a plain map has.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::*;
use crate::embedded::dense::{dot, unit};
use crate::kv::{self, Expected, Values};
use crate::vector::Filter;

/// Something that is done.
#[derive(Debug, Clone)]
enum Step {
    Put { id: u8, label: Option<u8>, seed: u64, chunks: usize },
    Break { id: u8, chunks: usize },
    Delete { id: u8 },
    DeleteCollection,
    Set { key: u8, value: u8 },
    Unset { key: u8 },
    Settle,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..6_u8, proptest::option::of(0..2_u8), 1..u64::MAX, 0..5_usize)
        .prop_map(|(id, label, seed, chunks)| Step::Put { id, label, seed, chunks });
    let step = prop_oneof![
        6 => put,
        1 => (0..6_u8, 1..4_usize).prop_map(|(id, chunks)| Step::Break { id, chunks }),
        3 => (0..6_u8).prop_map(|id| Step::Delete { id }),
        1 => Just(Step::DeleteCollection),
        3 => (0..4_u8, any::<u8>()).prop_map(|(key, value)| Step::Set { key, value }),
        2 => (0..4_u8).prop_map(|key| Step::Unset { key }),
        1 => Just(Step::Settle),
        2 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What there has to be.
#[derive(Default)]
struct Model {
    documents: BTreeMap<String, (Option<u8>, Vec<Chunk>)>,
    values: BTreeMap<String, u8>,
}

const READERS: [&[&str]; 3] = [&[], &["l0"], &["l0", "l1"]];

fn chunks_of(seed: u64, count: usize) -> Vec<Chunk> {
    let mut chance = Chance(seed);
    (0..count)
        .map(|at| {
            let vector: Vec<f32> = (0..4).map(|_| chance.number()).collect();
            // Every third is found by its words alone.
            chunk(&format!("common n{seed}x{at}"), if at % 3 == 2 { &[] } else { &vector })
        })
        .collect()
}

impl Model {
    fn step(&mut self, store: &mut Fixture, step: &Step) {
        let (docs, values) = (place("docs"), place("values"));
        let name = |id: &u8| format!("d{id}");
        match step {
            Step::Put { id, label, seed, chunks } => {
                let chunks = chunks_of(*seed, *chunks);
                let label = label.map(|label| format!("l{label}"));
                let document = Document { labels: label.into_iter().collect(), ..document(&name(id)) };
                store.put(&docs, document, chunks.clone()).unwrap();
                let Step::Put { label, .. } = step else { return };
                self.documents.insert(name(id), (*label, chunks));
            }
            Step::Break { id, chunks } => store.wait(async {
                let begun = store.store().begin(&docs, document(&name(id)), None, &Reader::Everything);
                begun.await.unwrap().append(chunks_of(77, *chunks)).await.unwrap();
            }),
            Step::Delete { id } => {
                let deleted = store.wait(Vectors::delete(store.store(), &docs, &name(id), &Reader::Everything)).unwrap();
                assert_eq!(deleted, self.documents.remove(&name(id)).is_some());
            }
            Step::DeleteCollection => {
                store.wait(store.store().delete_collection(&docs, &Reader::Everything)).unwrap();
                self.documents.clear();
            }
            Step::Set { key, value } => {
                let bytes = Bytes::copy_from_slice(&[*value]);
                store.wait(store.store().set(&values, &name(key), bytes, Expected::Anything)).unwrap();
                self.values.insert(name(key), *value);
            }
            Step::Unset { key } => {
                let deleted = store.wait(Values::delete(store.store(), &values, &name(key))).unwrap();
                assert_eq!(deleted, self.values.remove(&name(key)).is_some());
            }
            Step::Settle => store.store().settle(),
            Step::Reopen => store.reopen(),
        }
    }

    fn check(&self, store: &Fixture) {
        let all = kv::Range { entries_max: 1000, ..kv::Range::default() };
        let page = store.wait(Values::list(store.store(), &place("values"), all)).unwrap();
        let values: BTreeMap<String, u8> = page.entries.into_iter().map(|entry| (entry.key, entry.value[0])).collect();
        assert_eq!(values, self.values);
        for labels in READERS {
            self.check_reader(store, labels);
        }
    }

    fn check_reader(&self, store: &Fixture, labels: &[&str]) {
        let (place, reader) = (place("docs"), reader(labels));
        let sees = |label: &Option<u8>| label.is_none_or(|label| labels.contains(&format!("l{label}").as_str()));
        let seen: BTreeMap<_, _> = self.documents.iter().filter(|(_, (label, _))| sees(label)).collect();
        let page = store.wait(store.store().documents(&place, Filter::default(), None, 1000, &reader)).unwrap();
        let listed: Vec<_> = page.documents.iter().map(|stored| (&stored.document.id, stored.chunks as usize)).collect();
        let expected: Vec<_> = seen.iter().map(|(id, (_, chunks))| (*id, chunks.len())).collect();
        assert_eq!(listed, expected);

        let chunks = || seen.values().flat_map(|(_, chunks)| chunks);
        let hits = store.find_as(&reader, &place, words("common", 1000));
        let by_words: BTreeSet<&str> = texts(&hits).into_iter().collect();
        assert_eq!(by_words, chunks().map(|chunk| chunk.text.as_str()).collect());

        let query = unit(&[0.3, -0.5, 0.7, 0.1]);
        let with_vectors = chunks().filter(|chunk| !chunk.vector.is_empty());
        let mut nearest: Vec<f32> = with_vectors.map(|chunk| dot(&query, &unit(&chunk.vector))).collect();
        nearest.sort_by(|a, b| b.total_cmp(a));
        for k in [3, 1000] {
            let hits = store.find_as(&reader, &place, near(&query, k));
            let found: Vec<f32> = hits.iter().map(|hit| hit.similarity.unwrap()).collect();
            assert_eq!(found.len(), nearest.len().min(k));
            assert!(found.iter().zip(&nearest).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} is not {nearest:?}");
        }
    }
}

fn run(steps: &[Step], exact_chunks_max: usize) {
    let mut store = Fixture::with(|config| config.exact_chunks_max = exact_chunks_max);
    let mut model = Model::default();
    for step in steps {
        model.step(&mut store, step);
        model.check(&store);
    }
    store.reopen();
    model.check(&store);
}

proptest! {
    #![proptest_config(Config { cases: 24, failure_persistence: None, rng_seed: RngSeed::Fixed(24), ..Config::default() })]

    #[test]
    fn it_has_what_a_map_has(steps in steps()) {
        run(&steps, 10_000);
    }

    #[test]
    fn it_has_what_a_map_has_with_a_graph(steps in steps()) {
        run(&steps, 3);
    }
}
