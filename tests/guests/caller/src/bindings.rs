//! What `wit-bindgen` makes of the interface that this guest imports from another component, and exports as well.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the lifting and lowering of the canonical ABI"
)]

wit_bindgen::generate!({
    path: ["../callee/wit", "wit"],
    world: "acme:desk/caller",
    generate_all,
});

use crate::Caller;

export!(Caller with_types_in self);
