//! One tensor of an ONNX file.

use bytes::Bytes;

use super::message;
use crate::kernel::block::{BlockType, dequantize};

/// More are in no model.
const DIMENSIONS_MAX: usize = 8;
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Plain(BlockType),
    U8,
    I8,
    /// Two in a byte, the first in its lower half.
    U4,
    I4,
}

/// A tensor whose bytes are as many as its shape says.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) ty: Type,
    pub(super) bytes: Bytes,
}

impl Type {
    /// The type of a number of `TensorProto.DataType`; none if weights are never of it.
    pub(super) fn of(data_type: i32) -> Option<Type> {
        match data_type {
            1 => Some(Type::Plain(BlockType::F32)),
            2 => Some(Type::U8),
            3 => Some(Type::I8),
            10 => Some(Type::Plain(BlockType::F16)),
            16 => Some(Type::Plain(BlockType::Bf16)),
            21 => Some(Type::U4),
            22 => Some(Type::I4),
            _ => None,
        }
    }

    fn bytes_of(self, numbers: usize) -> Option<usize> {
        match self {
            Type::Plain(ty) => ty.bytes_of(numbers),
            Type::U8 | Type::I8 => Some(numbers),
            Type::U4 | Type::I4 => Some(numbers.div_ceil(2)),
        }
    }
}

impl Array {
    /// Checks what a file says of a tensor. Bytes stay where they are; numbers that are listed one by one become bytes.
    ///
    /// # Errors
    /// When the numbers are elsewhere, of another type, or not as many as the shape says.
    pub(super) fn new(tensor: &message::Tensor) -> Result<Array, String> {
        let name = &tensor.name;
        if tensor.data_location == EXTERNAL {
            return Err(format!("tensor `{name}` is in another file: save the model as one file"));
        }
        let ty = Type::of(tensor.data_type).ok_or_else(|| {
            format!("tensor `{name}` is of type {}; supported are floats and integers of 4 and 8 bits", tensor.data_type)
        })?;
        if tensor.dims.len() > DIMENSIONS_MAX {
            return Err(format!("tensor `{name}` has more than {DIMENSIONS_MAX} dimensions"));
        }
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let numbers = shape.as_ref().and_then(|shape| shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size)));
        let bytes = if tensor.raw_data.is_empty() { listed(tensor, ty) } else { tensor.raw_data.clone() };
        match shape.zip(numbers.and_then(|numbers| ty.bytes_of(numbers))) {
            Some((shape, expected)) if expected == bytes.len() => Ok(Array { shape, ty, bytes }),
            _ => Err(format!("tensor `{name}` of shape {:?} has {} bytes", tensor.dims, bytes.len())),
        }
    }

    /// How many numbers it has.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its numbers, if they are floats.
    pub(super) fn floats(&self) -> Option<Vec<f32>> {
        let Type::Plain(ty) = self.ty else { return None };
        let mut values = vec![0.0; self.len()];
        dequantize(ty, &self.bytes, &mut values);
        Some(values)
    }

    /// Its numbers, if they are integers.
    pub(super) fn integers(&self) -> Option<Vec<i16>> {
        let halves = || self.bytes.iter().flat_map(|&byte| [byte & 0xf, byte >> 4]).take(self.len());
        match self.ty {
            Type::Plain(_) => None,
            Type::U8 => Some(self.bytes.iter().map(|&byte| byte.into()).collect()),
            Type::I8 => Some(self.bytes.iter().map(|&byte| byte.cast_signed().into()).collect()),
            Type::U4 => Some(halves().map(i16::from).collect()),
            Type::I4 => Some(halves().map(|half| i16::from(half) - if half > 7 { 16 } else { 0 }).collect()),
        }
    }
}

/// The bytes of numbers that are listed one by one: of those smaller than 32 bits each has the lowest of an integer's.
fn listed(tensor: &message::Tensor, ty: Type) -> Bytes {
    let bytes: Vec<u8> = match ty {
        Type::Plain(BlockType::F32) => tensor.float_data.iter().flat_map(|number| number.to_le_bytes()).collect(),
        Type::Plain(_) => tensor.int32_data.iter().flat_map(|number| number.to_le_bytes().into_iter().take(2)).collect(),
        Type::U8 | Type::I8 | Type::U4 | Type::I4 => {
            tensor.int32_data.iter().flat_map(|number| number.to_le_bytes().into_iter().take(1)).collect()
        }
    };
    bytes.into()
}
