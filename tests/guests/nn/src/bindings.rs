//! What `wit-bindgen` makes of the interface that this guest is about.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the lifting and lowering of the canonical ABI"
)]

wit_bindgen::generate!({
    path: "../../../wit/deps/nn.wit",
    world: "wasi:nn/ml@0.2.0-rc-2024-10-28",
});
