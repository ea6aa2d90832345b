//! What `wit-bindgen` makes of the interfaces that this guest exports.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the lifting and lowering of the canonical ABI"
)]

use super::Component;

wit_bindgen::generate!({
    path: "wit",
    world: "acme:types/types",
});

export!(Component with_types_in self);
