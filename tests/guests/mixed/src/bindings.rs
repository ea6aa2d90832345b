//! What `wit-bindgen` makes of the functions that this guest exports beside its handler.
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
    inline: "
        package acme:mixed@1.0.0;
        world mixed {
            export ops: interface { twice: func(value: u32) -> u32; }
            export hello: func() -> string;
        }
    ",
    world: "acme:mixed/mixed",
});

export!(Component with_types_in self);
