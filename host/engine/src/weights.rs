//! A model's numbers on disk, memory-mapped.

mod files;
mod gguf;
mod map;
mod onnx;
mod random;
mod safetensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub(crate) use gguf::Metadata;
#[cfg(test)]
pub(crate) use gguf::Value;

use random::Random;

use crate::kernel::block::{BlockType, dequantize};

/// Why weights can't be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// No weights where they were looked for.
    #[error("no weights in {0}: expected `model.safetensors`, `model.safetensors.index.json`, a `.gguf` or an `.onnx` file")]
    Missing(PathBuf),
    /// Nothing says which of several files is meant.
    #[error("{folder} holds several `.{extension}` files: name the one to use `model.{extension}`")]
    Several {
        /// Where they are.
        folder: PathBuf,
        /// How their names end.
        extension: &'static str,
    },
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
    /// The model needs a value that the file's metadata has not.
    #[error("the metadata's `{key}` must be {expected}; it is {found}")]
    Key {
        /// The value's name.
        key: String,
        /// The kind of value that the model needs.
        expected: &'static str,
        /// The kind that is there.
        found: &'static str,
    },
    /// The model needs a tensor that the file has not.
    #[error("the weights have no tensor `{0}`, which this architecture needs")]
    NoTensor(String),
    /// A tensor that the configuration has no place for.
    #[error("the weights have a tensor `{0}`; this architecture has none by the configuration")]
    Unexpected(String),
    /// Two tensors have one name after renaming.
    #[error("the weights have two tensors for `{0}`")]
    Twice(String),
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
    /// Random weights of a type that none are made of.
    #[error("random weights of type {0} can't be made; there are F32, F16, BF16, Q8_0 and Q4_0")]
    NotMade(String),
    /// A tensor is of a number type that is not supported.
    #[error("tensor `{name}` is of type {dtype}; supported are F32, F16, BF16, Q4_0 to Q8_0 and Q2_K to Q6_K")]
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

/// One tensor, in a mapped file or made of what is there.
#[derive(Debug, Clone)]
struct Entry {
    /// How its numbers are stored, or the name of a type that is not supported.
    ty: Result<BlockType, String>,
    shape: Vec<usize>,
    bytes: Bytes,
}

/// A tensor as it lies in the file, without a copy. It keeps the file mapped, and a clone is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// How its numbers are stored.
    pub(crate) ty: BlockType,
    /// Its shape, in row-major order; a row is whole blocks.
    pub(crate) shape: Vec<usize>,
    bytes: Bytes,
}

impl Stored {
    /// Its blocks, row by row.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy with the rows of these indices, in this order. A row is an item of the first dimension.
    ///
    /// # Panics
    /// When an index is beyond the first dimension.
    pub(crate) fn with_rows(&self, rows: &[usize]) -> Stored {
        let row_bytes = self.bytes().len() / self.shape[0];
        let row = |&row: &usize| &self.bytes()[row * row_bytes..][..row_bytes];
        let bytes: Vec<u8> = rows.iter().flat_map(row).copied().collect();
        let shape = std::iter::once(rows.len()).chain(self.shape[1..].iter().copied()).collect();
        Stored { ty: self.ty, shape, bytes: bytes.into() }
    }

    /// Its numbers in row-major order.
    pub(crate) fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.shape.iter().product()];
        dequantize(self.ty, self.bytes(), &mut values);
        values
    }
}

/// All tensors of a model, by name.
#[derive(Debug)]
pub(crate) struct Weights {
    entries: BTreeMap<String, Entry>,
    metadata: Option<Metadata>,
    random: Option<Random>,
}

impl Weights {
    /// Maps the weights of a model: a safetensors, GGUF or ONNX file, or a folder with one, or with an index and its shards.
    /// Safetensors come first, then GGUF; of several files the one is meant that is called `model.gguf` or `model.onnx`.
    ///
    /// # Errors
    /// When there are none, or a file is damaged.
    pub(crate) fn open(path: &Path) -> Result<Weights, WeightsError> {
        if safetensors::is_in(path) {
            return safetensors::open(path);
        }
        if let Some(file) = gguf::find(path)? {
            return gguf::open(&file);
        }
        match onnx::find(path)? {
            Some(file) => onnx::open(&file),
            None => safetensors::open(path),
        }
    }

    /// Weights of the type of this name that are made up as they are asked for, whatever name and shape.
    ///
    /// # Errors
    /// When numbers of that type can't be made.
    pub(crate) fn random(dtype: &str) -> Result<Weights, WeightsError> {
        Ok(Weights { entries: BTreeMap::new(), metadata: None, random: Some(Random::new(dtype)?) })
    }

    /// Takes out what the file says of the model beside its tensors; only GGUF files do.
    pub(crate) fn take_metadata(&mut self) -> Option<Metadata> {
        self.metadata.take()
    }

    /// Whether a folder holds GGUF files, be it more than can be told apart.
    pub(crate) fn has_gguf(folder: &Path) -> bool {
        !matches!(gguf::find(folder), Ok(None))
    }

    /// Bytes of all tensors as they are stored.
    pub(crate) fn bytes(&self) -> usize {
        let made = self.random.as_ref().map_or(0, Random::bytes);
        self.entries.values().map(|entry| entry.bytes.len()).sum::<usize>() + made
    }

    /// The same weights under the names that `new_name` gives; a tensor that gets none keeps its own.
    ///
    /// # Errors
    /// When two tensors get the same name.
    pub(crate) fn rename(self, new_name: impl Fn(&str) -> Option<String>) -> Result<Weights, WeightsError> {
        let mut entries = BTreeMap::new();
        for (name, entry) in self.entries {
            let name = new_name(&name).unwrap_or(name);
            if entries.insert(name.clone(), entry).is_some() {
                return Err(WeightsError::Twice(name));
            }
        }
        Ok(Weights { entries, ..self })
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The shape of a tensor, if there is one of this name.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// A tensor as it is stored.
    ///
    /// # Errors
    /// When there is no such tensor, or it is of another shape or of an unsupported type.
    pub(crate) fn stored(&self, name: &str, shape: &[usize]) -> Result<Stored, WeightsError> {
        if let Some(random) = &self.random {
            return Ok(random.stored(name, shape));
        }
        let entry = self.entries.get(name).ok_or_else(|| WeightsError::NoTensor(name.into()))?;
        if entry.shape != shape {
            return Err(WeightsError::Shape { name: name.into(), found: entry.shape.clone(), expected: shape.into() });
        }
        let ty = entry.ty.clone().map_err(|dtype| WeightsError::DType { name: name.into(), dtype })?;
        Ok(Stored { ty, shape: shape.into(), bytes: entry.bytes.clone() })
    }

    /// The numbers of a tensor in row-major order, as f32.
    ///
    /// # Errors
    /// As [`stored`](Self::stored).
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        self.stored(name, shape).map(|tensor| tensor.values())
    }

    /// What is in the files.
    pub(crate) fn summary(&self) -> Vec<TensorSummary> {
        let summarise = |(name, entry): (&String, &Entry)| TensorSummary {
            name: name.clone(),
            dtype: entry.ty.as_ref().map_or_else(String::clone, |ty| ty.name().to_owned()),
            shape: entry.shape.clone(),
        };
        self.entries.iter().map(summarise).collect()
    }
}
