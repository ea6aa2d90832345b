//! What `wit-bindgen` makes of the interface that other components call.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the lifting and lowering of the canonical ABI"
)]

wit_bindgen::generate!({
    path: "wit",
    world: "rag:retriever/retriever",
});

#[cfg(target_arch = "wasm32")]
use crate::typed::Retriever;

#[cfg(target_arch = "wasm32")]
export!(Retriever with_types_in self);
