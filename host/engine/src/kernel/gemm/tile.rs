//! The micro-kernel: a few rows times a few panels of 16 columns, with all sums in registers.
//!
//! Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34, 2008). Every sum starts at
//! its bias and takes one fused multiply-add a step of `depth`, in order, whatever the instruction set and the tile's form:
//! all paths give the same bits.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::kernel::isa::{Isa, Level};

/// Columns of a panel.
pub(crate) const LANES: usize = 16;

/// Most rows of a tile, on any instruction set.
pub(crate) const ROWS_MAX: usize = 8;

/// Most panels of a tile, on any instruction set.
pub(crate) const PANELS_MAX: usize = 8;

/// One step of a panel: 16 columns side by side, a cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [f32; LANES]);

impl Lane {
    /// Sixteen zeros.
    pub(crate) const ZERO: Lane = Lane([0.0; LANES]);

    /// The numbers of a run of lanes.
    pub(crate) fn flat(lanes: &[Lane]) -> &[f32] {
        // SAFETY: a `Lane` is `repr(C)`, 64 bytes wide and aligned, so exactly 16 floats without padding.
        unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len() * LANES) }
    }

    /// The numbers of a run of lanes, to be changed.
    pub(crate) fn flat_mut(lanes: &mut [Lane]) -> &mut [f32] {
        // SAFETY: as in `flat`; any bits are a `Lane`.
        unsafe { std::slice::from_raw_parts_mut(lanes.as_mut_ptr().cast(), lanes.len() * LANES) }
    }
}

/// Rows of the left matrix, `stride` numbers apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// From the first number of the first row.
    pub(crate) values: &'a [f32],
    /// Numbers from one row's start to the next's.
    pub(crate) stride: usize,
    /// How many, `1..=ROWS_MAX`.
    pub(crate) count: usize,
}

/// Where a tile's sums go: `rows` rows of `columns` numbers, `stride` apart.
pub(crate) struct Sums<'a> {
    start: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    numbers: PhantomData<&'a mut f32>,
}

impl<'a> Sums<'a> {
    /// As many whole rows as `numbers` has, `stride` numbers each.
    pub(crate) fn of(numbers: &'a mut [f32], stride: usize) -> Self {
        let (start, rows) = (numbers.as_mut_ptr(), numbers.len() / stride);
        Sums { start, stride, rows, columns: stride, numbers: PhantomData }
    }

    /// Those of a larger matrix.
    ///
    /// # Safety
    /// All rows are in bounds of one allocation, and nothing else reads or writes their columns during `'a`.
    pub(crate) unsafe fn within(start: *mut f32, stride: usize, rows: usize, columns: usize) -> Self {
        Sums { start, stride, rows, columns, numbers: PhantomData }
    }

    /// Without the first `columns` of each row.
    pub(crate) fn beyond(&mut self, columns: usize) -> Sums<'_> {
        assert!(columns <= self.columns, "column out of bounds");
        let start = self.start.wrapping_add(columns);
        Sums { start, stride: self.stride, rows: self.rows, columns: self.columns - columns, numbers: PhantomData }
    }
}

/// Most rows that a tile of this instruction set has.
pub(crate) fn rows_max(isa: Isa) -> usize {
    match isa.level() {
        Level::Portable => 4,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 6,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => ROWS_MAX,
    }
}

/// Numbers of x to work on at a time, which should stay in the second-level cache: 256 KiB, or 1 MiB where there is
/// AVX-512 and so a cache of 1 to 2 MiB.
pub(crate) fn block_numbers(isa: Isa) -> usize {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 256 * 1024,
        _ => 64 * 1024,
    }
}

/// Panels of the next tile of `rows` rows where `left` are left.
pub(crate) fn panels_within(isa: Isa, rows: usize, left: usize) -> usize {
    panels_for(isa, rows).min(left)
}

/// Panels that a tile of `rows` rows should have: enough independent sums to hide the latency of the multiply-add.
pub(crate) fn panels_for(isa: Isa, rows: usize) -> usize {
    match (isa.level(), rows) {
        (Level::Portable, _) => 1,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, 1) => 4,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, 2 | 3) => 2,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, _) => 1,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, 1) => 8,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, 2 | 3) => 4,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, _) => 3,
    }
}

/// Asks for the cache lines of `numbers`, ahead of their use.
#[inline(always)]
pub(crate) fn prefetch(numbers: *const f32, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for start in (0..count).step_by(LANES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch does not fault, whatever the address, and SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(numbers.wrapping_add(start).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (numbers, count);
}

/// Panels side by side, and what each of their columns starts from.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    /// `[panels, depth]` lanes; a panel may be longer than depth, and what lies beyond is not read.
    pub(crate) lanes: &'a [Lane],
    /// `[panels]` lanes: bias or zeros.
    pub(crate) start: &'a [Lane],
}

/// sums = start + rows · panels; as many rows and columns as are given, others are left alone.
///
/// # Shapes
/// `rows`: `[count, depth]` with a stride; `panels`: `[panels, depth or more]` lanes; `sums`: `[count, panels · 16]` with a stride.
///
/// # Panics
/// On a number of rows or panels that `rows_max` and `panels_for` do not allow, and on operands too short.
#[inline]
pub(crate) fn multiply(isa: Isa, rows: Rows<'_>, panels: Panels<'_>, depth: usize, sums: Sums<'_>) {
    let width = panels.start.len();
    assert!((1..=ROWS_MAX).contains(&rows.count) && (1..=PANELS_MAX).contains(&width), "tile of an unknown form");
    assert!(rows.values.len() >= (rows.count - 1) * rows.stride + depth, "rows too short");
    let panel_stride = panels.lanes.len() / width;
    assert!(panels.lanes.len() == width * panel_stride && depth <= panel_stride, "panels are not whole");
    assert!(width * LANES <= sums.columns && rows.count <= sums.rows, "sums too short");
    let tile = Tile {
        x: rows.values.as_ptr(),
        x_stride: rows.stride,
        panels: panels.lanes.as_ptr(),
        panel_stride,
        start: panels.start.as_ptr(),
        depth,
        sums: sums.start,
        sums_stride: sums.stride,
    };
    // SAFETY: the lengths were just checked; `Sums` vouches for its rows; an `Isa` of a level exists only where detected.
    unsafe {
        match isa.level() {
            Level::Portable => portable(rows.count, width, tile),
            #[cfg(target_arch = "x86_64")]
            level => x86::run(level, rows.count, width, tile),
        }
    }
}

/// A tile's operands, checked by `multiply`.
#[derive(Clone, Copy)]
struct Tile {
    x: *const f32,
    x_stride: usize,
    panels: *const Lane,
    panel_stride: usize,
    start: *const Lane,
    depth: usize,
    sums: *mut f32,
    sums_stride: usize,
}

/// The scalar twin.
///
/// # Safety
/// `tile` describes `rows` rows and `panels` panels that are in bounds.
unsafe fn portable(rows: usize, panels: usize, tile: Tile) {
    for (row, panel) in (0..rows).flat_map(|row| (0..panels).map(move |panel| (row, panel))) {
        // SAFETY: this row and panel are in bounds, by the caller's promise.
        let (mut sum, x, steps, to) = unsafe {
            let x = std::slice::from_raw_parts(tile.x.add(row * tile.x_stride), tile.depth);
            let steps = std::slice::from_raw_parts(tile.panels.add(panel * tile.panel_stride), tile.depth);
            let to = tile.sums.add(row * tile.sums_stride + panel * LANES).cast::<[f32; LANES]>();
            (*tile.start.add(panel), x, steps, to)
        };
        for (&x, step) in x.iter().zip(steps) {
            for (sum, &w) in sum.0.iter_mut().zip(&step.0) {
                *sum = x.mul_add(w, *sum);
            }
        }
        // SAFETY: as above, and arrays of f32 are aligned as f32 is.
        unsafe { to.write(sum.0) };
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_load_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
        _mm512_load_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{LANES, Lane, Level, Tile};

    /// Picks the micro-kernel compiled for this form.
    ///
    /// # Safety
    /// The machine has `level`; `tile` describes `rows` rows and `panels` panels that are in bounds.
    pub(super) unsafe fn run(level: Level, rows: usize, panels: usize, tile: Tile) {
        macro_rules! forms {
            ($kernel:ident: $($r:literal x $($p:literal)|+,)*) => {
                match (rows, panels) {
                    // SAFETY: the caller's promise, for exactly this form.
                    $($(($r, $p) => unsafe { $kernel::<$r, $p>(tile) },)+)*
                    _ => unreachable!("tile of {rows} rows and {panels} panels"),
                }
            };
        }
        match level {
            Level::Avx512 => forms!(avx512:
                1 x 1|2|3|4|5|6|7|8, 2 x 1|2|3|4, 3 x 1|2|3|4, 4 x 1|2|3, 5 x 1|2|3, 6 x 1|2|3, 7 x 1|2|3, 8 x 1|2|3,),
            _ => forms!(avx2: 1 x 1|2|3|4, 2 x 1|2, 3 x 1|2, 4 x 1, 5 x 1, 6 x 1,),
        }
    }

    /// `N` pointers from `start` on, `stride` apart.
    ///
    /// They are made opaque: otherwise the compiler computes each from the one before in the inner loop, on the ports
    /// that the multiply-adds need, which costs a tenth of the speed.
    #[inline(always)]
    fn spread<T, const N: usize>(start: *const T, stride: usize) -> [*const T; N] {
        let mut pointers = [start; N];
        for i in 1..N {
            pointers[i] = pointers[i - 1].wrapping_add(stride);
        }
        std::hint::black_box(pointers)
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn avx512<const R: usize, const P: usize>(tile: Tile) {
        let x: [_; R] = spread(tile.x, tile.x_stride);
        let panels: [_; P] = spread(tile.panels, tile.panel_stride);
        let mut start = [_mm512_setzero_ps(); P];
        for (p, start) in start.iter_mut().enumerate() {
            // SAFETY: there are `P` lanes, aligned to 64 bytes.
            *start = unsafe { _mm512_load_ps(tile.start.add(p).cast()) };
        }
        let mut sums = [start; R];
        // SAFETY: rows, panels and sums are in bounds by the caller's promise, and a `Lane` is aligned to 64 bytes.
        unsafe {
            for k in 0..tile.depth {
                step512(&mut sums, x, panels, k);
            }
            let mut row = tile.sums;
            for sums in sums {
                for (p, sum) in sums.into_iter().enumerate() {
                    _mm512_storeu_ps(row.add(p * LANES), sum);
                }
                row = row.wrapping_add(tile.sums_stride);
            }
        }
    }

    /// One step of depth.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn step512<const R: usize, const P: usize>(
        sums: &mut [[__m512; P]; R],
        x: [*const f32; R],
        panels: [*const Lane; P],
        k: usize,
    ) {
        let mut step = [_mm512_setzero_ps(); P];
        for (step, panel) in step.iter_mut().zip(panels) {
            // SAFETY: `k` is below depth, so in bounds of each panel.
            *step = unsafe { _mm512_load_ps(panel.add(k).cast()) };
        }
        for (sums, x) in sums.iter_mut().zip(x) {
            // SAFETY: `k` is below depth, so in bounds of each row.
            let x = _mm512_set1_ps(unsafe { *x.add(k) });
            for (sum, step) in sums.iter_mut().zip(step) {
                *sum = _mm512_fmadd_ps(x, step, *sum);
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<const R: usize, const P: usize>(tile: Tile) {
        let x: [_; R] = spread(tile.x, tile.x_stride);
        let panels: [_; P] = spread(tile.panels, tile.panel_stride);
        let mut start = [[_mm256_setzero_ps(); 2]; P];
        for (p, start) in start.iter_mut().enumerate() {
            // SAFETY: there are `P` lanes, aligned to 64 bytes.
            *start = unsafe {
                let lane = tile.start.add(p).cast::<f32>();
                [_mm256_load_ps(lane), _mm256_load_ps(lane.add(8))]
            };
        }
        let mut sums = [start; R];
        // SAFETY: rows, panels and sums are in bounds by the caller's promise, and a `Lane` is aligned to 64 bytes.
        unsafe {
            for k in 0..tile.depth {
                step256(&mut sums, x, panels, k);
            }
            let mut row = tile.sums;
            for sums in sums {
                for (p, [low, high]) in sums.into_iter().enumerate() {
                    _mm256_storeu_ps(row.add(p * LANES), low);
                    _mm256_storeu_ps(row.add(p * LANES + 8), high);
                }
                row = row.wrapping_add(tile.sums_stride);
            }
        }
    }

    /// One step of depth.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn step256<const R: usize, const P: usize>(
        sums: &mut [[[__m256; 2]; P]; R],
        x: [*const f32; R],
        panels: [*const Lane; P],
        k: usize,
    ) {
        let mut step = [[_mm256_setzero_ps(); 2]; P];
        for (step, panel) in step.iter_mut().zip(panels) {
            // SAFETY: `k` is below depth, so in bounds of each panel.
            *step = unsafe {
                let lane = panel.add(k).cast::<f32>();
                [_mm256_load_ps(lane), _mm256_load_ps(lane.add(8))]
            };
        }
        for (sums, x) in sums.iter_mut().zip(x) {
            // SAFETY: `k` is below depth, so in bounds of each row.
            let x = _mm256_set1_ps(unsafe { *x.add(k) });
            for (sum, step) in sums.iter_mut().zip(step) {
                sum[0] = _mm256_fmadd_ps(x, step[0], sum[0]);
                sum[1] = _mm256_fmadd_ps(x, step[1], sum[1]);
            }
        }
    }
}
