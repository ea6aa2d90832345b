//! Rotary position embeddings (Su et al., 2021, arXiv:2104.09864).

use crate::batch::Batch;
use crate::kernel::rope::RopeTable;

/// Turns pairs of numbers of queries and keys by an angle that grows with the position.
#[derive(Debug)]
pub(crate) struct Rope {
    /// Angle of each pair for one position, in radians.
    frequencies: Vec<f32>,
    /// What turned numbers are multiplied with.
    stretch: f32,
}

impl Rope {
    /// One frequency for each pair of numbers of a head.
    pub(crate) fn new(frequencies: Vec<f32>, stretch: f32) -> Rope {
        Rope { frequencies, stretch }
    }

    /// The angles of a batch's tokens, computed once a step and used by all its layers.
    pub(crate) fn table(&self, batch: &Batch) -> RopeTable {
        RopeTable::new(&self.frequencies, batch.positions(), self.stretch)
    }
}
