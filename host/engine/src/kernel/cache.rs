//! Keys and values of one sequence in one layer, kept for the tokens that follow.
//!
//! They lie in blocks of positions, each allocated when first written, so memory follows use and not capacity; and within
//! a block as the micro-kernel reads them, so that nothing is packed anew for a token.

use super::gemm::tile::{LANES, Lane};

/// Positions of a block. Twice as many make a prefill's attention a tenth faster, and the last block's waste twice as large.
pub(crate) const BLOCK: usize = 128;

/// Numbers that a position takes in each head: its key, and its value, which fills whole lanes.
pub(crate) fn numbers_per_head(head_dim: usize) -> Option<usize> {
    head_dim.checked_add(head_dim.checked_next_multiple_of(LANES)?)
}

/// Keys and values of the positions of one sequence, in one layer.
pub(crate) struct LayerCache {
    /// Each `[kv_heads]` times keys `[panels of positions, head_dim]`, then values `[panels of head_dim, BLOCK]`.
    blocks: Vec<Box<[Lane]>>,
    kv_heads: usize,
    head_dim: usize,
    capacity: usize,
}

impl LayerCache {
    /// An empty cache for up to `capacity` positions; takes no memory yet.
    ///
    /// # Panics
    /// If there are no heads, or heads of no numbers.
    pub(crate) fn new(kv_heads: usize, head_dim: usize, capacity: usize) -> Self {
        assert!(kv_heads > 0 && head_dim > 0, "a cache has at least one head of at least one number");
        LayerCache { blocks: vec![], kv_heads, head_dim, capacity }
    }

    /// Writes the keys and values of positions from `start` on, over what was there.
    ///
    /// # Shapes
    /// `keys`, `values`: `[tokens, kv_heads · head_dim]`, a token's numbers `stride` after those of the one before, so
    /// that they may be parts of wider rows; what follows the last token's numbers is not read.
    ///
    /// # Panics
    /// Beyond the capacity, and when a length does not fit these shapes.
    pub(crate) fn write(&mut self, start: usize, keys: &[f32], values: &[f32], stride: usize) {
        let width = self.kv_heads * self.head_dim;
        assert!(stride >= width, "rows do not overlap");
        let tokens = keys.len().div_ceil(stride);
        assert_eq!(values.len().div_ceil(stride), tokens, "as many values as keys");
        assert!(tokens <= self.capacity && start <= self.capacity - tokens, "positions beyond the capacity");
        let lanes = self.kv_heads * head_lanes(self.head_dim);
        while self.blocks.len() * BLOCK < start + tokens {
            self.blocks.push(vec![Lane::ZERO; lanes].into());
        }
        for (position, (keys, values)) in (start..).zip(keys.chunks(stride).zip(values.chunks(stride))) {
            self.write_position(position, &keys[..width], &values[..width]);
        }
    }

    fn write_position(&mut self, position: usize, keys: &[f32], values: &[f32]) {
        let (dim, slot) = (self.head_dim, position % BLOCK);
        let heads = self.blocks[position / BLOCK].chunks_exact_mut(head_lanes(dim));
        for ((head, key), value) in heads.zip(keys.chunks_exact(dim)).zip(values.chunks_exact(dim)) {
            let (key_lanes, value_lanes) = head.split_at_mut(key_lanes(dim));
            for (lane, key) in key_lanes[slot / LANES * dim..].iter_mut().zip(key) {
                lane.0[slot % LANES] = *key;
            }
            for (panel, value) in value_lanes.chunks_exact_mut(BLOCK).zip(value.chunks(LANES)) {
                panel[slot].0[..value.len()].copy_from_slice(value);
            }
        }
    }

    /// Whether it is of this form and has memory for positions below `end`.
    pub(super) fn holds(&self, kv_heads: usize, head_dim: usize, end: usize) -> bool {
        (self.kv_heads, self.head_dim) == (kv_heads, head_dim) && end <= self.blocks.len() * BLOCK
    }

    /// Keys of a block: `[panels of positions, head_dim]` lanes, of 16 positions each.
    pub(super) fn keys(&self, block: usize, kv_head: usize) -> &[Lane] {
        &self.head(block, kv_head)[..key_lanes(self.head_dim)]
    }

    /// Values of a block: `[panels of head_dim, BLOCK]` lanes, of 16 of a head's numbers each.
    pub(super) fn values(&self, block: usize, kv_head: usize) -> &[Lane] {
        &self.head(block, kv_head)[key_lanes(self.head_dim)..]
    }

    fn head(&self, block: usize, kv_head: usize) -> &[Lane] {
        let lanes = head_lanes(self.head_dim);
        &self.blocks[block][kv_head * lanes..][..lanes]
    }
}

/// Lanes of one head's keys in a block.
fn key_lanes(head_dim: usize) -> usize {
    BLOCK / LANES * head_dim
}

/// Lanes of one head's keys and values in a block.
fn head_lanes(head_dim: usize) -> usize {
    key_lanes(head_dim) + head_dim.div_ceil(LANES) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number at an index of a token's row, told apart from all others.
    fn number(position: usize, index: usize) -> f32 {
        (position * 1000 + index) as f32
    }

    #[test]
    fn each_number_lies_where_the_micro_kernel_reads_it() {
        let (kv_heads, dim, stride) = (2, 20, 100);
        let mut cache = LayerCache::new(kv_heads, dim, 200);
        let rows: Vec<f32> = (0..150 * stride).map(|i| number(i / stride, i % stride)).collect();
        cache.write(0, &rows[7..90 * stride], &rows[50..90 * stride], stride);
        cache.write(90, &rows[90 * stride + 7..], &rows[90 * stride + 50..], stride);
        for (position, head, i) in (0..150).flat_map(|p| (0..kv_heads * dim).map(move |i| (p, i / dim, i % dim))) {
            let (block, slot) = (position / BLOCK, position % BLOCK);
            let key = cache.keys(block, head)[slot / LANES * dim + i].0[slot % LANES];
            let value = cache.values(block, head)[i / LANES * BLOCK + slot].0[i % LANES];
            assert_eq!(key, number(position, 7 + head * dim + i));
            assert_eq!(value, number(position, 50 + head * dim + i));
        }
    }

    #[test]
    fn memory_follows_what_is_written() {
        let taken = |cache: &LayerCache| cache.blocks.iter().map(|block| size_of_val(&**block)).sum::<usize>();
        let mut cache = LayerCache::new(3, 64, 128 * 1024);
        assert_eq!(taken(&cache), 0);
        cache.write(0, &[1.0; 129 * 192], &[1.0; 129 * 192], 192);
        assert_eq!(taken(&cache), 2 * BLOCK * 2 * 3 * 64 * 4, "two blocks");
    }

    #[test]
    #[should_panic(expected = "beyond the capacity")]
    fn a_position_beyond_the_capacity_is_refused() {
        LayerCache::new(1, 2, 10).write(9, &[0.0; 4], &[0.0; 4], 2);
    }
}
