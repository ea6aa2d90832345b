//! Keys and values of the tokens that a generation has seen.

use burn::tensor::{Device, Tensor};

use crate::device;
use crate::kernel::cache::{BLOCK, LayerCache, numbers_per_head};

/// Sizes of a model's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

/// One sequence's cache, written in place. Only attention looks inside.
pub(crate) struct KvCache {
    layers: Vec<Layer>,
    len: usize,
    capacity: usize,
}

/// Keys and values of one layer.
pub(super) enum Layer {
    /// In main memory, as our attention reads them.
    Packed(LayerCache),
    /// Elsewhere: keys and values. Shape of each `[capacity, kv_heads, head_dim]`.
    Plain(Box<[Tensor<3>; 2]>),
}

impl CacheShape {
    /// Bytes of a cache for so many positions, which come in blocks; none if that overflows.
    pub(crate) fn bytes(self, capacity: usize) -> Option<usize> {
        let head = numbers_per_head(self.head_dim)?.checked_mul(size_of::<f32>())?;
        let position = self.layers.checked_mul(self.kv_heads)?.checked_mul(head)?;
        position.checked_mul(capacity.checked_next_multiple_of(BLOCK)?)
    }
}

impl KvCache {
    /// An empty cache. In main memory, pages that are never written take no room.
    pub(crate) fn new(shape: CacheShape, capacity: usize, device: &Device) -> KvCache {
        let CacheShape { layers, kv_heads, head_dim } = shape;
        let layer = || {
            if device::is_cpu(device) {
                return Layer::Packed(LayerCache::new(kv_heads, head_dim, capacity));
            }
            let zeros = || Tensor::zeros([capacity, kv_heads, head_dim], device);
            Layer::Plain(Box::new([zeros(), zeros()]))
        };
        KvCache { layers: (0..layers).map(|_| layer()).collect(), len: 0, capacity }
    }

    /// Positions that are filled.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Counts tokens whose keys and values every layer has written.
    ///
    /// # Panics
    /// When there is no room for them.
    pub(crate) fn advance(&mut self, tokens: usize) {
        assert!(self.len + tokens <= self.capacity, "a step never feeds more than its cache has room for");
        self.len += tokens;
    }

    pub(super) fn layer(&mut self, index: usize) -> &mut Layer {
        &mut self.layers[index]
    }
}

impl Layer {
    /// Writes keys and values outside main memory and gives the whole cache.
    ///
    /// # Shapes
    /// `[len, kv_heads, head_dim]` → `[capacity, kv_heads, head_dim]`, keys and values
    pub(super) fn write(&mut self, start: usize, rows: [Tensor<3>; 2]) -> [Tensor<3>; 2] {
        let Layer::Plain(cached) = self else { unreachable!("attention writes packed caches itself") };
        let [len, heads, dim] = rows[0].dims();
        let place = [start..start + len, 0..heads, 0..dim];
        for (cached, rows) in cached.iter_mut().zip(rows) {
            // Taken out, so that a tensor that nobody else holds is written in place.
            let taken = std::mem::replace(cached, Tensor::empty([1, 1, 1], &rows.device()));
            *cached = taken.slice_assign(place.clone(), rows);
        }
        (**cached).clone()
    }
}
