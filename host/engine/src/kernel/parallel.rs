//! Jobs over the current rayon pool, and an output that they share.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// Runs `work` for each job `0..jobs` on up to `threads` threads of the current pool, the caller being one of them.
///
/// Jobs are taken from a shared counter, so a thread that the system holds back costs one job and not its whole share;
/// a pool whose other threads are busy leaves all of them to the caller.
pub(super) fn for_each_job(jobs: usize, threads: usize, work: impl Fn(usize) + Sync) {
    let threads = threads.min(jobs);
    if threads <= 1 {
        return (0..jobs).for_each(work);
    }
    let next = AtomicUsize::new(0);
    (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                break;
            }
            work(job);
        }
    });
}

/// Threads that `work` units are worth, when one thread pays only from `work_per_thread` units on.
pub(super) fn threads_for(work: usize, work_per_thread: usize) -> usize {
    (work / work_per_thread).clamp(1, rayon::current_num_threads())
}

/// An output slice of which several jobs write parts that do not overlap.
pub(super) struct SharedOutput<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrowed `&mut [f32]`, which may be sent; parts are only given out by the unsafe `part`.
unsafe impl Sync for SharedOutput<'_> {}

impl<'a> SharedOutput<'a> {
    /// Borrows `slice` whole for as long as the parts live.
    pub(super) fn new(slice: &'a mut [f32]) -> Self {
        SharedOutput { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The elements of `range`; panics when it is out of bounds.
    ///
    /// # Safety
    /// No two parts that overlap may be alive at once.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "jobs share the output; that parts do not overlap is the caller's promise")]
    pub(super) unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "part of an output out of bounds");
        // SAFETY: the range was just checked against the borrowed slice; the caller vouches for no overlap.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }

    /// Where `range` starts, for a part that is some columns of several rows and ends with it; panics when it is out of
    /// bounds. What is reached through the pointer is a part like those of [`part`](Self::part).
    #[inline(always)]
    pub(super) fn spanning(&self, range: Range<usize>) -> *mut f32 {
        assert!(range.start <= range.end && range.end <= self.len, "part of an output out of bounds");
        self.start.wrapping_add(range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once_for_any_number_of_threads() {
        for threads in [0, 1, 2, 5, 100] {
            let runs: Vec<AtomicUsize> = (0..37).map(|_| AtomicUsize::new(0)).collect();
            for_each_job(runs.len(), threads, |job| {
                runs[job].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
        }
    }
}
