//! A model's numbers on disk, memory-mapped.

mod map;
mod safetensors;

use std::path::{Path, PathBuf};

use half::{bf16, f16};

use map::Mapped;

/// Why weights can't be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// No weights where they were looked for.
    #[error("no weights in {0}: expected `model.safetensors` or `model.safetensors.index.json`")]
    Missing(PathBuf),
    /// The file can't be opened or mapped.
    #[error("{file} can't be read: {cause}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is damaged or hostile.
    #[error("{file} is not a good weights file: {reason}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The model needs a tensor that the file has not.
    #[error("the weights have no tensor `{0}`, which this architecture needs")]
    NoTensor(String),
    /// A tensor is of another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}; the configuration says {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape the architecture needs.
        expected: Vec<usize>,
    },
    /// A tensor is of a number type that is not supported.
    #[error("tensor `{name}` is of type {dtype}; supported are F32, F16 and BF16")]
    DType {
        /// The tensor.
        name: String,
        /// Its type in the file.
        dtype: String,
    },
}

/// One tensor of a file, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSummary {
    /// Its name.
    pub name: String,
    /// Its number type, as the format spells it.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DType {
    F32,
    F16,
    Bf16,
}

/// Where one tensor lies in a mapped file.
#[derive(Debug, Clone)]
struct Entry {
    file: usize,
    dtype: Result<DType, String>,
    shape: Vec<usize>,
    bytes: std::ops::Range<usize>,
}

/// All tensors of a model, by name.
#[derive(Debug)]
pub(crate) struct Weights {
    files: Vec<Mapped>,
    entries: std::collections::BTreeMap<String, Entry>,
}

impl Weights {
    /// Maps the weights of a model: a safetensors file, or a folder with one or with an index and its shards.
    ///
    /// # Errors
    /// When there are none, or a file is damaged.
    pub(crate) fn open(path: &Path) -> Result<Weights, WeightsError> {
        safetensors::open(path)
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The shape of a tensor, if there is one of this name.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The numbers of a tensor in row-major order, as f32.
    ///
    /// # Errors
    /// When there is no such tensor, or it is of another shape or of an unsupported type.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let entry = self.entries.get(name).ok_or_else(|| WeightsError::NoTensor(name.into()))?;
        if entry.shape != shape {
            return Err(WeightsError::Shape { name: name.into(), found: entry.shape.clone(), expected: shape.into() });
        }
        let dtype = entry.dtype.clone().map_err(|dtype| WeightsError::DType { name: name.into(), dtype })?;
        Ok(decode(dtype, &self.files[entry.file].bytes()[entry.bytes.clone()]))
    }

    /// What is in the files.
    pub(crate) fn summary(&self) -> Vec<TensorSummary> {
        let summarise = |(name, entry): (&String, &Entry)| TensorSummary {
            name: name.clone(),
            dtype: entry.dtype.as_ref().map_or_else(String::clone, |dtype| format!("{dtype:?}").to_uppercase()),
            shape: entry.shape.clone(),
        };
        self.entries.iter().map(summarise).collect()
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let two = |pair: &[u8]| [pair[0], pair[1]];
    match dtype {
        DType::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        DType::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes(two(b)).to_f32()).collect(),
        DType::Bf16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes(two(b)).to_f32()).collect(),
    }
}
