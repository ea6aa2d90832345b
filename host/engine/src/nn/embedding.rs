//! Rows of a table by index.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::device;
use crate::kernel::block::dequantize;
use crate::weights::{Stored, Weights, WeightsError};

/// A learned table with a row for each id. Shape `[rows, width]`.
pub(crate) struct Embedding {
    table: Table,
    width: usize,
    device: Device,
}

enum Table {
    /// In main memory: rows are decoded as they are asked for.
    Stored(Stored),
    /// Elsewhere.
    Plain(Tensor<2>),
}

impl Embedding {
    /// Reads the table.
    ///
    /// # Errors
    /// When the weights have no such table of that shape.
    pub(crate) fn load(weights: &Weights, name: &str, shape: [usize; 2], device: &Device) -> Result<Self, WeightsError> {
        let table = match device::is_cpu(device) {
            true => Table::Stored(weights.stored(name, &shape)?),
            false => Table::Plain(device::tensor(weights.values(name, &shape)?, shape, device)),
        };
        Ok(Embedding { table, width: shape[1], device: device.clone() })
    }

    /// Bytes of the table as it is kept.
    pub(crate) fn bytes(&self) -> usize {
        match &self.table {
            Table::Stored(table) => table.bytes().len(),
            Table::Plain(table) => table.shape().num_elements() * size_of::<f32>(),
        }
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
        match &self.table {
            Table::Stored(table) => {
                let (bytes, row_bytes) = (table.bytes(), table.bytes().len() / table.shape[0]);
                let mut rows = vec![0.0; count * self.width];
                for (id, row) in ids.into_iter().zip(rows.chunks_exact_mut(self.width)) {
                    let start = usize::try_from(id).expect("ids are not negative") * row_bytes;
                    dequantize(table.ty, &bytes[start..start + row_bytes], row);
                }
                device::tensor(rows, [count, self.width], &self.device)
            }
            Table::Plain(table) => {
                let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &self.device);
                table.clone().select(0, ids)
            }
        }
    }
}
