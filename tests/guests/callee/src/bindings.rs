//! What `wit-bindgen` makes of the interface that this guest exports.
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
    world: "acme:shop/callee",
});

use crate::Stock;

export!(Stock with_types_in self);
