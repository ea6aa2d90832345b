//! Weights that are made up as they are asked for: a model of a true shape without a file, to measure speed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use half::{bf16, f16};

use super::{Stored, WeightsError};
use crate::kernel::block::{BlockType, quantize};
use crate::kernel::pseudo_random::numbers;

/// Numbers that are made once and repeated: speed depends on where they lie, not on what they are.
const PATTERN: usize = 1 << 16;

/// Tensors of one type, made on demand and kept.
#[derive(Debug)]
pub(super) struct Random {
    ty: BlockType,
    /// Whole blocks of small numbers around 0.
    pattern: Vec<u8>,
    made: Mutex<BTreeMap<String, Stored>>,
}

impl Random {
    /// Tensors of the type of this name, as `q8_0`.
    ///
    /// # Errors
    /// When numbers of that type can't be made.
    pub(super) fn new(dtype: &str) -> Result<Random, WeightsError> {
        let small: Vec<f32> = numbers(PATTERN, 1).into_iter().map(|number| number * 0.02).collect();
        let named = |ty: &&BlockType| ty.name().eq_ignore_ascii_case(dtype);
        let made = BlockType::ALL.iter().find(named).and_then(|ty| Some((*ty, encode(*ty, &small)?)));
        let (ty, pattern) = made.ok_or_else(|| WeightsError::NotMade(dtype.into()))?;
        Ok(Random { ty, pattern, made: Mutex::default() })
    }

    /// The tensor of this name. Vectors are ones, as norms are.
    pub(super) fn stored(&self, name: &str, shape: &[usize]) -> Stored {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(name.into()).or_insert_with(|| self.make(shape)).clone()
    }

    /// Bytes of all that was asked for.
    pub(super) fn bytes(&self) -> usize {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).values().map(|stored| stored.bytes().len()).sum()
    }

    fn make(&self, shape: &[usize]) -> Stored {
        let numbers: usize = shape.iter().product();
        let of = |ty, bytes: Vec<u8>| Stored { ty, shape: shape.into(), bytes: bytes.into() };
        match self.ty.bytes_of(numbers) {
            Some(bytes) if shape.len() > 1 => of(self.ty, self.pattern.iter().copied().cycle().take(bytes).collect()),
            _ => of(BlockType::F32, 1f32.to_le_bytes().repeat(numbers)),
        }
    }
}

fn encode(ty: BlockType, numbers: &[f32]) -> Option<Vec<u8>> {
    match ty {
        BlockType::F32 => Some(numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
        BlockType::F16 => Some(numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect()),
        BlockType::Bf16 => Some(numbers.iter().flat_map(|&number| bf16::from_f32(number).to_le_bytes()).collect()),
        _ => quantize(ty, numbers),
    }
}
