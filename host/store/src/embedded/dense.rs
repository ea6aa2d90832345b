//! Vectors, and which are nearest to another: those that are few or new one by one, the others by a graph.

use std::collections::hash_map::Entry;

use numkong::Dot;

use super::catalogue::ByRow;
use super::graph::Graph;
use super::selection::Selection;
use crate::Result;

/// A chunk and the cosine of its vector with the query's.
pub(super) type Near = (u64, f32);

/// Vectors of length 1, one after the other in memory.
#[derive(Debug, Default)]
pub(super) struct Flat {
    dimensions: usize,
    rows: Vec<u64>,
    numbers: Vec<f32>,
    places: ByRow<usize>,
}

/// The vectors of a collection.
#[derive(Default)]
pub(super) struct Dense {
    /// Those that are in no graph.
    pub(super) flat: Flat,
    pub(super) graph: Option<Graph>,
}

impl Dense {
    pub(super) fn remove(&mut self, row: u64) {
        if !self.flat.remove(row)
            && let Some(graph) = &mut self.graph
        {
            graph.remove(row);
        }
    }

    /// Takes a graph of vectors that it has; those that it has not any more are taken out.
    pub(super) fn take_up(&mut self, mut graph: Graph) {
        let gone: Vec<u64> = graph.rows().iter().copied().filter(|&row| self.flat.vector(row).is_none()).collect();
        gone.into_iter().for_each(|row| graph.remove(row));
        let mut rest = Flat::default();
        for &row in self.flat.rows().iter().filter(|row| !graph.rows().contains(row)) {
            self.flat.vector(row).iter().for_each(|vector| rest.insert(row, vector));
        }
        *self = Dense { flat: rest, graph: Some(graph) };
    }

    /// The nearest of those that are selected, the nearest first; all of them if there are not more.
    pub(super) fn search(&self, query: &[f32], count: usize, selection: &Selection) -> Result<Vec<Near>> {
        let mut near = self.flat.search(query, count, |row| selection.is_everything() || selection.has(row));
        if let Some(graph) = &self.graph {
            near.extend(graph.search(query, count, selection)?);
        }
        nearest(&mut near, count);
        Ok(near)
    }
}

/// Keeps so many of the nearest, in order; those that are as near by their ids.
pub(super) fn nearest(near: &mut Vec<Near>, count: usize) {
    let order = |a: &Near, b: &Near| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count < near.len() {
        near.select_nth_unstable_by(count, order);
        near.truncate(count);
    }
    near.sort_unstable_by(order);
}

impl Flat {
    /// Puts a vector of length 1 there. All are as long as the first.
    pub(super) fn insert(&mut self, row: u64, vector: &[f32]) {
        if self.rows.is_empty() {
            self.dimensions = vector.len();
        }
        if vector.len() != self.dimensions {
            return;
        }
        if let Entry::Vacant(place) = self.places.entry(row) {
            place.insert(self.rows.len());
            self.rows.push(row);
            self.numbers.extend_from_slice(vector);
        }
    }

    /// Takes a vector out and says whether it was there.
    pub(super) fn remove(&mut self, row: u64) -> bool {
        let Some(place) = self.places.remove(&row) else { return false };
        let last = self.rows.len() - 1;
        self.rows.swap_remove(place);
        if let Some(moved) = self.rows.get(place) {
            self.places.insert(*moved, place);
            self.numbers.copy_within(last * self.dimensions.., place * self.dimensions);
        }
        self.numbers.truncate(last * self.dimensions);
        if self.numbers.len() < self.numbers.capacity() / 4 {
            self.numbers.shrink_to(self.numbers.len() * 2);
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    pub(super) fn vector(&self, row: u64) -> Option<&[f32]> {
        let place = *self.places.get(&row)?;
        self.numbers.get(place * self.dimensions..(place + 1) * self.dimensions)
    }

    fn search(&self, query: &[f32], count: usize, has: impl Fn(u64) -> bool) -> Vec<Near> {
        if self.rows.is_empty() || query.len() != self.dimensions {
            return Vec::new();
        }
        let rows = self.rows.iter().zip(self.numbers.chunks_exact(self.dimensions)).filter(|(row, _)| has(**row));
        let mut near: Vec<Near> = rows.map(|(&row, vector)| (row, dot(query, vector))).collect();
        nearest(&mut near, count);
        near
    }
}

/// The sum of the products; the cosine for vectors of length 1. 0 for vectors that are not as long as each other.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    f32::dot(a, b).unwrap_or_default() as f32
}

/// A vector in the same direction of length 1.
pub(super) fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    let inverse = if length > 0.0 { length.recip() } else { 0.0 };
    vector.iter().map(|&number| (f64::from(number) * inverse) as f32).collect()
}

/// A vector as it is in the database.
pub(super) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A vector of the database.
pub(super) fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
