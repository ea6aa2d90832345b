//! Rows of a table by index.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::device;
use crate::weights::{Weights, WeightsError};

/// A learned table with a row for each id. Shape `[rows, width]`.
#[derive(Debug)]
pub(crate) struct Embedding {
    table: Tensor<2>,
}

impl Embedding {
    /// Reads the table.
    ///
    /// # Errors
    /// When the weights have no such table of that shape.
    pub(crate) fn load(weights: &Weights, name: &str, shape: [usize; 2], device: &Device) -> Result<Self, WeightsError> {
        Ok(Embedding { table: device::tensor(weights.values(name, &shape)?, shape, device) })
    }

    /// The rows of the given ids.
    ///
    /// # Shapes
    /// `[tokens]` → `[tokens, width]`
    ///
    /// # Panics
    /// When an id has no row: ids are checked where a job enters the engine.
    pub(crate) fn forward(&self, ids: impl IntoIterator<Item = u32>) -> Tensor<2> {
        let ids: Vec<i32> = ids.into_iter().map(|id| i32::try_from(id).expect("ids were checked")).collect();
        let count = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &self.table.device());
        self.table.clone().select(0, ids)
    }
}
