//! Taking memory, stack and tasks.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

use crate::Report;

const MEBIBYTE: usize = 1 << 20;

/// Takes so many mebibytes, writes to them and traps where it gets no more.
pub(crate) async fn until_trap(size: u64) -> Report {
    let mut held = Vec::new();
    for _ in 0..size {
        held.push(black_box(vec![1_u8; MEBIBYTE]));
    }
    Report::done(held.len() as u64)
}

/// The same, but it goes on with what it got.
pub(crate) async fn until_refused(size: u64) -> Report {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..size {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(MEBIBYTE).is_err() {
            return Report::stopped(held.len() as u64, "refused");
        }
        piece.resize(MEBIBYTE, 1);
        held.push(black_box(piece));
    }
    Report::done(held.len() as u64)
}

/// Calls within calls.
pub(crate) async fn stack(size: u64) -> Report {
    Report::done(deeper(size))
}

fn deeper(calls: u64) -> u64 {
    match black_box(calls) {
        0 => 0,
        calls => black_box(deeper(calls - 1)) + 1,
    }
}

/// So many tasks at once, each of which goes to the host twice.
pub(crate) async fn tasks(size: u64) -> Report {
    let ran = Rc::new(Cell::new(0));
    for _ in 0..size {
        let ran = ran.clone();
        wit_bindgen::spawn_local(async move {
            wit_bindgen::yield_async().await;
            ran.set(ran.get() + 1);
            wit_bindgen::yield_async().await;
        });
    }
    while ran.get() < size {
        wit_bindgen::yield_async().await;
    }
    Report::done(ran.get())
}
