//! Finding: each search gives candidates, which are put together, reranked and chosen from.

use std::collections::HashMap;
use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction};

use super::catalogue::merged;
use super::collection::{Collection, State};
use super::dense::{dot, from_bytes, unit};
use super::selection::Selection;
use super::tenant::Tenant;
use super::tokens::TokenVectors;
use super::truth::{TEXTS, TOKENS, VECTORS};
use super::{check, failed, fuse};
use crate::Result;
use crate::vector::{Hit, Piece, Query, Reader};

/// Candidates for each that is wanted, and the least of them, where the query doesn't say.
const CANDIDATES: (usize, usize) = (4, 50);

/// How many more the vectors' search gives than are wanted, because a graph has them with 16 bits a number.
const SPARE: usize = 8;

/// What is last because a step can't say anything about it: less than any cosine.
const NOT_SCORED: f32 = -2.0;

/// A chunk that was found, before its text is read.
struct Candidate {
    row: u64,
    score: f32,
    similarity: Option<f32>,
    text_score: Option<f32>,
    token_score: Option<f32>,
}

/// A query at work on a collection that does not change meanwhile.
struct Search<'a> {
    state: &'a State,
    truth: ReadTransaction,
    vectors: ReadOnlyTable<u64, &'static [u8]>,
    query: &'a Query,
    /// The query's vector of length 1.
    vector: Option<Vec<f32>>,
}

/// Finds the chunks that answer a query best.
pub(super) fn find(tenant: &Tenant, collection: &Collection, query: Query, reader: &Reader) -> Result<Vec<Hit>> {
    let state = collection.loaded(tenant)?;
    let Some(record) = &state.record else { return Ok(Vec::new()) };
    check::query_fits(&query, record.dimensions, &record.embedder)?;
    let selection = Selection::new(Arc::clone(&state.catalogue), query.filter.clone(), reader);
    let truth = tenant.truth.read()?;
    let vectors = truth.open_table(VECTORS).map_err(failed)?;
    let vector = query.vector.as_deref().map(unit);
    let search = Search { state: &state, truth, vectors, query: &query, vector };
    let mut found = search.candidates(&selection)?;
    if !query.token_vectors.is_empty() {
        search.rerank(&mut found, record.dimensions)?;
    }
    if let Some(least) = query.similarity_min {
        found.retain(|candidate| candidate.similarity.is_some_and(|similarity| similarity >= least));
    }
    if let Some(weight) = query.relevance {
        found = search.choose(found, weight)?;
    }
    found.truncate(query.k);
    search.hits(found)
}

impl Search<'_> {
    /// How many each search is to find.
    fn count(&self) -> usize {
        let Query { k, vector, text, token_vectors, relevance, .. } = self.query;
        let is_chosen_from = (vector.is_some() && text.is_some()) || !token_vectors.is_empty() || relevance.is_some();
        let (times, least) = CANDIDATES;
        let count = if is_chosen_from { (k * times).max(least) } else { *k };
        self.query.candidates.unwrap_or(count).clamp(*k, check::CANDIDATES_MAX)
    }

    fn candidates(&self, selection: &Selection) -> Result<Vec<Candidate>> {
        let count = self.count();
        let near = self.near(count, selection)?;
        let texts = match (&self.query.text, &self.state.text) {
            (Some(text), Some(reader)) => reader.search(text, count, selection)?,
            _ => Vec::new(),
        };
        let similarities: HashMap<u64, f32> = near.iter().copied().collect();
        let text_scores: HashMap<u64, f32> = texts.iter().copied().collect();
        let order = |rows: &[(u64, f32)]| rows.iter().map(|&(row, _)| row).collect();
        let scored = match (&self.vector, &self.query.text) {
            (Some(_), Some(_)) => fuse::reciprocal_rank(&[order(&near), order(&texts)]),
            (Some(_), None) => near,
            (None, _) => texts,
        };
        let candidate = |(row, score)| {
            let similarity = match (similarities.get(&row), &self.vector) {
                (Some(&similarity), _) => Some(similarity),
                (None, Some(vector)) => self.vector_of(row)?.map(|other| dot(vector, &other)),
                (None, None) => None,
            };
            Ok(Candidate { row, score, similarity, text_score: text_scores.get(&row).copied(), token_score: None })
        };
        scored.into_iter().map(candidate).collect()
    }

    /// The nearest vectors with their exact cosines.
    fn near(&self, count: usize, selection: &Selection) -> Result<Vec<(u64, f32)>> {
        let Some(vector) = &self.vector else { return Ok(Vec::new()) };
        let mut near = self.state.dense.search(vector, count + SPARE, selection)?;
        if self.state.dense.graph.is_some() {
            for (row, similarity) in &mut near {
                if let Some(other) = self.vector_of(*row)? {
                    *similarity = dot(vector, &other);
                }
            }
        }
        super::dense::nearest(&mut near, count);
        Ok(near)
    }

    fn vector_of(&self, row: u64) -> Result<Option<Vec<f32>>> {
        if let Some(vector) = self.state.dense.flat.vector(row) {
            return Ok(Some(vector.to_vec()));
        }
        Ok(self.vectors.get(row).map_err(failed)?.map(|vector| from_bytes(vector.value())))
    }

    /// Puts those with vectors of their tokens into an order by those, before the others in their order.
    fn rerank(&self, found: &mut [Candidate], dimensions: usize) -> Result<()> {
        let query = TokenVectors::new(&self.query.token_vectors, dimensions);
        let table = self.truth.open_table(TOKENS).map_err(failed)?;
        for candidate in found.iter_mut() {
            let tokens = table.get(candidate.row).map_err(failed)?;
            let tokens = tokens.map(|tokens| TokenVectors::from_bytes(tokens.value(), dimensions));
            candidate.token_score = tokens.and_then(|tokens| query.similarity(&tokens));
        }
        if found.iter().any(|candidate| candidate.token_score.is_some()) {
            found.iter_mut().for_each(|candidate| candidate.score = candidate.token_score.unwrap_or(NOT_SCORED));
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        Ok(())
    }

    /// Chooses by maximal marginal relevance, with what the tokens or else the vectors say is relevant. What has no vector comes
    /// last.
    fn choose(&self, found: Vec<Candidate>, weight: f32) -> Result<Vec<Candidate>> {
        let mut vectors = Vec::new();
        let (mut comparable, mut others) = (Vec::new(), Vec::new());
        for candidate in found {
            match self.vector_of(candidate.row)? {
                Some(vector) => {
                    vectors.push(vector);
                    comparable.push(Some(candidate));
                }
                None => others.push(Candidate { score: NOT_SCORED, ..candidate }),
            }
        }
        let relevance = |candidate: &Candidate| candidate.token_score.or(candidate.similarity).unwrap_or(NOT_SCORED);
        let relevances: Vec<f32> = comparable.iter().flatten().map(relevance).collect();
        let likeness = |a: usize, b: usize| dot(&vectors[a], &vectors[b]);
        let chosen = fuse::marginal_relevance(&relevances, weight, self.query.k, likeness);
        let take = |(place, score): (usize, f32)| Some(Candidate { score, ..comparable[place].take()? });
        let mut chosen: Vec<Candidate> = chosen.into_iter().filter_map(take).collect();
        chosen.append(&mut others);
        Ok(chosen)
    }

    fn hits(&self, found: Vec<Candidate>) -> Result<Vec<Hit>> {
        let texts = self.truth.open_table(TEXTS).map_err(failed)?;
        let mut hits = Vec::with_capacity(found.len());
        for Candidate { row, score, similarity, text_score, token_score } in found {
            let known = self.state.catalogue.row(row);
            let known = known.and_then(|known| Some((known, self.state.catalogue.document(known.document)?)));
            let (Some((known, document)), Some(text)) = (known, texts.get(row).map_err(failed)?) else { continue };
            let piece = Piece {
                document: document.id.to_string(),
                index: known.index,
                text: text.value().to_owned(),
                fields: merged(&document.fields, &known.fields),
            };
            hits.push(Hit { piece, score, similarity, text_score, token_score });
        }
        Ok(hits)
    }
}
