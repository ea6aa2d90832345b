//! Quantised numbers as onnxruntime makes floats of them: `(integer - zero point) · scale`.

use super::message::Node;
use super::tensor::{Array, Type};

/// A matrix or table of floats, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Floats {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Floats {
    /// The same matrix with rows and columns exchanged.
    ///
    /// # Shapes
    /// `[rows, columns]` → `[columns, rows]`; none if it is no matrix.
    pub(super) fn transposed(&self) -> Option<Floats> {
        let [rows, columns] = self.shape[..] else { return None };
        let column = |column| (0..rows).map(move |row| self.values[row * columns + column]);
        Some(Floats { shape: vec![columns, rows], values: (0..columns).flat_map(column).collect() })
    }
}

/// What `DequantizeLinear` makes of a tensor: with one scale, with one for each index along an axis, or for each block there.
///
/// # Errors
/// When its operands don't fit each other.
pub(super) fn linear(node: &Node, x: &Array, scale: &Array, zero: Option<&Array>) -> Result<Floats, String> {
    let refused = || format!("a DequantizeLinear of shape {:?} has scales of shape {:?}", x.shape, scale.shape);
    let integers = x.integers().ok_or_else(refused)?;
    let scales = scale.floats().ok_or_else(refused)?;
    let zeros = match zero {
        Some(zero) => zero.integers().filter(|zeros| zeros.len() == scales.len()).ok_or_else(refused)?,
        None => vec![0; scales.len()],
    };
    let values = if scales.len() == 1 {
        integers.iter().map(|integer| float(*integer, zeros[0]) * scales[0]).collect()
    } else {
        let place = Axis::of(node, &x.shape, &scale.shape).ok_or_else(refused)?;
        let indices = (0..integers.len()).map(|index| place.scale(index));
        integers.iter().zip(indices).map(|(integer, index)| float(*integer, zeros[index]) * scales[index]).collect()
    };
    Ok(Floats { shape: x.shape.clone(), values })
}

fn float(integer: i16, zero: i16) -> f32 {
    f32::from(integer) - f32::from(zero)
}

/// Which scale belongs to a number, where there are several.
struct Axis {
    /// Numbers along the axis, and behind each of them.
    length: usize,
    inner: usize,
    /// Numbers along the axis that share a scale; without blocks all that are at the same place of it do.
    block: Option<usize>,
}

impl Axis {
    fn of(node: &Node, shape: &[usize], scale: &[usize]) -> Option<Axis> {
        let axis = node.int("axis", 1);
        let axis = if axis < 0 { axis.checked_add_unsigned(shape.len() as u64)? } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&axis| axis < shape.len())?;
        let (length, inner) = (shape[axis], shape[axis + 1..].iter().product());
        let block = usize::try_from(node.int("block_size", 0)).ok().filter(|&block| block > 0);
        let expected = match block {
            None => vec![length],
            Some(block) => {
                let along = |(place, &size): (usize, &usize)| if place == axis { size.div_ceil(block) } else { size };
                shape.iter().enumerate().map(along).collect()
            }
        };
        (scale == expected).then_some(Axis { length, inner, block })
    }

    /// The index of the scale of the number at an index.
    fn scale(&self, index: usize) -> usize {
        let along = index / self.inner % self.length;
        let Some(block) = self.block else { return along };
        let outer = index / self.inner / self.length;
        (outer * self.length.div_ceil(block) + along / block) * self.inner + index % self.inner
    }
}

/// The weight of `MatMulNBits` (onnxruntime's contrib operators): rows of blocks of 4 or 8 bits, each block with a scale.
///
/// # Shapes
/// `[N, K / block_size, block bytes]`, scales `[N, K / block_size]` → `[N, K]`
///
/// # Errors
/// When an attribute or operand is missing, not implemented, or doesn't fit the others.
pub(super) fn blocks(node: &Node, packed: &Array, scales: &Array, zeros: Option<&Array>) -> Result<Floats, String> {
    let size = |name: &str| usize::try_from(node.int(name, 0)).ok().filter(|&size| size > 0);
    let (Some(columns), Some(rows), Some(block)) = (size("K"), size("N"), size("block_size")) else {
        return Err("a MatMulNBits lacks K, N or block_size".into());
    };
    let bits = node.int("bits", 4);
    let refused =
        || format!("a MatMulNBits of {bits} bits, K = {columns}, N = {rows}, block_size = {block} has other operands");
    let (ty, middle) = match bits {
        4 => (Type::U4, 8.0),
        8 => (Type::U8, 128.0),
        _ => return Err(format!("a MatMulNBits has {bits} bits; supported are 4 and 8")),
    };
    let a_row = columns.div_ceil(block);
    let numbers = a_row.checked_mul(block).and_then(|numbers| numbers.checked_mul(rows)).ok_or_else(refused)?;
    let count = if ty == Type::U4 { numbers.div_ceil(2) } else { numbers };
    if packed.ty != Type::U8 || packed.bytes.len() != count || !block.is_multiple_of(2) {
        return Err(refused());
    }
    let integers = Array { shape: vec![numbers], ty, bytes: packed.bytes.clone() }.integers().ok_or_else(refused)?;
    let scales = scales.floats().filter(|scales| scales.len() == rows * a_row).ok_or_else(refused)?;
    let zeros = match zeros {
        None => vec![middle; scales.len()],
        Some(zeros) => zero_points(zeros, ty, rows, a_row).ok_or_else(refused)?,
    };
    let mut values = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let at = row * a_row + column / block;
            values.push((f32::from(integers[row * a_row * block + column]) - zeros[at]) * scales[at]);
        }
    }
    Ok(Floats { shape: vec![rows, columns], values })
}

/// The zero points of all blocks: floats, or packed as the weight is, each row in whole bytes.
fn zero_points(zeros: &Array, ty: Type, rows: usize, a_row: usize) -> Option<Vec<f32>> {
    if let Some(floats) = zeros.floats() {
        return (floats.len() == rows * a_row).then_some(floats);
    }
    let in_row = if ty == Type::U4 { a_row.next_multiple_of(2) } else { a_row };
    let integers = Array { shape: vec![rows.checked_mul(in_row)?], ty, bytes: zeros.bytes.clone() };
    let is_whole =
        zeros.ty == Type::U8 && zeros.bytes.len() == if ty == Type::U4 { integers.len() / 2 } else { integers.len() };
    let integers = is_whole.then(|| integers.integers())??;
    Some(integers.chunks_exact(in_row).flat_map(|row| &row[..a_row]).map(|&integer| f32::from(integer)).collect())
}
