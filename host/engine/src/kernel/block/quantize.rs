//! Quantising, to make models of a given shape; bit for bit as `gguf.quants.quantize` does.

use half::f16;

use super::BlockType;

/// The blocks of `numbers`: of Q4_0 and Q8_0; none of other types, or when they are not whole blocks.
pub(crate) fn quantize(ty: BlockType, numbers: &[f32]) -> Option<Vec<u8>> {
    let (blocks, rest) = numbers.as_chunks::<32>();
    match ty {
        _ if !rest.is_empty() => None,
        BlockType::Q4_0 => Some(blocks.iter().flat_map(q4_0).collect()),
        BlockType::Q8_0 => Some(blocks.iter().flat_map(q8_0).collect()),
        _ => None,
    }
}

/// The number farthest from zero gets the code for -8, so that it is met exactly.
fn q4_0(numbers: &[f32; 32]) -> [u8; 18] {
    let farthest = numbers.iter().fold(0.0_f32, |far, x| if x.abs() > far.abs() { *x } else { far });
    let scale = farthest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let code = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    let mut block = [0; 18];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (i, byte) in block[2..].iter_mut().enumerate() {
        *byte = code(numbers[i]) | code(numbers[16 + i]) << 4;
    }
    block
}

fn q8_0(numbers: &[f32; 32]) -> [u8; 34] {
    let scale = numbers.iter().fold(0.0_f32, |far, x| far.max(x.abs())) / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; 34];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, x) in block[2..].iter_mut().zip(numbers) {
        *byte = (x * inverse).round() as i8 as u8;
    }
    block
}
